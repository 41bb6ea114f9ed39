# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The checks of the chips' network between the nodes of a replica: RoCE, and HCCS between A3 nodes."""

from __future__ import annotations

import ipaddress

from ansible_collections.ascend_ops.vllm.plugins.module_utils._checks.check import Check
from ansible_collections.ascend_ops.vllm.plugins.module_utils._checks.fabric import (
    HCCS,
    ISSUES,
    grouped,
    names,
    problem_of,
    reported_chips,
)
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.verdict import (
    FAIL,
    PASS,
    SKIPPED,
    UNKNOWN,
    WARN,
    verdict,
)
from ansible_collections.ascend_ops.vllm.plugins.module_utils._npu.chips import chips_of, spans_nodes

CHECKS = {
    "fabric.tls": Check(
        why="HCCL cannot connect chips whose TLS switches differ, and reports only a socket timeout (EI0006).",
        source=ISSUES + "5461",
        read="`hccn_tool -i N -tls -g` on all chips of all nodes of the replica",
        remedy="Use one setting on all chips of all nodes: 'hccn_tool -i N -tls -s enable 0'.",
    ),
    "fabric.switch": Check(
        why="Two A2 that are cabled back to back, without a switch, cannot run a mixture of experts with expert parallelism: "
        "each chip reaches only the one at the other end of its cable.",
        source=ISSUES + "7606",
        read="`hccn_tool -i N -lldp -g`: the switch that the port of each chip sees. A failure for two A2 with "
        "--enable-expert-parallel whose chips all see none; otherwise a warning. A switch that does not send LLDP looks the "
        "same.",
        remedy="Connect the chips through a switch, or deploy one replica on each node. If there is a switch, enable LLDP on "
        "its ports.",
    ),
    "fabric.addresses": Check(
        why="Chips cannot connect if one has no address, two share an address, or chips with the same number are in different "
        "subnets without a gateway; an /etc/hccn.conf that differs from the address of the chip misleads HCCL in the "
        "container.",
        source=ISSUES + "5461",
        read="`hccn_tool -i N -ip -g` and /etc/hccn.conf on all nodes of the replica. Only chips with the same number are "
        "compared, since each number often has its own subnet.",
        remedy="Set address and netmask of the chip: 'hccn_tool -i N -ip -s address A netmask M', which also writes "
        "/etc/hccn.conf.",
    ),
    "fabric.superpod": Check(
        why="A3 nodes reach each other over HCCS within one super-pod only, and with two chips of one SDID in it HCCL does "
        "not start. No recipe spans several A3 nodes yet, so the check is always skipped.",
        source="https://github.com/vllm-project/vllm-ascend/blob/main/docs/source/tutorials/features/"
        "pd_disaggregation_mooncake_multi_node.md",
        read="`npu-smi info -t spod-info -i <NPU> -c <chip>` on every chip, for a replica with several A3 nodes",
        remedy="Use nodes of one super-pod, or let them communicate over RoCE; the super-pod's id and the server's index are "
        "configured in its management.",
    ),
    "fabric.ping": Check(
        why="Only a ping proves that the chips reach each other. It shows within seconds what HCCL reports after two minutes "
        "or more as 'Getting socket times out'.",
        source=ISSUES + "1955",
        read="`hccn_tool -i N -ping -g address A` from every chip to the chip with its number on every other node (A3 in a "
        "super-pod: -hccs_ping to the chip's vnic address), all chips at once; from all chips to all with "
        "npu_preflight_all_pairs",
        remedy="Check, in this order, fabric.link, fabric.addresses and fabric.switch; then VLAN and gateway: 'hccn_tool -i N "
        "-gateway -g', 'hccn_tool -i N -traceroute -g address A'.",
    ),
}


def evaluate_replica(members, facts_by_host, policy):
    """The verdicts between the nodes of a replica: ``{host: [fabric.tls, .switch, .addresses, .superpod, .ping]}``."""
    facts = {node["host"]: facts_by_host.get(node["host"]) or {} for node in members}
    reported = {node["host"]: reported_chips(facts[node["host"]], chips_of(node)) for node in members}
    return {
        node["host"]: [
            _tls(node, reported),
            _switch(node, members, reported[node["host"]]),
            _addresses(node, reported, facts[node["host"]]),
            _superpod(node, reported),
            _ping(node, members, facts[node["host"]].get("peers")),
        ]
        for node in members
    }


def _result(name, word, seen, wanted):
    return verdict(name, word, seen, wanted, CHECKS[name].remedy)


def _hosts(found):
    """``a2-node1: chip 3; a2-node2: chips 0 to 7`` from pairs of host and chip."""
    by_host = {}
    for host, chip in found:
        by_host.setdefault(host, []).append(chip)
    return "; ".join(f"{host}: {names(chips)}" for host, chips in by_host.items())


def _listing(parts, limit=4):
    unique = list(dict.fromkeys(parts))
    more = len(unique) - limit
    return "; ".join(unique[:limit]) + (f"; and {more} more" if more > 0 else "")


