# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a read-only module of this collection on a node; a node that cannot be reached is a result among the others."""

from __future__ import annotations

from ansible.errors import AnsibleConnectionFailure, AnsibleError
from ansible.plugins.action import ActionBase


class ActionModule(ActionBase):
    """The action of ``ascend_ops.vllm.gather``."""

    _supports_check_mode = True

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        unused, given = self.validate_argument_spec(
            argument_spec={
                "module": {"type": "str", "required": True},
                "arguments": {"type": "dict", "default": {}, "no_log": True},
            }
        )
        # Reading is the same in check mode.
        self._task.check_mode = False
        try:
            told = self._execute_module(
                f"ascend_ops.vllm.{given['module']}", module_args=given["arguments"], task_vars=task_vars
            )
        except AnsibleConnectionFailure as error:
            told = {"failed": True, "msg": str(error)}
        if told.pop("failed", False) or told.pop("unreachable", False):
            # What Ansible itself says of a module that did not start is not the reason.
            texts = [str(told.get(key) or "").strip() for key in ("msg", "module_stderr")]
            error = " ".join(": ".join(text for text in texts if text).split())[:1000] or "no answer"
            told = dict(self._login(), error=error)
        result.update(told)
        result["error"] = told.get("error", "")
        return result

    def _login(self):
        """``{"user", "port"}`` that the connection uses, as far as it says; an operator tries the same by hand."""
        login = {}
        for name, option in (("user", "remote_user"), ("port", "port")):
            try:
                login[name] = self._connection.get_option(option)
            except (AnsibleError, AttributeError, KeyError):  # a connection without a login
                continue
        return {name: value for name, value in login.items() if value}
