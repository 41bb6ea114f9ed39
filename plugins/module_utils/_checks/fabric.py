# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The checks of the chips' own network (RoCE, and HCCS between A3 nodes), as pure functions over told facts.

Each function returns the same ids whatever the facts are. What was not told is unknown, what does not apply skipped.
"""

from __future__ import annotations

import ipaddress

from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.verdict import verdict, worst
from ansible_collections.ascend_ops.vllm.plugins.module_utils._npu.chips import chips_of, spans_nodes

ISSUES = "https://github.com/vllm-project/vllm-ascend/issues/"
MIND_CLUSTER = "https://github.com/Ascend/mind-cluster/blob/master/docs/en/faultdiag/user_guide/03_collecting_logs.md"
HCCS = "a single node: its chips talk over HCCS, not over RoCE"

CHECKS = {
    "fabric.tool": {
        "why": "hccn_tool is the only way to see the chips' own network. Without it none of the checks below can tell "
        "anything, and the container lacks it too.",
        "source": "",
        "read": "hccn_tool is searched in the driver's folder, the usual places and PATH, and asked for the link of "
        "every chip.",
        "remedy": "Install the NPU driver with its tools, or set npu_preflight_hccn_tool to its path. Ask as root: "
        "'hccn_tool -i 0 -link -g'.",
    },
    "fabric.link": {
        "why": "Chips of different nodes talk over their own RoCE ports. One port that is down lets the start hang "
        "until HCCL's connect timeout ('Getting socket times out', EI0006).",
        "source": ISSUES + "5461",
        "read": "hccn_tool -i N -link -g. On an A3 a port that is down only warns: within a super-pod nodes talk over "
        "HCCS, and fabric.ping shows whether they do.",
        "remedy": "Check cable, optical module and switch port: 'hccn_tool -i N -optical -g', 'hccn_tool -i N -lldp -g', "
        "'hccn_tool -i N -link_stat -g'.",
    },
    "fabric.net_health": {
        "why": "The chip itself probes its detection address (netdetect). A port can be up and still reach nothing, "
        "for a wrong VLAN, gateway or address.",
        "source": MIND_CLUSTER,
        "read": "hccn_tool -i N -net_health -g. 'Init' says that the chip has not probed yet or has no detection "
        "address: a warning.",
        "remedy": "See 'hccn_tool -i N -netdetect -g' and '-gateway -g'; set a detection address that answers: "
        "'hccn_tool -i N -netdetect -s address <gateway>'.",
    },
    "fabric.optics": {
        "why": "A missing or dark optical module is the usual cause of a link that is down.",
        "source": MIND_CLUSTER,
        "read": "hccn_tool -i N -optical -g. A module that is 'not present' under a link that is up is a copper cable, "
        "which is good.",
        "remedy": "Plug, clean or replace the optical module or cable of the chip; see 'hccn_tool -i N -optical -g'.",
    },
    "fabric.tls": {
        "why": "HCCL refuses to connect chips whose TLS switches differ, and says no more than that the socket timed "
        "out (EI0006).",
        "source": ISSUES + "5461",
        "read": "hccn_tool -i N -tls -g on all chips of all nodes of the replica.",
        "remedy": "Set it alike on all chips of all nodes: 'hccn_tool -i N -tls -s enable 0'.",
    },
    "fabric.switch": {
        "why": "Two A2 that are cabled back to back, without a switch, cannot run a mixture of experts with expert "
        "parallelism: each chip reaches its opposite only.",
        "source": ISSUES + "7606",
        "read": "hccn_tool -i N -lldp -g: the switch that each chip's port sees. Refused for two A2 with "
        "--enable-expert-parallel whose chips all see none; a warning otherwise. A switch that does not send LLDP looks "
        "the same.",
        "remedy": "Connect the chips through a switch, or deploy one replica on each node. Where a switch is there, turn "
        "LLDP on at its ports.",
    },
    "fabric.addresses": {
        "why": "A chip without an address, an address that two chips have, or chips of one number in different subnets "
        "without a gateway cannot connect; an /etc/hccn.conf that differs from the chip's address misleads HCCL in the "
        "container.",
        "source": ISSUES + "5461",
        "read": "hccn_tool -i N -ip -g and /etc/hccn.conf of all nodes of the replica. Compared are chips of the same "
        "number, since each number often has a subnet of its own.",
        "remedy": "Set address and netmask of the chip: 'hccn_tool -i N -ip -s address A netmask M', which writes "
        "/etc/hccn.conf too.",
    },
    "fabric.superpod": {
        "why": "A3 nodes reach each other over HCCS within one super-pod only, and two chips of one SDID in it make HCCL "
        "refuse to start. No recipe spans several A3 nodes yet, so that it is always skipped.",
        "source": "https://github.com/vllm-project/vllm-ascend/blob/main/docs/source/tutorials/features/"
        "pd_disaggregation_mooncake_multi_node.md",
        "read": "npu-smi info -t spod-info -i <NPU> -c <chip> on every chip of the A3 nodes of a replica that has several.",
        "remedy": "Use nodes of one super-pod, or let them talk over RoCE; the super-pod's id and the server's index are "
        "set by its management.",
    },
    "fabric.ping": {
        "why": "The one proof that the chips reach each other. What HCCL would report after two minutes or more as "
        "'Getting socket times out' is seen in seconds.",
        "source": ISSUES + "1955",
        "read": "hccn_tool -i N -ping -g address A from every chip to the chip of its number on every other node (A3 in a "
        "super-pod: -hccs_ping to the chip's vnic address), all chips at once. All chips to all with "
        "npu_preflight_all_pairs.",
        "remedy": "Check, in this order, fabric.link, fabric.addresses and fabric.switch; then VLAN and gateway: "
        "'hccn_tool -i N -gateway -g', 'hccn_tool -i N -traceroute -g address A'.",
    },
}


def judge(node, facts, policy):
    """What a node can tell by itself: fabric.tool, .link, .net_health, .optics."""
    chips, told = chips_of(node), _chips(facts, chips_of(node))
    several, a3 = spans_nodes(node), node["hardware"] == "a3"
    return [
        _tool(facts, chips, told, several),
        _each("fabric.link", told, several, a3, _link, "link UP on every chip"),
        _each("fabric.net_health", told, several, a3, _net_health, "Success on every chip"),
        _each("fabric.optics", told, several, a3, _optics, "a module, or a link that is up without one"),
    ]


def judge_replica(members, facts_by_host, policy):
    """What needs all nodes of a replica: ``{host: [fabric.tls, .switch, .addresses, .superpod, .ping]}``."""
    told = {node["host"]: _chips(facts_by_host.get(node["host"]) or {}, chips_of(node)) for node in members}
    result = {}
    for node in members:
        facts = facts_by_host.get(node["host"]) or {}
        result[node["host"]] = [
            _tls(node, told),
            _switch(node, members, told[node["host"]]),
            _addresses(node, members, told, facts_by_host),
            _superpod(node, members, told),
            _ping(node, members, facts.get("peers"), facts_by_host),
        ]
    return result


def _result(name, word, seen, wanted):
    return verdict(name, word, seen, wanted, CHECKS[name]["remedy"])


def _chips(facts, chips):
    """``{chip: what it told}`` of the plan's chips; {} for one that told nothing."""
    chips_told = (facts.get("fabric") or {}).get("chips") or {}
    by_name = {str(chip): entry for chip, entry in chips_told.items()}
    return {chip: by_name.get(str(chip)) or {} for chip in chips}


