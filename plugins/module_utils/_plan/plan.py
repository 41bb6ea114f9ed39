# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan: (recipe, scenarios, nodes, overrides) -> what each node runs.

Pure: no I/O, no clock, no host is asked. Runs on the controller. What only a node can know stays in the plan as a
named placeholder: ``{NIC}`` (the interface that carries the node's address) and ``{JEMALLOC}`` (the library inside
the image).
"""

from __future__ import annotations

import copy
import ipaddress
import json
import re

from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.inputs import (
    PlanError,
    listed,
    nearest,
    settings_errors,
    shown,
)
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.node import (
    args_of,
    argv,
    container_of,
    environment,
    fill,
    listen_of,
    override_container,
    ports_of,
    serve_at,
    url_of,
)
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.options import (
    check_options,
    merge,
    move,
    served_name,
    size,
    value_of,
    without_role_options,
)

HARDWARE_OF_GROUP = {"a3": "a3", "a2_primary": "a2", "a2_secondary": "a2"}
ROLE_OF_GROUP = {"a3": "single", "a2_primary": "primary", "a2_secondary": "secondary"}

# Settings that must be the same on all nodes of a replica, by their name without the prefix `vllm_recipe_`.
REPLICA_SETTINGS = (
    "name",
    "release",
    "scenarios",
    "checkpoint",
    "weights_dir",
    "image",
    "image_prefix",
    "image_os",
    "args",
    "env",
    "container",
    "listen",
    "tls",
)

_DIRECTORY = re.compile(r"/[^,\n]*[^,\n/]/*\Z")


def plan(nodes, releases):
    """Work out what each node runs.

    :param nodes: a list of ``{"host": str, "groups": [str], "settings": {...}, "secrets": [str]}``; settings are the inputs
        of the role vllm_recipe without their prefix, plus ``recipe`` (the recipe's data); secrets are names alone.
    :param releases: the content of ``files/releases.yml``: ``vllm_releases``, ``vllm_moved``, ``vllm_option_limits``
        and ``vllm_options``.
    :return: ``{"nodes": [...], "errors": [str], "warnings": [str]}``; nodes of a replica with errors are left out.
    """
    result = {"nodes": [], "errors": [], "warnings": []}
    replicas = {}
    for node in nodes:
        groups = [group for group in HARDWARE_OF_GROUP if group in node["groups"]]
        if len(groups) != 1:
            result["errors"].append(
                "node {0}: is in the groups {1}; wanted exactly one of {2}. Put the node in one group of the "
                "inventory.".format(node["host"], listed(groups), listed(HARDWARE_OF_GROUP))
            )
            continue
        member = dict(node, role=ROLE_OF_GROUP[groups[0]], hardware=HARDWARE_OF_GROUP[groups[0]])
        replicas.setdefault(str(node["settings"].get("replica") or "default"), []).append(member)

    seen_addresses = {}
    for node in nodes:
        address = str(node["settings"].get("address"))
        if address in seen_addresses:
            result["errors"].append(
                "node {0}: has the address {1}, as has node {2}. Give each node its own ansible_host or "
                "vllm_recipe_address.".format(node["host"], address, seen_addresses[address])
            )
        seen_addresses[address] = node["host"]

    for name in replicas:
        try:
            planned, warnings = _plan_replica(name, replicas[name], releases)
        except PlanError as error:
            result["errors"].extend(f"replica {name}: {text}" for text in error.errors)
        else:
            result["nodes"].extend(planned)
            result["warnings"].extend(f"replica {name}: {text}" for text in warnings)
    return result


def _plan_replica(name, members, releases):
    errors = [
        "node {0}: {1}".format(member["host"], text)
        for member in members
        for text in settings_errors(member["settings"])
    ]
    if errors:
        raise PlanError(errors)
    _check_layout(members)
    members = sorted(members, key=lambda member: member["role"] == "secondary")  # stable: secondaries keep their order
    _check_same_settings(members)
    first = members[0]
    settings = first["settings"]
    recipe = settings["recipe"]
    release = _release(settings, recipe, releases)
    deployment = _deployment(recipe, first["hardware"])
    overlays = _overlays(settings, recipe, first["hardware"])
    checkpoint_name, checkpoint = _checkpoint(settings, recipe, deployment)

    env = dict(deployment["env"])
    args = copy.deepcopy(deployment["args"])
    container = copy.deepcopy(deployment["container"])
    args = merge(args, {"quantization": checkpoint.get("quantization")}, fold=True)
    for overlay in overlays:
        env = merge(env, overlay.get("env") or {})
        args = merge(args, overlay.get("args") or {}, fold=True)
        extra = copy.deepcopy(overlay.get("container") or {})
        container["mounts"] = (container.get("mounts") or []) + (extra.pop("mounts", None) or [])
        container = merge(container, extra)
    env = merge(env, first["settings"].get("env") or {})
    env, args, moved_warnings = move(env, args, recipe, release, releases)
    args = merge(args, without_role_options(settings.get("args") or {}), fold=True)
    args = serve_at(args, settings)
    container = override_container(container, settings.get("container") or {})
    check_options(args, env, release, releases)

    weights_dir = str(settings.get("weights_dir") or deployment["weights_dir"])
    if not _DIRECTORY.match(weights_dir):
        raise PlanError([f"vllm_recipe_weights_dir is '{weights_dir}'; wanted an absolute path on the nodes."])
    weights_dir = weights_dir.rstrip("/")
    image = _image(settings, recipe, first["hardware"], release)
    topology, warnings = _topology(args, deployment, members)
    warnings = moved_warnings + warnings

    tokens = {"WeightsDir": weights_dir, "PrimaryNodeIP": str(first["settings"]["address"])}
    model = "{0}/{1}".format(weights_dir, checkpoint["directory"])
    primary_args = fill(args, dict(tokens, NodeIP=tokens["PrimaryNodeIP"]))
    tls = dict(settings.get("tls") or {})
    planned = []
    errors = []
    for index, member in enumerate(members):
        own = member["settings"]
        devices = _devices(own, deployment)
        node_tokens = dict(
            tokens, NodeIP=str(own["address"]), Devices=",".join(str(index) for index, unused in enumerate(devices))
        )
        node_env = dict(env)
        node_args = args_of(member["role"], args, index * topology["dp_local"])
        own_tls = tls if member["role"] != "secondary" else {}
        try:
            ports = ports_of(node_args, node_env, len(devices), member["role"])
            planned.append(
                {
                    "host": member["host"],
                    "role": member["role"],
                    "replica": name,
                    "hardware": member["hardware"],
                    "address": str(own["address"]),
                    "env": environment(node_env, node_tokens),
                    "argv": ["vllm", "serve", model] + argv(fill(node_args, node_tokens)),
                    "secrets": list(member.get("secrets") or []),
                    "container": container_of(container, image, devices, weights_dir, own_tls),
                    "ports": ports,
                    "recipe": {
                        "name": recipe["name"],
                        "architecture": recipe.get("architecture"),
                        "release": release,
                        "checkpoint": checkpoint_name,
                        "scenarios": list(settings.get("scenarios") or []),
                    },
                    "ranks": [index * topology["dp_local"], (index + 1) * topology["dp_local"] - 1, topology["dp"]],
                    "weights": [
                        dict(entry, path="{0}/{1}".format(weights_dir, entry["directory"]))
                        for entry in _checkpoints_read(checkpoint, args, recipe, weights_dir)
                    ],
                    "service": {
                        "url": url_of(primary_args, tokens),
                        "model": served_name(args) or model,
                        "tool_calls": bool(value_of(args, "enable-auto-tool-choice")),
                        "ca_file": str(tls.get("ca") or tls.get("certificate") or ""),
                    },
                    "listen": listen_of(primary_args) if member["role"] != "secondary" else "",
                    "tls": own_tls,
                }
            )
        except PlanError as error:
            errors.extend("node {0}: {1}".format(member["host"], text) for text in error.errors)
    if errors:
        raise PlanError(errors)
    return planned, warnings


# -- layout and settings ------------------------------------------------------------------------------------------


def _check_layout(members):
    hardware = sorted({member["hardware"] for member in members})
    if len(hardware) > 1:
        raise PlanError(
            [
                "holds nodes of {0}: {1}; wanted one kind of hardware. Give each replica a name of its own with "
                "vllm_recipe_replica.".format(
                    " and ".join(hardware),
                    listed("{0} ({1})".format(member["host"], member["hardware"]) for member in members),
                )
            ]
        )
    hosts = {role: [m["host"] for m in members if m["role"] == role] for role in set(ROLE_OF_GROUP.values())}
    way_out = (
        "Set vllm_recipe_replica on the nodes of each replica, or correct the groups; --limit must name all nodes of "
        "a replica."
    )
    if len(hosts["single"]) > 1:
        raise PlanError(
            ["has {0} A3 nodes: {1}; wanted one. {2}".format(len(hosts["single"]), listed(hosts["single"]), way_out)]
        )
    if len(hosts["primary"]) > 1:
        raise PlanError(
            [
                "has {0} primaries: {1}; wanted one node in a2_primary. {2}".format(
                    len(hosts["primary"]), listed(hosts["primary"]), way_out
                )
            ]
        )
    if hosts["secondary"] and not hosts["primary"]:
        raise PlanError(
            [
                "has the secondary {0} and no primary; wanted one node in a2_primary. {1}".format(
                    listed(hosts["secondary"]), way_out
                )
            ]
        )
    errors = []
    for member in members:
        address = member["settings"].get("address")
        try:
            ipaddress.ip_address(str(address))
        except ValueError:
            errors.append(
                "node {0}: its address is '{1}'; wanted an IP address that an interface of the node carries. Set "
                "ansible_host or vllm_recipe_address to it.".format(member["host"], address)
            )
    if errors:
        raise PlanError(errors)


def _check_same_settings(members):
    errors = []
    for key in REPLICA_SETTINGS:
        values = [(shown(member["settings"].get(key)), member["host"]) for member in members]
        for value, host in values[1:]:
            if value != values[0][0]:
                errors.append(
                    f"vllm_recipe_{key} is {values[0][0]} on node {values[0][1]} and {value} on node {host}; wanted the same on all nodes of a "
                    "replica. Set it for the replica and not for a node."
                )
    if errors:
        raise PlanError(errors)


def _release(settings, recipe, releases):
    release = str(settings.get("release") or recipe["release"])
    names = [item["name"] for item in releases["vllm_releases"]]
    if release not in names:
        raise PlanError(
            [
                f"vllm_recipe_release is '{release}'; known vllm-ascend releases are {listed(names)}.{nearest(release, names)}"
            ]
        )
    first, last = recipe["releases"]["first"], recipe["releases"]["last"]
    if not names.index(first) <= names.index(release) <= names.index(last):
        raise PlanError(
            [
                "vllm_recipe_release is '{0}'; the recipe {1} holds for the vllm-ascend releases {2} to {3}. Choose one "
                "of them, or write a recipe for {0}.".format(release, recipe["name"], first, last)
            ]
        )
    return release


def _deployment(recipe, hardware):
    if hardware not in recipe["deployments"]:
        raise PlanError(
            [
                "the recipe {0} has no deployment for {1}; it has {2}. Choose another recipe with "
                "vllm_recipe_name.".format(recipe["name"], hardware, listed(recipe["deployments"]))
            ]
        )
    return recipe["deployments"][hardware]


def _overlays(settings, recipe, hardware):
    names = list(settings.get("scenarios") or [])
    overlays = []
    set_by = {}
    errors = []
    for name in names:
        if name not in recipe["scenarios"]:
            errors.append(
                "vllm_recipe_scenarios holds '{0}'; the recipe {1} has {2}.{3}".format(
                    name, recipe["name"], listed(recipe["scenarios"]), nearest(name, recipe["scenarios"])
                )
            )
            continue
        overlay = recipe["scenarios"][name]
        if hardware not in overlay["hardware"]:
            errors.append(
                "vllm_recipe_scenarios holds '{0}', which is for {1}; these nodes are {2}. Take it out.".format(
                    name, listed(overlay["hardware"]), hardware
                )
            )
            continue
        for kind in ("env", "args"):
            for key, value in (overlay.get(kind) or {}).items():
                other, before = set_by.setdefault((kind, key), (name, value))
                if before != value:
                    errors.append(
                        f"the scenarios '{other}' and '{name}' exclude each other: they set {key} to {shown(before)} and {shown(value)}. Choose one of "
                        "them."
                    )
        overlays.append(overlay)
    if errors:
        raise PlanError(errors)
    return overlays


def _checkpoint(settings, recipe, deployment):
    name = settings.get("checkpoint") or deployment["checkpoint"]
    served = [key for key, value in recipe["checkpoints"].items() if not value.get("draft")]
    if name not in served:
        raise PlanError(
            [
                "vllm_recipe_checkpoint is '{0}'; the recipe {1} serves {2}.{3}".format(
                    name, recipe["name"], listed(served), nearest(name, served)
                )
            ]
        )
    return name, recipe["checkpoints"][name]


def _checkpoints_read(checkpoint, args, recipe, weights_dir):
    """The checkpoints that a node must have: the served one, and the draft model when the command names it."""
    read = [checkpoint]
    command = json.dumps(fill(args, {"WeightsDir": weights_dir}))
    for other in recipe["checkpoints"].values():
        if other.get("draft") and '"{0}/{1}"'.format(weights_dir, other["directory"]) in command:
            read.append(other)
    return [
        {"directory": item["directory"], "source": item["source"], "draft": bool(item.get("draft"))} for item in read
    ]


def _image(settings, recipe, hardware, release):
    if settings.get("image"):
        image = str(settings["image"])
    else:
        tag = (
            release
            + ("-a3" if hardware == "a3" else "")
            + ("-openeuler" if settings.get("image_os") == "openeuler" else "")
        )
        image = "{0}{1}:{2}".format(settings.get("image_prefix") or "", recipe["image"], tag)
    path, digest, unused = image.partition("@")
    folder, slash, name = path.rpartition("/")  # a colon before the last slash is a registry's port
    name, unused, tag = name.partition(":")
    if name.endswith("vllm-ascend") and (tag or not digest):
        made_for = "310p" if "-310p" in tag else "a3" if re.search(r"-a3(-|$)", tag) else "a2"
        if made_for != hardware:
            raise PlanError(
                [
                    "the image {0} is made for {1}; these nodes are {2}. Wanted a tag {3}; set vllm_recipe_image, or "
                    "leave it empty to have it chosen.".format(
                        image, made_for, hardware, "with -a3" if hardware == "a3" else "without -a3 and -310p"
                    )
                ]
            )
    return image


# -- topology -----------------------------------------------------------------------------------------------------


def _topology(args, deployment, members):
    tp = size(args, "tensor-parallel-size")
    pp = size(args, "pipeline-parallel-size")
    pcp = size(args, "prefill-context-parallel-size")
    dp = size(args, "data-parallel-size")
    local = size(args, "data-parallel-size-local", dp if len(members) == 1 else 1)
    count = len(members)
    errors = []
    warnings = []
    if local * count != dp:
        errors.append(
            "data-parallel-size is {0} with {1} rank(s) per node, which takes {2} node(s); the replica has {3}: {4}. "
            "Add or remove nodes in a2_secondary (--limit must name all nodes of a replica), or set data-parallel-size and "
            "data-parallel-size-local in vllm_recipe_args.".format(
                dp, local, f"{dp / float(local):g}", count, listed(m["host"] for m in members)
            )
        )
    for member in members:
        chips = len(_devices(member["settings"], deployment))
        needed = tp * pp * pcp * local
        if needed > chips:
            errors.append(
                "node {0}: needs {1} chips (tensor parallel {2} x pipeline {3} x prefill context {4} x {5} local data "
                "parallel rank(s)); it has {6}. Lower the sizes in vllm_recipe_args, or correct vllm_recipe_chips or "
                "vllm_recipe_devices.".format(member["host"], needed, tp, pp, pcp, local, chips)
            )
        elif needed < chips:
            warnings.append("node {0}: {1} of {2} chips are used.".format(member["host"], needed, chips))
    if errors:
        raise PlanError(errors)
    return {"dp": dp, "dp_local": local}, warnings


def _devices(settings, deployment):
    """The numbers of the ``/dev/davinciN`` that a node gives to the container."""
    if settings.get("devices"):
        return [int(number) for number in settings["devices"]]
    return list(range(int(settings.get("chips") or deployment["chips"])))
