# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The checks of a node as a server: whole or a part of one, and not too busy to answer."""

from __future__ import annotations

from ansible_collections.ascend_ops.vllm.plugins.module_utils._checks.check import Check
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.verdict import (
    PASS,
    SKIPPED,
    UNKNOWN,
    WARN,
    verdict,
)

# Chips of a whole server: eight NPUs, on an A3 of two chips each. Some A2 have 16.
WHOLE = {"a2": 8, "a3": 16}
BUSY_PRESSURE = 20  # percent of the time in which something waited: worth to be told
CHECKS = {
    "node.virtual": Check(
        why="A virtual machine that was given some of a server's NPUs has neither the chips nor the HBM that a recipe for the "
        "whole server counts on, and may lack links between those that it has. Its chips are not lost: no reset brings more.",
        read="vendor and product in /sys/class/dmi/id, and the number of /dev/davinciN",
        remedy="Give the virtual machine all NPUs of the server; or set vllm_recipe_devices to those that it has, and "
        "tensor-parallel-size in vllm_recipe_args to a number that divides them.",
    ),
    "node.load": Check(
        why="On a busy node the engine, npu-smi or hccn_tool answer late. What depends on their answers is then unknown, and "
        "says nothing about the node; the same load delays the start of the service.",
        read="which source did not answer within npu_preflight_timeout, and whether it did when it was asked once more, alone, "
        "for three times as long; /proc/loadavg, /proc/pressure and the processes that wait in the kernel say why",
        remedy="Find what loads the node ('top', 'iostat -x 1', 'ps -eo stat,comm | grep ^D'), or raise npu_preflight_timeout. "
        "A chip that never answers hangs: 'dmesg | grep -i ascend', then reset it (npu-smi set -t reset).",
    ),
}


def evaluate(node, facts, policy):
    """The verdicts on one node: node.virtual and node.load."""
    return [_virtual(node, facts), _load(facts)]


def _virtual(node, facts):
    name, wanted = "node.virtual", "a whole server, or a virtual machine with all its NPUs"
    product, chips = (facts.get("host") or {}).get("virtual"), facts.get("chips")
    if product == "":
        return verdict(name, PASS, "a real machine", wanted)
    if product is None:
        return verdict(name, SKIPPED, "the firmware does not name the machine", wanted)
    if chips is None:
        return verdict(name, UNKNOWN, f"a virtual machine ({product})", wanted, CHECKS[name].remedy)
    part = len(chips) < WHOLE.get(node["hardware"], 0)
    seen = f"a virtual machine ({product}) with {len(chips)} of {WHOLE.get(node['hardware'], '?')} chips"
    return verdict(name, WARN if part else PASS, seen, wanted, CHECKS[name].remedy)


def _load(facts):
    name, wanted = "node.load", "every source answers in time"
    late, busy = facts.get("late"), _busy(facts.get("busy") or {})
    if late is None:
        return verdict(name, UNKNOWN, "the node did not report it", wanted, CHECKS[name].remedy)
    if not late:
        return verdict(name, PASS, "all answered at once" + (f"; {busy}" if busy else ""), wanted)
    parts = [
        f"{one['source']} did not answer within {one['within']:g} s, "
        + (
            "but when it was asked alone"
            if one["answered"]
            else f"and not when it was asked alone ({one['seconds']:g} s)"
        )
        for one in late
    ]
    return verdict(name, WARN, "; ".join(parts + ([busy] if busy else [])), wanted, CHECKS[name].remedy)


def _busy(busy):
    """What makes the node slow, in words."""
    parts = []
    if busy.get("load"):
        parts.append(f"load {busy['load'][0]:g}" + (f" on {busy['cpus']} CPUs" if busy.get("cpus") else ""))
    for name, title in (("io", "I/O"), ("memory", "memory"), ("cpu", "CPU")):
        share = (busy.get("pressure") or {}).get(name)
        if share and share >= BUSY_PRESSURE:
            parts.append(f"processes waited for {title} {share:.0f} % of the time")
    if busy.get("blocked"):
        parts.append(f"waiting in the kernel: {', '.join(busy['blocked'])}")
    return ", ".join(parts)
