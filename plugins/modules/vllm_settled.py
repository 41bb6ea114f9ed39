#!/usr/bin/python
# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vllm_settled
short_description: Find out whether there is anything for a deploy to do on a node
version_added: 0.2.0
description:
  - Compares the host's tuning, the container, the files of the service, what was proven last and the watching with what a
    deploy would make, and asks the service for tokens, all in one call. Changes nothing.
  - A deploy goes on with its steps where anything differs; they say what, and do it.
extends_documentation_fragment:
  - ascend_ops.vllm.engine
  - ascend_ops.vllm.read_only
options:
  node:
    description: The node's plan.
    type: dict
    required: true
  interface:
    description: The interface that carries the node's address.
    type: str
    default: ""
  tuning:
    description: Settings of the host, as M(ascend_ops.vllm.host_tuning) takes them. Empty where it is not tuned.
    type: list
    elements: dict
    default: []
  secrets:
    description: The secrets of the service, names and values.
    type: dict
    default: {}
  supervision:
    description: How the service is watched, as M(ascend_ops.vllm.vllm_supervision) takes it. Empty where it is not.
    type: dict
    default: {}
  hosts:
    description: The nodes of the replica.
    type: list
    elements: str
    required: true
  checks:
    description: What is asked of the service on the node that serves the API.
    type: list
    elements: str
    default: [models, chat]
    choices: [models, chat, tool_call]
  api_key:
    description: The key that the service wants.
    type: str
    default: ""
  request_timeout:
    description: Seconds that one request may take.
    type: int
    default: 60
author:
  - ascend_ops.vllm contributors (@ascend-ops)
"""

EXAMPLES = r"""
- name: Is there anything to do?
  ascend_ops.vllm.vllm_settled:
    node: "{{ __vllm_recipe_node }}"
    interface: eth0
    hosts: [a2-node1, a2-node2]
  register: told
"""

RETURN = r"""
settled:
  description: Whether there is nothing to do on this node.
  returned: success
  type: bool
differs:
  description: The first thing that is to be done; else empty.
  returned: success
  type: str
  sample: service.env would be written
group:
  description: The group of nodes that what runs was proven with, or null.
  returned: success
  type: str
verdicts:
  description: What the service answered, one verdict per check.
  returned: success
  type: list
  elements: dict
answer:
  description: What the model said.
  returned: success
  type: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.ascend_ops.vllm.plugins.module_utils._state.settled import look


def main():
    module = AnsibleModule(
        argument_spec=dict(
            node=dict(type="dict", required=True),
            interface=dict(type="str", default=""),
            tuning=dict(type="list", elements="dict", default=[]),
            secrets=dict(type="dict", default={}, no_log=True),
            supervision=dict(type="dict", default={}),
            hosts=dict(type="list", elements="str", required=True),
            checks=dict(
                type="list", elements="str", default=["models", "chat"], choices=["models", "chat", "tool_call"]
            ),
            api_key=dict(type="str", default="", no_log=True),
            request_timeout=dict(type="int", default=60),
            engine=dict(type="str", default="docker"),
        ),
        supports_check_mode=True,
    )
    options = dict(module.params)
    module.exit_json(changed=False, **look(options.pop("node"), options))


if __name__ == "__main__":
    main()
