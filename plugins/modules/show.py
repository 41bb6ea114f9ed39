#!/usr/bin/python
# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: show
short_description: Show a text to the operator
version_added: 0.1.0
description:
  - Shows a text on the controller's screen with its line breaks.
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
    description: Shows the text in check mode, too.
    support: full
  diff_mode:
    description: There is nothing to compare.
    support: none
"""

EXAMPLES = r"""
- name: Show where the service answers
  ascend_ops.vllm.show:
    text: |
      model  minimax25
      url    http://192.0.2.11:20004
  run_once: true
"""

RETURN = r"""
"""

# The work is done by the action plugin of the same name.
