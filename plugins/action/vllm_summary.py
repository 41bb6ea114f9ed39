# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Show how each replica came out of a run, or why one did not take its new plan."""

from __future__ import annotations

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.ascend_ops.vllm.plugins.module_utils._service import rollout
from ansible_collections.ascend_ops.vllm.plugins.plugin_utils._screen import show


class ActionModule(ActionBase):
    """The action of ``ascend_ops.vllm.vllm_summary``."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        unused, given = self.validate_argument_spec(
            argument_spec={
                "plan": {"type": "dict", "required": True},
                "verb": {"type": "str", "required": True},
                "states": {"type": "dict", "default": {}},
                "failed_replica": {"type": "str", "default": ""},
                "failures": {"type": "dict", "default": {}},
                "rollbacks": {"type": "dict", "default": {}},
                "absent": {"type": "list", "elements": "str", "default": []},
            }
        )
        if given["failed_replica"]:
            raise AnsibleActionFail(
                rollout.failure(
                    given["plan"], given["failed_replica"], given["failures"], given["rollbacks"], given["absent"]
                )
            )
        states = {host: told.get("state") or {} for host, told in given["states"].items()}
        show(result, rollout.text(given["plan"], states, given["verb"]))
        return dict(result, changed=False)
