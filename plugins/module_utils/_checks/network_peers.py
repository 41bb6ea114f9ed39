# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The checks of the network between the nodes of a replica: subnet, MTU, clocks, ports."""

from __future__ import annotations

import ipaddress

from ansible_collections.ascend_ops.vllm.plugins.module_utils._checks.check import Check
from ansible_collections.ascend_ops.vllm.plugins.module_utils._checks.network import (
    SINGLE,
    TROUBLESHOOTING,
    interface_of,
)
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.verdict import (
    FAIL,
    PASS,
    SKIPPED,
    UNKNOWN,
    WARN,
    verdict,
)
from ansible_collections.ascend_ops.vllm.plugins.module_utils._npu.chips import spans_nodes

MAX_CLOCK_SKEW = 2.0  # seconds
# A refused connection proves something only if the other end listened at the same time, for at least this many seconds.
OVERLAP = 1.0

CHECKS = {
    "network.subnet": Check(
        why="Nodes in different subnets communicate through a router, with more latency and often a firewall; a wrong netmask "
        "sends packets for the other node to the gateway.",
        source=TROUBLESHOOTING,
        read="address and prefix length of the interface with the plan's address, on all nodes",
        remedy="Choose addresses of one network in vllm_recipe_address, or correct the netmask. Nodes that are routed on "
        "purpose work if network.reach passes.",
    ),
    "network.mtu": Check(
        why="With different MTUs small packets pass and large ones are lost: the nodes find each other, and the first large "
        "tensor hangs.",
        read="the MTU of the interface with the plan's address, on all nodes",
        remedy="Set one MTU on all nodes and on the switch: 'ip link set <interface> mtu <n>', and in the network "
        "configuration.",
    ),
    "network.clock": Check(
        why="Logs of different nodes can be compared, and timeouts understood, only if the clocks agree; with a large "
        "difference certificates are rejected.",
        source="https://github.com/vllm-project/vllm-ascend/issues/9447",
        read="each secondary compares its clock with that of the primary over the connection of network.reach, minus half the "
        "round trip; while the service runs, with the Date header of its HTTP response",
        remedy="Synchronize the clocks: 'timedatectl set-ntp true', 'chronyc sources'.",
    ),
    "network.reach": Check(
        why="A port that is free on the primary can still be unreachable from the secondaries. The primary then waits forever "
        "and logs it only at debug level, and the secondary gives up after minutes.",
        source=TROUBLESHOOTING,
        read="the primary listens on its API and RPC ports, each secondary connects over the network, and the primary "
        "connects back to an ephemeral port of the secondary; all are closed immediately afterwards",
        remedy="Allow all traffic between the nodes of the replica (network.firewall, security groups, routes). Test by hand: "
        "'nc -l <port>' on one node, 'nc -vz <address> <port>' on the other.",
    ),
}


def evaluate_replica(members, facts_by_host, policy):
    """The verdicts between the nodes of a replica: ``{host: [network.subnet, .mtu, .clock, .reach]}``.

    :param policy: ``max_clock_skew``: seconds that a clock may differ from the primary's; MAX_CLOCK_SKEW if empty.
    """
    facts = {node["host"]: facts_by_host.get(node["host"]) or {} for node in members}
    return {
        node["host"]: [
            _subnet(node, members, facts),
            _mtu(node, members, facts),
            _clock(node, members, facts, float(policy.get("max_clock_skew") or MAX_CLOCK_SKEW)),
            _reach(node, members, facts),
        ]
        for node in members
    }


def _result(name, word, seen, wanted):
    return verdict(name, word, seen, wanted, CHECKS[name].remedy)


def _alone(node, members):
    return len(members) < 2 or not spans_nodes(node)


# -- values that all nodes must share ----------------------------------------------------------------------------------


def _own_network(node, facts):
    """The network of a node's address, by the node's own prefix length, or None."""
    interface = interface_of(facts)[1] or {}
    for entry in interface.get("addresses") or ():
        address, _slash, prefix = str(entry).partition("/")
        if address == node["address"] and prefix:
            try:
                return ipaddress.ip_network(entry, strict=False)
            except ValueError:
                return None
    return None


def _compare(check, node, members, values, wanted):
    """A warning if the values of the nodes differ."""
    if _alone(node, members):
        return _result(check, SKIPPED, SINGLE, wanted)
    seen = ", ".join(f"{host}: {'not reported' if value is None else value}" for host, value in values.items())
    known = {value for value in values.values() if value is not None}
    word = WARN if len(known) > 1 else UNKNOWN if None in values.values() else PASS
    return _result(check, word, seen, wanted)


def _subnet(node, members, facts):
    networks = {other["host"]: _own_network(other, facts[other["host"]]) for other in members}
    return _compare("network.subnet", node, members, networks, "one network for all nodes")