def names(chips):
    """``chip 3``, ``chips 0 to 7``, ``chips 0, 2 and 5``."""
    numbers = sorted(set(chips))
    if len(numbers) == 1:
        return f"chip {numbers[0]}"
    if len(numbers) > 2 and numbers == list(range(numbers[0], numbers[-1] + 1)):
        return f"chips {numbers[0]} to {numbers[-1]}"
    return "chips {0} and {1}".format(", ".join(map(str, numbers[:-1])), numbers[-1])


def _grouped(seen_by_chip):
    """``DOWN on chip 3; UP on chips 0 to 2``."""
    groups = {}
    for chip, seen in seen_by_chip.items():
        groups.setdefault(seen, []).append(chip)
    return "; ".join(f"{seen} on {names(chips)}" for seen, chips in groups.items())


# -- a node by itself -----------------------------------------------------------------------------------------------


def _tool(facts, chips, told, several):
    name, wanted = "fabric.tool", "hccn_tool answers for every chip"
    fabric = facts.get("fabric")
    if not fabric:
        return _result(name, "unknown", "the node did not tell", wanted)
    if fabric.get("error") or not fabric.get("tool"):
        return _result(name, "fail" if several else "warn", fabric.get("error") or "no hccn_tool", wanted)
    silent = {}
    for chip in chips:
        told_nothing = not any(told[chip].get(key) is not None for key in ("link", "net_health", "address", "tls"))
        if told_nothing:
            problems = told[chip].get("problems") or {}
            silent[chip] = next(iter(problems.values()), "no answer")
    if silent:
        return _result(name, "unknown", _grouped(silent), wanted)
    return _result(name, "pass", "{0} answers for {1} chips".format(fabric["tool"], len(chips)), wanted)


