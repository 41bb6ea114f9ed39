#!/usr/bin/python
# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vllm_summary
short_description: Show how each replica came out of a run
version_added: 0.2.0
description:
  - Shows what was done with each replica and what it answered, or fails with why O(failed_replica) did not take its plan. Sends nothing to a host.
  - Internal to the roles of this collection; it may change without notice.
extends_documentation_fragment: ascend_ops.vllm.read_only
options:
  plan:
    description: The plan.
    type: dict
    required: true
  verb:
    description: What the run did, such as V(upgrade).
    type: str
    required: true
  states:
    description: The results of the last steps, by host.
    type: dict
    default: {}
  failed_replica:
    description: The replica that failed; empty for none.
    type: str
    default: ""
  failures:
    description: What failed on its nodes, by host.
    type: dict
    default: {}
  rollbacks:
    description: How the rollback ended, by host.
    type: dict
    default: {}
  absent:
    description: Its nodes that cannot be reached any more.
    type: list
    elements: str
    default: []
author:
  - ascend_ops.vllm contributors (@ascend-ops)
"""

EXAMPLES = r"""
- name: Show how each replica came out
  ascend_ops.vllm.vllm_summary:
    plan: {services: []}
    verb: upgrade
"""

RETURN = r"""
{}
"""

# The work is done by the action plugin of the same name.
