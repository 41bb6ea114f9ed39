# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the nodes of a replica can only find out together: whether they reach each other, by chip and by port.

All nodes run this at the same time; every chip pings its peers while the ports are tested (see ``reach``).
"""

from __future__ import annotations

import time

from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.parallel import in_parallel
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.run import (
    driver_env,
    find_tool,
    run,
    shorten,
)
from ansible_collections.ascend_ops.vllm.plugins.module_utils._facts.fabric import OUT_OF_TIME
from ansible_collections.ascend_ops.vllm.plugins.module_utils._facts.reach import (
    ANSWER_SECONDS,
    primary_of,
    reach,
    shared_ports,
)
from ansible_collections.ascend_ops.vllm.plugins.module_utils._npu.chips import NO_TOOL, chips_of
from ansible_collections.ascend_ops.vllm.plugins.module_utils._npu.hccn import parse_ping


def peers_for(node, members, facts_by_host):
    """What a node must know about its replica, from the facts of all nodes: two arguments of gather(). Pure.

    :return: ``{peers: [{host, address, role, ports, chips, vnic}], serving}``. *chips* and *vnic* are addresses by chip.
        *serving* says that the replica's own service runs on the primary; *ports* are then those on which it listens,
        possibly none while it starts.
    """
    primary = primary_of(members)
    facts = (facts_by_host.get(primary["host"]) or {}) if primary else {}
    serving = bool(facts.get("service_pids"))
    open_ports = {item["port"] for item in facts.get("ports") or () if item.get("own")}
    peers = []
    for other in members:
        if other["host"] == node["host"]:
            continue
        chips = ((facts_by_host.get(other["host"]) or {}).get("fabric") or {}).get("chips") or {}
        ports = {name: port for name, port in shared_ports(other).items() if not serving or port in open_ports}
        peers.append(
            {
                "host": other["host"],
                "address": other["address"],
                "role": other["role"],
                "ports": ports,
                "chips": {str(chip): entry["address"] for chip, entry in chips.items() if entry.get("address")},
                "vnic": {
                    str(chip): entry["vnic"]["address"]
                    for chip, entry in chips.items()
                    if (entry.get("vnic") or {}).get("address")
                },
            }
        )
    return {"peers": peers, "serving": serving}


def gather(plan, peers, serving=False, wait=8.0, timeout=10.0, all_pairs=False, hccn_tool=None):
    """``{pings, ping_error, reach, seconds}``; never raises, and ends within about the longer of *wait* and *timeout*.

    :param plan: the node's part of the plan.
    :param peers: the other nodes of the replica, see peers_for().
    :param serving: the replica's own service listens on the primary's ports: connect to it and open nothing.
    :param wait: seconds to wait for the other nodes.
    :param timeout: seconds for all pings together.
    :param all_pairs: ping from each chip to all chips of the other nodes, not only to the one with its number.
    """
    started = time.monotonic()
    facts = {"pings": [], "ping_error": "", "reach": None, "seconds": 0.0}
    jobs = {
        "pings": lambda: pings(plan, peers, timeout, all_pairs, hccn_tool),
        "reach": lambda: reach(plan, peers, serving, wait),
    }
    found = in_parallel(lambda name: jobs[name](), list(jobs), max(wait + 2 * ANSWER_SECONDS, timeout + 4))
    if "pings" in found:
        facts["pings"], facts["ping_error"] = found["pings"]
    else:
        facts["ping_error"] = "the pings did not finish in time"
    facts["reach"] = found["reach"] if "reach" in found else {"error": "the test of the ports did not finish in time"}
    facts["seconds"] = round(time.monotonic() - started, 2)
    return facts


def pairs(plan, peers, all_pairs):
    """Which chip pings which: ``{chip: [{host, chip, address, kind}]}``, the peer with its own number first.

    A peer of an A3 that has an address on the super-pod's network is pinged there (*kind* hccs_ping).
    """
    result = {}
    for chip in chips_of(plan):
        targets = result.setdefault(chip, [])
        for peer in peers:
            over_hccs = plan["hardware"] == "a3" and bool(peer.get("vnic"))
            addresses = peer["vnic"] if over_hccs else peer.get("chips") or {}
            kind = "hccs_ping" if over_hccs else "ping"
            for number in sorted(addresses, key=int) if all_pairs else [str(chip)]:
                if addresses.get(number):
                    target = {"host": peer["host"], "chip": int(number), "address": addresses[number], "kind": kind}
                    targets.append(target)
        targets.sort(key=lambda item: item["chip"] != chip)
    return result


def pings(plan, peers, timeout, all_pairs=False, executable=None):
    """``([{chip, host, peer_chip, address, kind, transmitted, received, error}], error)``, all within *timeout* seconds.

    *transmitted* and *received* are None if the tool gave no result; *error* then says why.
    """
    tool = find_tool("hccn_tool", executable)
    if not tool:
        return [], NO_TOOL
    targets = pairs(plan, peers, all_pairs)
    deadline = time.monotonic() + timeout
    results = []

    def ping_from(chip):
        for target in targets[chip]:
            results.append(_ping(tool, chip, target, deadline - time.monotonic()))

    in_parallel(ping_from, list(targets), timeout + 3)
    return sorted(results, key=lambda item: (item["chip"], item["host"], item["peer_chip"])), ""


def _ping(tool, chip, target, seconds):
    entry = {
        "chip": chip,
        "host": target["host"],
        "peer_chip": target["chip"],
        "address": target["address"],
        "kind": target["kind"],
        "transmitted": None,
        "received": None,
        "error": "",
    }
    if seconds <= 0:
        entry["error"] = OUT_OF_TIME
        return entry
    argv = [tool, "-i", str(chip), "-" + target["kind"], "-g", "address", target["address"]]
    rc, text, late = run(argv, seconds, driver_env())
    counts = parse_ping(text)
    if counts and not late:
        entry.update(transmitted=counts["transmitted"], received=counts["received"])
    else:
        entry["error"] = "no answer in time" if late else shorten(text) or f"exit status {rc}"
    return entry
