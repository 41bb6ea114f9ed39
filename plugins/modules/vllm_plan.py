#!/usr/bin/python
# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vllm_plan
short_description: Compute the plan of all nodes of a play
version_added: 0.2.0
description:
  - Computes what each node runs, fails with all that keeps it from running, and shows the warnings. Sends nothing to a host. The result is the plan.
  - Internal to the roles of this collection; it may change without notice.
extends_documentation_fragment: ascend_ops.vllm.read_only
options:
  inputs:
    description: What M(ascend_ops.vllm.vllm_inputs) returned, of all nodes.
    type: list
    elements: dict
    required: true
  forks:
    description: How many hosts Ansible works on at once; 0 for unknown.
    type: int
    default: 0
author:
  - ascend_ops.vllm contributors (@ascend-ops)
"""

EXAMPLES = r"""
- name: Compute the plan
  ascend_ops.vllm.vllm_plan:
    inputs:
      - host: a3-node1
        groups: [a3]
        settings: {name: minimax_m2_5, address: 192.0.2.21}
        secrets: []
"""

RETURN = r"""
index:
  description: Where each host stands in the plan.
  returned: success
  type: dict
"""

# The work is done by the action plugin of the same name.
