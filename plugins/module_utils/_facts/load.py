# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Gather what makes a node slow: load, pressure, and the processes that wait for a disk or a driver."""

from __future__ import annotations

import re

from ansible_collections.ascend_ops.vllm.plugins.module_utils._facts.host import Reader, count

SHOWN = 5


def gather(root="/"):
    """``{load, cpus, pressure, blocked}``; None for what the kernel does not tell. *root* is the parent of /proc and /sys.

    ``load`` are the averages of /proc/loadavg, ``pressure`` the share of the last 10 s, in percent, in which a process waited
    for ``cpu``, ``io`` or ``memory`` (/proc/pressure, kernels from 4.20 on), ``blocked`` the names of up to SHOWN processes
    in uninterruptible sleep: on a disk, a network file system or the NPU driver.
    """
    reader = Reader(root)
    pressure = {name: some_of(reader.text("proc/pressure/" + name)) for name in ("cpu", "io", "memory")}
    load = re.findall(r"\d+\.\d+", reader.text("proc/loadavg") or "")[:3]
    return {
        "load": [float(word) for word in load] or None,
        "cpus": count(reader.line("sys/devices/system/cpu/online")),
        "pressure": pressure if any(value is not None for value in pressure.values()) else None,
        "blocked": blocked(reader),
    }


def some_of(text):
    """The value of ``some avg10`` in a file of /proc/pressure, or None."""
    match = re.search(r"^some avg10=(\d+\.\d+)", text or "", re.M)
    return float(match.group(1)) if match else None


def blocked(reader):
    """The names of up to SHOWN processes in uninterruptible sleep; kernel threads, which have no command, are left out."""
    names = []
    for pid in reader.names("proc", r"\d+$"):
        match = re.match(r"\d+ \((.*)\) D ", reader.text(f"proc/{pid}/stat") or "", re.S)
        if match and reader.text(f"proc/{pid}/cmdline"):
            names.append(match.group(1))
    return sorted(set(names))[:SHOWN]
