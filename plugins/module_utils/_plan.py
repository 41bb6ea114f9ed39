# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan: (recipe, scenarios, nodes, overrides) -> what each node runs.

Pure: no I/O, no clock, no host is asked. Runs on the controller. What only a node can know stays in the plan as a
named placeholder: ``{NIC}`` (the interface that carries the node's address) and ``{JEMALLOC}`` (the library inside
the image).
"""

from __future__ import absolute_import, annotations, division, print_function

__metaclass__ = type

import copy
import difflib
import ipaddress
import json
import re

from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan_input import settings_errors, shown

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
)

NPU_MANAGEMENT_DEVICES = ("/dev/davinci_manager", "/dev/devmm_svm", "/dev/hisi_hdc")
# Driver parts that the container shares with the host. Which of them exist depends on the driver's version.
DRIVER_MOUNTS = (
    "/usr/local/dcmi",
    "/usr/local/Ascend/driver/tools/hccn_tool",
    "/usr/local/bin/npu-smi",
    "/usr/local/sbin/npu-smi",  # where newer drivers put it
    "/usr/local/Ascend/driver/lib64",
    "/usr/local/Ascend/driver/version.info",
    "/etc/ascend_install.info",
    # Not in the guide. Without it a service starts and answers wrongly: vllm-ascend issues 7711 and 4866.
    "/etc/hccn.conf",
)
SERVICE_DIR = "/etc/ascend-vllm"
HCCL_BASE_PORT = 60000

_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_DIRECTORY = re.compile(r"/[^,\n]*[^,\n/]/*\Z")
# What vllm_recipe_container may hold besides mounts: a pattern and its words, or None for true and false.
CONTAINER_SETTINGS = {
    "name": (r"[A-Za-z0-9][A-Za-z0-9_.-]*", "letters, digits, '_', '.' and '-'"),
    "shm_size": (r"[1-9][0-9]*[bkmgBKMG]?", "a size such as 16g"),
    "privileged": None,
    "restart": (r"no|always|unless-stopped|on-failure(:[0-9]+)?", "'no', always, unless-stopped or on-failure:N"),
    "user": (r"[A-Za-z0-9_][A-Za-z0-9_.-]*(:[A-Za-z0-9_][A-Za-z0-9_.-]*)?", "a user or user:group"),
    "log_max_size": (r"[1-9][0-9]*[kmg]?", "a size such as 100m"),
    "log_max_file": (r"[1-9][0-9]*", "a whole number from 1"),
    "init": None,
}
# Options that follow from a node's part in its replica.
ROLE_OPTIONS = ("headless", "data-parallel-start-rank")


class PlanError(Exception):
    """One or more reasons why there is no plan; each names what was seen, what is wanted and the way out."""

    def __init__(self, errors):
        super(PlanError, self).__init__("\n".join(errors))
        self.errors = list(errors)


def nearest(word, known):
    """Return `` Did you mean 'x'?`` for the known word nearest to *word*, or an empty string."""
    match = difflib.get_close_matches(str(word), [str(item) for item in known], n=1, cutoff=0.6)
    return " Did you mean '{0}'?".format(match[0]) if match else ""


def _listed(items):
    return ", ".join(str(item) for item in items) or "none"


def plan(nodes, releases):
    """Work out what each node runs.

    :param nodes: a list of ``{"host": str, "groups": [str], "settings": {...}}``; settings are the inputs of the role
        vllm_recipe without their prefix, plus ``recipe`` (the recipe's data).
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
                "inventory.".format(node["host"], _listed(groups), _listed(HARDWARE_OF_GROUP))
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
            result["errors"].extend("replica {0}: {1}".format(name, text) for text in error.errors)
        else:
            result["nodes"].extend(planned)
            result["warnings"].extend("replica {0}: {1}".format(name, text) for text in warnings)
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
    env, args, moved_warnings = _move(env, args, recipe, release, releases)
    args = merge(args, _without_role_options(settings.get("args") or {}), fold=True)
    container = _override_container(container, settings.get("container") or {})
    _check_options(args, env, release, releases)

    weights_dir = str(settings.get("weights_dir") or deployment["weights_dir"])
    if not _DIRECTORY.match(weights_dir):
        raise PlanError(["vllm_recipe_weights_dir is '{0}'; wanted an absolute path on the nodes.".format(weights_dir)])
    weights_dir = weights_dir.rstrip("/")
    image = _image(settings, recipe, first["hardware"], release)
    topology, warnings = _topology(args, deployment, members)
    warnings = moved_warnings + warnings

    tokens = {"WeightsDir": weights_dir, "PrimaryNodeIP": str(first["settings"]["address"])}
    model = "{0}/{1}".format(weights_dir, checkpoint["directory"])
    planned = []
    errors = []
    for index, member in enumerate(members):
        own = member["settings"]
        devices = _devices(own, deployment)
        node_tokens = dict(
            tokens, NodeIP=str(own["address"]), Devices=",".join(str(index) for index, unused in enumerate(devices))
        )
        node_env = dict(env)
        node_args = _args_of(member["role"], args, index * topology["dp_local"])
        try:
            ports = _ports(node_args, node_env, len(devices), member["role"])
            planned.append(
                {
                    "host": member["host"],
                    "role": member["role"],
                    "replica": name,
                    "hardware": member["hardware"],
                    "address": str(own["address"]),
                    "env": _environment(node_env, node_tokens),
                    "argv": ["vllm", "serve", model] + _argv(_fill(node_args, node_tokens)),
                    "container": _container(container, image, devices, weights_dir),
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
                        "url": _url(_fill(args, dict(node_tokens, NodeIP=tokens["PrimaryNodeIP"])), tokens),
                        "model": _served_name(args) or model,
                        "tool_calls": bool(_value(args, "enable-auto-tool-choice")),
                    },
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
                    _listed("{0} ({1})".format(member["host"], member["hardware"]) for member in members),
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
            ["has {0} A3 nodes: {1}; wanted one. {2}".format(len(hosts["single"]), _listed(hosts["single"]), way_out)]
        )
    if len(hosts["primary"]) > 1:
        raise PlanError(
            [
                "has {0} primaries: {1}; wanted one node in a2_primary. {2}".format(
                    len(hosts["primary"]), _listed(hosts["primary"]), way_out
                )
            ]
        )
    if hosts["secondary"] and not hosts["primary"]:
        raise PlanError(
            [
                "has the secondary {0} and no primary; wanted one node in a2_primary. {1}".format(
                    _listed(hosts["secondary"]), way_out
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
                    "vllm_recipe_{0} is {1} on node {2} and {3} on node {4}; wanted the same on all nodes of a "
                    "replica. Set it for the replica and not for a node.".format(
                        key, values[0][0], values[0][1], value, host
                    )
                )
    if errors:
        raise PlanError(errors)


def _release(settings, recipe, releases):
    release = str(settings.get("release") or recipe["release"])
    names = [item["name"] for item in releases["vllm_releases"]]
    if release not in names:
        raise PlanError(
            [
                "vllm_recipe_release is '{0}'; known vllm-ascend releases are {1}.{2}".format(
                    release, _listed(names), nearest(release, names)
                )
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
                "vllm_recipe_name.".format(recipe["name"], hardware, _listed(recipe["deployments"]))
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
                    name, recipe["name"], _listed(recipe["scenarios"]), nearest(name, recipe["scenarios"])
                )
            )
            continue
        overlay = recipe["scenarios"][name]
        if hardware not in overlay["hardware"]:
            errors.append(
                "vllm_recipe_scenarios holds '{0}', which is for {1}; these nodes are {2}. Take it out.".format(
                    name, _listed(overlay["hardware"]), hardware
                )
            )
            continue
        for kind in ("env", "args"):
            for key, value in (overlay.get(kind) or {}).items():
                other, before = set_by.setdefault((kind, key), (name, value))
                if before != value:
                    errors.append(
                        "the scenarios '{0}' and '{1}' exclude each other: they set {2} to {3} and {4}. Choose one of "
                        "them.".format(other, name, key, shown(before), shown(value))
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
                    name, recipe["name"], _listed(served), nearest(name, served)
                )
            ]
        )
    return name, recipe["checkpoints"][name]


def _checkpoints_read(checkpoint, args, recipe, weights_dir):
    """The checkpoints that a node must have: the served one, and the draft model when the command names it."""
    read = [checkpoint]
    command = json.dumps(_fill(args, {"WeightsDir": weights_dir}))
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


# -- merging ------------------------------------------------------------------------------------------------------


def _same_option(name, names):
    """The spelling under which *name* stands in *names*: hyphens and underscores are one in vLLM's options."""
    wanted = name.lstrip("-").replace("_", "-")
    for other in names:
        if other.replace("_", "-") == wanted:
            return other
    return name.lstrip("-")


def merge(base, over, fold=False):
    """Lay *over* on *base*: mappings are merged, ``None`` takes a key away, everything else replaces.

    A key that was there keeps its place. With *fold*, keys are option names: ``a_b`` and ``a-b`` are the same, and
    the spelling of *base* stays.
    """
    result = dict(base)
    for key, value in over.items():
        name = _same_option(key, result) if fold else key
        if value is None:
            result.pop(name, None)
        elif isinstance(value, dict) and isinstance(result.get(name), dict):
            result[name] = merge(result[name], value)
        else:
            result[name] = copy.deepcopy(value)
    return result


def _without_role_options(args):
    errors = [
        "vllm_recipe_args holds '{0}', which the plan sets on the nodes that need it. Take it out.".format(name)
        for name in args
        if name.lstrip("-").replace("_", "-") in ROLE_OPTIONS
    ]
    if errors:
        raise PlanError(errors)
    return args


def _override_container(container, over):
    known = list(CONTAINER_SETTINGS) + ["mounts"]
    errors = [
        "vllm_recipe_container holds '{0}'; known are {1}.{2}".format(key, _listed(known), nearest(key, known))
        for key in over
        if key not in known
    ]
    if errors:
        raise PlanError(errors)
    over = dict(over)
    mounts = over.pop("mounts", None) or []
    if not isinstance(mounts, list):
        raise PlanError(["vllm_recipe_container.mounts is {0}; wanted a list of mounts.".format(shown(mounts))])
    merged = merge(container, over)
    merged["mounts"] = (container.get("mounts") or []) + mounts
    for key, form in CONTAINER_SETTINGS.items():
        if key not in merged and key not in ("name", "shm_size"):
            continue
        value = merged.get(key)
        if form is None:
            merged[key] = _truth(value)
            if merged[key] is None:
                errors.append("vllm_recipe_container.{0} is {1}; wanted true or false.".format(key, shown(value)))
        elif isinstance(value, bool) or not re.match("({0})\\Z".format(form[0]), str(value)) or value is None:
            errors.append(
                "vllm_recipe_container.{0} is {1}; wanted {2}.".format(
                    key, "'{0}'".format(value) if isinstance(value, str) else shown(value), form[1]
                )
            )
        else:
            merged[key] = str(value)
    if errors:
        raise PlanError(errors)
    return merged


def _truth(value):
    """True or False, also from the words that templates turn them into; None for all else."""
    return {"true": True, "yes": True, "false": False, "no": False}.get(str(value).lower())


def _value(args, name):
    return args.get(_same_option(name, args))


def _served_name(args):
    """The name that the API answers to; of several, the first."""
    name = _value(args, "served-model-name")
    return str(name[0]) if isinstance(name, list) and name else name


def _move(env, args, recipe, release, releases):
    """Render what moved from environment to configuration the way the chosen release reads it.

    For the release that the recipe is written for, nothing moves. Returns environment, arguments and warnings.
    """
    names = [item["name"] for item in releases["vllm_releases"]]
    warnings = []
    for name in list(env):
        moved = next(
            (
                item
                for item in releases["vllm_moved"]
                if item["env"] == name and names.index(item["since"]) <= names.index(release)
            ),
            None,
        )
        if moved is None:
            continue
        if release == recipe["release"]:
            if release in moved.get("ignored_by", []) and str(env[name]) != "0":
                option, unused, key = moved["into"].partition(".")
                warnings.append(
                    "release {0} accepts {1} and does not act on it. To have it, set vllm_recipe_args: {{{2}: {{{3}: {4}}}}} "
                    "({5}).".format(
                        release,
                        name,
                        option.replace("_", "-"),
                        key,
                        json.dumps(moved["value"].get(str(env[name]))),
                        moved["ignored_source"],
                    )
                )
            continue
        value = moved["value"].get(str(env[name]))
        if value is None:
            raise PlanError(
                [
                    "{0} is '{1}'; release {2} reads it from {3}, whose values are {4}. Correct it in "
                    "vllm_recipe_env.".format(name, env[name], release, moved["into"], _listed(moved["value"]))
                ]
            )
        option, unused, path = moved["into"].partition(".")
        for key in reversed(path.split(".")):
            value = {key: value}
        env = merge(env, {name: None})
        args = merge(args, {option.replace("_", "-"): value}, fold=True)
    return env, args, warnings


# -- options and topology -----------------------------------------------------------------------------------------


def _check_options(args, env, release, releases):
    names = [item["name"] for item in releases["vllm_releases"]]
    position = names.index(release)
    errors = []
    kinds = option_kinds(releases, release)
    for name, value in args.items():
        option = name.replace("_", "-")
        kind = kinds.get(option)
        if kind is None and option.startswith("no-") and kinds.get(option[3:]) == "bool" and value is True:
            continue
        if kind is None:
            errors.append(
                "vllm_recipe_args holds '{0}'; vllm serve of release {1} has no option --{2}.{3}".format(
                    name, release, option, nearest(option, kinds)
                )
            )
        elif kind in ("bool", "flag") and not isinstance(value, bool):
            errors.append(
                "--{0} is {1}; it takes no value: wanted true or false. Set it in vllm_recipe_args.".format(
                    option, shown(value)
                )
            )
        elif kind == "flag" and value is False:
            errors.append(
                "--{0} is false, and vllm serve has no --no-{0}; wanted null, which takes it away. Set it in "
                "vllm_recipe_args.".format(option)
            )
        elif kind in ("value", "values") and isinstance(value, bool):
            errors.append(
                "--{0} is {1}; wanted a value. Set it in vllm_recipe_args; null takes it away.".format(
                    option, shown(value)
                )
            )
    for limit in releases["vllm_option_limits"]:
        if position < names.index(limit["from"]) or any(
            str(env.get(name)) == value for name, value in limit.get("unless_env", {}).items()
        ):
            continue
        value = _number(args, limit["option"])
        if value > limit["above"]:
            errors.append(
                "--{0} is {1}; release {2} takes at most {3}: {4} Choose an earlier release with "
                "vllm_recipe_release, or leave out what sets it.".format(
                    limit["option"], value, release, limit["above"], limit["reason"]
                )
            )
    for conflict in releases["vllm_option_conflicts"]:
        values = {name: _number(args, name) for name in conflict["above"]}
        if position >= names.index(conflict["from"]) and all(
            values[name] > bound for name, bound in conflict["above"].items()
        ):
            errors.append(
                "{0}; release {1} refuses that: {2} Set one of them to 1 in vllm_recipe_args.".format(
                    " and ".join("--{0} is {1}".format(*item) for item in values.items()), release, conflict["reason"]
                )
            )
    if errors:
        raise PlanError(errors)


def _number(args, path):
    """The number at a path such as ``additional_config.enable_fused_mc2``; 0 where there is none."""
    option, unused, rest = path.partition(".")
    value = _value(args, option)
    for key in rest.split(".") if rest else []:
        value = value.get(key) if isinstance(value, dict) else None
    try:
        return 0 if isinstance(value, bool) else float(value) if "." in str(value) else int(value)
    except (TypeError, ValueError, OverflowError):
        return 0


def option_kinds(releases, release):
    """The long options of ``vllm serve`` in *release*, without their dashes, and what values they take."""
    version = [item["vllm"] for item in releases["vllm_releases"] if item["name"] == release][0]
    return {name: span[2] for name, span in releases["vllm_options"].items() if _version_in(version, span)}


def _version_in(version, span):
    def key(text):
        return tuple(int(part) for part in re.findall(r"\d+", str(text)))

    since, until = (list(span) + [None])[:2]
    return key(since) <= key(version) and (not until or key(version) <= key(until))


def _size(args, name, default=1):
    value = _value(args, name)
    if value is None:
        return default
    if isinstance(value, bool) or not re.match(r"[1-9][0-9]{0,8}\Z", str(value)):
        raise PlanError(
            ["--{0} is '{1}'; wanted a whole number from 1. Set it in vllm_recipe_args.".format(name, value)]
        )
    return int(value)


def _topology(args, deployment, members):
    tp = _size(args, "tensor-parallel-size")
    pp = _size(args, "pipeline-parallel-size")
    pcp = _size(args, "prefill-context-parallel-size")
    dp = _size(args, "data-parallel-size")
    local = _size(args, "data-parallel-size-local", dp if len(members) == 1 else 1)
    count = len(members)
    errors = []
    warnings = []
    if local * count != dp:
        errors.append(
            "data-parallel-size is {0} with {1} rank(s) per node, which takes {2} node(s); the replica has {3}: {4}. "
            "Add or remove nodes in a2_secondary (--limit must name all nodes of a replica), or set data-parallel-size and "
            "data-parallel-size-local in vllm_recipe_args.".format(
                dp, local, "{0:g}".format(dp / float(local)), count, _listed(m["host"] for m in members)
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


# -- one node -----------------------------------------------------------------------------------------------------


def _args_of(role, args, start_rank):
    """The arguments in the guide's order, with what only a secondary has, or does not have."""
    if role != "secondary":
        return args
    result = {}
    for name, value in args.items():
        if name == "host":
            result["headless"] = True
        elif name != "port":
            result[name] = value
        if name == "data-parallel-size-local":
            result["data-parallel-start-rank"] = start_rank
    result.setdefault("headless", True)
    result.setdefault("data-parallel-start-rank", start_rank)
    return result


def _fill(value, tokens):
    if isinstance(value, dict):
        return {key: _fill(item, tokens) for key, item in value.items()}
    if isinstance(value, list):
        return [_fill(item, tokens) for item in value]
    if isinstance(value, str):
        for name, text in tokens.items():
            value = value.replace("{" + name + "}", text)
    return value


def _json(value):
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _argv(args):
    argv = []
    for name, value in args.items():
        if value is True:
            argv.append("--" + name)
        elif value is False:
            argv.append("--no-" + name)
        elif isinstance(value, dict):
            argv.extend(["--" + name, _json(value)])
        elif isinstance(value, list):
            argv.append("--" + name)
            argv.extend(_json(item) if isinstance(item, (dict, list)) else str(item) for item in value)
        else:
            argv.extend(["--" + name, str(value)])
    return argv


def _environment(env, tokens):
    errors = []
    result = {}
    for name, value in env.items():
        if not _ENV_NAME.match(str(name)):
            errors.append(
                "'{0}' cannot be the name of an environment variable; wanted letters, digits and '_', not "
                "starting with a digit. Correct it in vllm_recipe_env.".format(name)
            )
        elif isinstance(value, (dict, list)):
            errors.append(
                "the environment variable {0} is {1}; wanted one text or number. Correct it in vllm_recipe_env.".format(
                    name, shown(value)
                )
            )
        else:
            result[name] = _fill(str(value), tokens)
    if errors:
        raise PlanError(errors)
    return result


def _port(args, name):
    value = _value(args, name)
    if value is None:
        return None
    if not re.match(r"[0-9]{1,9}\Z", str(value)) or not 1 <= int(value) <= 65535:
        raise PlanError(
            ["--{0} is '{1}'; wanted a port from 1 to 65535. Set it in vllm_recipe_args.".format(name, value)]
        )
    return int(value)


def _ports(args, env, chips, role):
    """The ports on which a node listens: ``api``, ``rpc`` and the range ``hccl``, as far as it has them."""
    ports = {}
    if role != "secondary":
        ports["api"] = _port(args, "port") or 8000
        rpc = _port(args, "data-parallel-rpc-port")
        if rpc:
            ports["rpc"] = rpc
    base = str(env.get("HCCL_IF_BASE_PORT", HCCL_BASE_PORT))
    if not re.match(r"[0-9]{1,9}\Z", base) or not 1024 <= int(base) <= 65536 - chips:
        raise PlanError(
            [
                "HCCL_IF_BASE_PORT is '{0}'; wanted 1024 to {1}, since each of {2} chips takes one port from "
                "there on. Set it in vllm_recipe_env.".format(base, 65536 - chips, chips)
            ]
        )
    ports["hccl"] = [int(base), int(base) + chips - 1]
    if ports.get("api") is not None and ports.get("api") == ports.get("rpc"):
        raise PlanError(
            [
                "port and data-parallel-rpc-port are both {0}. Give one of them another port in "
                "vllm_recipe_args.".format(ports["api"])
            ]
        )
    for name, option in (("api", "port"), ("rpc", "data-parallel-rpc-port")):
        if name in ports and ports["hccl"][0] <= ports[name] <= ports["hccl"][1]:
            raise PlanError(
                [
                    "{0} is {1}, inside the HCCL ports {2} to {3}. Give it another port in vllm_recipe_args, "
                    "or move HCCL with HCCL_IF_BASE_PORT.".format(
                        option, ports[name], ports["hccl"][0], ports["hccl"][1]
                    )
                ]
            )
    return ports


def _url(args, tokens):
    host = str(_value(args, "host") or "0.0.0.0")
    if host in ("0.0.0.0", "::"):
        host = tokens["PrimaryNodeIP"]
    return "http://{0}:{1}".format("[{0}]".format(host) if ":" in host else host, _port(args, "port") or 8000)


def _mount(given):
    mount = dict(given) if isinstance(given, dict) else {}
    mount.setdefault("target", mount.get("source"))
    flags = {
        key: _truth(mount.pop(key, default))
        for key, default in (("read_only", True), ("optional", False), ("create", False))
    }
    if (
        set(mount) != {"source", "target"}
        or None in flags.values()
        or not all(isinstance(path, str) and _DIRECTORY.match(path) for path in mount.values())
    ):
        raise PlanError(
            [
                "vllm_recipe_container.mounts holds {0}; wanted {{source: /path, target: /path, "
                "read_only: true|false}}.".format(shown(given))
            ]
        )
    if not flags["create"]:
        del flags["create"]
    return dict(mount, **flags)


def _container(container, image, devices, weights_dir):
    mounts = [{"source": path, "target": path, "read_only": True, "optional": True} for path in DRIVER_MOUNTS]
    mounts.append({"source": weights_dir, "target": weights_dir, "read_only": True, "optional": False})
    for mount in container.get("mounts") or []:
        mounts.append(_mount(mount))
    # The launch script and the environment file, rendered by the role vllm_service.
    mounts.append(
        {
            "source": "{0}/{1}".format(SERVICE_DIR, container["name"]),
            "target": SERVICE_DIR,
            "read_only": True,
            "optional": False,
            "create": True,
        }
    )
    targets = [mount["target"].rstrip("/") for mount in mounts]
    twice = sorted({target for target in targets if targets.count(target) > 1})
    if twice:
        raise PlanError(
            ["two mounts have the target {0}; wanted one. Correct vllm_recipe_container.mounts.".format(_listed(twice))]
        )
    return {
        "name": container["name"],
        "image": image,
        "user": str(container.get("user", "0")),
        "network": "host",
        "shm_size": str(container["shm_size"]),
        "privileged": bool(container.get("privileged", False)),
        "init": bool(container.get("init", True)),
        "restart": str(container.get("restart", "unless-stopped")),
        "devices": ["/dev/davinci{0}".format(number) for number in devices] + list(NPU_MANAGEMENT_DEVICES),
        "mounts": mounts,
        "log": {
            "driver": "json-file",
            "max-size": str(container.get("log_max_size", "100m")),
            "max-file": str(container.get("log_max_file", 5)),
        },
        "command": ["/bin/bash", SERVICE_DIR + "/launch.sh"],
    }
