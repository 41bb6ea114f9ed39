# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan and its renderings as filters. They read the collection's data files; what they do is in module_utils."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Mapping
from pathlib import Path

import yaml
from ansible import context
from ansible.module_utils.common.yaml import yaml_load
from ansible.module_utils.parsing.convert_bool import boolean
from ansible_collections.ascend_ops.vllm.plugins.module_utils._checks import preflight as checks_preflight
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common import secrets as common_secrets
from ansible_collections.ascend_ops.vllm.plugins.module_utils._facts import peers
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan import inputs as plan_input
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan import inventory, model, render
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan import plan as plan_plan

ROLES = Path(__file__).resolve().parent.parent.parent / "roles"
RECIPES = ROLES / "vllm_recipe" / "files" / "recipes"


@functools.lru_cache(maxsize=None)
def _read(path):
    return yaml_load(Path(path).read_text(encoding="utf-8"))


@functools.lru_cache(maxsize=None)
def releases():
    """What is known of the vllm-ascend releases and of the options that vLLM had in them."""
    data = dict(_read(RECIPES.parent / "releases.yml"))
    data.update(_read(RECIPES.parent / "vllm_options.yml"))
    return data


@functools.lru_cache(maxsize=None)
def known_inputs():
    """The names of all inputs of all roles."""
    return tuple(
        name
        for path in sorted(ROLES.glob("*/meta/argument_specs.yml"))
        for entry in _read(path)["argument_specs"].values()
        for name in entry.get("options", {})
    )


@functools.lru_cache(maxsize=None)
def role_options():
    """Name to spec of all inputs of all roles."""
    return {
        name: option
        for path in sorted(ROLES.glob("*/meta/argument_specs.yml"))
        for entry in _read(path)["argument_specs"].values()
        for name, option in (entry.get("options") or {}).items()
    }


def recipe_of(name):
    path = Path(name)
    if path.suffix not in (".yml", ".yaml"):
        path = RECIPES / (name + ".yml")
    known = sorted(item.stem for item in RECIPES.glob("*.yml"))
    if not os.path.isfile(path):
        raise plan_input.PlanError(
            [
                "vllm_recipe_name is '{0}'; wanted one of {1}, or the path of a .yml file on this machine.{2}".format(
                    name, ", ".join(known), plan_input.nearest(name, known)
                )
            ]
        )
    try:
        recipe = _read(path)
    except yaml.YAMLError as error:
        raise plan_input.PlanError(
            ["the recipe {0} is no YAML: {1}".format(path, " ".join(str(error).split()))]
        ) from error
    except (OSError, ValueError) as error:
        raise plan_input.PlanError([f"the recipe {path} cannot be read: {error}"]) from error
    errors = plan_input.recipe_errors(recipe, [release["name"] for release in releases()["vllm_releases"]])
    if errors:
        raise plan_input.PlanError([f"the recipe {path} {text}" for text in errors])
    return recipe


def plan(inputs, forks=0):
    """What each node runs, from the inputs of all nodes; see ``_plan.plan.plan``."""
    errors = []
    nodes = []
    for given in inputs:
        try:
            recipe = recipe_of(str(given["settings"]["name"]))
        except plan_input.PlanError as error:
            errors += ["node {0}: {1}".format(given["host"], text) for text in error.errors]
            continue
        nodes.append(
            {
                "host": given["host"],
                "groups": given["groups"],
                "settings": dict(given["settings"], recipe=recipe),
                "secrets": given.get("secrets") or [],
            }
        )
    if errors:
        return {"nodes": [], "errors": errors, "warnings": []}
    planned = plan_plan.plan(nodes, releases())
    if not planned["errors"]:
        planned["index"] = index_of(planned["nodes"])
    if 0 < forks < len(nodes):
        planned["warnings"].append(
            f"{forks} forks for {len(nodes)} nodes: nodes of a replica are not watched at the same time, so that a dead one may be "
            f"noticed late. Run with --forks {len(nodes)}."
        )
    return planned


def secrets_given(secrets):
    """The names of vllm_service_secrets, and what is wrong with them: all that a plan may know of secrets."""
    if isinstance(secrets, Mapping):
        # A value from a vault is a text of a class of its own in some versions of ansible-core.
        secrets = {
            name: str(value) if "Encrypted" in type(value).__name__ else value for name, value in secrets.items()
        }
    errors = common_secrets.secrets_errors(secrets)
    return {"names": [] if errors else sorted(secrets), "errors": errors}


def index_of(nodes):
    """Where each host stands in a plan, and the hosts of its replica: so that no step looks through all nodes for it."""
    replicas = {}
    for node in nodes:
        replicas.setdefault(node["replica"], []).append(node["host"])
    return {node["host"]: {"at": at, "mates": replicas[node["replica"]]} for at, node in enumerate(nodes)}


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


def plan_process(plan, host):
    """The process of a plan that stands on a host."""
    return plan["nodes"][plan["index"][host]["at"]]


def plan_members(plan, host):
    """The hosts of the replica that a host belongs to."""
    return plan["index"][host]["mates"]


class FilterModule:
    """Filters of ascend_ops.vllm."""

    def filters(self):
        return {
            "plan_text": render.plan_text,
            "plan_data": render.plan_data,
            "plan_process": plan_process,
            "plan_members": plan_members,
            "plan_processes": model.processes,
            "peers": peers.peers_for,
            "secrets_given": secrets_given,
            "target_groups": inventory.target_groups,
        }
