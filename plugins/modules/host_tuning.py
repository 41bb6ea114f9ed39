#!/usr/bin/python
# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later


DOCUMENTATION = r"""
module: host_tuning
short_description: Set, verify or put back the kernel settings of a node that runs vLLM
version_added: 0.1.0
description:
  - Brings all kernel settings of one list to their values in one call, live and over reboots, without a reboot.
  - Reads back every value that it has written.
  - Keeps a record of the values that it found first, so that they can be put back.
  - What the node does not have (no cpufreq in a VM, a sysctl gone from the kernel) is reported and is no failure.
author: "ascend_ops.vllm contributors (@ascend-ops)"
requirements:
  - Python 3.7 or later on the node, and root
options:
  state:
    description:
      - V(present) sets the values, and puts back what an earlier run set and O(settings) no longer has.
      - V(verify) compares and reports only; it never changes anything and never fails over a difference.
      - V(absent) puts all recorded values back and removes the files. It does not look at O(settings). A value
        that somebody else changed since it was set is left alone and reported.
    type: str
    choices: [present, verify, absent]
    default: present
  settings:
    description: What to set. An entry whose O(settings[].value) is empty is left alone.
    type: list
    elements: dict
    default: []
    suboptions:
      kind:
        description:
          - V(governor) is the cpufreq governor of every CPU.
          - V(sysctl) is the kernel parameter O(settings[].name).
          - V(sched_migration_cost_ns) is the scheduler's migration cost, wherever this kernel has it (the sysctl
            before Linux 5.13, debugfs since). A kernel that has none, or refuses it, is no failure.
        type: str
        required: true
        choices: [governor, sysctl, sched_migration_cost_ns]
      name:
        description: Name of the kernel parameter; only for kind V(sysctl).
        type: str
      value:
        description: The value wanted.
        type: str
attributes:
  check_mode:
    description: Reports what would change and changes nothing.
    support: full
  diff_mode:
    description: Shows the live values and the files before and after.
    support: full
notes:
  - Run it on the node, not in a container; there the kernel's files are read-only.
  - Files written are C(/etc/sysctl.d/90-ascend-vllm.conf), C(/etc/ascend-vllm/host-tuning.sh) and the unit
    C(ascend-vllm-host-tuning.service); the record is C(/var/lib/ascend-vllm/host_tuning.json).
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

- name: Put all back
  ascend_ops.vllm.host_tuning:
    state: absent
  become: true
"""

RETURN = r"""
settings:
  description: One entry for each setting, and for each that is put back.
  returned: always, unless the input is wrong
  type: list
  elements: dict
  contains:
    name: {description: Name of the setting., type: str, sample: vm.swappiness}
    kind: {description: Its kind., type: str, sample: sysctl}
    before: {description: Value found; null where the node has none., type: str, sample: "60"}
    wanted: {description: Value wanted., type: str, sample: "0"}
    after: {description: Value read back at the end., type: str, sample: "0"}
    verdict:
      description:
        - V(ok) as wanted; V(changed) set now; V(differs) not as wanted and not written (verify, check mode);
          V(unavailable) this node does not have it; V(kept) not put back, since somebody changed it; V(failed)
          refused.
      type: str
      sample: changed
    note: {description: What else there is to know., type: str, sample: 192 CPUs}
files:
  description: The files that make the settings survive a reboot, with path, verdict and note.
  returned: always, unless the input is wrong
  type: list
  elements: dict
compliant:
  description: Whether nothing differs at the start of a check, or at the end of a change.
  returned: always, unless the input is wrong
  type: bool
report:
  description: All of it as lines of text.
  returned: always, unless the input is wrong
  type: list
  elements: str
record:
  description: Path of the record of the values found first.
  returned: always
  type: str
  sample: /var/lib/ascend-vllm/host_tuning.json
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.ascend_ops.vllm.plugins.module_utils._tuning import host as tuning


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
            record=tuning.RECORD,
        )
    try:
        outcome = tuning.tune(
            tuning.Host(),
            tuning.parse_settings(module.params["settings"]) if state != "absent" else [],
            dry_run=module.check_mode or state == "verify",
            strict=state == "present",
        )
    except tuning.TuningError as error:
        module.fail_json(msg=str(error), record=tuning.RECORD)
    except OSError as error:
        module.fail_json(msg=f"{error.filename or 'host tuning'}: {tuning.explain(error)}", record=tuning.RECORD)

    result = {
        "changed": outcome.changed and state != "verify",
        "settings": outcome.settings,
        "files": outcome.files,
        "compliant": outcome.compliant,
        "report": tuning.report_lines(outcome),
        "record": tuning.RECORD,
    }
    if state != "verify":
        result["diff"] = outcome.diff
    if outcome.failures:
        module.fail_json(msg="; ".join(outcome.failures), **result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
