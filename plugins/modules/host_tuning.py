#!/usr/bin/python
# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later


DOCUMENTATION = r"""
module: host_tuning
short_description: Set, verify or restore the kernel settings of a node that runs vLLM
version_added: 0.1.0
description:
  - Applies a list of kernel settings in one call, at once and persistently, without a reboot.
  - Reads back every value that it writes.
  - Records the values that it found first, so that they can be restored.
  - A setting that the node does not have (no cpufreq in a VM, a sysctl that the kernel has dropped) is reported and is not
    a failure.
author: "ascend_ops.vllm contributors (@ascend-ops)"
requirements:
  - Python 3.7 or later on the node, and root
options:
  state:
    description:
      - V(present) applies the settings, and restores what an earlier run set and O(settings) no longer contains.
      - V(verify) only compares and reports; it never changes anything and never fails because of a difference.
      - V(absent) restores all recorded values and removes the files, and ignores O(settings). A value that another tool or
        user changed since it was set is reported and not restored.
    type: str
    choices: [present, verify, absent]
    default: present
  settings:
    description: The settings to apply. An entry with an empty O(settings[].value) is ignored.
    type: list
    elements: dict
    default: []
    suboptions:
      kind:
        description:
          - V(governor) is the cpufreq governor of every CPU.
          - V(sysctl) is the kernel parameter O(settings[].name).
          - V(sched_migration_cost_ns) is the migration cost of the scheduler, where the kernel has it (a sysctl before Linux
            5.13, debugfs since). A kernel that does not have it, or refuses the value, is not a failure.
        type: str
        required: true
        choices: [governor, sysctl, sched_migration_cost_ns]
      name:
        description: Name of the kernel parameter; required for O(settings[].kind=sysctl), ignored otherwise.
        type: str
      value:
        description: The desired value.
        type: str
attributes:
  check_mode:
    description: Reports what would change, and changes nothing.
    support: full
  diff_mode:
    description: Shows the live values and the files before and after.
    support: full
notes:
  - Run it on the node, not in a container, where the kernel files are read-only.
  - It writes C(/etc/sysctl.d/90-ascend-vllm.conf), C(/etc/ascend-vllm/host-tuning.sh), the unit
    C(ascend-vllm-host-tuning.service), and the record C(/var/lib/ascend-vllm/host_tuning.json).
"""

EXAMPLES = r"""
- name: Tune the node
  ascend_ops.vllm.host_tuning:
    settings:
      - {kind: governor, value: performance}
      - {kind: sysctl, name: vm.swappiness, value: 0}
      - {kind: sysctl, name: kernel.numa_balancing, value: 0}
      - {kind: sched_migration_cost_ns, value: 50000}
  become: true

- name: Restore the original values
  ascend_ops.vllm.host_tuning:
    state: absent
  become: true
"""

RETURN = r"""
settings:
  description: One entry for each setting, and for each that is restored.
  returned: always, unless the input is invalid
  type: list
  elements: dict
  contains:
    name:
      description: Name of the setting.
      type: str
      sample: vm.swappiness
    kind:
      description: Kind of the setting.
      type: str
      sample: sysctl
    before:
      description: Value before the run; null if the node does not have the setting.
      type: str
      sample: "60"
    wanted:
      description: Desired value.
      type: str
      sample: "0"
    after:
      description: Value after the run.
      type: str
      sample: "0"
    verdict:
      description:
        - V(ok), it was as wanted; V(changed), it was set; V(differs), it is not as wanted and was not written
          (O(state=verify), check mode); V(unavailable), this node does not have it; V(kept), it was not restored since
          another tool or user changed it; V(failed), the kernel refused the value.
      type: str
      sample: changed
    note:
      description: Anything else to know about it.
      type: str
      sample: 192 CPUs
files:
  description: The files that restore the settings after a reboot.
  returned: always, unless the input is invalid
  type: list
  elements: dict
  contains:
    path:
      description: Path of the file.
      type: str
    verdict:
      description: V(ok), V(differs), V(changed) or V(failed).
      type: str
    note:
      description: Anything else to know about it.
      type: str
compliant:
  description: Whether nothing differs, after the changes if there were any.
  returned: always, unless the input is invalid
  type: bool
report:
  description: The results as lines of text.
  returned: always, unless the input is invalid
  type: list
  elements: str
record:
  description: Path of the record of the original values.
  returned: always
  type: str
  sample: /var/lib/ascend-vllm/host_tuning.json
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.ascend_ops.vllm.plugins.module_utils._tuning.host import RECORD, Host, TuningError, explain
from ansible_collections.ascend_ops.vllm.plugins.module_utils._tuning.settings import parse_settings
from ansible_collections.ascend_ops.vllm.plugins.module_utils._tuning.tune import report_lines, tune


def main():
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["present", "verify", "absent"], "default": "present"},
            "settings": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "kind": {
                        "type": "str",
                        "required": True,
                        "choices": ["governor", "sysctl", "sched_migration_cost_ns"],
                    },
                    "name": {"type": "str"},
                    "value": {"type": "str"},
                },
            },
        },
        supports_check_mode=True,
    )
    state = module.params["state"]
    if os.geteuid() != 0:
        module.fail_json(
            msg=f"host tuning needs root, and this task runs as uid {os.geteuid()}: set become: true",
            record=RECORD,
        )
    try:
        outcome = tune(
            Host(),
            parse_settings(module.params["settings"]) if state != "absent" else [],
            dry_run=module.check_mode or state == "verify",
            strict=state == "present",
        )
    except TuningError as error:
        module.fail_json(msg=str(error), record=RECORD)
    except OSError as error:
        module.fail_json(msg=f"{error.filename or 'host tuning'}: {explain(error)}", record=RECORD)

    result = {
        "changed": outcome.changed and state != "verify",
        "settings": outcome.settings,
        "files": outcome.files,
        "compliant": outcome.compliant,
        "report": report_lines(outcome),
        "record": RECORD,
    }
    if state != "verify":
        result["diff"] = outcome.diff
    if outcome.failures:
        module.fail_json(msg="; ".join(outcome.failures), **result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
