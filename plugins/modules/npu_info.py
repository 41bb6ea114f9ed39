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
  - Runs C(npu-smi info) and returns its output as data, for every layout of the tool (910, 910B, A3, 310P, 950).
  - A value that the tool does not print is null, never zero.
  - Changes nothing.
author: "ascend_ops.vllm contributors (@ascend-ops)"
extends_documentation_fragment: ascend_ops.vllm.read_only
options:
  executable:
    description: Path of C(npu-smi) on the node. Without it the usual places and E(PATH) are searched.
    type: path
  timeout:
    description: Timeout of the tool in seconds. With a driver that hangs it never finishes.
    type: float
    default: 20.0
  details:
    description:
      - What to read beyond the table. V(mapping) is C(npu-smi info -m), V(topology) is C(-t topo), V(common) and V(usages)
        are C(-t common) and C(-t usages) of each NPU, one call each.
    type: list
    elements: str
    choices: [mapping, topology, common, usages]
    default: []
"""

EXAMPLES = r"""
- name: Read the NPUs of the node
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
      description: NPU id; null for a chip whose first row is missing.
      type: int
    chip_id:
      description: Number of the chip on its NPU; null on the 950, which prints none.
      type: int
    phy_id:
      description: Physical id, the N of C(/dev/davinciN); only the A3 prints it.
      type: int
    name:
      description: Name of the chip, as printed.
      type: str
    health:
      description: V(OK), V(Warning), V(Alarm), V(Critical) or V(UNKNOWN), as printed.
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
      description: Utilization of the AI cores in percent (on the 950 of the NPU).
      type: float
    memory_used_mb:
      description: Used memory in MB.
      type: int
    memory_total_mb:
      description: Total memory in MB.
      type: int
    hbm_used_mb:
      description: Used high-bandwidth memory in MB; null on the 310P, which has none.
      type: int
    hbm_total_mb:
      description: Total high-bandwidth memory in MB.
      type: int
    hugepages_used:
      description: Number of used huge pages.
      type: int
    hugepages_total:
      description: Total number of huge pages.
      type: int
    processes:
      description: Processes on the chip.
      type: list
      elements: dict
      contains:
        pid:
          description: Process id.
          type: int
        name:
          description: Name of the process.
          type: str
        memory_mb:
          description: High-bandwidth memory of the process in MB.
          type: int
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
  description: Version of the driver that npu-smi uses. It can differ from that of the tool.
  returned: success
  type: str
  sample: 24.1.rc1.b030
driver_package_version:
  description: Version in C(/usr/local/Ascend/driver/version.info); null if it cannot be read.
  returned: success
  type: str
  sample: 24.1.rc1
process_npus:
  description:
    - Ids of the NPUs that the process table covers.
    - Only for a chip of these NPUs an empty list of processes means that there are none.
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
    - What O(details) requested; null where the tool does not answer.
  returned: success
  type: dict
  contains:
    mapping:
      description: One entry per chip.
      type: list
      elements: dict
    topology:
      description: The C(links) between NPUs, and the C(cpu_affinity) of each NPU.
      type: dict
    common:
      description: By NPU id one entry per chip, with the tool's own titles.
      type: dict
    usages:
      description: By NPU id one entry per chip, with the tool's own titles.
      type: dict
code:
  description: >-
    Why it failed - the tool's own error code, such as V(-8005), or one of V(timeout), V(loader), V(not-found),
    V(not-executable), V(no-npu), V(no-table), V(crashed), V(unknown).
  returned: failure
  type: str
rc:
  description: Exit status of the tool; V(124) after the timeout.
  returned: failure
  type: int
output:
  description: The output of the tool, truncated.
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
