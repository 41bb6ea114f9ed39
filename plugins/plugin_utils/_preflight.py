# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The preflight from what the roles give: what is demanded of the nodes, saved facts, how the nodes are reached."""

from __future__ import annotations

import json
from pathlib import Path

from ansible import context
from ansible.module_utils.parsing.convert_bool import boolean
from ansible_collections.ascend_ops.vllm.plugins.module_utils._checks import preflight
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.files import releases

# ansible-core, and the oldest Python that it runs on nodes with.
NODE_PYTHON = (("2.20", "3.9"), ("2.18", "3.8"), ("2.17", "3.7"), ("2.16", "3.6"))


def evaluate(processes, facts, min_driver="", ansible_core=""):
    """The verdicts on all nodes of a plan, a report per replica; see ``_checks.preflight.evaluate``.

    :param processes: the processes of the plan.
    :param facts: host to its facts, or ``{"error": str}``.
    :param min_driver: the oldest driver to accept; empty for none.
    :param ansible_core: the version of this controller's ansible-core; empty for unknown.
    """
    drivers, cann = {}, ""
    for release in releases()["vllm_releases"]:
        if processes and release["name"] == processes[0]["recipe"]["release"]:
            cann = release["cann"]
            drivers = releases()["vllm_cann_drivers"].get(".".join(cann.split(".")[:2]), {})
    series = [int(part) for part in ansible_core.split(".")[:2]] if ansible_core else []
    oldest = next((python for core, python in NODE_PYTHON if [int(part) for part in core.split(".")] <= series), "")
    policy = {
        "min_driver": min_driver,
        "driver_min": drivers.get("min", ""),
        "cann": cann,
        "cann_drivers": releases()["vllm_cann_drivers"],
        # What this collection itself needs is 3.7.
        "min_python": oldest if oldest not in ("", "3.6") else "3.7",
    }
    return preflight.evaluate(processes, facts, policy)


def saved_facts(directory, host):
    """The facts of a node that were saved at another time, from ``<directory>/<host>.json``."""
    path = Path(directory) / (host + ".json")
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        return {"error": "no saved facts in {0}: {1}".format(path, getattr(error, "strerror", None) or error)}
    return facts if isinstance(facts, dict) else {"error": f"{path} holds no facts of a node"}


SSH = ("ssh", "smart", "ansible.builtin.ssh")


def slow_connections(connections, pipelining):
    """A warning where nodes are reached over ssh without pipelining, which changes no verdict; else an empty text.

    :param connections: host to ``{"type", "pipelining"}``, each empty where the inventory does not set it.
    :param pipelining: what the configuration says; variables of a node go before.
    """
    transport = context.CLIARGS.get("connection") or "ssh"
    slow = []
    for host, given in connections.items():
        value = pipelining if given.get("pipelining", "") == "" else given["pipelining"]
        if (given.get("type") or transport) in SSH and not boolean(value, strict=False):
            slow.append(host)
    if not slow:
        return ""
    return (
        "warning: pipelining is off for {}{}: each step opens several sessions on a node instead of one. Set "
        "'pipelining = True' under [connection] in ansible.cfg, as this collection's own has it, or "
        "ANSIBLE_PIPELINING=true. With become, sudo must not have requiretty.".format(
            ", ".join(slow[:3]), f" and {len(slow) - 3} more" if len(slow) > 3 else ""
        )
    )
