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
    description: The names of the inputs to return.
    type: list
    elements: str
    required: true
  role:
    description: The role whose inputs these are; its name is left out of theirs in the result.
    type: str
    required: true
author:
  - ascend_ops.vllm contributors (@ascend-ops)
"""

EXAMPLES = r"""
- name: Validate the inputs
  ascend_ops.vllm.vllm_inputs:
    role: vllm_recipe
    settings: [vllm_recipe_name]
"""

RETURN = r"""
settings:
  description: The inputs that were asked for, by name without that of the role.
  returned: success
  type: dict
secrets:
  description: The names of the secrets.
  returned: success
  type: list
  elements: str
"""

# The work is done by the action plugin of the same name.
