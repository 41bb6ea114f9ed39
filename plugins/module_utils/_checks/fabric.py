# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The checks of the chips' own network on one node: hccn_tool, links, optics. ``fabric_peers`` compares the nodes.

A check that does not apply is skipped; a fact that was not reported gives unknown.
"""

from __future__ import annotations

from ansible_collections.ascend_ops.vllm.plugins.module_utils._checks.check import Check
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.verdict import (
    FAIL,
    PASS,
    SKIPPED,
    UNKNOWN,
    WARN,
    verdict,
    worst,
)
from ansible_collections.ascend_ops.vllm.plugins.module_utils._npu.chips import chips_of, spans_nodes

ISSUES = "https://github.com/vllm-project/vllm-ascend/issues/"
MIND_CLUSTER = "https://github.com/Ascend/mind-cluster/blob/master/docs/en/faultdiag/user_guide/03_collecting_logs.md"
HCCS = "a single node: its chips communicate over HCCS, not over RoCE"

CHECKS = {
    "fabric.tool": Check(
        why="The chips' own network is visible through hccn_tool only. Without it none of the checks below has data, and the "
        "container lacks the tool as well.",
        read="hccn_tool in the driver's directory, the usual places and PATH; the link of every chip is queried",
        remedy="Install the NPU driver with its tools, or set npu_preflight_hccn_tool to its path. Run as root: 'hccn_tool -i "
        "0 -link -g'.",
    ),
    "fabric.link": Check(
        why="Chips of different nodes communicate over their own RoCE ports. With one port down the start hangs until HCCL's "
        "connect timeout ('Getting socket times out', EI0006).",
        source=ISSUES + "5461",
        read="`hccn_tool -i N -link -g`. On an A3 a port that is down gives a warning only: within a super-pod nodes "
        "communicate over HCCS, and fabric.ping shows whether that works. With HCCL_INTRA_ROCE_ENABLE=1 in the plan the chips of "
        "one node use these ports as well.",
        remedy="Check cable, optical module and switch port: 'hccn_tool -i N -optical -g', 'hccn_tool -i N -lldp -g', "
        "'hccn_tool -i N -link_stat -g'.",
    ),
    "fabric.net_health": Check(
        why="The chip itself probes its detection address (netdetect). A port can be up and still reach nothing, because of a "
        "wrong VLAN, gateway or address.",
        source=MIND_CLUSTER,
        read="`hccn_tool -i N -net_health -g`. 'Init' means that the chip has not probed yet or has no detection address: a "
        "warning.",
        remedy="Check 'hccn_tool -i N -netdetect -g' and '-gateway -g'; set a detection address that responds: 'hccn_tool -i N "
        "-netdetect -s address <gateway>'.",
    ),
    "fabric.optics": Check(
        why="A missing or dark optical module is the usual cause of a link that is down.",
        source=MIND_CLUSTER,
        read="`hccn_tool -i N -optical -g`. A module that is 'not present' on a link that is up is a copper cable, which is "
        "fine.",
        remedy="Insert, clean or replace the optical module or cable of the chip; check 'hccn_tool -i N -optical -g'.",
    ),
}


def evaluate(node, facts, policy):
    """The verdicts on one node: fabric.tool, .link, .net_health, .optics."""
    chips = chips_of(node)
    reported = reported_chips(facts, chips)
    # Within a node chips use HCCS, unless this variable sends them over their RoCE ports.
    forced = str(node["env"].get("HCCL_INTRA_ROCE_ENABLE")) == "1"
    several, a3 = spans_nodes(node) or forced, node["hardware"] == "a3" and not forced
    return [
        _tool(facts, chips, reported, several),
        _each("fabric.link", reported, several, a3, _link, "link UP on every chip"),
        _each("fabric.net_health", reported, several, a3, _net_health, "Success on every chip"),
        _each("fabric.optics", reported, several, a3, _optics, "a module, or a link that is up without one"),
    ]


def _result(name, word, seen, wanted):
    return verdict(name, word, seen, wanted, CHECKS[name].remedy)


# -- chips in facts and messages ---------------------------------------------------------------------------------------


def reported_chips(facts, chips):
    """The facts of some chips, ``{chip: facts}``; {} for a chip without any."""
    by_name = {str(chip): entry for chip, entry in ((facts.get("fabric") or {}).get("chips") or {}).items()}
    return {chip: by_name.get(str(chip)) or {} for chip in chips}


def names(chips):
    """``chip 3``, ``chips 0 to 7``, ``chips 0, 2 and 5``."""
    numbers = sorted(set(chips))
    if len(numbers) == 1:
        return f"chip {numbers[0]}"
    if len(numbers) > 2 and numbers == list(range(numbers[0], numbers[-1] + 1)):
        return f"chips {numbers[0]} to {numbers[-1]}"
    return f"chips {', '.join(map(str, numbers[:-1]))} and {numbers[-1]}"


def grouped(seen_by_chip):
    """``DOWN on chip 3; UP on chips 0 to 2``."""
    groups = {}
    for chip, seen in seen_by_chip.items():
        groups.setdefault(seen, []).append(chip)
    return "; ".join(f"{seen} on {names(chips)}" for seen, chips in groups.items())


def problem_of(entry, key):
    """Why a chip has no answer to a question."""
    return (entry.get("problems") or {}).get(key) or "not reported"


# -- checks ------------------------------------------------------------------------------------------------------------


def _tool(facts, chips, reported, several):
    name, wanted = "fabric.tool", "hccn_tool responds for every chip"
    fabric = facts.get("fabric")
    if not fabric:
        return _result(name, UNKNOWN, "the node did not report it", wanted)
    if fabric.get("error") or not fabric.get("tool"):
        return _result(name, FAIL if several else WARN, fabric.get("error") or "no hccn_tool", wanted)
    silent = {}
    for chip in chips:
        if all(reported[chip].get(key) is None for key in ("link", "net_health", "address", "tls")):
            problems = reported[chip].get("problems") or {}
            silent[chip] = next(iter(problems.values()), "no answer")
    if silent:
        return _result(name, UNKNOWN, grouped(silent), wanted)
    return _result(name, PASS, f"{fabric['tool']} responds for {len(chips)} chips", wanted)


def _each(name, reported, several, a3, evaluate_chip, wanted):
    """One verdict from *evaluate_chip*, which gives ``(verdict, seen)`` for each chip by itself."""
    words, bad, good = [], {}, {}
    for chip, entry in reported.items():
        word, seen = evaluate_chip(entry)
        if word == FAIL and a3:
            word = WARN
        words.append(word)
        (good if word == PASS else bad)[chip] = seen
    if not reported:
        return _result(name, UNKNOWN, "the plan has no chips", wanted)
    word = worst(words)
    if word != PASS and not several:
        return _result(name, SKIPPED, f"{HCCS} ({grouped(bad)})", wanted)
    return _result(name, word, grouped(bad or good), wanted)


def _link(entry):
    link = entry.get("link")
    if link is None:
        return UNKNOWN, problem_of(entry, "link")
    return (PASS if link == "UP" else FAIL), link


def _net_health(entry):
    health = entry.get("net_health")
    if health is None:
        return UNKNOWN, problem_of(entry, "net_health")
    word = health.strip().lower()
    return (PASS if word == "success" else WARN if word == "init" else FAIL), health


def _optics(entry):
    optical, link = entry.get("optical"), entry.get("link")
    if not isinstance(optical, dict) or optical.get("present") is None:
        return UNKNOWN, problem_of(entry, "optical")
    if optical["present"]:
        if link == "DOWN" and optical.get("rx_power_mw") == 0:
            return WARN, "present, but no light is received"
        return PASS, "present"
    if link == "UP":
        return PASS, "no module, link UP (copper)"
    return (FAIL if link == "DOWN" else UNKNOWN), "not present"
