#!/usr/bin/python
# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vllm_explain
short_description: Explain why a service died, by its logs alone
version_added: 0.2.0
description:
  - Finds the root cause in logs of vLLM on Ascend NPUs, with the catalogue that deploy, status and the supervisor use.
  - Runs on the controller. Nothing is sent to the host.
options:
  path:
    description: A log (also gzip), a folder with C(*.log) files, or the folder of an unpacked support bundle.
    type: str
    required: true
  file:
    description: A JSON file to write the result to; empty for none.
    type: str
    default: ""
author:
  - ascend_ops.vllm contributors (@ascend-ops)
attributes:
  check_mode:
    description: Explains in check mode, too.
    support: full
  diff_mode:
    description: There is nothing to compare.
    support: none
"""

EXAMPLES = r"""
- name: Explain the logs of a folder
  ascend_ops.vllm.vllm_explain:
    path: /tmp/logs
    file: /tmp/explained.json
"""

RETURN = r"""
logs:
  description: Each log, with its causes, the most telling first; empty where none is known, and then its most telling lines.
  returned: success
  type: list
  elements: dict
  sample:
    - path: /tmp/logs/a2-node1.log
      causes: [{"id": "port-in-use", "line": "…", "meaning": "…", "advice": "…", "consequence": false, "facts": {"port": "8000"}}]
      telling: []
first:
  description: The log of what failed first, or null.
  returned: success
  type: str
"""

# The work is done by the action plugin of the same name.
