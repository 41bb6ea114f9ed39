#!/usr/bin/python
# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: peer_facts
short_description: Find out whether the nodes of a replica reach each other
version_added: 0.1.0
description:
  - Must run on all nodes of a replica at the same time, in one task. Judges nothing and changes nothing.
  - The primary listens on its API and RPC ports until all secondaries have connected; each secondary connects through
    the network, compares its clock with the primary's, and is connected back to on a port of its own.
  - Every chip pings the chip of its own number on the other nodes, all chips at the same time.
  - Ends within about the longer of O(wait) and O(timeout). Nodes that do not run at the same time, as with
    C(forks=1), do not meet; that is told and is no error.
extends_documentation_fragment: ascend_ops.vllm.read_only
options:
  plan:
    description: The node's part of the plan.
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
      - The replica's own service already listens on the primary's ports. Nothing is opened then; the secondaries
        connect to the API port of the service.
    type: bool
    default: false
  wait:
    description: Seconds to wait for the other nodes.
    type: float
    default: 8.0
  timeout:
    description: Seconds that all pings together may take.
    type: float
    default: 10.0
  all_pairs:
    description: Let each chip ping all chips of the other nodes, not the one of its own number alone.
    type: bool
    default: false
  hccn_tool:
    description: Path of hccn_tool on the node. Searched at the usual places when not given.
    type: path
author:
  - ascend_ops.vllm contributors (@ascend-ops)
seealso:
  - module: ascend_ops.vllm.node_facts
  - module: ascend_ops.vllm.hccn_info
"""

EXAMPLES = r"""
- name: Find out whether the nodes reach each other
  ascend_ops.vllm.peer_facts:
    plan: "{{ __vllm_recipe_node }}"
    peers:
      - host: a2-node2
        address: 192.0.2.12
        role: secondary
        ports: {}
        chips: {"0": 198.51.100.20, "1": 198.51.100.21}
"""

RETURN = r"""
facts:
  description: What was found.
  returned: success
  type: dict
  contains:
    pings: {description: "One entry per ping: C(chip), C(host), C(peer_chip), C(address), C(transmitted), C(received), C(error).", type: list}
    ping_error: {description: Why there are no pings., type: str}
    reach: {description: "The node's ports, seen from its role: C(ports), C(clock) of a secondary, C(back) of the primary.", type: dict}
    seconds: {description: How long it took., type: float}
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
