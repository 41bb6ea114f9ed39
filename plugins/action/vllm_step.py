# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Take one step of a run together with the other members of a replica."""

from __future__ import annotations

from ansible.plugins.action import ActionBase
from ansible_collections.ascend_ops.vllm.plugins.plugin_utils._step import Failed
from ansible_collections.ascend_ops.vllm.plugins.plugin_utils._steps import STEPS


class ActionModule(ActionBase):
    """The action of ``ascend_ops.vllm.vllm_step``."""

    _supports_check_mode = True

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        unused, given = self.validate_argument_spec(
            argument_spec={
                "step": {"type": "str", "required": True, "choices": sorted(STEPS)},
                "state": {"type": "dict", "required": True},
                "members": {"type": "dict", "required": True},
                "settings": {"type": "dict", "default": {}, "no_log": True},
            }
        )
        step = STEPS[given["step"]](self, task_vars, given["state"], given["members"], given["settings"])
        try:
            result.update(step.run())
        except Failed as failed:
            # Without the state, which nobody needs of a node that failed, and which would fill the screen.
            result.update(step.result)
            result.update(failed.result)
        return result
