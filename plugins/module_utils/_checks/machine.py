# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The check that every node of a plan is a machine of its own."""

from __future__ import annotations

from ansible_collections.ascend_ops.vllm.plugins.module_utils._checks.check import Check
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.verdict import FAIL, PASS, UNKNOWN, verdict

MACHINE = "node.machine"
CHECKS = {
    MACHINE: Check(
        why="Two hosts of the inventory that are one machine share its chips, ports and files: nothing that is deployed "
        "for one of them leaves the other intact. Addresses, chips and ports then appear to be wrong as well.",
        read="a digest of /etc/machine-id and the kernel's boot id, on all nodes of the plan. Cloned machines, which have "
        "one machine id, have different boot ids.",
        remedy="Correct ansible_host of one of them. With ansible-pull or `--connection local`, set "
        "`ansible_connection: ssh` for the other nodes (docs/scale.md).",
    ),
}
WANTED = "a machine of its own"


def evaluate_plan(nodes, facts_by_host, policy):
    """Compare all nodes of a plan, whichever replica they belong to: ``{host: [verdict]}``."""
    machines = {node["host"]: _machine_of(facts_by_host.get(node["host"])) for node in nodes}
    hosts_of = {}
    for host, machine in machines.items():
        hosts_of.setdefault(machine, []).append(host)
    return {host: [_verdict(host, machine, hosts_of[machine])] for host, machine in machines.items()}


def _machine_of(facts):
    machine = facts.get("machine_id") if isinstance(facts, dict) else None
    return machine if isinstance(machine, str) and machine else None


def _verdict(host, machine, hosts):
    if machine is None:
        remedy = "Check that /proc/sys/kernel/random/boot_id can be read on the node."
        return verdict(MACHINE, UNKNOWN, "the node did not report its machine id", WANTED, remedy)
    others = [other for other in hosts if other != host]
    if not others:
        return verdict(MACHINE, PASS, f"machine id {machine}", WANTED)
    more = f" and {len(others) - 3} more" if len(others) > 3 else ""
    seen = f"is the same machine as {', '.join(others[:3])}{more} (machine id {machine})"
    return verdict(MACHINE, FAIL, seen, WANTED, CHECKS[MACHINE].remedy.replace("`", "'"))
