# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Print a text on the controller's screen with its line breaks."""

from __future__ import annotations

from ansible.plugins.action import ActionBase
from ansible_collections.ascend_ops.vllm.plugins.plugin_utils._screen import show


class ActionModule(ActionBase):
    """The action of ``ascend_ops.vllm.show``."""

    TRANSFERS_FILES = False
    _requires_connection = False

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        unused, arguments = self.validate_argument_spec({"text": {"type": "str", "required": True}})
        show(result, arguments["text"])
        return dict(result, changed=False)
