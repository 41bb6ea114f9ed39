# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the nodes of a service told, compared with their plan: what differs, and what to do about it.

Pure: facts in, problems out. ``observed`` reads the facts on a node. A problem is ``{id, host, seen, do}``.
"""

from __future__ import annotations

import difflib
import re

from ansible_collections.ascend_ops.vllm.plugins.module_utils._service.replica import TOGETHER

SCHEMA_VERSION = 1
# Seconds after which what the supervisor saw last is old news: it looks every 15 s.
STALE = 300
# Seconds that its first look may take, after a deploy for instance: it begins within 2 s and asks the service for tokens.
FIRST_LOOK = 30
RECIPE = ("name", "release", "checkpoint", "scenarios")
# States of the supervisor that call for somebody, whatever the service does.
TROUBLE = ("failing", "restarting", "gave-up", "down")
_NAME = re.compile(r"\s*(?:(--[A-Za-z][\w.-]*)|([A-Z_][A-Z0-9_]*)=)")
_SIZES = {"": 1, "b": 1, "k": 1024, "m": 1024**2, "g": 1024**3, "t": 1024**4}


# -- comparing, on the node -----------------------------------------------------------------------------------------


def changed_lines(before, after):
    """How many lines differ, and which variables and options stand on them: their names, never their values."""
    before, after = before.splitlines(), after.splitlines()
    count = 0
    names = []
    for kind, first, last, start, end in difflib.SequenceMatcher(None, before, after, False).get_opcodes():
        if kind == "equal":
            continue
        count += max(last - first, end - start)
        for line in before[first:last] + after[start:end]:
            match = _NAME.match(line)
            if match and match.group(1, 2) not in names:
                names.append(match.group(1, 2))
    return {"lines": count, "names": [option or variable for option, variable in names]}


def compare_file(wanted, found, deployed):
    """How a file came to differ from what the plan makes.

    :param wanted: its content by the plan.
    :param found: its content on the node, or None.
    :param deployed: its content when it was deployed last, or None where there is no record.
    :return: ``{"missing", "edited", "variable", "differs"}``: whether it is missing, and the :func:`changed_lines` since
        the deploy that somebody made by hand, that a changed variable makes, and that may be either. None for no change.
    """
    result = {"missing": found is None, "edited": None, "variable": None, "differs": None}
    if found is None or found == wanted:
        return result
    if deployed is None:
        result["differs"] = changed_lines(wanted, found)
        return result
    if found != deployed:
        result["edited"] = changed_lines(deployed, found)
    if deployed != wanted:
        result["variable"] = changed_lines(deployed, wanted)
    return result


def known_state(told):
    """What a supervisor wrote, or None where it is not what this version reads."""
    told = told if isinstance(told, dict) else {}
    last = told.get("last_restart")
    good = (
        isinstance(told.get("state"), str)
        and isinstance(told.get("checked_at"), (int, float))
        and (last is None or isinstance(last, dict) and {"at", "reason"} <= set(last))
    )
    return told if good else None


def known_record(told):
    """What a deploy wrote, or None where it is not what this version reads."""
    current = told.get("current") if isinstance(told, dict) else None
    good = (
        isinstance(current, dict)
        and {"id", "group", "proven_at", "recipe"} <= set(current)
        and isinstance(current["recipe"], dict)
        and set(RECIPE) <= set(current["recipe"])
    )
    return told if good else None


def size(text):
    """Bytes of a size as the engine's command takes it (``1200g``)."""
    match = re.match(r"(\d+)\s*([bkmgt]?)b?$", str(text).strip().lower())
    return int(match.group(1)) * _SIZES[match.group(2)] if match else None


