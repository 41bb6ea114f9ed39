#!/usr/bin/python
# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vllm_supervision
short_description: Have the service of a node watched, and brought back with its group
version_added: 0.1.0
description:
  - Lays a systemd timer on the node that looks at the service every few seconds. On the node that serves the API it asks
    for a token; on a secondary it looks at the connections to the primary. It restarts the container when the service
    does not answer, or when its group is gone, and gives up after too many restarts.
  - What it saw last is in C(/run/ascend-vllm/NAME/state.json), what it did in the journal of C(ascend-vllm@NAME).
options:
  name:
    description: The container to watch.
    type: str
    required: true
  state:
    description:
      - C(started) has the service watched.
      - C(held) stops the watching, to change the service in peace; also after a reboot it stays off.
      - C(absent) takes timer, state and, with the last service, the code away.
    type: str
    choices: [started, held, absent]
    default: started
  settings:
    description: How to watch, as the settings in the plan have it. Needed for C(started).
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
- name: Leave the service alone for a while
  ascend_ops.vllm.vllm_supervision:
    name: minimax2_5
    state: held
"""

RETURN = r"""
actions:
  description: What was done, or would be in check mode, in order.
  returned: success
  type: list
  elements: str
  sample: [wrote ascend-vllm@minimax2_5.timer, started]
"""

import os
import shutil
import sys

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common import files as common_files
from ansible_collections.ascend_ops.vllm.plugins.module_utils._service.supervise import CONFIG_DIR, STATE_DIR
from ansible_collections.ascend_ops.vllm.plugins.module_utils._state import supervision


class Watch:
    """The watching of one service on this node."""

    def __init__(self, module):
        self.name = module.params["name"]
        self.check = module.check_mode
        self.timer = f"ascend-vllm@{self.name}.timer"
        self.actions = []
        self.diff = []

    def write(self, files):
        """Have the files; return the names of those that changed."""
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
        """Have everything in place, and the timer running."""
        units = supervision.units(self.name, settings, sys.executable)
        changed = self.write(dict(supervision.code(), **supervision.settings_file(self.name, settings)))
        units_changed = self.write(units)
        on = supervision.timer_is(self.name) == (True, True)
        if on and not units_changed and not changed:
            return
        if not on or units_changed:
            self.actions.append("started")
        if self.check:
            return
        if units_changed:
            supervision.systemctl("daemon-reload")
        if not on:
            # What a supervisor saw before it was held is of another time.
            shutil.rmtree(os.path.join(STATE_DIR, self.name), ignore_errors=True)
            supervision.systemctl("enable", self.timer)
        if not on or units_changed:
            supervision.systemctl("restart", self.timer)

    def hold(self):
        """Stop the timer, and have it stay off."""
        if any(supervision.timer_is(self.name)):
            self.actions.append("held")
            if not self.check:
                supervision.hold(self.name)

    def remove(self):
        """Take away all that :meth:`start` made."""
        self.hold()
        paths = [
            path
            for path in list(supervision.units(self.name, {}, "")) + list(supervision.settings_file(self.name, {}))
            if os.path.exists(path)
        ]
        folders = [os.path.join(STATE_DIR, self.name)]
        others = [
            entry
            for entry in (os.listdir(CONFIG_DIR) if os.path.isdir(CONFIG_DIR) else [])
            if entry != self.name and os.path.exists(os.path.join(CONFIG_DIR, entry, "supervise.json"))
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
            state=dict(type="str", default="started", choices=["started", "held", "absent"]),
            settings=dict(type="dict", default={}),
        ),
        supports_check_mode=True,
        required_if=[("state", "started", ["settings"])],
    )
    watch = Watch(module)
    try:
        if module.params["state"] == "started":
            watch.start(module.params["settings"])
        elif module.params["state"] == "held":
            watch.hold()
        else:
            watch.remove()
    except supervision.SystemdError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(
            msg=f"cannot change {error.filename}: {error.strerror}. Supervision needs become, and room on the disk."
        )
    module.exit_json(changed=bool(watch.actions), actions=watch.actions, diff=watch.diff)


if __name__ == "__main__":
    main()
