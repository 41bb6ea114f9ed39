#!/usr/bin/python
# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: diagnostics_archive
short_description: Put the bundles of all nodes into one archive with an index
version_added: 0.2.0
description:
  - Writes C(ascend-vllm-<UTC time>.tar.gz), mode 0600, on the controller, with the files of each node, the plan without
    secrets, what the nodes told to the preflight, the verdicts on it, and an index for people and one for programs.
  - Runs on the controller. A node of the plan that told nothing is in the index, with the reason.
options:
  path:
    description: Folder on the controller to write the archive to. It is made, mode 0700, when it is not there.
    type: path
    required: true
  plan:
    description: The plan of all nodes.
    type: dict
    required: true
  told:
    description: By host, what M(ascend_ops.vllm.node_bundle) returned.
    type: dict
    required: true
  facts:
    description: By host, what the preflight learned; for nodes whose bundle holds no C(facts.json).
    type: dict
    default: {}
  min_driver:
    description: The oldest driver version to accept.
    type: str
    default: ""
  secrets:
    description: Values to take out of what the controller adds.
    type: list
    elements: str
    default: []
author:
  - ascend_ops.vllm contributors (@ascend-ops)
seealso:
  - module: ascend_ops.vllm.node_bundle
attributes:
  check_mode:
    description: Writes the archive in check mode as well; nothing else is changed by it.
    support: full
  diff_mode:
    description: There is nothing to compare.
    support: none
"""

EXAMPLES = r"""
- name: Write the archive
  ascend_ops.vllm.diagnostics_archive:
    path: ~/ascend-vllm-diagnostics
    plan: "{{ __vllm_recipe_plan }}"
    told: "{{ ansible_play_hosts_all | ascend_ops.vllm.told_by(hostvars, '__vllm_diagnostics_told') }}"
  run_once: true
"""

RETURN = r"""
path:
  description: The archive.
  returned: success
  type: str
summary:
  description: What is in it and what to look at first, in one screen.
  returned: success
  type: str
"""

# The work is done by the action plugin of the same name.
