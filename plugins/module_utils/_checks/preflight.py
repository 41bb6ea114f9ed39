# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The checks before a deploy, as pure functions over the plan and the facts that the nodes told.

Each domain has a file ``_checks_<domain>`` with its part of the catalogue (``CHECKS``) and its judges. What a node did
not tell is unknown, never pass; facts that a judge cannot read, such as those of another version, are unknown as well.
"""

from __future__ import annotations

from ansible_collections.ascend_ops.vllm.plugins.module_utils._checks import engine, fabric, network, versions, weights
from ansible_collections.ascend_ops.vllm.plugins.module_utils._checks import host as checks_host
from ansible_collections.ascend_ops.vllm.plugins.module_utils._checks import node as checks_node
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.verdict import WORDS, verdict

SCHEMA_VERSION = 1
REACHABLE = "node.reachable"
DOMAINS = (
    checks_node,
    versions,
    checks_host,
    engine,
    weights,
    network,
    fabric,
)


def catalogue():
    """Every check: id to ``{why, source, read, remedy}``, in the order of docs/checks.md."""
    checks = {
        REACHABLE: {
            "why": "A replica cannot start without all its nodes.",
            "source": "",
            "read": "whether the module that gathers the facts ran on the node",
            "remedy": "Check power, network and SSH key: `ssh ADDRESS`.",
        }
    }
    for domain in DOMAINS:
        checks.update(domain.CHECKS)
    return checks


def judge(nodes, facts, policy):
    """Judge all nodes of a plan.

    :param nodes: the plan's nodes.
    :param facts: host to what the modules node_facts and peer_facts returned, or ``{"error": str}`` where the node could
        not be asked.
    :param policy: what is demanded: ``min_driver``, ``driver_min``, ``min_python``; empty for none.
    :return: a list of reports, one per replica: ``{schema_version, replica, nodes: [{host, checks}], summary}``.
    """
    reports = {}
    for node in nodes:
        report = reports.setdefault(
            node["replica"], {"schema_version": SCHEMA_VERSION, "replica": node["replica"], "nodes": []}
        )
        told = facts.get(node["host"]) or {"error": "nothing was heard of it"}
        report["nodes"].append({"host": node["host"], "checks": judge_node(node, told, policy)})
    for replica, report in reports.items():
        members = [node for node in nodes if node["replica"] == replica]
        together = judge_replica(members, facts, policy)
        for entry in report["nodes"]:
            entry["checks"].extend(together.get(entry["host"], []))
            for check in entry["checks"]:
                check["docs"] = "docs/checks.md#" + check["id"].replace(".", "")
        words = [check["verdict"] for entry in report["nodes"] for check in entry["checks"]]
        report["summary"] = {word: words.count(word) for word in WORDS}
    return list(reports.values())


def judge_node(node, facts, policy):
    """The verdicts on one node by itself."""
    if facts.get("error"):
        remedy = "Check power, network and SSH key: 'ssh {0}'. A replica cannot start without all its nodes.".format(
            node["address"]
        )
        return [verdict(REACHABLE, "fail", facts["error"], "an answer over SSH", remedy)]
    checks = [verdict(REACHABLE, "pass", "Python {0}".format(facts.get("python")), "an answer over SSH")]
    for domain in DOMAINS:
        checks.extend(_careful(domain.judge, domain, node, facts, policy))
    return checks


def judge_replica(members, facts, policy):
    """The verdicts that need the mates of a node: host to a list of verdicts."""
    told = {node["host"]: facts.get(node["host"]) or {"error": "nothing was heard of it"} for node in members}
    result = {}
    for domain in DOMAINS:
        if hasattr(domain, "judge_replica"):
            found = _careful(domain.judge_replica, domain, members, told, policy)
            for host, checks in found.items() if isinstance(found, dict) else [(members[0]["host"], found)]:
                result.setdefault(host, []).extend(checks)
    return result


def _careful(judge_it, domain, *arguments):
    """Call a judge; facts that it cannot read leave its domain unknown."""
    try:
        return judge_it(*arguments)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        name = next(iter(domain.CHECKS)).split(".")[0]
        return [
            verdict(
                name + ".facts",
                "unknown",
                f"{type(error).__name__}: {error}",
                "facts that this version of the collection can read",
                "Gather them anew with the version that judges them.",
            )
        ]
