# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Explain logs on the controller."""

from __future__ import annotations

from ansible.plugins.action import ActionBase
from ansible_collections.ascend_ops.vllm.plugins.plugin_utils._explain import explain_path, text_of
from ansible_collections.ascend_ops.vllm.plugins.plugin_utils._output import write_file
from ansible_collections.ascend_ops.vllm.plugins.plugin_utils._screen import show


class ActionModule(ActionBase):
    """The action of ``ascend_ops.vllm.vllm_explain``."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        unused, given = self.validate_argument_spec(
            {"path": {"type": "str", "required": True}, "file": {"type": "str", "default": ""}}
        )
        explained = explain_path(given["path"])
        if given["file"]:
            write_file("vllm_explain_file", given["file"], explained)
        show(result, text_of(explained))
        return dict(result, changed=False, **explained)
