# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an inventory may say: the inputs of the roles and the groups. Runs on the controller."""

from __future__ import annotations

import difflib
import functools
import re

from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.inputs import nearest
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.plan import HARDWARE_OF_GROUP

PLAYBOOK_INPUTS = (
    "vllm_plan_file",
    "vllm_hardware",
    "vllm_teardown_confirm",
    "vllm_logs_lines",
    "vllm_logs_since",
    "vllm_logs_dir",
    "vllm_benchmark_files",
    "vllm_benchmark_compared",
)
_OURS = re.compile(
    r"^(vllm|npu)_(recipe|preflight|host_tuning|container|service|status|teardown|plan|diagnostics|logs|benchmark)"
)


def unknown_inputs(variables, known):
    """Name the variables that look like inputs of this collection and are none.

    :param variables: the names of all variables of a node.
    :param known: the names of the inputs, from the roles' argument specs.
    :return: a list of sentences, one per unknown name.
    """
    known = tuple(known) + PLAYBOOK_INPUTS + OUTPUTS
    told = (_unknown(str(name), known) for name in sorted(variables))
    return [sentence for sentence in told if sentence]


@functools.lru_cache(maxsize=None)
def _unknown(name, known):
    """The sentence about one name, or None; remembered, since all nodes have much the same names."""
    if name in known or not (_OURS.match(name) or _is_slip(name, known)):
        return None
    return f"the variable {name} is no input of this collection.{nearest(name, list(known))}"


def _is_slip(name, known):
    """Is *name* a known one with a slip of the pen in its first words?"""
    return not name.startswith("_") and any(
        abs(len(name) - len(other)) <= 2 and difflib.SequenceMatcher(None, name, other).ratio() >= 0.9
        for other in known
    )


def target_groups(groups, hardware=None):
    """The groups of an inventory that hold nodes of *hardware* (``None`` for any), as a host pattern."""
    found = [group for group, kind in HARDWARE_OF_GROUP.items() if groups.get(group) and hardware in (None, kind)]
    return ":".join(found) or "all:!all"  # a play needs a pattern, be it one without a host


def layout_errors(groups, hardware=None):
    """Say what keeps the groups of an inventory from being deployed.

    :param groups: the inventory's groups, name to hosts.
    :param hardware: ``a2`` or ``a3``: the kind that is asked for; ``None`` for any.
    """
    wanted = [group for group, kind in HARDWARE_OF_GROUP.items() if hardware in (None, kind)]
    if hardware is None:
        missing = [] if any(groups.get(group) for group in wanted) else [wanted]
    else:
        missing = [[group] for group in wanted if not groups.get(group)]
    own = [name for name in groups if name not in ("all", "ungrouped") and name not in HARDWARE_OF_GROUP]
    errors = []
    for alternatives in missing:
        close = [nearest(group, own) for group in alternatives]
        errors.append(
            "the inventory has no host in {0}; its groups are {1}.{2} Put the nodes into the group that says what they "
            "are; inventories/ has examples.".format(
                " or ".join(alternatives),
                ", ".join(name for name in groups if name not in ("all", "ungrouped")) or "none",
                next((text for text in close if text), ""),
            )
        )
    return errors


# Inputs whose values are never shown, not even in an error.
SECRET_INPUTS = ("vllm_service_secrets", "npu_container_registry_login")
# What every run of Ansible knows.
_EVERY_TAG = ("all", "tagged", "untagged", "always", "never")


def tag_errors(given, known):
    """What of the tags of a run does not exist: such a run would do nothing, and say that all is well.

    :param given: the names after ``--tags`` and ``--skip-tags``.
    :param known: the tags of the playbook; empty for one that has none.
    """
    wanted = f"the tags are {', '.join(known)}" if known else "this playbook has no tags; leave --tags out"
    return [
        f"there is no tag '{name}'; {wanted}.{nearest(name, list(known))}"
        for name in given
        if name not in known and name not in _EVERY_TAG
    ]


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