# -- TLS and switch ----------------------------------------------------------------------------------------------------


def _tls(node, reported):
    name, wanted = "fabric.tls", "the same TLS switch on all chips of all nodes"
    groups = {True: [], False: [], None: []}
    for host, chips in reported.items():
        for chip, entry in chips.items():
            switch = entry.get("tls")
            groups[switch if isinstance(switch, bool) else None].append((host, chip))
    seen = "; ".join(
        f"{word} on {_hosts(groups[switch])}"
        for switch, word in ((True, "on"), (False, "off"), (None, "not reported"))
        if groups[switch]
    )
    if groups[True] and groups[False]:
        return _result(name, FAIL if spans_nodes(node) else WARN, seen, wanted)
    if groups[None]:
        if not spans_nodes(node):
            return _result(name, SKIPPED, f"{HCCS} ({seen})", wanted)
        return _result(name, UNKNOWN, seen, wanted)
    count = sum(map(len, reported.values()))
    return _result(name, PASS, f"{'on' if groups[True] else 'off'} on all {count} chips", wanted)


def _switch(node, members, chips):
    name, wanted = "fabric.switch", "a switch at the other end of every chip's cable"
    if not spans_nodes(node):
        return _result(name, SKIPPED, HCCS, wanted)
    if node["hardware"] != "a2":
        return _result(name, SKIPPED, "A3 nodes of a super-pod communicate over HCCS", wanted)
    systems, without, unknown = [], [], {}
    for chip, entry in chips.items():
        peer = entry.get("lldp")
        if not isinstance(peer, dict) or peer.get("peer") is None:
            unknown[chip] = problem_of(entry, "lldp")
        elif peer["peer"]:
            systems.append(str(peer.get("system") or "a switch without a name"))
        else:
            without.append(chip)
    if systems and not without and not unknown:
        return _result(name, PASS, ", ".join(sorted(set(systems))[:4]), wanted)
    parts = [f"no switch seen by {names(without)}"] if without else []
    parts += [grouped(unknown)] if unknown else []
    seen = "; ".join(parts) or "no chips"
    if unknown:
        return _result(name, UNKNOWN, seen, wanted)
    if without and not systems and len(members) == 2 and "--enable-expert-parallel" in node["argv"]:
        return _result(name, FAIL, seen + ": two A2 back to back, with expert parallelism", wanted)
    return _result(name, WARN, seen, wanted)


# -- addresses ---------------------------------------------------------------------------------------------------------


def _network_of(entry):
    """The subnet of a chip; None if address or netmask is missing or invalid."""
    try:
        return ipaddress.ip_network("{0}/{1}".format(entry.get("address"), entry.get("netmask")), strict=False)
    except ValueError:
        return None


def _conf(facts):
    """``{chip: {address, netmask, gateway}}`` of /etc/hccn.conf, with the chips as strings as JSON has them."""
    return {str(chip): entry for chip, entry in (facts.get("hccn_conf") or {}).items() if isinstance(entry, dict)}


def _addresses(node, reported, facts):
    """No duplicates, one subnet per number, and the same in hccn.conf, as far as *node* is concerned."""
    name, host = "fabric.addresses", node["host"]
    wanted = "an address of its own for every chip, in one subnet per number, the same in /etc/hccn.conf"
    conf = _conf(facts)
    missing, unknown = _without_address(reported[host], conf)
    bad = [f"no address on {names(missing)}"] if missing else []
    bad += _conflicts(host, reported, conf, missing + unknown)
    differ, doubts = _subnets(host, reported, conf, missing + unknown)
    bad += differ
    if not spans_nodes(node):
        if bad or unknown or doubts:
            seen = _listing(bad + doubts) or f"not reported for {names(unknown)}"
            return _result(name, SKIPPED, f"{HCCS} ({seen})", wanted)
        return _result(name, PASS, _span(reported[host]), wanted)
    if bad:
        return _result(name, WARN if node["hardware"] == "a3" else FAIL, _listing(bad), wanted)
    silent = [other for other, chips in reported.items() if not any(entry.get("address") for entry in chips.values())]
    if unknown or silent:
        parts = [f"{names(unknown)} of {host}"] if unknown else []
        parts += [other for other in silent if other != host]
        return _result(name, UNKNOWN, f"not reported: {', '.join(parts)}", wanted)
    if doubts:
        return _result(name, WARN, _listing(doubts), wanted)
    return _result(name, PASS, _span(reported[host]), wanted)


def _without_address(chips, conf):
    """``(missing, unknown)``: the chips that have no address, and those whose address was not reported."""
    missing, unknown = [], []
    for chip, entry in chips.items():
        if entry.get("address") == "0.0.0.0":
            missing.append(chip)
        elif not entry.get("address"):
            # The tool responds for the chip and knows no address, and neither does hccn.conf.
            answered = entry.get("link") and conf and not conf.get(str(chip), {}).get("address")
            (missing if answered else unknown).append(chip)
    return missing, unknown