def differing_parts(spec, mounts, image_id, inspected):
    """The parts of a container that are not as the plan makes them.

    :param mounts: the mounts of *spec* that the node can make.
    :param image_id: what the image's name stands for on the node.
    :param inspected: what the engine says of the container.
    """
    config, host = inspected["Config"], inspected["HostConfig"]
    log = host.get("LogConfig") or {}
    wanted_log = {name: spec["log"][name] for name in ("max-size", "max-file")}
    pairs = (
        ("image", (spec["image"], image_id), (config.get("Image"), inspected.get("Image"))),
        ("user", spec["user"], config.get("User")),
        ("network", spec["network"], host.get("NetworkMode")),
        ("shm_size", size(spec["shm_size"]), host.get("ShmSize")),
        ("restart", spec["restart"], (host.get("RestartPolicy") or {}).get("Name")),
        ("log", (spec["log"]["driver"], wanted_log), (log.get("Type"), log.get("Config") or {})),
        ("init", bool(spec["init"]), bool(host.get("Init"))),
        ("privileged", bool(spec["privileged"]), bool(host.get("Privileged"))),
        (
            "devices",
            sorted(spec["devices"]),
            sorted(device.get("PathOnHost") for device in host.get("Devices") or []),
        ),
        (
            "mounts",
            sorted((mount["source"], mount["target"], not mount["read_only"]) for mount in mounts),
            sorted(
                (mount.get("Source"), mount.get("Destination"), bool(mount.get("RW")))
                for mount in inspected.get("Mounts") or []
                if mount.get("Type") == "bind"
            ),
        ),
        ("command", list(spec["command"]), (config.get("Entrypoint") or []) + (config.get("Cmd") or [])),
    )
    return [name for name, wanted, found in pairs if wanted != found]


# -- judging, on the controller -------------------------------------------------------------------------------------


def report(nodes, told):
    """The status of all nodes of a plan.

    :param nodes: the plan's nodes.
    :param told: host to what the module vllm_status returned, or ``{"error": str}`` where the node could not be asked.
    :return: ``{schema_version, ok, summary, next, replicas: [{name, hardware, ok, serving, problems, nodes}]}``.
    """
    replicas = []
    for name in dict.fromkeys(node["replica"] for node in nodes):
        members = [node for node in nodes if node["replica"] == name]
        replicas.append(_replica(name, members, told))
    good = [replica for replica in replicas if replica["ok"]]
    count = len(replicas)
    summary = "{0} replica{1}: {2} serving without drift, {3} with problems".format(
        count, "" if count == 1 else "s", len(good), count - len(good)
    )
    return {
        "schema_version": SCHEMA_VERSION,
        "ok": len(good) == count,
        "summary": summary,
        "next": _next([replica for replica in replicas if not replica["ok"]]),
        "replicas": replicas,
    }


def _replica(name, members, told):
    rows = []
    for node in members:
        facts = told.get(node["host"]) or {"error": "nothing was heard of it"}
        problems = _careful(node, facts)
        rows.append(dict(facts, host=node["host"], role=node["role"], ok=not problems, problems=problems))
    first = members[0]
    asked = [row["probe"]["state"] == "ready" for row in rows if row.get("probe")]
    serving = any(asked) if asked else None  # None: the node that serves could not be asked
    problems = [problem for row in rows for problem in row["problems"]] + together(rows, serving)
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


def _careful(node, facts):
    try:
        return node_problems(node, facts)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        text = f"what it told is not understood ({type(error).__name__}: {error})"
        return [_problem(node, "node.facts", text, "Use one version of this collection for deploy and status.")]


def _problem(node, name, seen, do):
    return {"id": name, "host": node["host"], "seen": seen, "do": do}


def node_problems(node, facts):
    """What differs on one node, the causes first."""
    if facts.get("error"):
        do = "Check power, network and SSH key: 'ssh {0}'.".format(node["address"])
        return [_problem(node, "node.unreachable", facts["error"], do)]
    deploy = "deploy_{0}.yml".format(node["hardware"])
    name = node["container"]["name"]
    if not facts["engine_error"] and facts["container"] is None and all(item["missing"] for item in facts["files"]):
        seen = f"nothing is deployed here: there is neither container {name} nor its files"
        if facts["others"]:
            seen += "; this collection made {0} here: another vllm_recipe_container.name?".format(
                ", ".join(facts["others"])
            )
        return [_problem(node, "node.bare", seen, f"Run {deploy}.")]
    found = (
        _of_container(facts, name, deploy, node)
        + _of_files(facts, deploy)
        + _of_secrets(facts, deploy)
        + _of_deployed(node, facts, deploy)
        + _of_tuning(facts, deploy)
        + _of_supervisor(facts, name, deploy)
        + _of_probe(facts, name)
    )
    return [_problem(node, *one) for one in found]


