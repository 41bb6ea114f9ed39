# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tune a host, and show what the module reports of each setting: an operator reads it, and the log of the run has it."""

from __future__ import annotations

from ansible.plugins.action import ActionBase
from ansible_collections.ascend_ops.vllm.plugins.plugin_utils._screen import show


class ActionModule(ActionBase):
    """The action of ``ascend_ops.vllm.host_tuning``."""

    _supports_check_mode = True

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        result.update(self._execute_module(task_vars=task_vars))
        for line in result.get("report") or []:
            show(result, f"{task_vars['inventory_hostname']}: {line}")
        return result
