#!/usr/bin/python
# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vllm_status_report
short_description: Compare what the nodes reported with their plan
version_added: 0.2.0
description:
  - Shows the status of each replica, and what differs from its plan. Sends nothing to a host.
  - Internal to the roles of this collection; it may change without notice.
options:
  processes:
    description: The processes of the plan.
    type: list
    elements: dict
    required: true
  status:
    description: What M(ascend_ops.vllm.vllm_status) returned, by host.
    type: dict
    required: true
  file:
    description: A file on the controller for the report, as JSON.
    type: str
    default: ""
  strict:
    description: Fail where a replica does not serve, or anything differs from its plan.
    type: bool
    default: false
  query:
    description: "What is shown instead of the report: what a JMESPath expression selects of it."
    type: str
    default: ""
author:
  - ascend_ops.vllm contributors (@ascend-ops)
attributes:
  check_mode:
    description: Reports in check mode as well; the file is written.
    support: full
  diff_mode:
    description: There is nothing to compare.
    support: none
"""

EXAMPLES = r"""
- name: Show the status
  ascend_ops.vllm.vllm_status_report:
    processes: []
    status: {}
"""

RETURN = r"""
report:
  description: The report.
  returned: success
  type: dict
"""

# The work is done by the action plugin of the same name.
