#!/usr/bin/python
# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vllm_status
short_description: Tell how the service of a node is, and what of it is not as planned
version_added: 0.1.0
description:
  - Reads in one call the container, its image, the service's files, what was deployed, the supervisor and the host's
    tuning, compares each with the node's plan, and on the node that serves the API asks the model for tokens.
  - Judges nothing and changes nothing. Contents of files and values of secrets stay on the node.
extends_documentation_fragment: [ascend_ops.vllm.engine, ascend_ops.vllm.read_only]
options:
  plan:
    description: The node's part of the plan.
    type: dict
    required: true
  tuning:
    description: The settings that the host is to have, as the module M(ascend_ops.vllm.host_tuning) takes them.
    type: list
    elements: dict
    default: []
  supervised:
    description: Whether the service is to be supervised.
    type: bool
    default: true
  api_key:
    description: The key that the service wants. Empty to take it from the node's file of secrets, where it has one.
    type: str
    default: ""
  secret_names:
    description: The names of the secrets that the service is to have; their values are not asked for.
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
- name: Ask the node
  ascend_ops.vllm.vllm_status:
    plan: "{{ __vllm_recipe_node }}"
  register: told
"""

RETURN = r"""
status:
  description: What the node told.
  returned: success
  type: dict
  contains:
    time: {description: Seconds since the epoch by the node's clock., type: int}
    engine_error: {description: Why the engine could not be asked; else empty., type: str}
    container: {description: "The container's state, or null; C(foreign) when this collection did not make it.", type: dict}
    image: {description: "What the plan's image is on the node, or null.", type: dict}
    others: {description: Other containers that this collection made., type: list}
    same_spec: {description: Whether the container is made as the plan wants it., type: bool}
    parts: {description: "The parts of the container that differ from the plan, such as C(image) or C(devices).", type: list}
    missing_mounts: {description: Sources of mounts that the node lacks., type: list}
    files:
      description:
        - "Each file: C(missing), and the lines that were C(edited), that a C(variable) changes, or that C(differ) for either
          reason."
      type: list
    files_error: {description: Why the files could not be compared; else empty., type: str}
    secrets: {description: "The file of secrets: C(missing), C(mode), the C(names) in it and those C(wanted).", type: dict}
    deployed: {description: "What was deployed last and proven, and what before; or null.", type: dict}
    supervisor: {description: "Its timer: C(loaded), C(active), C(enabled), C(for) how many seconds; and the C(state) that it saw last.", type: dict}
    tuning: {description: "C(compliant), and what C(differs); null where the host is not to be tuned.", type: dict}
    probe: {description: "C(state) C(ready) or C(silent), and the verdicts; null on a node that serves no API.", type: dict}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.ascend_ops.vllm.plugins.module_utils._state.observed import gather


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
    module.exit_json(changed=False, status=gather(plan, options))


if __name__ == "__main__":
    main()
