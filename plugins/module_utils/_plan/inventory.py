# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an inventory may say: groups, names of variables, and its nodes with their recipes. Runs on the controller."""

from __future__ import annotations

import difflib
import functools
import re

from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.errors import PlanError, listed, nearest
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.topology import HARDWARE_OF_GROUP

PLAYBOOK_INPUTS = (
    "vllm_plan_file",
    "vllm_plan_query",
    "vllm_hardware",
    "vllm_teardown_confirm",
    "vllm_explain_file",
    "vllm_explain_path",
    "vllm_logs_lines",
    "vllm_logs_since",
    "vllm_logs_dir",
    "vllm_benchmark_files",
    "vllm_benchmark_compared",
)
# What the roles hand on, by public names; a run that imports several playbooks has them when the next one begins.
OUTPUTS = (
    "vllm_recipe_input",
    "vllm_recipe_plan",
    "vllm_recipe_process",
    "vllm_recipe_members",
    "npu_preflight_node",
    "npu_preflight_peers",
    "npu_preflight_verdicts",
    "npu_host_tuning_settings",
    "npu_host_tuning_result",
    "npu_container_image_result",
    "npu_container_state",
    "vllm_service_state",
    "vllm_service_revisions",
    "vllm_service_target",
    "vllm_status_node",
    "vllm_status_report",
    "vllm_diagnostics_bundle",
    "vllm_diagnostics_archive",
    "vllm_teardown_result",
    "vllm_logs_node",
)
# Inputs whose values are never shown, not even in an error.
SECRET_INPUTS = ("vllm_service_secrets", "npu_container_registry_login")
_OURS = re.compile(
    r"^(vllm|npu)_(recipe|preflight|host_tuning|container|service|status|teardown|plan|diagnostics|logs|benchmark)"
)
_BUILT_IN = ("all", "ungrouped")
# Tags that every run of Ansible knows.
_EVERY_TAG = ("all", "tagged", "untagged", "always", "never")


def nodes_of(inputs, recipe_of):
    """The nodes of an inventory as the planner takes them, each with the data of its recipe.

    :param inputs: ``[{"host", "groups", "settings", "secrets" (names)}]``, as the action vllm_inputs returns it for each node.
    :param recipe_of: a function of a name that returns the data of a recipe, or raises PlanError.
    :return: ``(nodes, errors)``; a node without a recipe is left out.
    """
    nodes = []
    errors = []
    for given in inputs:
        try:
            recipe = recipe_of(str(given["settings"]["name"]))
        except PlanError as error:
            errors.extend(f"node {given['host']}: {text}" for text in error.errors)
            continue
        nodes.append(
            {
                "host": given["host"],
                "groups": given["groups"],
                "settings": dict(given["settings"], recipe=recipe),
                "secrets": given.get("secrets") or [],
            }
        )
    return nodes, errors


def forks_warnings(forks, count):
    """A warning, in a list, where Ansible works on fewer nodes at a time than there are.

    :param forks: how many nodes Ansible works on at a time; 0 where that is not known.
    :param count: the number of nodes.
    """
    if not 0 < forks < count:
        return []
    return [
        f"{forks} forks for {count} nodes: the nodes of a replica are not watched at the same time, so that one that dies may "
        f"be noticed late. Run with --forks {count}."
    ]


def unknown_inputs(variables, known):
    """The variables that look like inputs of this collection and are not.

    :param variables: the names of all variables of a node.
    :param known: the names of the inputs, from the roles' argument specs.
    :return: a list of sentences, one per unknown name.
    """
    known = tuple(known) + PLAYBOOK_INPUTS + OUTPUTS
    found = (_unknown(str(name), known) for name in sorted(variables))
    return [sentence for sentence in found if sentence]


@functools.lru_cache(maxsize=None)
def _unknown(name, known):
    """The sentence about one name, or None; cached, since all nodes have much the same names."""
    if name in known or not (_OURS.match(name) or _is_typo(name, known)):
        return None
    return f"the variable {name} is not an input of this collection.{nearest(name, list(known))}"


def _is_typo(name, known):
    """Is *name* a known one with a typing error in its first words?"""
    return not name.startswith("_") and any(
        abs(len(name) - len(other)) <= 2 and difflib.SequenceMatcher(None, name, other).ratio() >= 0.9
        for other in known
    )


def target_groups(groups, hardware=None):
    """The groups of an inventory that have nodes of a kind of hardware, as a host pattern.

    :param groups: the inventory's groups, name to hosts.
    :param hardware: ``a2`` or ``a3``; None for any.
    """
    found = [group for group, kind in HARDWARE_OF_GROUP.items() if groups.get(group) and hardware in (None, kind)]
    return ":".join(found) or "all:!all"  # a play needs a pattern, be it one without a host


def layout_errors(groups, hardware=None):
    """What keeps the groups of an inventory from being deployed, as a list of sentences.

    :param groups: the inventory's groups, name to hosts.
    :param hardware: ``a2`` or ``a3``: the kind that is asked for; None for any.
    """
    kinds = sorted(set(HARDWARE_OF_GROUP.values()))
    if hardware not in (None, *kinds):
        return [f"vllm_hardware is '{hardware}'; wanted one of {listed(kinds)}.{nearest(hardware, kinds)}"]
    wanted = [group for group, kind in HARDWARE_OF_GROUP.items() if hardware in (None, kind)]
    if hardware is None:
        missing = [] if any(groups.get(group) for group in wanted) else [wanted]
    else:
        missing = [[group] for group in wanted if not groups.get(group)]
    own = [name for name in groups if name not in _BUILT_IN]
    unknown = [name for name in own if name not in HARDWARE_OF_GROUP]
    errors = []
    for alternatives in missing:
        close = next((text for text in (nearest(group, unknown) for group in alternatives) if text), "")
        errors.append(
            f"the inventory has no host in {' or '.join(alternatives)}; its groups are {listed(own)}.{close} Put the nodes "
            "into the group that says what they are; inventories/ has examples."
        )
    return errors


def tag_errors(run_tags, skip_tags, known):
    """What of the tags of a run does not exist: such a run would do nothing, or too much, and say that all is well.

    :param run_tags: the names after ``--tags``.
    :param skip_tags: the names after ``--skip-tags``. Tools such as molecule add some of their own, so that only those are
        refused that are nearly one of ours.
    :param known: the tags of the playbook; empty for one that has none.
    """
    wanted = f"the tags are {', '.join(known)}" if known else "this playbook has no tags; leave --tags out"
    names = list(run_tags) + [name for name in skip_tags if nearest(name, list(known))]
    return [
        f"there is no tag '{name}'; {wanted}.{nearest(name, list(known))}"
        for name in names
        if name not in known and name not in _EVERY_TAG
    ]
