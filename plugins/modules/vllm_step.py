#!/usr/bin/python
# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vllm_step
short_description: Take one step of a run together with the other members of a replica
version_added: 0.2.0
description:
  - Runs a module of this collection on the node, and returns the state of the node for the next step. A step that has
    nothing to do is skipped. One that changes something fails when a member of the replica failed before.
  - Internal to the roles of this collection; it may change without notice.
options:
  step:
    description: The step.
    type: str
    required: true
    choices:
      [assert_members, compare, container, decide, files, find, load_revision, probe, record_revision, restore_files,
       select_revision, show_answer, start, stop, supervise, verify, wait]
  state:
    description: What the step before returned as the state of the node.
    type: dict
    required: true
  members:
    description: >-
      The members of the replica (C(hosts)), those that left the play (C(absent)), and the last result of each
      (C(results)).
    type: dict
    required: true
  settings:
    description: The inputs of the role that the step needs.
    type: dict
    default: {}
author:
  - ascend_ops.vllm contributors (@ascend-ops)
attributes:
  check_mode:
    description: As the modules that the steps run.
    support: full
  diff_mode:
    description: As the modules that the steps run.
    support: full
"""

EXAMPLES = r"""
- name: Stop the container
  ascend_ops.vllm.vllm_step:
    step: stop
    state: {host: a3-node1, process: {role: single, replica: default, container: {name: vllm-ascend}}}
    members: {hosts: [a3-node1], absent: [], results: [{}]}
    settings: {engine: docker, stop_timeout: 60}
"""

RETURN = r"""
state:
  description: The state of the node.
  returned: always
  type: dict
"""

# The work is done by the action plugin of the same name.