def _each(name, told, several, a3, judge_chip, wanted):
    """One verdict over all chips, each judged by itself."""
    words, odd, good = [], {}, {}
    for chip, entry in told.items():
        word, seen = judge_chip(entry)
        if word == "fail" and a3:
            word = "warn"
        words.append(word)
        (good if word == "pass" else odd)[chip] = seen
    if not told:
        return _result(name, "unknown", "the plan has no chips", wanted)
    word = worst(words)
    if word != "pass" and not several:
        return _result(name, "skipped", f"{HCCS} ({_grouped(odd)})", wanted)
    return _result(name, word, _grouped(odd if odd else good), wanted)


def _untold(entry, key):
    return "unknown", (entry.get("problems") or {}).get(key) or "not told"


def _link(entry):
    link = entry.get("link")
    if link is None:
        return _untold(entry, "link")
    return ("pass" if link == "UP" else "fail"), link


def _net_health(entry):
    health = entry.get("net_health")
    if health is None:
        return _untold(entry, "net_health")
    word = health.strip().lower()
    return ("pass" if word == "success" else "warn" if word == "init" else "fail"), health


def _optics(entry):
    optical, link = entry.get("optical"), entry.get("link")
    if not isinstance(optical, dict) or optical.get("present") is None:
        return _untold(entry, "optical")
    if optical["present"]:
        if link == "DOWN" and optical.get("rx_power_mw") == 0:
            return "warn", "present, but no light is received"
        return "pass", "present"
    if link == "UP":
        return "pass", "no module, link UP (copper)"
    return ("fail" if link == "DOWN" else "unknown"), "not present"


# -- a replica ------------------------------------------------------------------------------------------------------


def _hosts(found):
    """``a2-node1: chip 3; a2-node2: chips 0 to 7``."""
    by_host = {}
    for host, chip in found:
        by_host.setdefault(host, []).append(chip)
    return "; ".join(f"{host}: {names(chips)}" for host, chips in by_host.items())


def _tls(node, told):
    name, wanted = "fabric.tls", "one TLS switch on all chips of all nodes"
    groups = {True: [], False: [], None: []}
    for host, chips in told.items():
        for chip, entry in chips.items():
            switch = entry.get("tls")
            groups[switch if isinstance(switch, bool) else None].append((host, chip))
    seen = "; ".join(
        f"{word} on {_hosts(groups[switch])}"
        for switch, word in ((True, "on"), (False, "off"), (None, "not told"))
        if groups[switch]
    )
    if groups[True] and groups[False]:
        word = "fail" if spans_nodes(node) else "warn"
    elif groups[None]:
        if not spans_nodes(node):
            return _result(name, "skipped", f"{HCCS} ({seen})", wanted)
        word = "unknown"
    else:
        word = "pass"
        seen = "{0} on all {1} chips".format("on" if groups[True] else "off", sum(map(len, told.values())))
    return _result(name, word, seen, wanted)


