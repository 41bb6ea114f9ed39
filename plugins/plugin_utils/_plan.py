# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan from what the roles give: reads the recipes and the data of releases, then plans."""

from __future__ import annotations

from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan import inventory, model
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
