#!/usr/bin/python
# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vllm_supervision
short_description: Supervise the service of a node, and restart it with its replica
version_added: 0.1.0
description:
  - Installs a systemd timer on the node that checks the service every few seconds. On the node that serves the API it
    asks for a token; on a secondary it looks at the connections to the primary. It restarts the container when the
    service does not answer, or when its group is gone, and gives up after too many restarts.
  - What it saw last is in C(/run/ascend-vllm/NAME/state.json), what it did in the journal of C(ascend-vllm@NAME).
  - Internal to the roles of this collection; it may change without notice.
options:
  name:
    description: The container.
    type: str
    required: true
  state:
    description:
      - C(started) supervises the service.
      - C(stopped) stops the supervision, so that the service can be changed; it stays off after a reboot.
      - C(absent) removes timer, settings, state and, with the last service, the code.
    type: str
    choices: [started, stopped, absent]
    default: started
  settings:
    description: The settings of the supervisor on this node. Needed for O(state=started).
    type: dict
    default: {}
author:
  - ascend_ops.vllm contributors (@ascend-ops)
attributes:
  check_mode:
    description: Says what would be done, and does nothing.
    support: full
  diff_mode:
    description: Shows the settings before and after.
    support: full
"""

EXAMPLES = r"""
- name: Stop supervising the service for a while
  ascend_ops.vllm.vllm_supervision:
    name: minimax2_5
    state: stopped
"""

RETURN = r"""
actions:
  description: What was done, or would be in check mode, in order.
  returned: success
  type: list
  elements: str
  sample: [wrote ascend-vllm@minimax2_5.timer, started]
drift:
  description: What differed before, as of M(ascend_ops.vllm.vllm_drift); empty for other states than C(started).
  returned: success
  type: list
  elements: dict
"""

import os
import shutil
import sys

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common import files as common_files
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.layout import SERVICE_DIR, STATE_DIR
from ansible_collections.ascend_ops.vllm.plugins.module_utils._service import supervise  # noqa: F401  # pylint: disable=unused-import  # its code is installed
from ansible_collections.ascend_ops.vllm.plugins.module_utils._state import drift, memory, supervision


class Supervision:
    """The supervision of one service on this node."""

    def __init__(self, module):
        self.name = module.params["name"]
        self.check = module.check_mode
        self.timer = f"ascend-vllm@{self.name}.timer"
        self.actions = []
        self.diff = []
        self.drift = []

    def write(self, files):
        """Write the files that differ; return their paths."""
        changed = []
        for path, content in files.items():
            before = common_files.read(path)[0]
            if before == content:
                continue
            changed.append(path)
            self.actions.append("wrote " + path)
            if path.endswith(".json"):
                self.diff.append(dict(before=before or "", after=content, before_header=path, after_header=path))
            if not self.check:
                os.makedirs(os.path.dirname(path), 0o755, exist_ok=True)
                common_files.write(path, content, 0o644)
        return changed

    def start(self, settings):
        """Write all files, and start the timer."""
        wanted = supervision.desired(self.name, settings, sys.executable)
        seen = supervision.observed(self.name, wanted)
        self.drift = drift.of_supervision(self.name, wanted, seen)
        units = supervision.units(self.name, settings, sys.executable)
        changed = self.write({path: content for path, content in wanted.items() if path not in units})
        units_changed = self.write(units)
        on = seen["active"] and seen["enabled"]
        if on and not units_changed and not changed:
            return
        if not on or units_changed:
            self.actions.append("started")
        if self.check:
            return
        if units_changed:
            supervision.systemctl("daemon-reload")
        if not on:
            # What a supervisor saw before it was stopped is outdated.
            shutil.rmtree(os.path.join(STATE_DIR, self.name), ignore_errors=True)
            memory.forget(self.name)
            supervision.systemctl("enable", self.timer)
        if not on or units_changed:
            supervision.systemctl("restart", self.timer)

    def stop(self):
        """Stop the timer, and disable it."""
        if any(supervision.timer_is(self.name)):
            self.actions.append("stopped")
            if not self.check:
                supervision.stop(self.name)

    def remove(self):
        """Remove all that :meth:`start` made."""
        self.stop()
        paths = [
            path
            for path in list(supervision.units(self.name, {}, "")) + list(supervision.settings_file(self.name, {}))
            if os.path.exists(path)
        ]
        folders = [os.path.join(STATE_DIR, self.name)]
        others = [
            entry
            for entry in (os.listdir(SERVICE_DIR) if os.path.isdir(SERVICE_DIR) else [])
            if entry != self.name and os.path.exists(os.path.join(SERVICE_DIR, entry, "supervise.json"))
        ]
        if not others:
            folders += [supervision.CODE_DIR, STATE_DIR]
        folders = [folder for folder in folders if os.path.isdir(folder)]
        if not paths and not folders:
            return
        self.actions.extend("removed " + path for path in paths + folders)
        if self.check:
            return
        for path in paths:
            os.unlink(path)
        memory.forget(self.name)
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)
        if paths:
            supervision.systemctl("daemon-reload")
        if not others:
            supervision.drop_slice()


def main():
    module = AnsibleModule(
        argument_spec=dict(
            name=dict(type="str", required=True),
            state=dict(type="str", default="started", choices=["started", "stopped", "absent"]),
            settings=dict(type="dict", default={}),
        ),
        supports_check_mode=True,
        required_if=[("state", "started", ["settings"])],
    )
    job = Supervision(module)
    try:
        if module.params["state"] == "started":
            job.start(module.params["settings"])
        elif module.params["state"] == "stopped":
            job.stop()
        else:
            job.remove()
    except supervision.SystemdError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(
            msg=f"cannot change {error.filename}: {error.strerror}. Supervision needs become, and room on the disk."
        )
    module.exit_json(changed=bool(job.actions), actions=job.actions, diff=job.diff, drift=job.drift)


if __name__ == "__main__":
    main()