def _switch(node, members, chips):
    name, wanted = "fabric.switch", "a switch at the other end of every chip's cable"
    if not spans_nodes(node):
        return _result(name, "skipped", HCCS, wanted)
    if node["hardware"] != "a2":
        return _result(name, "skipped", "A3 nodes of a super-pod talk over HCCS", wanted)
    seen = {}
    for chip, entry in chips.items():
        peer = entry.get("lldp")
        if not isinstance(peer, dict) or peer.get("peer") is None:
            seen[chip] = _untold(entry, "lldp")[1]
        elif peer["peer"]:
            seen[chip] = True
        else:
            seen[chip] = False
    with_switch = [chip for chip, found in seen.items() if found is True]
    without = [chip for chip, found in seen.items() if found is False]
    untold = {chip: found for chip, found in seen.items() if isinstance(found, str)}
    if len(with_switch) == len(seen) and seen:
        systems = sorted({str(entry["lldp"].get("system") or "a switch without a name") for entry in chips.values()})
        return _result(name, "pass", ", ".join(systems[:4]), wanted)
    parts = [f"no switch seen by {names(without)}"] if without else []
    parts += [_grouped(untold)] if untold else []
    text = "; ".join(parts) or "no chips"
    if without and not with_switch and not untold:
        experts = "--enable-expert-parallel" in node["argv"]
        if len(members) == 2 and experts:
            return _result(name, "fail", text + ": two A2 back to back, with expert parallelism", wanted)
        return _result(name, "warn", text, wanted)
    return _result(name, "unknown" if untold else "warn", text, wanted)


def _network_of(entry):
    """The subnet of a chip; None where address or netmask is not told or is none."""
    try:
        return ipaddress.ip_network("{0}/{1}".format(entry.get("address"), entry.get("netmask")), strict=False)
    except ValueError:
        return None


def _conf(facts):
    """``{chip: {address, netmask, gateway}}`` of /etc/hccn.conf, whatever its keys became on the way."""
    return {str(chip): entry for chip, entry in (facts.get("hccn_conf") or {}).items() if isinstance(entry, dict)}


def _addresses(node, members, told, facts_by_host):
    """No two alike, one subnet for a number, and hccn.conf says the same. Seen from one node: what concerns it."""
    name, host = "fabric.addresses", node["host"]
    wanted = "an address of its own for every chip, in one subnet per number, the same in /etc/hccn.conf"
    conf = _conf(facts_by_host.get(host) or {})
    bad, doubts, owners = [], [], {}
    for other, chips in told.items():
        for chip, entry in chips.items():
            if entry.get("address") not in (None, "", "0.0.0.0"):
                owners.setdefault(entry["address"], []).append((other, chip))
    untold, missing = [], []
    for chip, entry in told[host].items():
        if entry.get("address") == "0.0.0.0":
            missing.append(chip)
            continue
        if not entry.get("address"):
            # The tool answers for the chip, but has no address for it.
            (missing if entry.get("link") and conf and not conf.get(str(chip), {}).get("address") else untold).append(
                chip
            )
            continue
        in_conf = conf.get(str(chip), {}).get("address")
        if conf and in_conf != entry["address"]:
            bad.append("chip {0} has {1} and hccn.conf says {2}".format(chip, entry["address"], in_conf or "nothing"))
        if len(owners[entry["address"]]) > 1:
            bad.append("{0} is on {1}".format(entry["address"], _hosts(owners[entry["address"]])))
        own = _network_of(entry)
        for other in told:
            peer = told[other].get(chip) or {}
            theirs = _network_of(peer)
            if other == host or not peer.get("address"):
                continue
            if own is None or theirs is None:
                doubts.append(f"a netmask of chip {chip} is not told")
            elif own != theirs:
                text = f"chip {chip}: {own} here, {theirs} on {other}"
                routed = own.prefixlen == theirs.prefixlen and conf.get(str(chip), {}).get("gateway")
                (doubts if routed else bad).append(text + (" (through a gateway)" if routed else ""))
    if missing:
        bad.insert(0, f"no address on {names(missing)}")
    if not spans_nodes(node):
        if bad or untold or doubts:
            seen = _listing(bad + doubts) or f"not told of {names(untold)}"
            return _result(name, "skipped", f"{HCCS} ({seen})", wanted)
        return _result(name, "pass", _span(told[host]), wanted)
    if bad:
        a3 = node["hardware"] == "a3"
        return _result(name, "warn" if a3 else "fail", _listing(bad), wanted)
    silent = [other["host"] for other in members if not any(c.get("address") for c in told[other["host"]].values())]
    if untold or silent:
        parts = [f"{names(untold)} of {host}"] if untold else []
        parts += [other for other in silent if other != host]
        return _result(name, "unknown", "not told: {0}".format(", ".join(parts)), wanted)
    if doubts:
        return _result(name, "warn", _listing(doubts), wanted)
    return _result(name, "pass", _span(told[host]), wanted)


