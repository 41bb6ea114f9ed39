# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Evaluate the preflight checks: pure functions over the plan and the facts of the nodes.

Each domain is a module with its part of the catalogue (``CHECKS``) and one or more of:

- ``evaluate(node, facts, policy)``: the checks of one node by itself, as a list of verdicts,
- ``evaluate_replica(members, facts_by_host, policy)``: the checks between the nodes of a replica, ``{host: [verdict]}``,
- ``evaluate_plan(nodes, facts_by_host, policy)``: the checks between all nodes of the plan, ``{host: [verdict]}``.

A fact that a node did not report gives ``unknown``, never ``pass``; so do facts that an evaluation cannot read, such as
those of another version of the collection.
"""

from __future__ import annotations

from ansible_collections.ascend_ops.vllm.plugins.module_utils._checks import (
    engine,
    fabric,
    fabric_peers,
    files,
    fit,
    host,
    image,
    leftovers,
    machine,
    network,
    network_peers,
    node,
    server,
    versions,
    weights,
)
from ansible_collections.ascend_ops.vllm.plugins.module_utils._checks.check import Check
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.ssh import ssh_remedy
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.verdict import (
    FAIL,
    PASS,
    UNKNOWN,
    WORDS,
    verdict,
)

SCHEMA_VERSION = 1
REACHABLE = "node.reachable"
SSH = "an answer over SSH"
CHECKS = {
    REACHABLE: Check(
        why="A replica cannot start without all its nodes.",
        read="whether the module that gathers the facts ran on the node",
        remedy="Check power, network and SSH key: `ssh USER@ADDRESS`.",
    )
}
DOMAINS = (
    machine,
    node,
    server,
    leftovers,
    versions,
    host,
    engine,
    image,
    weights,
    fit,
    files,
    network,
    network_peers,
    fabric,
    fabric_peers,
)


def catalogue():
    """Every check, ``{id: Check}``, in the order of docs/checks.md."""
    checks = dict(CHECKS)
    for domain in DOMAINS:
        checks.update(domain.CHECKS)
    return checks


def evaluate(nodes, facts, policy):
    """Evaluate all checks on all nodes of a plan.

    :param nodes: the nodes of the plan.
    :param facts: per host what the modules node_facts and peer_facts returned, or ``{"error": str}`` if the node could
        not be asked. ``user`` and ``port`` (optional) are the SSH login that a message names to the operator.
    :param policy: requirements: ``min_driver``, ``driver_min``, ``min_python``, ...; empty for none.
    :return: a list of reports, one per replica: ``{schema_version, replica, nodes: [{host, checks}], summary}``.
    """
    reports = {}
    between_all = _between(nodes, facts, policy, "evaluate_plan")
    for item in nodes:
        replica = item["replica"]
        report = reports.setdefault(replica, {"schema_version": SCHEMA_VERSION, "replica": replica, "nodes": []})
        given = facts.get(item["host"]) or {"error": "the node did not answer"}
        checks = evaluate_node(item, given, policy)
        if not given.get("error"):
            checks[1:1] = between_all.get(item["host"], [])  # what else is wrong may follow from this
        report["nodes"].append({"host": item["host"], "checks": checks})
    for replica, report in reports.items():
        members = [item for item in nodes if item["replica"] == replica]
        together = _between(members, facts, policy, "evaluate_replica")
        for entry in report["nodes"]:
            entry["checks"].extend(together.get(entry["host"], []))
            for check in entry["checks"]:
                check["docs"] = "docs/checks.md#" + check["id"].replace(".", "")
        words = [check["verdict"] for entry in report["nodes"] for check in entry["checks"]]
        report["summary"] = {word: words.count(word) for word in WORDS}
    return list(reports.values())


def evaluate_node(planned, facts, policy):
    """The verdicts on one node by itself; on a node that could not be asked, ``node.reachable`` alone."""
    if facts.get("error"):
        remedy = ssh_remedy(planned["address"], facts.get("user"), facts.get("port"))
        return [verdict(REACHABLE, FAIL, facts["error"], SSH, f"{remedy} {CHECKS[REACHABLE].why}")]
    checks = [verdict(REACHABLE, PASS, f"Python {facts.get('python')}", SSH)]
    for domain in DOMAINS:
        if hasattr(domain, "evaluate"):
            checks.extend(_guarded(domain.evaluate, domain, planned, facts, policy))
    return checks


def _between(members, facts, policy, name):
    """The verdicts that compare nodes, from the function *name* of each domain that has it: ``{host: [verdict]}``."""
    given = {item["host"]: facts.get(item["host"]) or {"error": "the node did not answer"} for item in members}
    result = {}
    for domain in DOMAINS:
        if hasattr(domain, name):
            found = _guarded(getattr(domain, name), domain, members, given, policy)
            for name_of_host, checks in found.items() if isinstance(found, dict) else [(members[0]["host"], found)]:
                result.setdefault(name_of_host, []).extend(checks)
    return result


def _guarded(function, domain, *arguments):
    """Call an evaluation; facts that it cannot read make its domain unknown."""
    try:
        return function(*arguments)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        name = next(iter(domain.CHECKS)).split(".")[0] + ".facts"
        wanted = "facts that this version of the collection can read"
        remedy = "Gather the facts again with the version that evaluates them."
        return [verdict(name, UNKNOWN, f"{type(error).__name__}: {error}", wanted, remedy)]
