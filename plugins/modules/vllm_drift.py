#!/usr/bin/python
# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vllm_drift
short_description: Compare a node with its plan
version_added: 0.2.0
description:
  - Compares what a node has with what a deploy would make of it, in one call - container, image, files, arguments of what
    runs, host tuning, supervision, the revision that was verified last. Where nothing differs, it asks the service for
    tokens. Changes nothing.
  - What cannot be read of the running process is no drift, and is returned in RV(unknown).
  - Internal to the roles of this collection; it may change without notice.
extends_documentation_fragment:
  - ascend_ops.vllm.engine
  - ascend_ops.vllm.read_only
options:
  process:
    description: The process plan of the node.
    type: dict
    required: true
  interface:
    description: The interface that carries the address of the node.
    type: str
    default: ""
  tuning:
    description: Settings of the host, as M(ascend_ops.vllm.host_tuning) takes them. Empty where the host is not tuned.
    type: list
    elements: dict
    default: []
  secrets:
    description: The secrets of the service, names and values.
    type: dict
    default: {}
  supervision:
    description: Settings of the supervisor, as M(ascend_ops.vllm.vllm_supervision) takes them. Empty where the service is not supervised.
    type: dict
    default: {}
  members:
    description: The hosts of the replica.
    type: list
    elements: str
    required: true
  checks:
    description: What to ask the service on the node that serves the API.
    type: list
    elements: str
    default: [models, chat]
    choices: [models, chat, tool_call]
  api_key:
    description: The API key of the service.
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
- name: Read the process plan that was deployed
  ansible.builtin.slurp:
    src: /etc/ascend-vllm/minimax2_5/process.json
  register: deployed

- name: Compare the node with the plan that was deployed there
  ascend_ops.vllm.vllm_drift:
    process: "{{ (deployed.content | b64decode | from_json).process }}"
    interface: eth0
    members: [a2-node1, a2-node2]
  register: compared

- name: Show what differs
  ansible.builtin.debug:
    var: compared.drift_text
"""

RETURN = r"""
settled:
  description: Whether a deploy has nothing to do on this node.
  returned: success
  type: bool
drift:
  description: What differs. The values of secrets are masked.
  returned: success
  type: list
  elements: dict
  contains:
    section:
      description: >-
        C(state), C(container), C(arguments), C(environment), C(files), C(secrets), C(process), C(record), C(tuning),
        C(supervision), C(revision), C(service) or C(unknown).
      type: str
    path: {description: "What differs, such as C(max-num-seqs).", type: str}
    was: {description: What the node has; null where it is absent., type: str}
    wanted: {description: What it should have; null where it should be absent., type: str}
    file: {description: The file that this was read from; empty for none., type: str}
    origin: {description: "How it came to differ: C(edited) by hand since the deploy, by a C(variable), by C(both); empty where that is not known.", type: str}
drift_text:
  description: The same as lines.
  returned: success
  type: list
  elements: str
  sample: ["max-num-seqs: 32 -> 64"]
unknown:
  description: What could not be compared, as sentences.
  returned: success
  type: list
  elements: str
group:
  description: The id of the group of nodes that what runs was verified with, or null.
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
from ansible_collections.ascend_ops.vllm.plugins.module_utils._service import supervise  # noqa: F401  # pylint: disable=unused-import  # its code is compared
from ansible_collections.ascend_ops.vllm.plugins.module_utils._state.compare import compare


def main():
    module = AnsibleModule(
        argument_spec=dict(
            process=dict(type="dict", required=True),
            interface=dict(type="str", default=""),
            tuning=dict(type="list", elements="dict", default=[]),
            secrets=dict(type="dict", default={}, no_log=True),
            supervision=dict(type="dict", default={}),
            members=dict(type="list", elements="str", required=True),
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
    module.exit_json(changed=False, **compare(options.pop("process"), options))


if __name__ == "__main__":
    main()
