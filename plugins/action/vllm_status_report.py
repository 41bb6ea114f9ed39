# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compare what the nodes reported with their plan: show it, write it, and fail where that is wanted."""

from __future__ import annotations

from ansible.plugins.action import ActionBase
from ansible_collections.ascend_ops.vllm.plugins.module_utils._state import report, text
from ansible_collections.ascend_ops.vllm.plugins.plugin_utils._output import write_file
from ansible_collections.ascend_ops.vllm.plugins.plugin_utils._query import answer
from ansible_collections.ascend_ops.vllm.plugins.plugin_utils._screen import show


class ActionModule(ActionBase):
    """The action of ``ascend_ops.vllm.vllm_status_report``."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        unused, given = self.validate_argument_spec(
            argument_spec={
                "processes": {"type": "list", "elements": "dict", "required": True},
                "status": {"type": "dict", "required": True},
                "file": {"type": "str", "default": ""},
                "strict": {"type": "bool", "default": False},
                "query": {"type": "str", "default": ""},
            }
        )
        found = {
            host: told.get("status") or {key: told[key] for key in ("error", "user", "port") if told.get(key)}
            for host, told in given["status"].items()
        }
        made = report.report(given["processes"], found)
        if given["file"]:
            write_file("vllm_status_file", given["file"], made)
        show(result, answer("vllm_status_query", given["query"], made) if given["query"] else text.text(made))
        if given["strict"] and not made["ok"]:
            return dict(result, changed=False, failed=True, msg=f"{made['summary']} (vllm_status_strict).")
        return dict(result, changed=False, report=made)
