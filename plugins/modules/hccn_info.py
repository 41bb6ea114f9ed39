#!/usr/bin/python
# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: hccn_info
short_description: Read the RoCE ports of a node's Ascend chips
version_added: 0.1.0
description:
  - Queries C(hccn_tool) for link, health, address, TLS switch, LLDP peer and optical module of each chip, all chips at
    the same time, and returns its output as data.
  - A value that the tool does not report is null, and RV(chips) says why under C(problems).
  - Changes nothing.
extends_documentation_fragment: ascend_ops.vllm.read_only
options:
  executable:
    description: Path of C(hccn_tool) on the node. Without it the driver's directory, the usual places and E(PATH) are searched.
    type: path
  chips:
    description: Physical ids of the chips to query, the N of C(/dev/davinciN). Without it all chips of the node.
    type: list
    elements: int
  timeout:
    description: Timeout of one query in seconds. A chip that does not answer in time is not queried any further.
    type: float
    default: 20.0
author:
  - ascend_ops.vllm contributors (@ascend-ops)
seealso:
  - module: ascend_ops.vllm.npu_info
"""

EXAMPLES = r"""
- name: Read the RoCE ports
  ascend_ops.vllm.hccn_info:
  register: fabric

- name: Show the chips whose link is not up
  ansible.builtin.debug:
    msg: "{{ fabric.chips | dict2items | rejectattr('value.link', 'equalto', 'UP') | map(attribute='key') }}"
"""

RETURN = r"""
tool:
  description: Path of the tool that was used.
  returned: success
  type: str
  sample: /usr/local/Ascend/driver/tools/hccn_tool
chips:
  description:
    - One entry for each chip, by its physical id.
    - C(link) is V(UP) or V(DOWN); C(net_health) is in the tool's words, V(Success) if it is good; C(tls) says whether the
      switch is on; C(lldp) has C(peer), C(port) and C(system); C(optical) has C(present), C(tx_power_mw), C(rx_power_mw)
      and C(temperature_c).
    - C(problems) has an entry for each query without a usable answer, with the reason.
  returned: success
  type: dict
  sample:
    "0":
      link: UP
      net_health: Success
      address: 192.0.2.10
      netmask: 255.255.0.0
      tls: false
      lldp: {peer: true, port: "400GE1/1/1", system: leaf-1}
      optical: {present: true, tx_power_mw: 1.1, rx_power_mw: 1.0, temperature_c: null}
      problems: {}
"""

import os
import re

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.ascend_ops.vllm.plugins.module_utils._facts.fabric import read_chips


def chips_of_node():
    """The physical ids of all chips of this node."""
    return sorted(int(name[7:]) for name in os.listdir("/dev") if re.match(r"davinci\d+$", name))


def main():
    module = AnsibleModule(
        argument_spec=dict(
            executable=dict(type="path"),
            chips=dict(type="list", elements="int"),
            timeout=dict(type="float", default=20.0),
        ),
        supports_check_mode=True,
    )
    chips = module.params["chips"]
    if chips is None:
        chips = chips_of_node()
    if not chips:
        module.fail_json(
            msg="There is no /dev/davinciN. Check that the NPU driver is loaded, or list the chips in 'chips'."
        )
    if min(chips) < 0 or module.params["timeout"] <= 0:
        module.fail_json(msg="The numbers in 'chips' must be 0 or more, and 'timeout' more than 0.")
    found = read_chips(sorted(set(chips)), module.params["executable"], module.params["timeout"])
    if found["error"]:
        reason = found["error"][0].upper() + found["error"][1:]
        module.fail_json(msg=f"{reason}. Set 'executable' to its path, or install the NPU driver with its tools.")
    for chip in found["chips"].values():
        for name in ("vnic", "superpod"):
            chip.pop(name, None)
    module.exit_json(changed=False, tool=found["tool"], chips=found["chips"])


if __name__ == "__main__":
    main()
