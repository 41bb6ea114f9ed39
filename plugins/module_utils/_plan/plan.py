# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The planner: (recipe, scenarios, nodes, overrides) -> services, instances, processes.

Pure: no I/O, no clock, no host is asked. Runs on the controller. What only a node can know stays in the plan as a
named placeholder: ``{NIC}`` (the interface that carries the node's address), ``{IMAGE}`` (what image and CANN set a
variable to) and ``{JEMALLOC}`` (the library inside the image).
"""

from __future__ import annotations

import copy

from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan import container as containers
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan import (
    environment,
    inputs,
    network,
    node,
    recipe,
    topology,
)
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.errors import PlanError, collected, raise_all
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.model import Instance, Plan, Service
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.option_files import check_option_files
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.options import (
    check_options,
    computed_errors,
    merge,
    move,
)

# The one role of instances so far: each serves on its own.
SERVE = "serve"


def plan(nodes, releases):
    """Compute what runs on each node, as plain data; see :func:`make` and ``model``."""
    return make(nodes, releases).to_data()


def make(nodes, releases):
    """Compute what runs on each node.

    :param nodes: a list of ``{"host": str, "groups": [str], "settings": {...}, "secrets": [str]}``; settings are the
        inputs of the role vllm_recipe without their prefix, plus ``recipe`` (the recipe's data); secrets are names.
    :param releases: the content of the files of releases, options, values and environment; see ``files.releases``.
    :return: a ``model.Plan``. It raises nothing: what is wrong is in ``errors``, and a replica with errors is left out.
    """
    errors = network.library_errors()
    if errors:
        return Plan(errors=errors)
    replicas, errors = topology.members_of(nodes)
    errors += network.duplicate_errors([(one["host"], str(one["settings"].get("address"))) for one in nodes])
    services = []
    warnings = []
    for name, members in replicas.items():
        try:
            service, notes = _service(name, members, releases)
        except PlanError as error:
            errors.extend(f"replica {name}: {text}" for text in error.errors)
        else:
            services.append(service)
            warnings.extend(f"replica {name}: {text}" for text in notes)
    return Plan(services, errors, warnings)


def _service(name, members, releases):
    """The service of one replica, and warnings."""
    inputs.check_settings(members)
    topology.check_layout(members)
    members = topology.in_order(members)
    inputs.check_same_settings(members)
    shared, warnings = _shared(members, releases)
    processes = _processes(shared, members)
    check_option_files(processes, shared.weights_dir)
    service = Service(
        name=name,
        hardware=members[0].hardware,
        recipe=shared.choice.summary(),
        instances=(Instance(name=f"{SERVE}-0", role=SERVE, processes=processes),),
        **node.endpoint(shared),
    )
    return service, warnings


def _shared(members, releases):
    """What all processes of a replica have in common, and warnings."""
    first = members[0]
    settings = first.settings
    choice = recipe.choose(settings, first.hardware, releases)
    env, args, container = _merged(choice, settings)
    own = settings.get("args") or {}
    errors = computed_errors(own, releases["vllm_options_computed"])
    with collected(errors):
        env, args, warnings = move(env, args, choice.recipe, choice.release, releases)
        warnings += _check_environment(env, members, choice, releases, errors)
        args = node.serve_at(merge(args, own, fold=True), settings)
        warnings += check_options(args, env, choice.release, releases)
    raise_all(errors)
    container = containers.override(container, settings.get("container") or {})
    sizes, unused_chips = topology.sizes_of(args, members, choice.deployment)
    shared = node.Shared(
        choice=choice,
        env=environment.with_added(env, [choice.deployment, *choice.overlays, _added_by(settings)]),
        args=args,
        container=container,
        weights_dir=inputs.weights_dir_of(settings, choice.deployment),
        primary=first.address,
        sizes=sizes,
        tls=dict(settings.get("tls") or {}),
    )
    return shared, warnings + unused_chips


def _merged(choice, settings):
    """Environment, arguments and container of a deployment, with the scenarios and the operator's environment merged in."""
    env = dict(choice.deployment["env"])
    args = copy.deepcopy(choice.deployment["args"])
    container = copy.deepcopy(choice.deployment["container"])
    args = merge(args, {"quantization": choice.checkpoint.get("quantization")}, fold=True)
    for overlay in choice.overlays:
        env = merge(env, overlay.get("env") or {})
        args = merge(args, overlay.get("args") or {}, fold=True)
        extra = copy.deepcopy(overlay.get("container") or {})
        container["mounts"] = (container.get("mounts") or []) + (extra.pop("mounts", None) or [])
        container = merge(container, extra)
    return merge(env, settings.get("env") or {}), args, container


def _added_by(settings):
    """What an operator adds to variables that image and recipe set, under the keys that a recipe has for it."""
    return {key: settings.get(key) or {} for key in environment.ADDED}


def _check_environment(env, members, choice, releases, errors):
    """Warnings about the environment of a replica; what is wrong with it is added to *errors*."""
    settings = members[0].settings
    own = [str(name) for name in settings.get("env_known") or []]
    wrong, warnings = environment.judge(env, own, choice.release, releases)
    errors += wrong + environment.below_recipe(env, _merged(choice, {})[0], releases)
    names = dict.fromkeys(name for member in members for name in member.secrets)
    wrong, notes = environment.judge_secrets(names, own, choice.release, releases)
    errors += wrong
    added = environment.with_added(env, [_added_by(settings)])
    for member in members:
        devices = node.numbered(member.devices(choice.deployment))
        tokens = {"NodeIP": member.address, "PrimaryNodeIP": members[0].address, "Devices": devices}
        wrong = environment.computed_errors(added, tokens, releases["vllm_environment_computed"])
        errors += [f"node {member.host}: {text}" for text in wrong]
    return warnings + notes


def _processes(shared, members):
    """The processes of a replica, in the order of its members; raise with the errors of all of them."""
    processes = []
    errors = []
    for index, member in enumerate(members):
        try:
            processes.append(node.process(shared, member, index))
        except PlanError as error:
            errors.extend(f"node {member.host}: {text}" for text in error.errors)
    raise_all(errors)
    return tuple(processes)
