# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The checks of driver and firmware: against the image's CANN, against each other, and the same on all nodes."""

from __future__ import annotations

import re

from ansible_collections.ascend_ops.vllm.plugins.module_utils._checks.check import Check
from ansible_collections.ascend_ops.vllm.plugins.module_utils._checks.image import series
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.verdict import (
    FAIL,
    PASS,
    SKIPPED,
    UNKNOWN,
    WARN,
    verdict,
)
from ansible_collections.ascend_ops.vllm.plugins.module_utils._npu.checks import parse_driver_version

CHECKS = {
    "npu.driver": Check(
        why="Each CANN series is published for a range of drivers; with an older driver kernels or collectives fail, some "
        "only after minutes.",
        source="https://github.com/vllm-project/vllm-ascend/issues/5468",
        read="the driver's version in `npu-smi info`, otherwise in /usr/local/Ascend/driver/version.info, compared with the "
        "table vllm_cann_drivers, which names its own sources. The series of CANN is that in the image, or that of its release "
        "where the image cannot be read",
        remedy="Update the NPU driver and firmware, or choose an image for this driver.",
    ),
    "npu.firmware": Check(
        why="Driver and firmware are released in pairs; an incompatible pair hangs or loses chips.",
        read="Version and compatible_version_drv in /usr/local/Ascend/firmware/version.info, and compatible_version_fw in "
        "that of the driver; the files give the compatible versions as ranges",
        remedy="Install the firmware that was released with the driver (on a new server the driver first, for an update the "
        "firmware first), and reboot.",
    ),
    "driver.same": Check(
        why="HCCL between nodes with different drivers times out or fails in its first collective.",
        read="the driver's version on all nodes of the replica",
        remedy="Install the same driver on all nodes of the replica.",
    ),
}


def evaluate(node, facts, policy):
    """The verdicts on driver and firmware of one node.

    :param policy: ``min_driver``: required, an older driver fails. ``driver_min``: the oldest driver that the image's CANN
        is published for, ``driver_paired``: the one that it was published with; an older driver gives a warning.
        ``cann_drivers``: both by series of CANN, ``{"9.0": {"min", "paired"}}``, for an image that has another CANN than its
        release. Each may be empty.
    """
    return [_driver(facts, of_image(facts, policy or {})), _firmware(facts)]


def of_image(facts, policy):
    """The policy with the oldest driver for the CANN that the image really has, if that was read."""
    image = (facts.get("engine") or {}).get("image") or {}
    drivers = (policy.get("cann_drivers") or {}).get(series((image.get("cann") or {}).get("version")))
    return dict(policy, driver_min=drivers["min"]) if drivers else policy


def driver_of(facts):
    """The driver's version, or None."""
    return (facts.get("npu") or {}).get("driver_version") or facts.get("driver_package")


def _driver(facts, policy):
    name = "npu.driver"
    version = driver_of(facts)
    seen = f"driver {version or 'version not reported'}"
    required, oldest, paired = (policy.get(key) for key in ("min_driver", "driver_min", "driver_paired"))
    least = required or oldest
    wanted = f"driver {least or paired} or later"
    if not least and not paired:
        return verdict(name, SKIPPED, seen + "; the image's CANN is not known", "a driver for the image's CANN")
    limits = [(limit, word) for limit, word in ((required, FAIL), (oldest, WARN), (paired, WARN)) if limit]
    found = parse_driver_version(version)
    if found is None or any(parse_driver_version(limit) is None for limit, _word in limits):
        return verdict(name, UNKNOWN, seen, wanted, "Read /usr/local/Ascend/driver/version.info on the node.")
    for limit, word in limits:
        if found < parse_driver_version(limit):
            if limit == paired and limit != oldest and word == WARN:
                wanted = f"driver {limit}, which the image's CANN was published with, or later"
            return verdict(name, word, seen, wanted, CHECKS[name].remedy)
    return verdict(name, PASS, seen, wanted)


def numbers(version):
    """A version as a list that can be compared: 25.5.1. and 23.0.rc3 in parts; a release candidate precedes its release."""
    parts = []
    for word in re.findall(r"rc\d+|\d+", (version or "").lower()):
        parts.append((0, int(word[2:])) if word.startswith("rc") else (1, int(word)))
    return parts


def within(version, ranges):
    """Whether a version is in one of some ranges ``[first, last]``.

    Only as many parts are compared as the bound has: 25.5.1.b12 counts as 25.5.1.
    """
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
        return verdict(name, UNKNOWN, "no readable /usr/local/Ascend/firmware/version.info", wanted, hint)
    driver = driver_of(facts) or package.get("version")
    seen = f"firmware {firmware.get('version') or 'not reported'}, driver {driver or 'not reported'}"
    if not numbers(firmware.get("version")) or not numbers(driver):
        return verdict(name, UNKNOWN, seen, wanted, hint)
    pairs = [(driver, firmware.get("compatible") or []), (firmware["version"], package.get("compatible") or [])]
    matches = [within(version, ranges) for version, ranges in pairs if ranges]
    if not matches:
        return verdict(name, UNKNOWN, seen + "; neither lists compatible versions", wanted, hint)
    # The later of the two lists the earlier one, so that one match is enough.
    if any(matches):
        return verdict(name, PASS, seen, wanted)
    listed = ", ".join(f"{first} to {last.rstrip('.')}" for _version, ranges in pairs for first, last in ranges[:4])
    return verdict(name, WARN, f"{seen}; compatible: {listed}", wanted, CHECKS[name].remedy)


def evaluate_replica(members, facts_by_host, policy):
    """Whether all nodes of a replica have the same driver: ``{host: [verdict]}``."""
    if len(members) < 2:
        return {node["host"]: [] for node in members}
    name = "driver.same"
    versions = {node["host"]: driver_of(facts_by_host.get(node["host"]) or {}) for node in members}
    seen = ", ".join(f"{host}: {version or 'not reported'}" for host, version in versions.items())
    known = {version for version in versions.values() if version}
    word = FAIL if len(known) > 1 else PASS if all(versions.values()) else UNKNOWN
    result = verdict(name, word, seen, "one driver version on all nodes", CHECKS[name].remedy)
    return {host: [dict(result)] for host in versions}