def _of_container(facts, name, deploy, node):
    container, image = facts["container"], node["container"]["image"]
    if facts["engine_error"]:
        return [
            ("engine.down", facts["engine_error"], "Mend the engine on the node; nothing is known of its containers.")
        ]
    if container is None:
        seen = f"the container {name} is missing"
        if facts["others"]:
            seen += "; this collection made {0} here".format(", ".join(facts["others"]))
        return [("container.missing", seen, f"Run {deploy}.")]
    if container["foreign"]:
        return [
            (
                "container.foreign",
                "somebody else made the container {0}, of the image {1} ({2})".format(
                    name, container["image"], container["status"]
                ),
                f"Find out who needs it. Then remove it ('docker rm -f {name}') and run {deploy}, or have that replace it with -e "
                "npu_container_adopt=true.",
            )
        ]
    result = []
    if not container["running"]:
        seen = "the container {0} does not run: {1}, exit code {2}{3}{4}".format(
            name,
            container["status"],
            container["exit_code"],
            ", killed for want of memory" if container["oom_killed"] else "",
            ", " + container["error"] if container["error"] else "",
        )
        result.append(("container.stopped", seen, f"Read 'docker logs {name}' for why; then run start.yml."))
    if facts["image"] is None:
        seen = "the plan's image {0} is not on the node; the container was made of {1} ({2})".format(
            image, container["image"], short(container["image_id"])
        )
        result.append(("image.missing", seen, f"{deploy} brings it; without it a lost container cannot be made anew."))
    parts = facts["parts"]
    if not facts["same_spec"]:
        seen = "the container {0} is not what the plan makes: {1}".format(
            name, ", ".join(_part(part, facts, image) for part in parts) or "it cannot be told which part"
        )
        do = f"'{deploy} --check --diff' shows what the plan makes; run it without --check, or put the variable back."
        result.append(("container.differs", seen, do))
    elif "restart" in parts:
        seen = "the restart policy of {0} is {1} and not {2}: changed by hand".format(
            name, container["restart_policy"] or "none", node["container"]["restart"]
        )
        do = "docker update --restart {0} {1}".format(node["container"]["restart"], name)
        result.append(("container.restart_policy", seen, do))
    if facts["missing_mounts"]:
        seen = "the node lacks {0}, which the container is to have".format(", ".join(facts["missing_mounts"]))
        result.append(("container.mounts", seen, "Provide it: a restart of the container fails without."))
    return result


def _part(part, facts, image):
    if part != "image":
        return part
    container = facts["container"]
    if container["image"] != image:
        return "image {0}, wanted {1}".format(container["image"], image)
    return "image {0}, while {1} is {2} now".format(
        short(container["image_id"]), image, short((facts["image"] or {}).get("id"))
    )


def _of_files(facts, deploy):
    result = []
    missing = [item["path"] for item in facts["files"] if item["missing"]]
    if missing:
        result.append(("files.missing", "missing: " + ", ".join(missing), f"Run {deploy}."))
    for item in facts["files"]:
        if item["edited"]:
            seen = "{0} was edited by hand since it was deployed: {1}".format(item["path"], _lines(item["edited"]))
            do = f"Put what is needed into a variable, then run {deploy}: it replaces the file."
            result.append(("files.edited", seen, do))
        if item["variable"]:
            seen = "a variable, or this collection, changed since {0} was deployed: {1}".format(
                item["path"], _lines(item["variable"])
            )
            do = f"Run {deploy} to have it, or put the variable back."
            result.append(("files.variable", seen, do))
        if item["differs"]:
            seen = (
                "{0} is not what the plan makes: {1}; edited by hand, or a variable or this collection changed".format(
                    item["path"], _lines(item["differs"])
                )
            )
            do = f"'{deploy} --check --diff' shows the lines; run it without --check to have the plan's."
            result.append(("files.differ", seen, do))
        if not item["missing"] and item["mode"] != item["wanted_mode"]:
            seen = "{0} has mode {1} and not {2}".format(item["path"], item["mode"], item["wanted_mode"])
            result.append(("files.mode", seen, "chmod {0} {1}".format(item["wanted_mode"], item["path"])))
    if facts["files_error"]:
        result.append(("files.untold", facts["files_error"], "Compare the node's addresses with the inventory's."))
    container = facts["container"]
    if container and container["running"] and not container["foreign"] and container["started_at"]:
        newer = [
            item["path"]
            for item in facts["files"] + [facts["secrets"]]
            if item["mtime"] and item["mtime"] > container["started_at"]
        ]
        if newer:
            seen = "written after the container was started, so that it runs something older: " + ", ".join(newer)
            result.append(("files.newer", seen, f"Run {deploy}, or restart.yml when the files are right."))
    return result


