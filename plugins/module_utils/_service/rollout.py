# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Replicas one after the other: their order, and what is to be said of them at the end. Runs on the controller."""

from __future__ import annotations

from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.model import processes, with_processes

# What the steps of a run register on a node. A step that failed on one node is seen by the others before the next one.
STEPS = (
    "__npu_host_tuning_apply",
    "__npu_container_image",
    "__npu_container_made",
    "__vllm_service_old",
    "__vllm_service_files",
    "__vllm_service_stopped",
    "__vllm_service_started",
    "__vllm_service_waited",
    "__vllm_service_proof",
    "__vllm_service_recorded",
    "__vllm_service_watched",
)
# How a message begins that only follows from another node's.
_ECHO = ("stopped waiting, since", "earlier in this run; a replica is changed")
_DONE = {
    "keep": "left alone: {reason}",
    "wait": "waited for: {reason}",
    "start": "started: {reason}",
    "restart": "restarted: {reason}",
}


def replicas(plan):
    """Name of a replica to its nodes, in the plan's order."""
    result = {}
    for node in processes(plan):
        result.setdefault(node["replica"], []).append(node)
    return result


def order(plan):
    """All nodes of a plan as a host pattern, those of a replica together."""
    return ",".join(node["host"] for nodes in replicas(plan).values() for node in nodes) or "all:!all"


def batches(plan):
    """How many nodes each replica has, in the same order."""
    return [len(nodes) for nodes in replicas(plan).values()] or [1]


def with_nodes(plan, restored):
    """A plan in which some nodes are as they were; *restored*: host to the node's plan of then.

    The replica is called what it is called now.
    """
    replaced = {
        node["host"]: dict(restored[node["host"]], replica=node["replica"])
        for node in processes(plan)
        if restored.get(node["host"])
    }
    return with_processes(plan, replaced)


def text(plan, done, verb):
    """How each replica came out of a run.

    :param done: host to ``{"do", "asked", "back"}``: what was decided for its replica, what the service answered, and the
        generation that it went back to.
    """
    lines = []
    for name, nodes in replicas(plan).items():
        first = done[nodes[0]["host"]]
        do = first["do"] or {"action": "keep", "reason": "nothing was decided"}
        lines.append("replica {0}  {1}".format(name, ", ".join(node["host"] for node in nodes)))
        lines.append("  {0:<9}{1}".format(verb, _DONE[do["action"]].format(reason=do["reason"])))
        if first["back"]:
            lines.append("  {0:<9}{1}".format("now", generation(first["back"])))
        lines.extend(_answers(nodes, done))
    return "\n".join(lines)


def _answers(nodes, done):
    for node in nodes:
        verdicts = done[node["host"]]["asked"].get("verdicts")
        if verdicts:
            said = "; ".join("{0} {1}".format(verdict["id"], verdict["verdict"]) for verdict in verdicts)
            return ["  {0:<9}{1}: {2}".format("proof", node["service"]["url"], said)]
    return ["  {0:<9}{1}".format("proof", "none (check mode)")]


def generation(told):
    """A generation in a few words."""
    recipe = told["recipe"]
    return "{name} {release}, {checkpoint}, scenarios {0}; generation {1} of group {2}".format(
        ", ".join(recipe["scenarios"]) or "none",
        told["id"],
        told["group"],
        **{key: recipe[key] for key in ("name", "release", "checkpoint")},
    )


def cause(failed):
    """What failed first: not what only followed from it. *failed*: host to ``{"task", "msg"}`` or nothing."""
    found = [(host, told) for host, told in failed.items() if told]
    own = [(host, told) for host, told in found if not any(word in told["msg"] for word in _ECHO)]
    if not found:
        return ""
    host, told = (own or found)[0]
    lead = "" if told["msg"].startswith(host + ":") else host + ": "
    return "{0}{1} (task: {2})".format(lead, " ".join(told["msg"].split()), told["task"])


def failure(plan, replica, failed, back, gone):
    """What is to be said of a replica that did not take the new plan.

    :param failed: host to ``{"task", "msg"}`` of what failed, or nothing.
    :param back: host to ``{"state", "msg"}``: ``done``, ``failed``, or ``none`` where there was nothing to go back to.
    :param gone: the nodes of the replica that cannot be reached any more.
    """
    names = list(replicas(plan))
    place = names.index(replica)
    members = [node["host"] for node in replicas(plan)[replica]]
    lines = [f"replica {replica} did not take the new plan."]
    why = cause({host: failed.get(host) for host in members})
    if gone:
        lines.append("  lost      {0} cannot be reached".format(", ".join(gone)))
    lines.append("  why       {0}".format(why or "it is not whole any more"))
    states = [back.get(host) or {} for host in members if host not in gone]
    if any(state.get("state") == "none" for state in states):
        told = next(state["msg"] for state in states if state.get("state") == "none")
        lines.append(f"  now       NOT rolled back: {told}")
        lines.append("  do        mend the cause or the variables and run again; logs.yml shows the container's log")
    elif gone:
        lines.append(
            "  now       container and files of {0} are those of before, and were not started without {1}".format(
                ", ".join(host for host in members if host not in gone), ", ".join(gone)
            )
            if all(state.get("state") == "done" for state in states)
            else f"  now       the rollback failed: {_first(members, back)}"
        )
        lines.append(f"  do        bring {gone[0]} back, then run rollback.yml: it goes back to what was proven last")
    elif states and all(state.get("state") == "done" for state in states):
        lines.append("  now       rolled back to what ran before, and it answers again")
        lines.append("  do        mend the cause or the variables, then run upgrade.yml again")
    else:
        lines.append(f"  now       the rollback FAILED, too: {_first(members, back)}")
        lines.append(
            "  do        mend that, then run rollback.yml: it goes back to what was proven last; see also logs.yml"
        )
    lines.append(
        "  others    on the new plan: {0}; not touched: {1}".format(
            ", ".join(names[:place]) or "none", ", ".join(names[place + 1 :]) or "none"
        )
    )
    return "\n".join(lines)


def _first(members, back):
    return cause(
        {host: back.get(host) if (back.get(host) or {}).get("state") == "failed" else None for host in members}
    ) or ("not all nodes came to its end")
