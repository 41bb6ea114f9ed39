# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The settings of a host, and their live values on a node."""

from __future__ import annotations

import os
import re
from typing import Any, NamedTuple

from ansible_collections.ascend_ops.vllm.plugins.module_utils._tuning.host import (
    Host,
    TuningError,
    count_cpus,
    shorten,
    squeeze,
)

GOVERNORS = "/sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor"
SCHED_SYSCTL = "/proc/sys/kernel/sched_migration_cost_ns"
SCHED_DEBUGFS = "/sys/kernel/debug/sched/migration_cost_ns"


class Setting(NamedTuple):
    """A desired value: *kind* is governor, sysctl or sched_migration_cost_ns; *name* is the sysctl or the kind."""

    kind: str
    name: str
    value: str


class Seen(NamedTuple):
    """The live values of a setting by kernel file; none if the node does not have it.

    *problem* says why the setting is not possible on this node; *note* is anything else that an operator may want to know.
    """

    live: dict[str, str]
    note: str = ""
    problem: str = ""


def parse_settings(raw: list[dict[str, Any]]) -> list[Setting]:
    """Validate the module's list of ``{kind, name, value}``; an entry without a value is dropped, TuningError if invalid."""
    settings: list[Setting] = []
    for entry in raw:
        kind, value = entry["kind"], squeeze(entry.get("value"))
        name = entry.get("name") or ("" if kind == "sysctl" else kind)
        if not name:
            raise TuningError(f"a setting of kind sysctl needs a name, such as vm.swappiness (its value is {value!r})")
        if kind == "sysctl":
            sysctl_path(name)
        if not value:
            continue
        if kind == "governor" and not re.match(r"[A-Za-z0-9_-]+$", value):
            raise TuningError(f"governor {value!r} is not the name of a governor: wanted one word, such as performance")
        if kind == "sched_migration_cost_ns" and not re.match(r"[0-9]+$", value):
            raise TuningError(f"sched_migration_cost_ns {value!r} is not a whole number of nanoseconds")
        if (kind, name) in [(other.kind, other.name) for other in settings]:
            raise TuningError(f"{name} is listed twice in the settings: remove one")
        settings.append(Setting(kind, name, value))
    return settings


def sysctl_path(name: str) -> str:
    """The path of a sysctl below /proc/sys, TuningError for an invalid name; a slash in the name stands for a dot."""
    parts = [part.replace("/", ".") for part in name.split(".")]
    if not re.match(r"[A-Za-z0-9_./:@-]+$", name) or any(part.strip(".") == "" for part in parts) or len(parts) < 2:
        raise TuningError(f"{name!r} is not a sysctl name: wanted words separated by dots, such as vm.swappiness")
    return "/proc/sys/" + "/".join(parts)


def look(host: Host, setting: Setting) -> Seen:
    """Read the live values of a setting."""
    if setting.kind == "governor":
        return _governors(host, setting.value)
    if setting.kind == "sysctl":
        return _sysctl(host, setting.name)
    return _sched(host)


def _governors(host: Host, wanted: str) -> Seen:
    live: dict[str, str] = {}
    skipped: list[str] = []
    lacking: dict[str, list[str]] = {}
    unchecked = False
    for path in host.find(GOVERNORS):
        cpu = path.split("/")[5]
        try:
            live[path] = host.value(path)
        except OSError:
            skipped.append(cpu)  # the kernel's answer for a CPU that is offline
            continue
        try:
            available = host.value(os.path.dirname(path) + "/scaling_available_governors").split()
        except OSError:
            unchecked = True
            continue
        if wanted not in available:
            lacking.setdefault(" ".join(available), []).append(cpu)
    if not live:
        return Seen({}, "not available on this node: no CPU has cpufreq (a VM, or the firmware controls the frequency)")
    notes = [count_cpus(len(live))]
    if skipped:
        notes.append(f"skipped, offline: {shorten(skipped)}")
    if unchecked:
        notes.append("this kernel does not list its governors")
    problem = "; ".join(
        f"governor {wanted!r} does not exist on {shorten(cpus)}: available there: {offer or 'none'}. Choose one of "
        f"these, load the kernel module cpufreq_{wanted} if the kernel has it, or omit the governor"
        for offer, cpus in lacking.items()
    )
    return Seen(live, "; ".join(notes), problem)


def _sysctl(host: Host, name: str) -> Seen:
    path = sysctl_path(name)
    if not os.path.isfile(host.at(path)):
        return Seen({}, f"not available on this node: its kernel has no {name}")
    try:
        return Seen({path: host.value(path)})
    except OSError as error:
        return Seen({}, "", f"sysctl {name} cannot be read ({error.strerror}): omit it")


def _sched(host: Host) -> Seen:
    for path in (SCHED_SYSCTL, SCHED_DEBUGFS):
        if not os.path.isfile(host.at(path)):
            continue
        try:
            return Seen({path: host.value(path)}, path)
        except OSError as error:
            return Seen({}, f"not available on this node: {path} cannot be read ({error.strerror})")
    debugfs = host.at("/sys/kernel/debug")
    if os.path.isdir(debugfs) and not os.listdir(debugfs):
        return Seen(
            {},
            "not available on this node: Linux 5.13 and later have no kernel.sched_migration_cost_ns, and debugfs is not "
            "mounted at /sys/kernel/debug",
        )
    return Seen({}, "not available on this node: its kernel has it neither as sysctl nor in debugfs")