def _lines(change):
    """``3 lines (HCCL_BUFFSIZE, --max-num-seqs)``."""
    names = change["names"]
    listed = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
    return "{0} line{1}{2}".format(
        change["lines"], "" if change["lines"] == 1 else "s", f" ({listed})" if listed else ""
    )


def _of_secrets(facts, deploy):
    secrets = facts["secrets"]
    result = []
    if not secrets["missing"] and secrets["mode"] != "0600":
        seen = "{0} has mode {1}: others can read it".format(secrets["path"], secrets["mode"])
        result.append(("secrets.mode", seen, "chmod 0600 {0}".format(secrets["path"])))
    wanted = secrets["wanted"]
    lacks = sorted(set(wanted) - set(secrets["names"]))
    more = sorted(set(secrets["names"]) - set(wanted))
    seen = []
    if lacks:
        seen.append("lacks {0}".format(", ".join(lacks)))
    if more:
        seen.append("has {0}, which vllm_service_secrets of this run has not".format(", ".join(more)))
    if seen:
        do = f"Run {deploy}, and status.yml, with the same vault."
        result.append(("secrets.names", "{0} {1}".format(secrets["path"], " and ".join(seen)), do))
    return result


def _of_deployed(node, facts, deploy):
    container = facts["container"]
    if facts["engine_error"] or container is None or container["foreign"]:
        return []
    current = (facts["deployed"] or {}).get("current")
    if not current:
        seen = "no deploy is recorded here that was proven to answer"
        return [("deployed.missing", seen, f"Run {deploy} to its end.")]
    wanted, found = node["recipe"], current["recipe"]
    differs = [f"{key} {_word(found[key])} (plan: {_word(wanted[key])})" for key in RECIPE if found[key] != wanted[key]]
    if differs:
        seen = "deployed is " + ", ".join(differs)
        return [("deployed.differs", seen, f"Run {deploy} to have the plan's, or put the variable back.")]
    return []


def _word(value):
    return (", ".join(value) or "none") if isinstance(value, list) else str(value)


def _of_tuning(facts, deploy):
    if not facts["tuning"]:
        return []
    if facts["tuning"]["error"]:
        return [("tuning.untold", facts["tuning"]["error"], "Mend it; see the role npu_host_tuning.")]
    if facts["tuning"]["compliant"]:
        return []
    return [
        (
            "tuning.differs",
            "; ".join(facts["tuning"]["differs"]),
            f"{deploy} sets it again, without a restart. If no npu_host_tuning variable changed, find out what resets it (another "
            "tuning service?).",
        )
    ]


def _of_supervisor(facts, name, deploy):
    supervisor = facts["supervisor"]
    timer = f"ascend-vllm@{name}.timer"
    if not supervisor["wanted"]:
        if not supervisor["active"]:
            return []
        seen = f"{timer} is active, though supervision is turned off in the inventory"
        return [("supervisor.on", seen, f"Run {deploy}.")]
    if supervisor["error"] or not (supervisor["active"] and supervisor["enabled"]):
        how = supervisor["error"] or (
            "is not there"
            if not supervisor["loaded"]
            else "is not active"
            if not supervisor["active"]
            else "does not come back after a boot: it is not enabled"
        )
        do = "start.yml turns it on with the service" if supervisor["loaded"] else f"Run {deploy}"
        if supervisor["loaded"] and facts["container"] and facts["container"]["running"]:
            do = f"systemctl enable --now {timer}"
        seen = f"nobody watches the service: {timer} {how}"
        return [("supervisor.off", seen, do + ".")]
    state = supervisor["state"]
    if state is None:
        if supervisor["for"] is not None and supervisor["for"] < FIRST_LOOK:
            return []
        seen = f"{timer} is active, and has told nothing"
        return [("supervisor.silent", seen, f"See 'journalctl -u ascend-vllm@{name}'.")]
    age = facts["time"] - state["checked_at"]
    if age > STALE:
        seen = f"it looked last {duration(age)} ago"
        return [("supervisor.stale", seen, f"See 'journalctl -u ascend-vllm@{name}' and the node's clock.")]
    if state["state"] not in TROUBLE:
        return []
    do = f"Read 'docker logs {name}'; it goes on by itself."
    if state["state"] == "gave-up":
        do = f"Read 'docker logs {name}', mend the cause, then run {deploy}."
    seen = "{0}: {1}".format(state["state"], state.get("reason") or "no reason told")
    return [("supervisor." + state["state"].replace("-", "_"), seen, do)]


