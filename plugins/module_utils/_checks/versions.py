# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The checks of driver and firmware: against the image's CANN, against each other, and alike on all nodes."""

from __future__ import annotations

import re

from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.verdict import verdict
from ansible_collections.ascend_ops.vllm.plugins.module_utils._npu.checks import parse_driver_version

CHECKS = {
    "npu.driver": {
        "why": "Each CANN series is published for a range of drivers; with an older one kernels or collectives fail, some "
        "only after minutes.",
        "source": "https://github.com/vllm-project/vllm-ascend/issues/5468",
        "read": "the driver's version in `npu-smi info`, else in /usr/local/Ascend/driver/version.info, against the table "
        "vllm_cann_drivers, which names its own sources",
        "remedy": "Update the NPU driver and firmware, or choose an image for this driver.",
    },
    "npu.firmware": {
        "why": "Driver and firmware are released in pairs; a pair that was not made for each other hangs or loses chips.",
        "source": "",
        "read": "Version and compatible_version_drv of /usr/local/Ascend/firmware/version.info, and compatible_version_fw of "
        "the driver's, which the files themselves give as ranges",
        "remedy": "Install the firmware that was released with the driver (the driver first on a new server; the "
        "firmware first for an update), and reboot.",
    },
    "driver.same": {
        "why": "HCCL between nodes with different drivers times out or fails in its first collective.",
        "source": "",
        "read": "the driver's version on all nodes of the replica",
        "remedy": "Install the same driver on all nodes of the replica.",
    },
}


def judge(node, facts, policy):
    """The verdicts on driver and firmware of one node.

    :param policy: ``min_driver``: demanded, older ones fail. ``driver_min``: the oldest that the image's CANN is published
        for, ``driver_paired``: the one that it was published with; older ones give a warning. Each may be empty.
    """
    return [_driver(facts, policy or {}), _firmware(facts)]


def driver_of(facts):
    """The driver's version, or None."""
    return (facts.get("npu") or {}).get("driver_version") or facts.get("driver_package")


def _driver(facts, policy):
    name = "npu.driver"
    seen = driver_of(facts)
    text = "driver {0}".format(seen or "version not told")
    demanded, oldest, paired = (policy.get(key) for key in ("min_driver", "driver_min", "driver_paired"))
    least = demanded or oldest
    wanted = f"driver {least or paired} or later"
    if not least and not paired:
        return verdict(
            name, "skipped", text + "; nothing is known of the image's CANN", "a driver for the image's CANN"
        )
    limits = [(limit, word) for limit, word in ((demanded, "fail"), (oldest, "warn"), (paired, "warn")) if limit]
    version = parse_driver_version(seen)
    if version is None or any(parse_driver_version(limit) is None for limit, unused in limits):
        return verdict(name, "unknown", text, wanted, "Read /usr/local/Ascend/driver/version.info on the node.")
    for limit, word in limits:
        if version < parse_driver_version(limit):
            if limit == paired and limit != oldest and word == "warn":
                wanted = f"driver {limit}, which the image's CANN was published with, or later"
            return verdict(name, word, text, wanted, CHECKS[name]["remedy"])
    return verdict(name, "pass", text, wanted)


def numbers(version):
    """A version as a list to compare: 25.5.1. and 23.0.rc3 have their parts; a candidate is before its release."""
    parts = []
    for word in re.findall(r"rc\d+|\d+", (version or "").lower()):
        parts.append((0, int(word[2:])) if word.startswith("rc") else (1, int(word)))
    return parts


def within(version, ranges):
    """Is a version in one of some ranges ``[first, last]``? As many parts count as a bound has: 25.5.1.b12 is 25.5.1."""
    parts = numbers(version)
    for first, last in ranges:
        low, high = numbers(first), numbers(last)
        if low and high and low <= parts[: len(low)] and parts[: len(high)] <= high:
            return True
    return False


def _firmware(facts):
    name = "npu.firmware"
    host = facts.get("host") or {}
    firmware, package = host.get("firmware"), host.get("driver") or {}
    wanted = "firmware that is released for the driver"
    hint = "Read /usr/local/Ascend/firmware/version.info on the node; 'npu-smi info -t board -i 0' shows what runs."
    if not firmware:
        return verdict(name, "unknown", "no readable /usr/local/Ascend/firmware/version.info", wanted, hint)
    driver = driver_of(facts) or package.get("version")
    seen = "firmware {0}, driver {1}".format(firmware.get("version") or "not told", driver or "not told")
    if not numbers(firmware.get("version")) or not numbers(driver):
        return verdict(name, "unknown", seen, wanted, hint)
    pairs = [(driver, firmware.get("compatible") or []), (firmware["version"], package.get("compatible") or [])]
    told = [within(version, ranges) for version, ranges in pairs if ranges]
    if not told:
        return verdict(name, "unknown", seen + "; neither says what it is compatible with", wanted, hint)
    # The later one of the two lists the earlier: one list is enough.
    if any(told):
        return verdict(name, "pass", seen, wanted)
    listed = ", ".join(
        "{0} to {1}".format(first, last.rstrip(".")) for unused, ranges in pairs for first, last in ranges[:4]
    )
    return verdict(name, "warn", f"{seen}; compatible: {listed}", wanted, CHECKS[name]["remedy"])


def judge_replica(members, facts_by_host, policy):
    """Is it one driver on all nodes of a replica? ``{host: [verdict]}``."""
    if len(members) < 2:
        return {node["host"]: [] for node in members}
    told = [(node["host"], driver_of(facts_by_host.get(node["host"]) or {})) for node in members]
    seen = ", ".join("{0}: {1}".format(host, version or "not told") for host, version in told)
    known = {version for unused, version in told if version}
    word = "fail" if len(known) > 1 else "pass" if all(version for unused, version in told) else "unknown"
    made = verdict("driver.same", word, seen, "one driver version on all nodes", CHECKS["driver.same"]["remedy"])
    return {node["host"]: [dict(made)] for node in members}
