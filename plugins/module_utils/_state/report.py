# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The status of all nodes of a plan: which replicas serve, what is wrong, what to do next. Pure; on the controller."""

from __future__ import annotations

from ansible_collections.ascend_ops.vllm.plugins.module_utils._state.problems import node_problems, problem
from ansible_collections.ascend_ops.vllm.plugins.module_utils._state.records import RECIPE
from ansible_collections.ascend_ops.vllm.plugins.module_utils._state.text import duration, short

SCHEMA_VERSION = 2
# Seconds between the starts of containers that were started as one group.
TOGETHER = 120


def report(processes, found):
    """The status of all nodes of a plan.

    :param processes: the process plans.
    :param found: host to the return value ``status`` of the module vllm_status, or ``{"error": str}`` for a node that did not
        answer.
    :return: ``{"schema_version", "ok", "summary", "next", "replicas"}``; a replica is ``{"name", "hardware", "url", "model",
        "image", "recipe", "ok", "serving", "problems", "nodes"}``, *serving* None where that is not known; a node is what it
        reported with ``host``, ``role``, ``ok`` and ``problems``.
    """
    replicas = []
    for name in dict.fromkeys(process["replica"] for process in processes):
        members = [process for process in processes if process["replica"] == name]
        replicas.append(_replica(name, members, found))
    good = [replica for replica in replicas if replica["ok"]]
    count = len(replicas)
    return {
        "schema_version": SCHEMA_VERSION,
        "ok": len(good) == count,
        "summary": f"{count} replica{'' if count == 1 else 's'}: {len(good)} serving without drift, "
        f"{count - len(good)} with problems",
        "next": _next([replica for replica in replicas if not replica["ok"]]),
        "replicas": replicas,
    }


def _replica(name, members, found):
    rows = []
    for process in members:
        facts = found.get(process["host"]) or {"error": "the node did not report"}
        problems = _problems(process, facts)
        rows.append(
            {**facts, "host": process["host"], "role": process["role"], "ok": not problems, "problems": problems}
        )
    first = members[0]
    asked = [row["probe"]["state"] == "ready" for row in rows if row.get("probe")]
    serving = any(asked) if asked else None  # None: the node that serves did not answer
    problems = [one for row in rows for one in row["problems"]] + together(rows, serving)
    return {
        "name": name,
        "hardware": first["hardware"],
        "url": first["service"]["url"],
        "model": first["service"]["model"],
        "image": first["container"]["image"],
        "recipe": {key: first["recipe"][key] for key in RECIPE},
        "ok": bool(serving) and not problems,
        "serving": serving,
        "problems": problems,
        "nodes": rows,
    }


def _problems(process, facts):
    try:
        return node_problems(process, facts)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        seen = f"what the node reported is not understood ({type(error).__name__}: {error})"
        do = "Use one version of this collection for deploy and status."
        return [problem(process["host"], "node.facts", seen, do)]


def together(rows, serving):
    """What only the members of a replica together show, as problems; *serving*: whether the replica yields tokens."""
    reported = [row for row in rows if not row.get("error")]
    if len(rows) < 2 or not reported:
        return []
    hosts = ", ".join(row["host"] for row in rows)
    result = []
    running = [row for row in reported if row["container"] and row["container"]["running"]]
    ages = [row["container"]["age"] or 0 for row in running]
    if not serving and len(running) == len(rows) and max(ages) - min(ages) > TOGETHER:
        seen = f"it does not serve, and its containers were started {duration(max(ages) - min(ages))} apart"
        result.append(problem(hosts, "replica.apart", seen, "Run restart.yml: a replica is started as a whole."))
    if len({row["container"]["image_id"] for row in reported if row["container"]}) > 1:
        images = ", ".join(
            f"{row['host']} {short(row['container']['image_id'])}" for row in reported if row["container"]
        )
        do = "Provide the same image on all nodes, and deploy."
        result.append(problem(hosts, "replica.image", f"its nodes run different images: {images}", do))
    groups = sorted({row["deployed"]["current"]["group"] for row in reported if (row["deployed"] or {}).get("current")})
    if len(groups) > 1:
        seen = f"its nodes were verified by different deploys: {', '.join(groups)}"
        result.append(problem(hosts, "replica.group", seen, "Deploy, with all nodes of the replica."))
    return result


def _next(bad):
    """What to run now, in one sentence."""
    if not bad:
        return "nothing to do"
    ids = {one["id"] for replica in bad for one in replica["problems"]}
    deploys = ", ".join(sorted({f"deploy_{replica['hardware']}.yml" for replica in bad}))
    if ids & {"node.unreachable", "engine.down"}:
        return "repair the node that does not answer, then run status.yml again"
    if ids & {"container.stopped", "supervisor.gave_up", "supervisor.failing", "service.silent"}:
        return f"logs.yml shows why it does not serve; {deploys} brings it back"
    return f"'{deploys} --check --diff' shows what a deploy would change; without --check it repairs it"
