#!/usr/bin/python
# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: diagnostics_archive
short_description: Write the support bundles of all nodes into one archive with an index
version_added: 0.2.0
description:
  - Writes C(ascend-vllm-<UTC time>.tar.gz), mode 0600, on the controller, with the files of each node, the plan without
    secrets, the facts of the nodes, the preflight verdicts, and an index as text and as data.
  - A node without a bundle is in the index with the reason.
  - Internal to the roles of this collection; it may change without notice.
options:
  path:
    description: Folder on the controller to write the archive to. Created with mode 0700 when it does not exist.
    type: path
    required: true
  plan:
    description: The plan, as M(ascend_ops.vllm.vllm_plan) returns it.
    type: dict
    required: true
  bundles:
    description: Host to the result of M(ascend_ops.vllm.node_bundle).
    type: dict
    required: true
  facts:
    description: Host to its facts, for nodes whose bundle has no C(facts.json).
    type: dict
    default: {}
  min_driver:
    description: The oldest driver version to accept.
    type: str
    default: ""
  secrets:
    description: Values to redact in what the controller adds.
    type: list
    elements: str
    default: []
author:
  - ascend_ops.vllm contributors (@ascend-ops)
seealso:
  - module: ascend_ops.vllm.node_bundle
attributes:
  check_mode:
    description: Writes the archive in check mode, too; it changes nothing else.
    support: full
  diff_mode:
    description: There is nothing to compare.
    support: none
"""

EXAMPLES = r"""
- name: Write the archive
  ascend_ops.vllm.diagnostics_archive:
    path: ~/ascend-vllm-diagnostics
    plan: "{{ vllm_recipe_plan }}" # output of the role vllm_recipe
    bundles: "{{ dict(ansible_play_hosts_all | zip(ansible_play_hosts_all | map('extract', hostvars, 'bundle'))) }}"
  run_once: true
"""

RETURN = r"""
path:
  description: Path of the archive.
  returned: success
  type: str
summary:
  description: What is in the archive and what to look at first, in one screen.
  returned: success
  type: str
"""

# The work is done by the action plugin of the same name.
