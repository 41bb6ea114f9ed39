#!/usr/bin/python
# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: peer_facts
short_description: Test whether the nodes of a replica reach each other
version_added: 0.1.0
description:
  - Must run on all nodes of a replica at the same time, in one task. Evaluates nothing and changes nothing.
  - The primary listens on its API and RPC ports until all secondaries have connected. Each secondary connects over the
    network, compares its clock with the primary's, and accepts a connection back on a port of its own.
  - Every chip pings the chip with its number on the other nodes, all chips at the same time.
  - Finishes within about the longer of O(wait) and O(timeout). Nodes that do not run at the same time, as with
    C(forks=1), do not meet; that is reported and is not an error.
  - Internal to the roles of this collection; it may change without notice.
extends_documentation_fragment: ascend_ops.vllm.read_only
options:
  plan:
    description: The process plan of the node.
    type: dict
    required: true
  peers:
    description:
      - The other nodes of the replica, each with C(host), C(address), C(role), C(ports) (of the primary), C(chips) and
        C(vnic) (addresses of its chips).
    type: list
    elements: dict
    required: true
  serving:
    description:
      - Whether the replica's own service already listens on the primary's ports. No port is opened then; the secondaries
        connect to the API port of the service.
    type: bool
    default: false
  wait:
    description: How long to wait for the other nodes, in seconds.
    type: float
    default: 8.0
  timeout:
    description: Timeout of all pings together, in seconds.
    type: float
    default: 10.0
  all_pairs:
    description: Whether each chip pings all chips of the other nodes, instead of only the one with its number.
    type: bool
    default: false
  hccn_tool:
    description: Path of C(hccn_tool) on the node. Without it the usual places and E(PATH) are searched.
    type: path
author:
  - ascend_ops.vllm contributors (@ascend-ops)
seealso:
  - module: ascend_ops.vllm.node_facts
  - module: ascend_ops.vllm.hccn_info
"""

EXAMPLES = r"""
- name: Read the process plan that was deployed
  ansible.builtin.slurp:
    src: /etc/ascend-vllm/minimax2_5/process.json
  register: deployed

- name: Test whether this node reaches the other one
  ascend_ops.vllm.peer_facts:
    plan: "{{ (deployed.content | b64decode | from_json).process }}"
    peers:
      - host: a2-node2
        address: 192.0.2.12
        role: secondary
        ports: {}
        chips: {"0": 198.51.100.20, "1": 198.51.100.21}
"""

RETURN = r"""
facts:
  description: The results of the tests.
  returned: success
  type: dict
  contains:
    pings:
      description: One entry per ping.
      type: list
      elements: dict
      contains:
        chip:
          description: The chip that pings.
          type: int
        host:
          description: The node that is pinged.
          type: str
        peer_chip:
          description: The chip that is pinged.
          type: int
        address:
          description: Its address.
          type: str
        kind:
          description: V(ping), or V(hccs_ping) on the network of a super-pod.
          type: str
        transmitted:
          description: Number of packets; null without a result.
          type: int
        received:
          description: Number of answers; null without a result.
          type: int
        error:
          description: Why there is no result; empty if there is one.
          type: str
    ping_error:
      description: Why there are no pings; empty if there are.
      type: str
    reach:
      description: >-
        The ports as this node sees them by its C(role) - C(ports), C(clock) of a secondary, C(back) of the primary; null for
        a single node.
      type: dict
    seconds:
      description: Duration of the module in seconds.
      type: float
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.ascend_ops.vllm.plugins.module_utils._facts.peers import gather


def main():
    module = AnsibleModule(
        argument_spec=dict(
            plan=dict(type="dict", required=True),
            peers=dict(type="list", elements="dict", required=True),
            serving=dict(type="bool", default=False),
            wait=dict(type="float", default=8.0),
            timeout=dict(type="float", default=10.0),
            all_pairs=dict(type="bool", default=False),
            hccn_tool=dict(type="path"),
        ),
        supports_check_mode=True,
    )
    module.exit_json(changed=False, facts=gather(**module.params))


if __name__ == "__main__":
    main()