def _span(chips):
    addresses = [entry["address"] for entry in chips.values() if entry.get("address")]
    return f"{addresses[0]} to {addresses[-1]}" if addresses else "no chips"


def _listing(parts, limit=4):
    unique = list(dict.fromkeys(parts))
    more = len(unique) - limit
    return "; ".join(unique[:limit]) + (f"; and {more} more" if more > 0 else "")


def _superpod(node, members, told):
    name, wanted = "fabric.superpod", "one super-pod for all nodes, an SDID of its own for every chip"
    if node["hardware"] != "a3":
        return _result(name, "skipped", "only A3 nodes have super-pods", wanted)
    if not spans_nodes(node):
        return _result(name, "skipped", "a single node", wanted)
    pods, sdids, untold = {}, {}, []
    for host, chips in told.items():
        for chip, entry in chips.items():
            pod = entry.get("superpod") or {}
            if pod.get("superpod") is None:
                untold.append((host, chip))
            else:
                pods.setdefault(pod["superpod"], set()).add(host)
            if pod.get("sdid") is not None:
                sdids.setdefault((pod.get("superpod"), pod["sdid"]), []).append((host, chip))
    seen = "; ".join("super-pod {0}: {1}".format(pod, ", ".join(sorted(hosts))) for pod, hosts in sorted(pods.items()))
    twice = [(key[1], owners) for key, owners in sdids.items() if len(owners) > 1]
    if twice:
        return _result(name, "fail", f"SDID {twice[0][0]} is on {_hosts(twice[0][1])}", wanted)
    if len(pods) > 1:
        return _result(name, "fail", seen, wanted)
    if untold:
        return _result(name, "unknown", f"not told: {_hosts(untold)}", wanted)
    return _result(name, "pass", seen, wanted)


def _ping(node, members, peers, facts_by_host):
    name, wanted = "fabric.ping", "every chip reaches its peers on the other nodes"
    others = [other for other in members if other["host"] != node["host"]]
    if not spans_nodes(node) or not others:
        return _result(name, "skipped", "a single node", wanted)
    if not peers or peers.get("ping_error"):
        return _result(name, "unknown", (peers or {}).get("ping_error") or "the nodes did not ping", wanted)
    answers = {}
    for entry in peers.get("pings") or ():
        answers.setdefault((entry["chip"], entry["host"]), []).append(entry)
    lost, partly, untold = [], [], []
    for chip in chips_of(node):
        for other in others:
            found = answers.get((chip, other["host"]))
            if not found:
                untold.append("chip {0} to {1}: its peer's address is not told".format(chip, other["host"]))
            for entry in found or ():
                text = "chip {0} to {1} chip {2} ({3})".format(
                    chip, entry["host"], entry["peer_chip"], entry["address"]
                )
                sent, received = entry.get("transmitted"), entry.get("received")
                if not sent or received is None:
                    untold.append("{0}: {1}".format(text, entry.get("error") or "not told"))
                elif not received:
                    lost.append(f"{text}: no answer")
                elif received < sent:
                    partly.append(f"{text}: {received} of {sent} answered")
    if lost:
        return _result(name, "fail", _listing(lost), wanted)
    if untold:
        return _result(name, "unknown", _listing(untold), wanted)
    if partly:
        return _result(name, "warn", _listing(partly), wanted)
    count = sum(len(found) for found in answers.values())
    return _result(name, "pass", f"{count} of {count} pings answered", wanted)
