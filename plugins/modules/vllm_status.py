#!/usr/bin/python
# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vllm_status
short_description: Read the status of the service of a node, and what differs from its plan
version_added: 0.1.0
description:
  - Reads in one call the container, its image, the files of the service, the arguments of what runs, what was deployed, the
    supervisor and the host tuning, compares each with the process plan, and on the node that serves the API asks the model
    for tokens.
  - Judges nothing and changes nothing. Contents of files and values of secrets stay on the node.
  - Internal to the roles of this collection; it may change without notice.
extends_documentation_fragment: [ascend_ops.vllm.engine, ascend_ops.vllm.read_only]
options:
  plan:
    description: The process plan of the node.
    type: dict
    required: true
  tuning:
    description: The settings of the host, as the module M(ascend_ops.vllm.host_tuning) takes them. Empty where the host is not tuned.
    type: list
    elements: dict
    default: []
  supervised:
    description: Whether the service should be supervised.
    type: bool
    default: true
  api_key:
    description: The API key of the service. Empty to read it from C(secrets.env) on the node, where there is one.
    type: str
    default: ""
  secret_names:
    description: The names of the secrets that the service should have; their values are not needed.
    type: list
    elements: str
    default: []
  timeout:
    description: Seconds that one external command may take.
    type: float
    default: 20.0
  request_timeout:
    description: Seconds that one request to the service may take.
    type: int
    default: 60
author:
  - ascend_ops.vllm contributors (@ascend-ops)
seealso:
  - module: ascend_ops.vllm.vllm_probe
"""

EXAMPLES = r"""
- name: Read the process plan that was deployed
  ansible.builtin.slurp:
    src: /etc/ascend-vllm/minimax2_5/process.json
  register: deployed

- name: Read the status of the service that was deployed there
  ascend_ops.vllm.vllm_status:
    plan: "{{ (deployed.content | b64decode | from_json).process }}"
  register: service
"""

RETURN = r"""
status:
  description: What the node reports.
  returned: success
  type: dict
  contains:
    time: {description: Seconds since the epoch by the node's clock., type: int}
    engine_error: {description: Why the engine did not answer; else empty., type: str}
    container: {description: "The container's state, or null; C(foreign) where this collection did not create it.", type: dict}
    image: {description: "What the plan's image is on the node, or null.", type: dict}
    causes: {description: "Why a container that does not run died, the most telling cause first.", type: list}
    others: {description: Other containers that this collection created., type: list}
    drift: {description: "What differs, as of M(ascend_ops.vllm.vllm_drift), each with its C(text).", type: list}
    running: {description: "The C(pid) of C(vllm serve), and in C(error) why its arguments are not known.", type: dict}
    missing_mounts: {description: Sources of mounts that the node lacks., type: list}
    files:
      description: "Each file: C(missing), C(mode), and its C(changes) with their C(origin) and how many C(lines)."
      type: list
    files_error: {description: Why the files could not be compared; else empty., type: str}
    secrets: {description: "The file of secrets: C(missing), C(mode), the C(names) in it and those C(wanted).", type: dict}
    deployed: {description: "What was deployed and verified last, and what before; or null.", type: dict}
    supervisor:
      description: >-
        Its timer, C(loaded), C(active), C(enabled), C(for) how many seconds; the C(state) that it saw last; and in C(trouble) what
        may keep it from reporting.
      type: dict
    tuning: {description: "In C(error) why the host tuning is not known; null where the host is not tuned.", type: dict}
    probe: {description: "C(state) C(ready) or C(silent), and the verdicts; null on a node that serves no API.", type: dict}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.engine import Engine
from ansible_collections.ascend_ops.vllm.plugins.module_utils._failure.evidence import causes_of
from ansible_collections.ascend_ops.vllm.plugins.module_utils._state.status import gather


def main():
    module = AnsibleModule(
        argument_spec=dict(
            plan=dict(type="dict", required=True),
            tuning=dict(type="list", elements="dict", default=[]),
            supervised=dict(type="bool", default=True),
            api_key=dict(type="str", default="", no_log=True),
            secret_names=dict(type="list", elements="str", default=[], no_log=False),
            timeout=dict(type="float", default=20.0),
            request_timeout=dict(type="int", default=60),
            engine=dict(type="str", default="docker"),
        ),
        supports_check_mode=True,
    )
    options = dict(module.params)
    plan = options.pop("plan")
    status = gather(plan, options)
    stopped = status["container"] and not status["container"]["running"]
    status["causes"] = causes_of(Engine(options["engine"]), plan["container"]["name"]) if stopped else []
    module.exit_json(changed=False, status=status)


if __name__ == "__main__":
    main()
