# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Collect a node's support bundle and keep it as a file in the run's temporary folder, since it is too large for a result."""

from __future__ import annotations

import base64
import os
import re
from pathlib import Path

from ansible import constants as C
from ansible.plugins.action import ActionBase


class ActionModule(ActionBase):
    """The action of ``ascend_ops.vllm.node_bundle``."""

    _supports_check_mode = True

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        unused, given = self.validate_argument_spec(
            argument_spec={
                "name": {"type": "str", "required": True},
                "chips": {"type": "list", "elements": "int"},
                "lines": {"type": "int", "default": 2000},
                "since": {"type": "str", "default": ""},
                "data": {"type": "dict", "default": {}},
                "secrets": {"type": "list", "elements": "str", "default": [], "no_log": True},
                "max_bytes": {"type": "int", "default": 20971520},
                "npu_smi": {"type": "path"},
                "hccn_tool": {"type": "path"},
                "timeout": {"type": "float", "default": 20.0},
                "engine": {"type": "str", "default": "docker"},
            }
        )
        given = {name: value for name, value in given.items() if value is not None}
        collected = self._execute_module("ascend_ops.vllm.node_bundle", module_args=given, task_vars=task_vars)
        archive = collected.pop("archive", None)
        if archive is not None:
            collected["bundle"] = self._keep(b"".join(base64.b64decode(part) for part in aligned(archive)), task_vars)
        result.update(collected)
        return result

    def _keep(self, data, task_vars):
        name = re.sub(r"[^\w.-]", "_", task_vars["inventory_hostname"])
        path = Path(C.DEFAULT_LOCAL_TMP) / f"ascend-vllm-{self._task._uuid}-{name}.tar.gz"
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as stream:
            stream.write(data)
        return str(path)


def aligned(parts):
    """The pieces of a base64 text, cut anew so that each can be decoded by itself."""
    rest = ""
    for part in parts:
        rest += part
        whole = len(rest) // 4 * 4
        yield rest[:whole]
        rest = rest[whole:]
    yield rest
