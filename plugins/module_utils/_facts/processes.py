# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose a process is, and which processes have a chip open, from /proc alone: no engine has to answer for that."""

from __future__ import annotations

import os
import re

from ansible_collections.ascend_ops.vllm.plugins.module_utils._facts.host import CONTAINER

CHIP = re.compile(r"/dev/davinci\d+$")
TOOLS = ("npu-smi", "hccn_tool")  # they open the chips that they ask, ours among them


def owner(pid, proc="/proc"):
    """The id of the innermost container of a process, an empty text for a process outside containers, None if not known."""
    try:
        with open(f"{proc}/{pid}/cgroup") as stream:
            groups = CONTAINER.findall(stream.read())
    except OSError:
        return None
    return groups[-1] if groups else ""


def owners(npu, proc="/proc"):
    """``{pid: owner}`` of all processes that npu-smi lists; the pids are texts, as JSON has them."""
    listed = [process for device in npu.get("devices") or () for process in device["processes"]]
    pids = {process["pid"] for process in listed + list(npu.get("unplaced_processes") or ())}
    return {str(pid): owner(pid, proc) for pid in sorted(pids)}


def holders(chips, proc="/proc"):
    """The processes that have some chips open: ``[{pid, name, container, devices}]``; None if /proc cannot be read.

    A container may show a chip under another number, so devices are told apart by their numbers of device, where those
    differ.

    :param chips: paths such as /dev/davinci0.
    """
    by_device = {}
    for path in chips:
        try:
            by_device.setdefault(os.stat(path).st_rdev, []).append(path)
        except OSError:
            continue
    try:
        pids = sorted(int(name) for name in os.listdir(proc) if name.isdigit())
    except OSError:
        return None
    found = []
    for pid in pids:
        devices = _open_chips(f"{proc}/{pid}/fd", by_device) & set(chips)
        name = _name(f"{proc}/{pid}") if devices else ""
        if devices and name not in TOOLS:
            by_number = sorted(devices, key=lambda path: (len(path), path))
            found.append({"pid": pid, "name": name, "container": owner(pid, proc), "devices": by_number})
    return found


def _open_chips(folder, by_device):
    result = set()
    try:
        names = os.listdir(folder)
    except OSError:
        return result
    for name in names:
        try:
            target = os.readlink(f"{folder}/{name}")
            if CHIP.match(target):
                same = by_device.get(os.stat(f"{folder}/{name}").st_rdev) or [target]
                result.add(same[0] if len(same) == 1 else target)
        except OSError:
            continue
    return result


def _name(folder):
    """The name that a process gives itself, without its arguments; an empty text if it has ended."""
    for file in ("cmdline", "comm"):
        try:
            with open(f"{folder}/{file}", "rb") as stream:
                words = stream.read(4096).decode("utf-8", "replace").replace("\0", " ").split()
        except OSError:
            return ""
        if words:
            return os.path.basename(words[0])
    return ""