def _mtu(node, members, facts):
    values = {other["host"]: (interface_of(facts[other["host"]])[1] or {}).get("mtu") for other in members}
    return _compare("network.mtu", node, members, values, "one MTU on all nodes")


# -- clocks ------------------------------------------------------------------------------------------------------------


def _clock(node, members, facts, limit):
    check, wanted = "network.clock", f"at most {limit:g} s from the primary's clock"
    if _alone(node, members):
        return _result(check, SKIPPED, SINGLE, wanted)
    if node["role"] == "primary":
        return _result(check, SKIPPED, "the other nodes are compared with this node's clock", wanted)
    reach = _reach_of(facts[node["host"]]) or {}
    clock = reach.get("clock")
    if not clock and reach.get("serving") and node["service"]["url"].startswith("https:"):
        return _result(check, SKIPPED, "the service is running, and reports its time over https only", wanted)
    if not clock:
        return _result(check, UNKNOWN, "the clocks could not be compared; see network.reach", wanted)
    offset, error = float(clock["offset"]), float(clock["error"])
    # If the limit is within the error of the measurement, the result is not known.
    word = PASS if abs(offset) + error <= limit else WARN if abs(offset) - error > limit else UNKNOWN
    return _result(check, word, f"{offset:+.3f} s (within {error:.3f} s)", wanted)


# -- ports -------------------------------------------------------------------------------------------------------------


def _reach_of(facts):
    return (facts.get("peers") or {}).get("reach")


def _reach(node, members, facts):
    check, wanted = "network.reach", "primary and secondaries reach each other's ports"
    if _alone(node, members):
        return _result(check, SKIPPED, SINGLE, wanted)
    reach = _reach_of(facts[node["host"]])
    if not reach or reach.get("error"):
        return _result(check, UNKNOWN, (reach or {}).get("error") or "the ports were not tested", wanted)
    if reach["role"] == "primary":
        return _reach_back(check, wanted, reach, [other for other in members if other["host"] != node["host"]])
    primary = _reach_of(facts.get(reach["primary"]) or {})
    words, parts = [], []
    for name, entry in reach["ports"].items():
        word, seen = _port(entry, reach, primary, name)
        words.append(word)
        parts.append(f"{name} {entry['port']} {seen}")
    if not parts and reach.get("serving"):
        return _result(check, SKIPPED, "the service is starting and does not listen yet", wanted)
    if not parts:
        return _result(check, UNKNOWN, "the primary's ports are not known", wanted)
    word = next(word for word in (FAIL, UNKNOWN, PASS, SKIPPED) if word in words)
    return _result(check, word, f"{reach['primary']}: {'; '.join(parts)}", wanted)


def _port(entry, secondary, primary, name):
    """One port of the primary as a secondary saw it: ``(verdict, seen)``.

    :param entry: what the secondary found on the port.
    :param secondary, primary: the ``reach`` facts of both nodes; the primary's may be None.
    """
    state = entry["state"]
    if state == "connected":
        if entry.get("answered"):
            return PASS, "reached"
        return PASS, f"reached (another process answers there; see port.{name} of the primary)"
    if state == "skipped":
        return SKIPPED, f"not tested: {entry['error']}"
    if state in ("silent", "unreachable"):
        return FAIL, f"unreachable: {entry['error']}"
    if state != "refused":
        return UNKNOWN, entry["error"] or "not tested"
    listener = ((primary or {}).get("ports") or {}).get(name) or {}
    if listener.get("state") == "serving":
        return FAIL, "refused, although the service is running there"
    if listener.get("state") == "listened":
        common = min(secondary["until"], primary["until"]) - max(secondary["from"], primary["from"])
        if common >= OVERLAP:
            return FAIL, "refused, although the primary listened"
        return UNKNOWN, "refused; the nodes were not tested at the same time (fewer forks than nodes?)"
    return UNKNOWN, f"refused; the primary did not listen ({listener.get('error') or 'not reported'})"


def _reach_back(check, wanted, primary, others):
    """The verdict on the primary: whether the secondaries connected, and whether it could connect back."""
    if primary.get("serving"):
        return _result(check, SKIPPED, "the service is running; the secondaries tested its port", wanted)
    failed, open_questions = [], []
    for other in others:
        host = other["host"]
        if host not in primary["back"]:
            open_questions.append(f"{host} did not connect")
        elif primary["back"][host]:
            failed.append(f"{host} does not accept a connection back: {primary['back'][host]}")
    for name, entry in primary["ports"].items():
        if entry["state"] == "error":
            open_questions.append(f"port {entry['port']} could not be opened: {entry['error']}")
        elif entry["state"] == "in use":
            open_questions.append(f"port {entry['port']} is in use; see port.{name}")
    if failed:
        return _result(check, FAIL, "; ".join(failed + open_questions), wanted)
    if open_questions:
        return _result(check, UNKNOWN, "; ".join(open_questions), wanted)
    return _result(check, PASS, f"{', '.join(sorted(primary['back']))} connected, and back", wanted)
