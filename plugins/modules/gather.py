#!/usr/bin/python
# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: gather
short_description: Run a read-only module of this collection, and report a node that cannot be reached as a result
version_added: 0.2.0
description:
  - Runs a module that only reads, in check mode as well.
  - A node that cannot be reached, or on which the module fails, does not leave the play. Its result has the reason in
    RV(error).
  - Internal to the roles of this collection; it may change without notice.
extends_documentation_fragment: ascend_ops.vllm.read_only
options:
  module:
    description: Name of the module, without the collection's.
    type: str
    required: true
  arguments:
    description: Its options.
    type: dict
    default: {}
author:
  - ascend_ops.vllm contributors (@ascend-ops)
"""

EXAMPLES = r"""
- name: Gather the NPUs of each node
  ascend_ops.vllm.gather:
    module: npu_info
"""

RETURN = r"""
error:
  description: Why the node could not be asked; empty where it answered. The results of the module stand beside it.
  returned: always
  type: str
user:
  description: The user that the connection logs in as, where it says so.
  returned: the node could not be asked
  type: str
port:
  description: The port that the connection uses, where it says so.
  returned: the node could not be asked
  type: int
"""

# The work is done by the action plugin of the same name.
