# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Judge the NPUs of a node. Pure functions over what ``smi`` has read.

A verdict is {id, verdict, seen, wanted, remedy}. What was not told is "unknown" and never "pass".
"""

from __future__ import annotations

import re
from typing import Any, Dict, List, Optional, Tuple

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
    "See 'lspci | grep -i d80' and 'dmesg | grep -i ascend' for a chip that was lost; reset it or reboot the node. "
    "In a container, pass every /dev/davinciN."
)
# When chips differ, the first of these that occurs is the verdict on the node.
WORST_FIRST = ("fail", "unknown", "warn", "pass")
# UNKNOWN is the tool's word for a chip that is absent or not started: it cannot serve, so it fails.
# A health that is not told at all, or a word not known here, leaves the question open: unknown.
HEALTH_VERDICTS = {"ok": "pass", "warning": "warn", "alarm": "fail", "critical": "fail", "unknown": "fail"}


def judge_npu(info_or_failure: Dict[str, Any], expect: Dict[str, Any]) -> List[Verdict]:
    """All verdicts on a node, always the same ids in the same order.

    info_or_failure is a result of parse_info, or {code, meaning, remedy} of explain_failure. expect may have the keys
    of EXPECTATIONS; one that is None (idle: False) is not judged: "skipped".
    """
    unheard_of = set(expect) - set(EXPECTATIONS)
    if unheard_of:
        raise ValueError("no such expectation: %s" % ", ".join(sorted(unheard_of)))
    want = dict(EXPECTATIONS, **expect)
    info = info_or_failure
    readable = "devices" in info
    verdicts = [_judge_tool(info)]
    for check, asked, judge in (
        ("npu.count", want["chips"] is not None, _judge_count),
        ("npu.product", want["product"] is not None, _judge_product),
        ("npu.health", True, _judge_health),
        ("npu.idle.processes", want["idle"], _judge_processes),
        ("npu.idle.hbm", want["idle"], _judge_hbm),
        ("npu.driver", want["min_driver"] is not None, _judge_driver),
    ):
        if not asked:
            verdicts.append(_verdict(check, "skipped", "not judged", "nothing expected"))
        elif not readable:
            verdicts.append(_verdict(check, "unknown", "npu-smi gave no table", "a table of npu-smi", "See npu.tool."))
        elif not info["devices"] and judge not in (_judge_count, _judge_driver):
            verdicts.append(_verdict(check, "unknown", "no chip is listed", "at least one chip", "See npu.tool."))
        else:
            verdicts.append(judge(info, want))
    return verdicts


def _verdict(check: str, verdict: str, seen: str, wanted: str, remedy: str = "") -> Verdict:
    remedy = "" if verdict == "pass" else remedy
    return {"id": check, "verdict": verdict, "seen": seen, "wanted": wanted, "remedy": remedy}


def _worst(verdicts: List[str]) -> str:
    return min(verdicts, key=WORST_FIRST.index)


def chip_label(device: Dict[str, Any]) -> str:
    """How a chip is named to the operator: by what the tool prints of it."""
    if device["npu_id"] is None:
        return "a chip of no told NPU (bus id %s)" % (device["bus_id"] or "not told")
    label = "NPU %s" % device["npu_id"]
    if device["chip_id"] is not None:
        label += " chip %s" % device["chip_id"]
    return label + (" (phy-id %s)" % device["phy_id"] if device["phy_id"] is not None else "")


def _chips(number: int) -> str:
    return "%d chip%s" % (number, "" if number == 1 else "s")


def _listing(parts: List[str], limit: int = 8) -> str:
    more = len(parts) - limit
    return ", ".join(parts[:limit]) + (" and %d more" % more if more > 0 else "")


def _judge_tool(info: Dict[str, Any]) -> Verdict:
    wanted = "a readable table of npu-smi info"
    if "devices" not in info:
        return _verdict("npu.tool", "fail", "%s [%s]" % (info["meaning"], info["code"]), wanted, info["remedy"])
    if not info["devices"]:
        return _verdict("npu.tool", "fail", "a table without a single chip", wanted, LOST_CHIP)
    seen = "npu-smi %s, driver %s, %s" % (
        info["tool_version"] or "of no told version",
        info["driver_version"] or "not told",
        _chips(len(info["devices"])),
    )
    odd = [problem for problem in info["problems"] if not problem.startswith(NOISE)]
    if odd:
        return _verdict(
            "npu.tool",
            "warn",
            "%s; not understood: %s" % (seen, "; ".join(odd[:3])),
            wanted,
            "Compare with 'npu-smi info' on the node: a chip with a broken row may be lost.",
        )
    return _verdict("npu.tool", "pass", seen, wanted)


def _judge_count(info: Dict[str, Any], want: Dict[str, Any]) -> Verdict:
    chips = want["chips"]
    whole = [device for device in info["devices"] if device["npu_id"] is not None]
    broken = len(info["devices"]) - len(whole)
    seen = _chips(len(whole)) + (" and %d of no told NPU" % broken if broken else "")
    wanted = _chips(chips)
    if len(whole) == chips and not broken:
        return _verdict("npu.count", "pass", seen, wanted)
    if len(whole) > chips:
        return _verdict(
            "npu.count",
            "warn",
            seen,
            wanted,
            "The node has more chips than expected: correct the expectation, or check that this is the right node.",
        )
    missing = _missing_chips(whole, chips)
    if missing:
        seen += "; missing: " + _listing(missing)
    return _verdict("npu.count", "fail", seen, wanted, LOST_CHIP)


def _missing_chips(whole: List[Dict[str, Any]], chips: int) -> List[str]:
    """Names of the chips that are not there; none where the ids are sparse, so that it cannot be told."""
    per_npu = 2 if any(device["chip_id"] == 1 for device in whole) else 1
    expected = [(npu, chip) for npu in range((chips + per_npu - 1) // per_npu) for chip in range(per_npu)]
    present = {(device["npu_id"], device["chip_id"] or 0) for device in whole}
    if not present <= set(expected):
        return []
    missing = [one for one in expected if one not in present]
    return ["NPU %d chip %d" % one if per_npu > 1 else "NPU %d" % one[0] for one in missing]


def product_of(device: Dict[str, Any], devices: List[Dict[str, Any]]) -> Optional[str]:
    """a2, a3, other (a chip that is neither), or None when the name does not tell."""
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


def _judge_product(info: Dict[str, Any], want: Dict[str, Any]) -> Verdict:
    verdicts, others = [], []
    for device in info["devices"]:
        product = product_of(device, info["devices"])
        verdicts.append("unknown" if product is None else "pass" if product == want["product"] else "fail")
        if verdicts[-1] != "pass":
            others.append("%s: %s" % (chip_label(device), device["name"] or "no name"))
    verdict = _worst(verdicts)
    names = sorted({device["name"] or "no name" for device in info["devices"]})
    return _verdict(
        "npu.product",
        verdict,
        _listing(others) or ", ".join(names),
        PRODUCTS[want["product"]],
        "Deploy on this node with the recipe and the image of its own hardware."
        if verdict == "fail"
        else "The name does not tell the product: see 'npu-smi info -t board -i 0' on the node.",
    )


def _judge_health(info: Dict[str, Any], want: Dict[str, Any]) -> Verdict:
    verdicts, ill = [], []
    for device in info["devices"]:
        verdicts.append(HEALTH_VERDICTS.get((device["health"] or "").lower(), "unknown"))
        if verdicts[-1] != "pass":
            ill.append("%s: %s" % (chip_label(device), device["health"] or "health not told"))
    return _verdict(
        "npu.health",
        _worst(verdicts),
        _listing(ill) or "OK on " + _chips(len(verdicts)),
        "OK on every chip",
        "See 'npu-smi info -t health -i <NPU id>' for the error code; reset the chip "
        "(npu-smi set -t reset -i <NPU id> -c <chip id>) or reboot the node; replace it if that does not help.",
    )


def _judge_processes(info: Dict[str, Any], want: Dict[str, Any]) -> Verdict:
    own = set(want["own_pids"] or ())
    running = [(process, chip_label(device)) for device in info["devices"] for process in device["processes"]]
    running += [(process, "NPU %s" % process["npu_id"]) for process in info.get("unplaced_processes", ())]
    foreign = [
        "PID %s (%s) on %s" % (process["pid"], process["name"] or "no name", place)
        for process, place in running
        if process["pid"] not in own
    ]
    wanted = "no process other than the service's own"
    if foreign:
        return _verdict(
            "npu.idle.processes",
            "fail",
            _listing(foreign),
            wanted,
            "Stop what holds the NPUs ('docker ps', 'ps -fp <PID>'); a VLLM::EngineCore or worker without its server "
            "is left over from a crash and can be killed.",
        )
    told = set(info.get("process_npus", ()))
    untold = [chip_label(device) for device in info["devices"] if device["npu_id"] not in told]
    if untold:
        return _verdict(
            "npu.idle.processes",
            "unknown",
            "npu-smi does not tell the processes of " + _listing(untold),
            wanted,
            "Run 'npu-smi info' on the host as root: the table of processes may be missing in a container or with "
            "an old driver. 'fuser -v /dev/davinci*' shows who uses the chips.",
        )
    return _verdict("npu.idle.processes", "pass", "none on " + _chips(len(info["devices"])), wanted)


def _judge_hbm(info: Dict[str, Any], want: Dict[str, Any]) -> Verdict:
    limit, own = want["max_idle_hbm_mb"], set(want["own_pids"] or ())
    verdicts, odd, most = [], [], 0
    for device in info["devices"]:
        used = device["hbm_used_mb"]
        own_memory = [process["memory_mb"] for process in device["processes"] if process["pid"] in own]
        if used is None or None in own_memory:
            verdicts.append("unknown")
            odd.append("%s: HBM use not told" % chip_label(device))
            continue
        rest = used - sum(own_memory)
        most = max(most, rest)
        verdicts.append("pass" if rest <= limit else "fail")
        if rest > limit:
            odd.append("%s: %s of %s MB" % (chip_label(device), rest, device["hbm_total_mb"]))
    return _verdict(
        "npu.idle.hbm",
        _worst(verdicts),
        _listing(odd) or "at most %s MB on a chip" % most,
        "at most %s MB in use on an idle chip" % limit,
        "Find and stop what holds the memory (npu.idle.processes, 'docker ps'); if nothing does, reset the chip. "
        "An idle 910B shows about 3300 MB.",
    )


def parse_driver_version(text: Optional[str]) -> Optional[Tuple]:
    """A key to compare versions with: 24.1.rc1.b030 < 24.1.rc2 < 24.1.0 < 24.1.0.3 < 25.5.1. None if it is none."""
    number = "[0-9]{1,6}"
    pattern = r"(N(?:\.N){0,3})(?:\.?rc(N))?((?:\.(?:b|spc)?N){0,4})".replace("N", number)
    match = re.fullmatch(pattern, (text or "").strip(), re.I)
    if not match:
        return None
    base, candidate, rest = match.groups()
    numbers = [int(number) for number in base.split(".")]
    numbers += [0] * (4 - len(numbers))
    later = tuple(int(number) for number in re.findall("[0-9]+", rest))
    return tuple(numbers), candidate is None, int(candidate or 0), later


def _judge_driver(info: Dict[str, Any], want: Dict[str, Any]) -> Verdict:
    seen, least = parse_driver_version(info["driver_version"]), parse_driver_version(want["min_driver"])
    if seen is None or least is None:
        verdict = "unknown"
    else:
        verdict = "pass" if seen >= least else "fail"
    return _verdict(
        "npu.driver",
        verdict,
        "driver %s" % (info["driver_version"] or "version not told"),
        "driver %s or later" % want["min_driver"],
        "Update the NPU driver and firmware, or choose an image for this driver."
        if verdict == "fail"
        else "Read /usr/local/Ascend/driver/version.info on the node.",
    )
