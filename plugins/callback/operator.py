# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible's default screen, without the tasks that had nothing to do, and with the texts of this collection's tasks."""

from __future__ import annotations

DOCUMENTATION = r"""
name: operator
type: stdout
short_description: Ansible's default screen, without skipped tasks
version_added: 0.2.0
description:
  - Prints what C(ansible.builtin.default) prints, without tasks that are skipped on all hosts.
  - Prints the texts of this collection's tasks, such as a plan or a report, below the heading of their task.
extends_documentation_fragment:
  - default_callback
  - result_format_callback
requirements:
  - Set it as C(stdout_callback) in the configuration of Ansible.
"""

from ansible.plugins.callback.default import CallbackModule as Default
from ansible_collections.ascend_ops.vllm.plugins.plugin_utils._screen import KEY


class CallbackModule(Default):
    """The callback ``ascend_ops.vllm.operator``."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "ascend_ops.vllm.operator"

    def set_options(self, task_keys=None, var_options=None, direct=None):
        super().set_options(task_keys=task_keys, var_options=var_options, direct=direct)
        self.set_option("display_skipped_hosts", False)
        self._waits = False

    def v2_playbook_on_task_start(self, task, is_conditional):
        super().v2_playbook_on_task_start(task, is_conditional)
        # The one task that prints while it works, unless nothing is waited for.
        if self._waits and task.args.get("step") == "wait" and not task.check_mode:
            self._banner(task)

    def v2_runner_on_ok(self, result):
        self._text_of(result)
        super().v2_runner_on_ok(result)

    def v2_runner_on_failed(self, result, ignore_errors=False):
        self._text_of(result)
        super().v2_runner_on_failed(result, ignore_errors)

    def _text_of(self, result):
        told = result._result
        decision = (told.get("state") or {}).get("decision") or {}
        self._waits = decision.get("action", "keep") != "keep"
        text = told.pop(KEY, None)
        if text:
            self._banner(result._task)
            self._display.display(text)

    def _banner(self, task):
        if self._last_task_banner != task._uuid:
            self._print_task_banner(task)
