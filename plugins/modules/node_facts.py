#!/usr/bin/python
# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: node_facts
short_description: Gather the facts of a node that the preflight checks evaluate
version_added: 0.1.0
description:
  - Reads in one call everything about a node that the preflight checks need, for the node's part of the plan. Evaluates
    nothing and changes nothing.
  - Every external command has a timeout. A value that cannot be read is null, or comes with an error.
  - Internal to the roles of this collection; it may change without notice.
extends_documentation_fragment:
  - ascend_ops.vllm.engine
  - ascend_ops.vllm.read_only
options:
  plan:
    description: The process plan of the node.
    type: dict
    required: true
  archive:
    description: Path of the image archive on the node; empty if the image is pulled.
    type: str
    default: ""
  npu_smi:
    description: Path of C(npu-smi) on the node. Without it the usual places and E(PATH) are searched.
    type: path
  hccn_tool:
    description: Path of C(hccn_tool) on the node. Without it the usual places and E(PATH) are searched.
    type: path
  timeout:
    description:
      - Timeout of one external command in seconds.
      - A source that does not answer in time is asked once more, alone, for up to three times as long.
    type: float
    default: 20.0
author:
  - ascend_ops.vllm contributors (@ascend-ops)
seealso:
  - module: ascend_ops.vllm.peer_facts
  - module: ascend_ops.vllm.npu_info
  - module: ascend_ops.vllm.npu_check
"""

EXAMPLES = r"""
- name: Read the process plan that was deployed
  ansible.builtin.slurp:
    src: /etc/ascend-vllm/minimax2_5/process.json
  register: deployed

- name: Gather the facts for that plan
  ascend_ops.vllm.node_facts:
    plan: "{{ (deployed.content | b64decode | from_json).process }}"
  register: node

- name: Show the checkpoints
  ansible.builtin.debug:
    var: node.facts.weights
"""

RETURN = r"""
facts:
  description: The facts of the node; null for what could not be read.
  returned: success
  type: dict
  contains:
    python:
      description: Version of the Python that ran the module.
      type: str
    root:
      description: Whether the module ran as root.
      type: bool
    machine_id:
      description: A digest of the machine id and the boot id, which identifies the machine until it reboots.
      type: str
    driver_package:
      description: Version of the installed driver package.
      type: str
    archive:
      description: Whether the file O(archive) exists; null if none was given.
      type: bool
    network:
      description: The C(interface) with the plan's address, or null; C(addresses) by interface; C(error).
      type: dict
    npu:
      description: The result of M(ascend_ops.vllm.npu_info), or C(code), C(meaning) and C(remedy) of its failure.
      type: dict
    devices:
      description: The device nodes of the plan, and whether each exists.
      type: dict
    paths:
      description: The source paths of the plan's mounts, and whether each exists.
      type: dict
    hccn_conf:
      description: The content of C(/etc/hccn.conf) by chip.
      type: dict
    engine:
      description: >-
        Version and configuration of the engine, C(image) and C(container) of the plan, C(others) (other containers), or
        C(error).
      type: dict
    weights:
      description: For each checkpoint of the plan whether it is complete, its kind, a fingerprint, and the read speed.
      type: list
      elements: dict
    host:
      description: Memory, CPUs, limits, disks, kernel, processes of another vLLM.
      type: dict
    net:
      description: Interfaces, hostname, clock, ephemeral ports, firewall, TLS files.
      type: dict
    fabric:
      description: For each chip what C(hccn_tool) reports - link, health, address, TLS, optics, LLDP peer.
      type: dict
    ports:
      description: The processes that listen on the plan's ports.
      type: list
      elements: dict
    service_pids:
      description: The processes of the service, if it is running.
      type: list
      elements: int
    owners:
      description: >-
        For each process that C(npu-smi) lists the id of its container; empty outside containers, null if it is not known.
      type: dict
    holders:
      description: The processes other than the service's that have a chip of the plan open.
      type: list
      elements: dict
    files:
      description: The files that options of C(vllm serve) name, where they are on the node, and their state.
      type: list
      elements: dict
    chips:
      description: The numbers of all C(/dev/davinciN) of the node.
      type: list
      elements: int
    rank_tables:
      description: The files on the node that tell HCCL of ranks.
      type: list
      elements: str
    late:
      description: >-
        The sources that did not answer within O(timeout), and whether they did when they were asked once more, alone, for up
        to three times as long.
      type: list
      elements: dict
    busy:
      description: Load, pressure, and the processes that wait in the kernel.
      type: dict
    seconds:
      description: Duration of the module in seconds.
      type: float
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
