#!/usr/bin/python
# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vllm_preflight
short_description: Evaluate the preflight checks over the facts of all nodes
version_added: 0.2.0
description:
  - Evaluates the checks, shows and writes the verdicts, and fails where O(fail_on) says so. Sends nothing to a host.
  - Internal to the roles of this collection; it may change without notice.
options:
  processes:
    description: The processes of the plan.
    type: list
    elements: dict
    required: true
  facts:
    description: The facts of each host, or why it could not be asked.
    type: dict
    required: true
  connections:
    description: How each host is reached.
    type: dict
    default: {}
  pipelining:
    description: Whether the configuration has pipelining on.
    type: bool
    default: true
  min_driver:
    description: The oldest driver version to accept.
    type: str
    default: ""
  fail_on:
    description: The verdicts that fail.
    type: list
    elements: str
    default: [fail]
  ignore:
    description: Checks that never fail.
    type: list
    elements: str
    default: []
  show_passed:
    description: Show what was seen of passed checks, too.
    type: bool
    default: false
  report:
    description: A file on the controller for the verdicts.
    type: str
    default: ""
  save_facts:
    description: A folder on the controller for the facts.
    type: str
    default: ""
  facts_dir:
    description: A folder with saved facts to evaluate instead of O(facts).
    type: str
    default: ""
  query:
    description: "What is shown instead of the verdicts: what a JMESPath expression selects of RV(reports)."
    type: str
    default: ""
author:
  - ascend_ops.vllm contributors (@ascend-ops)
attributes:
  check_mode:
    description: Evaluates in check mode as well; the files are written.
    support: full
  diff_mode:
    description: There is nothing to compare.
    support: none
"""

EXAMPLES = r"""
- name: Evaluate saved facts
  ascend_ops.vllm.vllm_preflight:
    processes: []
    facts: {}
    facts_dir: /tmp/facts
"""

RETURN = r"""
reports:
  description: The verdicts, a report per replica.
  returned: success
  type: list
  elements: dict
"""

# The work is done by the action plugin of the same name.
