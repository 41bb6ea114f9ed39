# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Evaluate the NPUs of a node: pure functions over the result of ``smi``.

A verdict is ``{id, verdict, seen, wanted, remedy}``. A value that the tool did not report gives "unknown", never "pass".
"""

from __future__ import annotations

import re
from typing import Any, Dict, List, Optional, Tuple

from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.verdict import (
    FAIL,
    PASS,
    SKIPPED,
    UNKNOWN,
    WARN,
    verdict,
    worst,
)
from ansible_collections.ascend_ops.vllm.plugins.module_utils._npu.smi import NOISE

Verdict = Dict[str, str]
EXPECTATIONS = {
    "chips": None,
    "product": None,
    "idle": True,
    "max_idle_hbm_mb": 5000,
    "min_driver": None,
    "own_pids": (),
}
PRODUCTS = {"a2": "Atlas A2 (910B1 to 910B4)", "a3": "Atlas A3 (Ascend910 of two chips, 910_93xx)"}
LOST_CHIP = (
    "Check 'lspci | grep -i d80' and 'dmesg | grep -i ascend' for a lost chip; reset it or reboot the node. In a "
    "container, pass every /dev/davinciN."
)
# UNKNOWN is the tool's word for a chip that is absent or not started: it cannot serve, so it fails.
# A health that is not reported at all, or a word that is not known here, gives "unknown".
HEALTH_VERDICTS = {"ok": PASS, "warning": WARN, "alarm": FAIL, "critical": FAIL, "unknown": FAIL}


def evaluate_npu(info_or_failure: Dict[str, Any], expect: Dict[str, Any]) -> List[Verdict]:
    """All verdicts on the NPUs of a node, always the same ids in the same order.

    :param info_or_failure: a result of parse_info, or {code, meaning, remedy} of explain_failure.
    :param expect: keys of EXPECTATIONS; the check of one that is None (idle: False) is skipped. HBM is in MB. Another key
        raises ValueError.
    """
    unexpected = set(expect) - set(EXPECTATIONS)
    if unexpected:
        raise ValueError(f"no such expectation: {', '.join(sorted(unexpected))}")
    want = dict(EXPECTATIONS, **expect)
    info = info_or_failure
    verdicts = [_tool(info)]
    for check, requested, function in (
        ("npu.count", want["chips"] is not None, _count),
        ("npu.product", want["product"] is not None, _product),
        ("npu.health", True, _health),
        ("npu.idle.processes", want["idle"], _processes),
        ("npu.idle.hbm", want["idle"], _hbm),
        ("npu.driver", want["min_driver"] is not None, _driver),
    ):
        if not requested:
            verdicts.append(verdict(check, SKIPPED, "not evaluated", "no expectation was given"))
        elif "devices" not in info:
            verdicts.append(verdict(check, UNKNOWN, "npu-smi gave no table", "a table of npu-smi", "See npu.tool."))
        elif not info["devices"] and function not in (_count, _driver):
            verdicts.append(verdict(check, UNKNOWN, "no chip is listed", "at least one chip", "See npu.tool."))
        else:
            verdicts.append(function(info, want))
    return verdicts


# -- words -------------------------------------------------------------------------------------------------------------


def chip_label(device: Dict[str, Any]) -> str:
    """How a message names a chip: by the ids that the tool prints."""
    if device["npu_id"] is None:
        return f"a chip of unknown NPU (bus id {device['bus_id'] or 'not reported'})"
    label = f"NPU {device['npu_id']}"
    if device["chip_id"] is not None:
        label += f" chip {device['chip_id']}"
    return label + (f" (phy-id {device['phy_id']})" if device["phy_id"] is not None else "")


def _chips(number: int) -> str:
    return "%d chip%s" % (number, "" if number == 1 else "s")


def _listing(parts: List[str], limit: int = 8) -> str:
    more = len(parts) - limit
    return ", ".join(parts[:limit]) + (f" and {more} more" if more > 0 else "")


# -- the tool and its table --------------------------------------------------------------------------------------------


def _tool(info: Dict[str, Any]) -> Verdict:
    name, wanted = "npu.tool", "a readable table from npu-smi info"
    if "devices" not in info:
        return verdict(name, FAIL, f"{info['meaning']} [{info['code']}]", wanted, info["remedy"])
    if not info["devices"]:
        return verdict(name, FAIL, "a table without chips", wanted, LOST_CHIP)
    tool, driver = info["tool_version"] or "of unknown version", info["driver_version"] or "not reported"
    seen = f"npu-smi {tool}, driver {driver}, {_chips(len(info['devices']))}"
    odd = [problem for problem in info["problems"] if not problem.startswith(NOISE)]
    if odd:
        seen += f"; not understood: {'; '.join(odd[:3])}"
        remedy = "Compare with 'npu-smi info' on the node: a chip with a broken row may be lost."
        return verdict(name, WARN, seen, wanted, remedy)
    return verdict(name, PASS, seen, wanted)


def _count(info: Dict[str, Any], want: Dict[str, Any]) -> Verdict:
    name, chips = "npu.count", want["chips"]
    whole = [device for device in info["devices"] if device["npu_id"] is not None]
    broken = len(info["devices"]) - len(whole)
    seen = _chips(len(whole)) + (f" and {broken} of unknown NPU" if broken else "")
    if len(whole) == chips and not broken:
        return verdict(name, PASS, seen, _chips(chips))
    if len(whole) > chips:
        remedy = "The node has more chips than expected: correct the expectation, or check that it is the right node."
        return verdict(name, WARN, seen, _chips(chips), remedy)
    missing = _missing_chips(whole, chips)
    if missing:
        seen += "; missing: " + _listing(missing)
    return verdict(name, FAIL, seen, _chips(chips), LOST_CHIP)


def _missing_chips(whole: List[Dict[str, Any]], chips: int) -> List[str]:
    """Names of the missing chips; none if the ids are sparse, so that they cannot be determined."""
    per_npu = 2 if any(device["chip_id"] == 1 for device in whole) else 1
    expected = [(npu, chip) for npu in range((chips + per_npu - 1) // per_npu) for chip in range(per_npu)]
    present = {(device["npu_id"], device["chip_id"] or 0) for device in whole}
    if not present <= set(expected):
        return []
    missing = [one for one in expected if one not in present]
    return ["NPU %d chip %d" % one if per_npu > 1 else "NPU %d" % one[0] for one in missing]


# -- the chips ---------------------------------------------------------------------------------------------------------


def product_of(device: Dict[str, Any], devices: List[Dict[str, Any]]) -> Optional[str]:
    """a2, a3, other (a chip that is neither), or None if the name is not conclusive."""
    name = re.sub(r"^ASCEND|[\s_-]", "", (device["name"] or "").upper())
    if re.match(r"910B[1-4]C?1?$", name):
        return "a2"
    if re.match(r"91093[0-9]{2}$", name):
        return "a3"
    partners = [
        other for other in devices if other["npu_id"] == device["npu_id"] and other["chip_id"] != device["chip_id"]
    ]
    if name == "910" and device["phy_id"] is not None and partners:
        return "a3"
    if re.match(r"(310|910A|910B$|910PRO|910PREMIUM|950|91095)", name):
        return "other"
    return None


def _product(info: Dict[str, Any], want: Dict[str, Any]) -> Verdict:
    outcomes, others = [], []
    for device in info["devices"]:
        product = product_of(device, info["devices"])
        outcomes.append(UNKNOWN if product is None else PASS if product == want["product"] else FAIL)
        if outcomes[-1] != PASS:
            others.append(f"{chip_label(device)}: {device['name'] or 'no name'}")
    outcome = worst(outcomes)
    names = sorted({device["name"] or "no name" for device in info["devices"]})
    remedy = (
        "Deploy on this node with the recipe and the image for its own hardware."
        if outcome == FAIL
        else "The name does not identify the product: run 'npu-smi info -t board -i 0' on the node."
    )
    return verdict("npu.product", outcome, _listing(others) or ", ".join(names), PRODUCTS[want["product"]], remedy)


def _health(info: Dict[str, Any], want: Dict[str, Any]) -> Verdict:
    outcomes, bad = [], []
    for device in info["devices"]:
        outcomes.append(HEALTH_VERDICTS.get((device["health"] or "").lower(), UNKNOWN))
        if outcomes[-1] != PASS:
            bad.append(f"{chip_label(device)}: {device['health'] or 'health not reported'}")
    return verdict(
        "npu.health",
        worst(outcomes),
        _listing(bad) or "OK on " + _chips(len(outcomes)),
        "OK on every chip",
        "Run 'npu-smi info -t health -i <NPU id>' for the error code; reset the chip (npu-smi set -t reset -i <NPU id> -c "
        "<chip id>) or reboot the node; if that does not help, replace it.",
    )


# -- what uses them ----------------------------------------------------------------------------------------------------


def _processes(info: Dict[str, Any], want: Dict[str, Any]) -> Verdict:
    name, wanted = "npu.idle.processes", "no process other than those of the service itself"
    own = set(want["own_pids"] or ())
    running = [(process, chip_label(device)) for device in info["devices"] for process in device["processes"]]
    running += [(process, f"NPU {process['npu_id']}") for process in info.get("unplaced_processes", ())]
    foreign = [
        f"PID {process['pid']} ({process['name'] or 'no name'}) on {place}"
        for process, place in running
        if process["pid"] not in own
    ]
    if foreign:
        remedy = (
            "Stop what occupies the NPUs ('docker ps', 'ps -fp <PID>'); a VLLM::EngineCore or worker without its server is "
            "left over from a crash and can be killed."
        )
        return verdict(name, FAIL, _listing(foreign), wanted, remedy)
    known = set(info.get("process_npus", ()))
    silent = [chip_label(device) for device in info["devices"] if device["npu_id"] not in known]
    if silent:
        remedy = (
            "Run 'npu-smi info' on the host as root: in a container, or with an old driver, the process table may be "
            "missing. 'fuser -v /dev/davinci*' shows who uses the chips."
        )
        return verdict(name, UNKNOWN, f"npu-smi does not report the processes of {_listing(silent)}", wanted, remedy)
    return verdict(name, PASS, "none on " + _chips(len(info["devices"])), wanted)


def _hbm(info: Dict[str, Any], want: Dict[str, Any]) -> Verdict:
    limit, own = want["max_idle_hbm_mb"], set(want["own_pids"] or ())
    outcomes, bad, most = [], [], 0
    for device in info["devices"]:
        used = device["hbm_used_mb"]
        own_memory = [process["memory_mb"] for process in device["processes"] if process["pid"] in own]
        if used is None or None in own_memory:
            outcomes.append(UNKNOWN)
            bad.append(f"{chip_label(device)}: HBM usage not reported")
            continue
        rest = used - sum(own_memory)
        most = max(most, rest)
        outcomes.append(PASS if rest <= limit else FAIL)
        if rest > limit:
            bad.append(f"{chip_label(device)}: {rest} of {device['hbm_total_mb']} MB")
    return verdict(
        "npu.idle.hbm",
        worst(outcomes),
        _listing(bad) or f"at most {most} MB on a chip",
        f"at most {limit} MB in use on an idle chip",
        "Find and stop what uses the memory (npu.idle.processes, 'docker ps'); if nothing does, reset the chip. An idle "
        "910B shows about 3300 MB.",
    )


# -- driver ------------------------------------------------------------------------------------------------------------


def parse_driver_version(text: Optional[str]) -> Optional[Tuple]:
    """A key to compare driver versions: 24.1.rc1.b030 < 24.1.rc2 < 24.1.0 < 24.1.0.3 < 25.5.1. None for other text."""
    number = "[0-9]{1,6}"
    pattern = r"(N(?:\.N){0,3})(?:\.?rc(N))?((?:\.(?:b|spc)?N){0,4})".replace("N", number)
    match = re.fullmatch(pattern, (text or "").strip(), re.I)
    if not match:
        return None
    base, candidate, rest = match.groups()
    numbers = [int(part) for part in base.split(".")]
    numbers += [0] * (4 - len(numbers))
    later = tuple(int(part) for part in re.findall("[0-9]+", rest))
    return tuple(numbers), candidate is None, int(candidate or 0), later


def _driver(info: Dict[str, Any], want: Dict[str, Any]) -> Verdict:
    found, least = parse_driver_version(info["driver_version"]), parse_driver_version(want["min_driver"])
    outcome = UNKNOWN if found is None or least is None else PASS if found >= least else FAIL
    remedy = (
        "Update the NPU driver and firmware, or choose an image for this driver."
        if outcome == FAIL
        else "Read /usr/local/Ascend/driver/version.info on the node."
    )
    seen = f"driver {info['driver_version'] or 'version not reported'}"
    return verdict("npu.driver", outcome, seen, f"driver {want['min_driver']} or later", remedy)
