#!/usr/bin/python
# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: npu_check
short_description: Check the Ascend NPUs of a node
version_added: 0.1.0
description:
  - Runs C(npu-smi info) and returns one verdict for each check, with what was seen, what was wanted and what to do.
  - The checks are V(npu.tool), V(npu.count), V(npu.product), V(npu.health), V(npu.idle.processes), V(npu.idle.hbm)
    and V(npu.driver).
  - A verdict is V(pass), V(warn), V(fail), V(unknown) or V(skipped).
  - A value that the tool does not report gives V(unknown), never V(pass).
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
  chips:
    description: Number of chips that the node must have; more than that is a warning. Without it the check is skipped.
    type: int
  product:
    description: Hardware that the node must be. Without it the check is skipped.
    type: str
    choices: [a2, a3]
  idle:
    description: Whether the chips must be idle, without processes and with at most O(max_idle_hbm_mb) of memory in use.
    type: bool
    default: true
  max_idle_hbm_mb:
    description: Limit for the used high-bandwidth memory of an idle chip in MB. An idle 910B shows about 3300.
    type: int
    default: 5000
  own_pids:
    description: Process ids of the service itself. They and their memory are not counted.
    type: list
    elements: int
    default: []
  min_driver:
    description: Oldest accepted driver, such as V(24.1.rc2) or V(25.5.1). Without it the check is skipped.
    type: str
  fail_on:
    description: Verdicts that make the task fail, after all checks have run.
    type: list
    elements: str
    choices: [fail, unknown, warn]
    default: [fail]
"""

EXAMPLES = r"""
- name: Check that the node is ready for a deployment on A2
  ascend_ops.vllm.npu_check:
    chips: 8
    product: a2
    min_driver: 24.1.rc2
    fail_on: [fail, unknown]

- name: Check the health while the service is running
  ascend_ops.vllm.npu_check:
    idle: false
    fail_on: []
  register: npus
"""

RETURN = r"""
verdicts:
  description: One verdict for each check, always all of them and in the same order.
  returned: always, unless an option is invalid
  type: list
  elements: dict
  contains:
    id:
      description: Name of the check.
      type: str
    verdict:
      description: V(pass), V(warn), V(fail), V(unknown) or V(skipped).
      type: str
    seen:
      description: What was seen.
      type: str
    wanted:
      description: What was wanted.
      type: str
    remedy:
      description: What to do; empty for V(pass).
      type: str
  sample:
    - id: npu.count
      verdict: fail
      seen: "7 chips; missing: NPU 3"
      wanted: 8 chips
      remedy: Check 'dmesg | grep -i ascend' for a lost chip.
ok:
  description: Whether no verdict is V(fail) or V(unknown).
  returned: always, unless an option is invalid
  type: bool
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.ascend_ops.vllm.plugins.module_utils._npu.checks import (
    EXPECTATIONS,
    evaluate_npu,
    parse_driver_version,
)
from ansible_collections.ascend_ops.vllm.plugins.module_utils._npu.read import (
    ARGUMENTS,
    failure_message,
    read_npus,
)


def main():
    module = AnsibleModule(
        argument_spec=dict(
            ARGUMENTS,
            chips=dict(type="int"),
            product=dict(type="str", choices=["a2", "a3"]),
            idle=dict(type="bool", default=True),
            max_idle_hbm_mb=dict(type="int", default=5000),
            own_pids=dict(type="list", elements="int", default=[]),
            min_driver=dict(type="str"),
            fail_on=dict(type="list", elements="str", choices=["fail", "unknown", "warn"], default=["fail"]),
        ),
        supports_check_mode=True,
    )
    params = module.params
    oldest = params["min_driver"]
    if oldest is not None and parse_driver_version(oldest) is None:
        module.fail_json(msg=f"min_driver is not a driver version: {oldest}. Write it like 24.1.rc2 or 25.5.1.")
    if params["chips"] is not None and params["chips"] < 1:
        module.fail_json(msg="chips must be 1 or more, not {0}.".format(params["chips"]))

    info, failure = read_npus(params["executable"], params["timeout"])
    if failure:
        failure = dict(failure, meaning=failure_message(dict(failure, remedy="")).strip())
    verdicts = evaluate_npu(info or failure, {name: params[name] for name in EXPECTATIONS})
    result = {
        "changed": False,
        "verdicts": verdicts,
        "ok": not any(verdict["verdict"] in ("fail", "unknown") for verdict in verdicts),
    }
    bad = [verdict for verdict in verdicts if verdict["verdict"] in params["fail_on"]]
    if bad:
        lines = ["%(id)s %(verdict)s: seen %(seen)s; wanted %(wanted)s. %(remedy)s" % verdict for verdict in bad]
        module.fail_json(msg="%d of the NPU checks did not pass:\n%s" % (len(bad), "\n".join(lines)), **result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
