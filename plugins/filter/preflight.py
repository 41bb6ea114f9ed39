# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the preflight evaluates, put together by host."""

from __future__ import annotations


def preflight_facts(hosts, nodes, peers, adopt, users):
    """``{host: facts}`` from what was gathered, each list in the order of *hosts*.

    :param nodes: per host ``{"facts", "error"}`` of the module node_facts.
    :param peers: per host the same of the module peer_facts, or a skipped result.
    :param adopt: per host npu_container_adopt.
    :param users: per host the user that Ansible connects as; empty where the inventory does not say.
    """
    result = {}
    for host, node, peer, replace, user in zip(hosts, nodes, peers, adopt, users, strict=True):
        facts = dict(node.get("facts") or {"error": node.get("error") or "no answer"})
        facts["adopt"] = str(replace).lower() in ("true", "yes", "1")
        if user:
            facts["user"] = user
        if "facts" in peer or peer.get("error"):
            facts["peers"] = peer.get("facts")
        result[host] = facts
    return result


def preflight_connections(hosts, types, ssh_pipelining, pipelining):
    """``{host: {"type", "pipelining"}}``: how hosts are reached, empty where the inventory does not say."""
    return {
        host: {"type": kind or "", "pipelining": general if special == "" else special}
        for host, kind, special, general in zip(hosts, types, ssh_pipelining, pipelining, strict=True)
    }


class FilterModule:
    """Filters of ascend_ops.vllm."""

    def filters(self):
        return {"preflight_facts": preflight_facts, "preflight_connections": preflight_connections}
