# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan, its parts and its renderings as filters; what they do is in module_utils."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from ansible import context
from ansible.module_utils.parsing.convert_bool import boolean
from ansible_collections.ascend_ops.vllm.plugins.module_utils._checks import preflight as checks_preflight
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common import secrets as common_secrets
from ansible_collections.ascend_ops.vllm.plugins.module_utils._facts import peers
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan import inventory, model, text
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan import plan as planner
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.files import recipe_of, releases


def plan(inputs, forks=0):
    """What runs on each node, as the data of a plan; see ``_plan.model``.

    :param inputs: what vllm_inputs returns for each node; see ``_plan.inventory.nodes_of``.
    :param forks: how many nodes Ansible works on at a time; 0 for no warning.
    """
    nodes, errors = inventory.nodes_of(inputs, recipe_of)
    if errors:
        return model.Plan(errors=errors).to_data()
    planned = planner.plan(nodes, releases())
    planned["warnings"] += inventory.forks_warnings(forks, len(nodes))
    return planned


def secrets_given(secrets):
    """What a plan may know of vllm_service_secrets: ``{"names": [str], "errors": [str]}``, without a value."""
    if isinstance(secrets, Mapping):
        # A value from a vault is a text of a class of its own in some versions of ansible-core.
        secrets = {
            name: str(value) if "Encrypted" in type(value).__name__ else value for name, value in secrets.items()
        }
    errors = common_secrets.secrets_errors(secrets)
    return {"names": [] if errors else sorted(secrets), "errors": errors}


# ansible-core, and the oldest Python that it runs on nodes with.
NODE_PYTHON = (("2.20", "3.9"), ("2.18", "3.8"), ("2.17", "3.7"), ("2.16", "3.6"))


def preflight(nodes, facts, min_driver="", ansible_core=""):
    """The verdicts on all nodes of a plan; see ``_checks.preflight.judge``."""
    drivers = {}
    for release in releases()["vllm_releases"]:
        if nodes and release["name"] == nodes[0]["recipe"]["release"]:
            drivers = releases()["vllm_cann_drivers"].get(".".join(release["cann"].split(".")[:2]), {})
    series = [int(part) for part in ansible_core.split(".")[:2]] if ansible_core else []
    oldest = next((python for core, python in NODE_PYTHON if [int(part) for part in core.split(".")] <= series), "")
    policy = {
        "min_driver": min_driver,
        "driver_min": drivers.get("min", ""),
        # What this collection itself needs is 3.7.
        "min_python": oldest if oldest not in ("", "3.6") else "3.7",
    }
    return checks_preflight.judge(nodes, facts, policy)


def saved_facts(directory, host):
    """What a node told at another time, from ``<directory>/<host>.json``."""
    path = Path(directory) / (host + ".json")
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        return {"error": "no saved facts in {0}: {1}".format(path, getattr(error, "strerror", None) or error)}
    return told if isinstance(told, dict) else {"error": f"{path} holds no facts of a node"}


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


class FilterModule:
    """Filters of ascend_ops.vllm."""

    def filters(self):
        """Name to function."""
        return {
            "plan_text": text.plan_text,
            "plan_data": text.plan_data,
            "plan_process": model.of_host,
            "plan_members": model.member_hosts,
            "plan_processes": model.processes,
            "peers": peers.peers_for,
            "secrets_given": secrets_given,
            "target_groups": inventory.target_groups,
        }