def _of_probe(facts, name):
    probe = facts["probe"]
    if probe is None or probe["state"] == "ready":
        return []
    if not facts["engine_error"] and not (facts["container"] and facts["container"]["running"]):
        return []  # what is said of the container is the cause
    last = probe["verdicts"][-1]
    do = last["remedy"]
    if do.startswith("Compare served-model-name") and not last["seen"].startswith("serves "):  # no answer, or an error
        do = f"Read 'docker logs {name}' on the node; restart.yml starts the whole replica anew."
    if (facts["supervisor"]["state"] or {}).get("state") == "starting":
        do = "It is starting, and may still load its weights: run status.yml again."
    return [("service.silent", "no tokens: {0}".format(last["seen"]), do)]


def together(rows, serving):
    """What only the nodes of a replica together show."""
    told = [row for row in rows if not row.get("error")]
    if len(rows) < 2 or not told:
        return []
    whole = {"host": ", ".join(row["host"] for row in rows)}
    result = []
    running = [row for row in told if row["container"] and row["container"]["running"]]
    ages = [row["container"]["age"] or 0 for row in running]
    if not serving and len(running) == len(rows) and max(ages) - min(ages) > TOGETHER:
        seen = f"it does not serve, and its containers were started {duration(max(ages) - min(ages))} apart"
        result.append(_problem(whole, "replica.apart", seen, "Run restart.yml: a replica is started as a whole."))
    images = sorted({row["container"]["image_id"] for row in told if row["container"]})
    if len(images) > 1:
        seen = "its nodes run different images: " + ", ".join(
            "{0} {1}".format(row["host"], short(row["container"]["image_id"])) for row in told if row["container"]
        )
        result.append(_problem(whole, "replica.image", seen, "Have the same image on all nodes, and deploy."))
    groups = sorted({row["deployed"]["current"]["group"] for row in told if (row["deployed"] or {}).get("current")})
    if len(groups) > 1:
        seen = "its nodes were deployed by different runs: " + ", ".join(groups)
        result.append(_problem(whole, "replica.group", seen, "Deploy, with all nodes of the replica."))
    return result


def _next(bad):
    """What to run now, in one sentence."""
    if not bad:
        return "nothing to do"
    ids = {problem["id"] for replica in bad for problem in replica["problems"]}
    deploys = sorted({"deploy_{0}.yml".format(replica["hardware"]) for replica in bad})
    if ids & {"node.unreachable", "engine.down"}:
        return "mend the node that does not answer, then run status.yml again"
    if ids & {"container.stopped", "supervisor.gave_up", "supervisor.failing", "service.silent"}:
        return "logs.yml shows why it does not serve; {0} brings it back".format(", ".join(deploys))
    return "'{0} --check --diff' shows what a deploy would change; without --check it mends it".format(
        ", ".join(deploys)
    )


# -- what an operator reads -----------------------------------------------------------------------------------------

COLUMNS = ("node", "role", "container", "up", "restarts", "supervisor", "last good", "image")


def text(told):
    """The report as a table and sentences."""
    parts = [_replica_text(replica) for replica in told["replicas"]]
    return "\n\n".join(parts + ["{0}. Next: {1}.".format(told["summary"], told["next"])])


