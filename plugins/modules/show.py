#!/usr/bin/python
# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: show
short_description: Print text as it is
version_added: 0.1.0
description:
  - Prints a text on the controller's screen as an operator is to read it, with its line breaks.
  - Nothing is sent to the host.
options:
  text:
    description: The text.
    type: str
    required: true
author:
  - ascend_ops.vllm contributors (@ascend-ops)
attributes:
  check_mode:
    description: Prints in check mode as well.
    support: full
  diff_mode:
    description: There is nothing to compare.
    support: none
"""

EXAMPLES = r"""
- name: Show the plan
  ascend_ops.vllm.show:
    text: "{{ __vllm_recipe_plan | ascend_ops.vllm.plan_text }}"
  run_once: true
"""

RETURN = r"""
"""

# The work is done by the action plugin of the same name.
