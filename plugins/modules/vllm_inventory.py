#!/usr/bin/python
# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vllm_inventory
short_description: Validate the groups of the inventory and the tags of the run
version_added: 0.2.0
description:
  - Fails when the inventory lacks the groups that are wanted, or when a tag does not exist. Sends nothing to a host.
  - Internal to the roles of this collection; it may change without notice.
extends_documentation_fragment: ascend_ops.vllm.read_only
options:
  groups:
    description: The groups of the inventory, with their hosts.
    type: dict
    required: true
  hardware:
    description: V(a2) or V(a3) for the kind of node that is deployed; without it any.
    type: str
  tags:
    description: The tags of the playbook.
    type: list
    elements: str
    default: []
  run_tags:
    description: The tags to run.
    type: list
    elements: str
    default: []
  skip_tags:
    description: The tags to skip.
    type: list
    elements: str
    default: []
author:
  - ascend_ops.vllm contributors (@ascend-ops)
"""

EXAMPLES = r"""
- name: Assert that the inventory has A2 nodes
  ascend_ops.vllm.vllm_inventory:
    groups: "{{ groups }}"
    hardware: a2
"""

RETURN = r"""
{}
"""

# The work is done by the action plugin of the same name.
