# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compute the plan of all nodes of a play; fail with all that keeps it from running, and show its warnings."""

from __future__ import annotations

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.ascend_ops.vllm.plugins.plugin_utils._plan import plan
from ansible_collections.ascend_ops.vllm.plugins.plugin_utils._screen import show


class ActionModule(ActionBase):
    """The action of ``ascend_ops.vllm.vllm_plan``."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        unused, given = self.validate_argument_spec(
            argument_spec={
                "inputs": {"type": "list", "elements": "dict", "required": True},
                "forks": {"type": "int", "default": 0},
            }
        )
        planned = plan(given["inputs"], given["forks"])
        if planned["errors"]:
            raise AnsibleActionFail("\n".join(planned["errors"]))
        # Not under its own name in the result, which Ansible would show again.
        for text in planned.pop("warnings"):
            show(result, f"warning: {text}")
        return dict(result, changed=False, **planned)