def _conflicts(host, reported, conf, ignored):
    """What is wrong with the addresses of a node's chips: duplicates, or another address in hccn.conf."""
    owners = {}
    for other, chips in reported.items():
        for chip, entry in chips.items():
            if entry.get("address") not in (None, "", "0.0.0.0"):
                owners.setdefault(entry["address"], []).append((other, chip))
    found = []
    for chip, entry in reported[host].items():
        if chip in ignored:
            continue
        in_conf = conf.get(str(chip), {}).get("address")
        if conf and in_conf != entry["address"]:
            found.append(f"chip {chip} has {entry['address']} and hccn.conf says {in_conf or 'nothing'}")
        if len(owners[entry["address"]]) > 1:
            found.append(f"{entry['address']} is on {_hosts(owners[entry['address']])}")
    return found


def _subnets(host, reported, conf, ignored):
    """``(differ, doubts)``: chips in another subnet than those with their number on other nodes, and what is not certain."""
    differ, doubts = [], []
    for chip, entry in reported[host].items():
        if chip in ignored:
            continue
        own = _network_of(entry)
        for other in reported:
            peer = reported[other].get(chip) or {}
            theirs = _network_of(peer)
            if other == host or not peer.get("address"):
                continue
            if own is None or theirs is None:
                doubts.append(f"a netmask of chip {chip} was not reported")
            elif own != theirs:
                text = f"chip {chip}: {own} here, {theirs} on {other}"
                if own.prefixlen == theirs.prefixlen and conf.get(str(chip), {}).get("gateway"):
                    doubts.append(text + " (through a gateway)")
                else:
                    differ.append(text)
    return differ, doubts


def _span(chips):
    addresses = [entry["address"] for entry in chips.values() if entry.get("address")]
    return f"{addresses[0]} to {addresses[-1]}" if addresses else "no chips"


# -- super-pod and pings -----------------------------------------------------------------------------------------------


def _superpod(node, reported):
    name, wanted = "fabric.superpod", "one super-pod for all nodes, an SDID of its own for every chip"
    if node["hardware"] != "a3":
        return _result(name, SKIPPED, "only A3 nodes have super-pods", wanted)
    if not spans_nodes(node):
        return _result(name, SKIPPED, "a single node", wanted)
    pods, sdids, unknown = {}, {}, []
    for host, chips in reported.items():
        for chip, entry in chips.items():
            pod = entry.get("superpod") or {}
            if pod.get("superpod") is None:
                unknown.append((host, chip))
            else:
                pods.setdefault(pod["superpod"], set()).add(host)
            if pod.get("sdid") is not None:
                sdids.setdefault((pod.get("superpod"), pod["sdid"]), []).append((host, chip))
    seen = "; ".join(f"super-pod {pod}: {', '.join(sorted(hosts))}" for pod, hosts in sorted(pods.items()))
    duplicates = [(sdid, owners) for (_pod, sdid), owners in sdids.items() if len(owners) > 1]
    if duplicates:
        return _result(name, FAIL, f"SDID {duplicates[0][0]} is on {_hosts(duplicates[0][1])}", wanted)
    if len(pods) > 1:
        return _result(name, FAIL, seen, wanted)
    if unknown:
        return _result(name, UNKNOWN, f"not reported: {_hosts(unknown)}", wanted)
    return _result(name, PASS, seen, wanted)


def _ping(node, members, peers):
    name, wanted = "fabric.ping", "every chip reaches its peers on the other nodes"
    others = [other["host"] for other in members if other["host"] != node["host"]]
    if not spans_nodes(node) or not others:
        return _result(name, SKIPPED, "a single node", wanted)
    if not peers or peers.get("ping_error"):
        return _result(name, UNKNOWN, (peers or {}).get("ping_error") or "no pings were sent", wanted)
    answers = {}
    for entry in peers.get("pings") or ():
        answers.setdefault((entry["chip"], entry["host"]), []).append(entry)
    problems = {FAIL: [], UNKNOWN: [], WARN: []}
    for chip in chips_of(node):
        for host in others:
            if not answers.get((chip, host)):
                problems[UNKNOWN].append(f"chip {chip} to {host}: the address of its peer was not reported")
            for entry in answers.get((chip, host)) or ():
                word, seen = _one_ping(entry)
                if word != PASS:
                    problems[word].append(
                        f"chip {chip} to {host} chip {entry['peer_chip']} ({entry['address']}): {seen}"
                    )
    for word, parts in problems.items():
        if parts:
            return _result(name, word, _listing(parts), wanted)
    count = sum(len(found) for found in answers.values())
    return _result(name, PASS, f"{count} of {count} pings answered", wanted)


def _one_ping(entry):
    sent, received = entry.get("transmitted"), entry.get("received")
    if not sent or received is None:
        return UNKNOWN, entry.get("error") or "not reported"
    if not received:
        return FAIL, "no answer"
    if received < sent:
        return WARN, f"{received} of {sent} answered"
    return PASS, ""
