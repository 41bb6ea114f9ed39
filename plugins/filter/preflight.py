# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the preflight evaluates, put together by host."""

from __future__ import annotations


def preflight_facts(hosts, nodes, peers, adopt):
    """``{host: facts}`` from what was gathered, each list in the order of *hosts*.

    :param nodes: per host ``{"facts", "error"}`` of the module node_facts, with ``user`` and ``port`` of a login that failed.
    :param peers: per host the same of the module peer_facts, or a skipped result.
    :param adopt: per host npu_container_adopt.
    """
    result = {}
    for host, node, peer, replace in zip(hosts, nodes, peers, adopt, strict=True):
        failed = {key: node[key] for key in ("user", "port") if node.get(key)}
        facts = dict(node.get("facts") or dict(failed, error=node.get("error") or "no answer"))
        facts["adopt"] = str(replace).lower() in ("true", "yes", "1")
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
