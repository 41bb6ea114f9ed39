#!/usr/bin/python
# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vllm_inputs
short_description: Validate the inputs of all roles on a host
version_added: 0.2.0
description:
  - Compares the variables of the host with the argument specs of all roles, and fails with all that does not fit. A
    variable that looks like an input and is none fails, too. Sends nothing to the host.
  - Internal to the roles of this collection; it may change without notice.
extends_documentation_fragment: ascend_ops.vllm.read_only
options:
  settings:
    description: The inputs of the role C(vllm_recipe), without their prefix.
    type: dict
    required: true
  secrets:
    description: The names of the secrets, and what is wrong with them.
    type: dict
    default: {}
author:
  - ascend_ops.vllm contributors (@ascend-ops)
"""

EXAMPLES = r"""
- name: Validate the inputs
  ascend_ops.vllm.vllm_inputs:
    settings: {name: minimax_m2_5}
"""

RETURN = r"""
settings:
  description: The inputs of the role C(vllm_recipe).
  returned: success
  type: dict
secrets:
  description: The names of the secrets.
  returned: success
  type: list
  elements: str
"""

# The work is done by the action plugin of the same name.
