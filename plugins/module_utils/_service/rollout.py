# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Replicas one after the other: their order, and how each came out. Runs on the controller."""

from __future__ import annotations

from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan import model

# What a message says that only follows from another node's.
_ECHO = ("stopped waiting, since", "earlier in this run; a replica is changed")
_DONE = {
    "keep": "unchanged: {reason}",
    "wait": "waited for: {reason}",
    "start": "started: {reason}",
    "restart": "restarted: {reason}",
}


def replicas(plan):
    """Name of a replica to its nodes, in the plan's order."""
    result = {}
    for node in model.processes(plan):
        result.setdefault(node["replica"], []).append(node)
    return result


def order(plan):
    """All nodes of a plan as a host pattern, those of a replica together."""
    return ",".join(node["host"] for nodes in replicas(plan).values() for node in nodes) or "all:!all"


def batches(plan):
    """How many nodes each replica has, in the same order."""
    return [len(nodes) for nodes in replicas(plan).values()] or [1]


def text(plan, states, verb):
    """How each replica came out of a run.

    :param states: host to the state of its node at the end of the run, see ``vllm_step``.
    :param verb: what the run did, such as ``upgrade``.
    """
    lines = []
    for name, nodes in replicas(plan).items():
        first = states.get(nodes[0]["host"]) or {}
        decision = first.get("decision") or {"action": "keep", "reason": "nothing was decided"}
        lines.append("replica {}  {}".format(name, ", ".join(node["host"] for node in nodes)))
        lines.append(f"  {verb:<9}{_DONE[decision['action']].format(**decision)}")
        if first.get("restored"):
            lines.append(f"  {'now':<9}{revision(first['restored'])}")
        lines.append(f"  {'verified':<9}{_verified(nodes, states)}")
    return "\n".join(lines)


def _verified(nodes, states):
    for node in nodes:
        verdicts = (states.get(node["host"]) or {}).get("verdicts")
        if verdicts:
            said = "; ".join("{id} {verdict}".format(**verdict) for verdict in verdicts)
            return f"{node['service']['url']}: {said}"
    return "none (check mode)"


def revision(told):
    """A revision in a few words."""
    recipe = told["recipe"]
    return "{name} {release}, {checkpoint}, scenarios {0}; revision {1} of group {2}".format(
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
    """Why a replica did not take the new plan, and what became of it.

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
        lines.append("  do        fix the cause or the variables and run again; logs.yml shows the container's log")
    elif gone:
        lines.append(
            "  now       container and files of {0} are restored, and were not started without {1}".format(
                ", ".join(host for host in members if host not in gone), ", ".join(gone)
            )
            if all(state.get("state") == "done" for state in states)
            else f"  now       the rollback failed: {_first(members, back)}"
        )
        lines.append(
            f"  do        bring {gone[0]} back, then run rollback.yml: it goes back to the last verified revision"
        )
    elif states and all(state.get("state") == "done" for state in states):
        lines.append("  now       rolled back to the revision that ran before, and it answers again")
        lines.append("  do        fix the cause or the variables, then run upgrade.yml again")
    else:
        lines.append(f"  now       the rollback FAILED as well: {_first(members, back)}")
        lines.append(
            "  do        fix that, then run rollback.yml: it goes back to the last verified revision; see also logs.yml"
        )
    lines.append(
        "  others    on the new plan: {0}; not touched: {1}".format(
            ", ".join(names[:place]) or "none", ", ".join(names[place + 1 :]) or "none"
        )
    )
    return "\n".join(lines)


def _first(members, back):
    return (
        cause({host: back.get(host) if (back.get(host) or {}).get("state") == "failed" else None for host in members})
        or "not all nodes came to its end"
    )