def _replica_text(replica):
    problems = {}  # the same on several nodes is told once
    for problem in replica["problems"]:
        problems.setdefault((problem["id"], problem["seen"], problem["do"]), []).append(problem["host"])
    count = len(problems)
    head = "replica {0}: {1}, {2}".format(
        replica["name"],
        {True: "serving", False: "NOT SERVING", None: "not known whether it serves"}[replica["serving"]],
        "no drift" if not count else "{0} problem{1}".format(count, "" if count == 1 else "s"),
    )
    rows = [COLUMNS] + [_row(row) for row in replica["nodes"]]
    widths = [max(len(row[index]) for row in rows) for index in range(len(COLUMNS))]
    lines = [head, "-" * len(head)]
    for row in rows:
        lines.append("  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())
    lines.append("  plan      {0}".format(_recipe(replica["recipe"])))
    lines.append("  image     {0}{1}".format(replica["image"], _digest(replica["nodes"])))
    lines.extend("  deployed  " + line for line in _deployed_lines(replica))
    lines.append(f"  answers   {_answer(replica)}")
    for row in replica["nodes"]:
        last = ((row.get("supervisor") or {}).get("state") or {}).get("last_restart")
        if last:
            lines.append(
                "  restart   {0}: {1} ago, {2}".format(row["host"], duration(row["time"] - last["at"]), last["reason"])
            )
    for (name, seen, do), hosts in problems.items():
        lines.append("  problem   {0}: {1}: {2}".format(", ".join(hosts), name, seen))
        lines.append(f"            do: {do}")
    return "\n".join(lines)


def _row(row):
    if row.get("error"):
        return (row["host"], row["role"], "unreachable", "-", "-", "-", "-", "-")
    container, supervisor = row["container"], row["supervisor"]
    state = supervisor["state"] or {}
    if row["engine_error"]:
        what = "no engine"
    elif container is None:
        what = "missing"
    else:
        what = "another's" if container["foreign"] else container["status"]
    watch = "off" if not supervisor["active"] else state.get("state", "silent")
    if supervisor["active"] and state and row["time"] - state["checked_at"] > STALE:
        watch += " (stale, {0})".format(duration(row["time"] - state["checked_at"]))
    good = state.get("last_good")
    return (
        row["host"],
        row["role"],
        what,
        duration(container["age"]) if container and container["running"] else "-",
        "{0} + {1}".format(container["restart_count"] if container else "-", state.get("restarts", "-")),
        watch,
        "{0} ago".format(duration(row["time"] - good)) if good else "-",
        short(container["image_id"]) if container else "-",
    )


def _recipe(recipe):
    return "{name} {release}, checkpoint {checkpoint}, scenarios {0}".format(_word(recipe["scenarios"]), **recipe)


def _digest(rows):
    images = [row["image"] for row in rows if row.get("image")]
    digests = [digest for image in images for digest in image["digests"]]
    if not images:
        return ""
    return " (digest {0})".format(digests[0].rpartition("@")[2]) if digests else " (no digest: it came from an archive)"


def _deployed_lines(replica):
    lines = {}
    for row in replica["nodes"]:
        current = (row.get("deployed") or {}).get("current")
        if not current:
            line = "not told" if row.get("error") else "nothing that was proven"
        elif all(current["recipe"][key] == replica["recipe"][key] for key in RECIPE):
            line = "as planned, proven {0} ago".format(duration(row["time"] - current["proven_at"]))
        else:
            line = "{0}, proven {1} ago".format(
                _recipe(current["recipe"]), duration(row["time"] - current["proven_at"])
            )
        lines.setdefault(line, []).append(row["host"])
    if len(lines) == 1:
        return list(lines)
    return ["{0}: {1}".format(", ".join(hosts), line) for line, hosts in lines.items()]


def _answer(replica):
    for row in replica["nodes"]:
        if row.get("probe"):
            last = row["probe"]["verdicts"][-1]
            seconds = " in {0} s".format(last["seconds"]) if last.get("seconds") is not None else ""
            return "{0} {1}: {2}{3}".format(replica["url"], replica["model"], last["seen"], seconds)
    return "{0} {1}: not asked".format(replica["url"], replica["model"])


def short(image_id):
    """An image's id as an operator compares it."""
    return str(image_id or "none").rpartition(":")[2][:12]


def duration(seconds):
    """``42 s``, ``5 min``, ``3 h 20 min``, ``4 d 2 h``; 0 for what lies in the future."""
    if seconds is None:
        return "-"
    seconds = max(0, int(seconds))
    if seconds < 120:
        return f"{seconds} s"
    minutes = seconds // 60
    if minutes < 120:
        return f"{minutes} min"
    hours = minutes // 60
    if hours < 48:
        return f"{hours} h {minutes % 60} min"
    return f"{hours // 24} d {hours % 24} h"
