#!/usr/bin/python
# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: npu_info
short_description: Read the Ascend NPUs of a node
version_added: 0.1.0
description:
  - Runs C(npu-smi info) and returns what it prints as data, for every layout of the tool (910, 910B, A3, 310P, 950).
  - A value that the tool does not print is null, never zero.
  - Changes nothing.
author: "ascend_ops.vllm contributors (@ascend-ops)"
attributes:
  check_mode:
    description: Can run in check mode; it reads only.
    support: full
  diff_mode:
    description: Has nothing to show as a difference.
    support: none
options:
  executable:
    description: Path of C(npu-smi) on the node. Without it the usual places and C(PATH) are searched.
    type: path
  timeout:
    description: Seconds to wait for the tool. A driver that hangs makes it wait without end.
    type: float
    default: 20.0
  details:
    description:
      - What to ask beyond the table. V(mapping) is C(npu-smi info -m), V(topology) C(-t topo), V(common) and V(usages)
        C(-t common) and C(-t usages) of each NPU, one call each.
    type: list
    elements: str
    choices: [mapping, topology, common, usages]
    default: []
"""

EXAMPLES = r"""
- name: Read the NPUs
  ascend_ops.vllm.npu_info:
  register: npus

- name: Show the chips that are not healthy
  ansible.builtin.debug:
    msg: "{{ npus.devices | rejectattr('health', 'equalto', 'OK') }}"
"""

RETURN = r"""
devices:
  description: One entry for each chip, in the order of the tool.
  returned: success
  type: list
  elements: dict
  contains:
    npu_id:
      description: NPU id. Null for a chip whose first row is missing.
      type: int
    chip_id:
      description: Number of the chip on its NPU. Null on the 950, which prints none.
      type: int
    phy_id:
      description: Physical id, the N of C(/dev/davinciN). Only the A3 prints it.
      type: int
    name:
      description: Name of the chip, as printed.
      type: str
    health:
      description: OK, Warning, Alarm, Critical or UNKNOWN, as printed.
      type: str
    bus_id:
      description: PCIe address.
      type: str
    power_w:
      description: Power in watts.
      type: float
    temperature_c:
      description: Temperature in degrees Celsius.
      type: float
    aicore_percent:
      description: Use of the AI cores in percent (on the 950 the use of the NPU).
      type: float
    memory_used_mb:
      description: Memory in use.
      type: int
    memory_total_mb:
      description: Memory there is.
      type: int
    hbm_used_mb:
      description: High-bandwidth memory in use. Null on the 310P, which has none.
      type: int
    hbm_total_mb:
      description: High-bandwidth memory there is.
      type: int
    hugepages_used:
      description: Huge pages in use.
      type: int
    hugepages_total:
      description: Huge pages there are.
      type: int
    processes:
      description: Processes on the chip, each with C(pid), C(name) and C(memory_mb).
      type: list
      elements: dict
  sample:
    - npu_id: 0
      chip_id: 0
      phy_id:
      name: 910B3
      health: OK
      bus_id: 0000:C1:00.0
      power_w: 101.8
      temperature_c: 43
      aicore_percent: 0
      memory_used_mb: 0
      memory_total_mb: 0
      hbm_used_mb: 3318
      hbm_total_mb: 65536
      hugepages_used: 0
      hugepages_total: 0
      processes:
        - pid: 78617
          name: python
          memory_mb: 49385
tool_version:
  description: Version of npu-smi.
  returned: success
  type: str
  sample: 24.1.rc1.b030
driver_version:
  description: Version of the driver that npu-smi talks to. Can differ from that of the tool.
  returned: success
  type: str
  sample: 24.1.rc1.b030
driver_package_version:
  description: Version in C(/usr/local/Ascend/driver/version.info), null where it cannot be read.
  returned: success
  type: str
  sample: 24.1.rc1
process_npus:
  description:
    - Ids of the NPUs that the table of processes speaks for.
    - An empty list of processes means "none" only for a chip of these NPUs.
  returned: success
  type: list
  elements: int
unplaced_processes:
  description: Processes on chips that are not listed, with C(npu_id) and C(chip_id).
  returned: success
  type: list
  elements: dict
problems:
  description: Lines that were not understood, each with the reason.
  returned: success
  type: list
  elements: str
details:
  description:
    - What O(details) asked for; null where the tool does not answer.
    - C(mapping) has one entry a chip, C(topology) C(links) and C(cpu_affinity), C(common) and C(usages) by NPU id one entry
      a chip, with the tool's own titles.
  returned: success
  type: dict
code:
  description: >-
    Why it failed: the tool's own code, such as V(-8005), or one of V(timeout), V(loader), V(not-found),
    V(not-executable), V(no-npu), V(no-table), V(crashed), V(unknown).
  returned: failure
  type: str
rc:
  description: Exit status of the tool, 124 when the time was up.
  returned: failure
  type: int
output:
  description: What the tool printed, shortened.
  returned: failure
  type: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.ascend_ops.vllm.plugins.module_utils._npu.read import (
    ARGUMENTS,
    DETAILS,
    driver_package_version,
    failure_message,
    read_details,
    read_npus,
)


def main():
    details = {"type": "list", "elements": "str", "choices": list(DETAILS), "default": []}
    module = AnsibleModule(argument_spec=dict(ARGUMENTS, details=details), supports_check_mode=True)
    info, failure = read_npus(module.params["executable"], module.params["timeout"])
    if failure:
        module.fail_json(
            changed=False,
            msg=failure_message(failure),
            code=failure["code"],
            rc=failure["rc"],
            output=failure["output"],
        )
    del info["table"]
    npus = sorted({device["npu_id"] for device in info["devices"] if device["npu_id"] is not None})
    info["details"] = read_details(
        module.params["executable"], module.params["timeout"], npus, module.params["details"]
    )
    module.exit_json(changed=False, driver_package_version=driver_package_version(), **info)


if __name__ == "__main__":
    main()
