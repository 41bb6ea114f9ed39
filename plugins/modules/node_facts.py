#!/usr/bin/python
# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: node_facts
short_description: Gather what a node can tell before a deploy
version_added: 0.1.0
description:
  - Reads in one call what the checks of a node need, for the node's plan. Judges nothing and changes nothing.
  - Every external command is bounded in time; what cannot be read is null, or has an error beside it.
extends_documentation_fragment: [ascend_ops.vllm.engine, ascend_ops.vllm.read_only]
options:
  plan:
    description: The node's part of the plan.
    type: dict
    required: true
  archive:
    description: Path on the node of the image's archive; empty when the image is pulled.
    type: str
    default: ""
  npu_smi:
    description: Path of npu-smi on the node. Searched at the usual places when not given.
    type: path
  hccn_tool:
    description: Path of hccn_tool on the node. Searched at the usual places when not given.
    type: path
  timeout:
    description: Seconds that one external command may take.
    type: float
    default: 20.0
author:
  - ascend_ops.vllm contributors (@ascend-ops)
seealso:
  - module: ascend_ops.vllm.npu_info
"""

EXAMPLES = r"""
- name: Gather what the node can tell
  ascend_ops.vllm.node_facts:
    plan: "{{ __vllm_recipe_node }}"
"""

RETURN = r"""
facts:
  description: What the node told.
  returned: success
  type: dict
  contains:
    python: {description: Version of the Python that ran this., type: str}
    root: {description: Whether it ran as root., type: bool}
    network: {description: "C(interface) that carries the plan's address, or null; C(addresses) by interface.", type: dict}
    npu: {description: "As the module npu_info returns it, or C(code), C(meaning) and C(remedy) of its failure.", type: dict}
    devices: {description: "Device nodes of the plan, and whether they are there.", type: dict}
    paths: {description: "Sources of the plan's mounts, and whether they are there.", type: dict}
    hccn_conf: {description: "/etc/hccn.conf by chip, or null.", type: dict}
    engine: {description: "The engine, its set-up, C(image) and C(container) of the plan, other containers, or C(error).", type: dict}
    weights: {description: "One entry per checkpoint: whether it is complete, what it is, how fast it is read.", type: list}
    host: {description: "Memory, CPUs, limits, disks, kernel, stale processes.", type: dict}
    net: {description: "Interfaces, host name, clock, ephemeral ports, firewall.", type: dict}
    fabric: {description: "Per chip what hccn_tool tells: link, health, address, TLS, optics, peer.", type: dict}
    ports: {description: Who listens on the plan's ports., type: list}
    service_pids: {description: Processes of the service that runs already., type: list}
    seconds: {description: How long it took., type: float}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.ascend_ops.vllm.plugins.module_utils._facts.node import gather


def main():
    module = AnsibleModule(
        argument_spec=dict(
            plan=dict(type="dict", required=True),
            archive=dict(type="str", default=""),
            npu_smi=dict(type="path"),
            hccn_tool=dict(type="path"),
            timeout=dict(type="float", default=20.0),
            engine=dict(type="str", default="docker"),
        ),
        supports_check_mode=True,
    )
    module.exit_json(changed=False, facts=gather(**module.params))


if __name__ == "__main__":
    main()
