#!/usr/bin/python
# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vllm_wait
short_description: Wait until a replica yields tokens, on all its nodes at once
version_added: 0.1.0
description:
  - Run on all nodes of a replica in one task. The node that serves the API is done when a request yields tokens, the
    others when that node is.
  - Stops waiting at once on all nodes when a container of the replica dies, says why as far as its log tells, and stops
    the containers of the replica, which the engine would start over and over.
options:
  replica:
    description: The replica's name.
    type: str
    required: true
  timeout:
    description: Seconds to wait at most.
    type: int
    required: true
  spec:
    description: The part C(container) of the node's plan.
    type: dict
    required: true
  started_at:
    description: When it was started, in seconds since the epoch; started anew since then counts as died.
    type: float
    default: 0.0
  url:
    description: Where this node serves the API. Empty on a node that serves none.
    type: str
    default: ""
  model:
    description: The served name of the model.
    type: str
    default: ""
  api_key:
    description: The key that the service wants, where it wants one.
    type: str
    default: ""
  key_of:
    description: Without O(api_key), the name of a container of this collection on the node, in whose C(secrets.env) the key is.
    type: str
    default: ""
  ca_file:
    description: Path on the node of what an https certificate is verified with. Empty for the system's authorities.
    type: str
    default: ""
  engine:
    description: Name or path of the engine's command on the node.
    type: str
    default: docker
author:
  - ascend_ops.vllm contributors (@ascend-ops)
seealso:
  - module: ascend_ops.vllm.vllm_probe
attributes:
  check_mode:
    description: Waits in check mode as well, and stops no container.
    support: full
  diff_mode:
    description: There is nothing to compare.
    support: none
"""

EXAMPLES = r"""
- name: Wait until the service yields tokens
  ascend_ops.vllm.vllm_wait:
    replica: default
    timeout: 3600
    spec: "{{ __vllm_recipe_node.container }}"
    url: http://192.0.2.11:20004
    model: minimax25
"""

RETURN = r"""
waited:
  description: Seconds until the answer came, on the node that serves the API.
  returned: success
  type: float
"""

# The work is done by the action plugin of the same name.
