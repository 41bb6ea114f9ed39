# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write the support bundles of all nodes into one archive on the controller."""

from __future__ import annotations

import json
import os
import platform
import tarfile
from pathlib import Path

import yaml
from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.release import __version__ as ansible_core
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.redact import Redactor
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.model import processes
from ansible_collections.ascend_ops.vllm.plugins.module_utils._support import archive, text
from ansible_collections.ascend_ops.vllm.plugins.plugin_utils._preflight import evaluate


def collection_version():
    """The version of this collection, installed or as a checkout."""
    root = Path(__file__).resolve().parent.parent.parent
    try:
        return json.loads((root / "MANIFEST.json").read_text(encoding="utf-8"))["collection_info"]["version"]
    except (OSError, ValueError, KeyError):
        pass
    try:
        return yaml.safe_load((root / "galaxy.yml").read_text(encoding="utf-8"))["version"]
    except (OSError, ValueError, KeyError, yaml.YAMLError):
        return "unknown"


class ActionModule(ActionBase):
    """The action of ``ascend_ops.vllm.diagnostics_archive``."""

    _supports_check_mode = True
    _requires_connection = False
    TRANSFERS_FILES = False

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        unused, given = self.validate_argument_spec(
            argument_spec={
                "path": {"type": "path", "required": True},
                "plan": {"type": "dict", "required": True},
                "bundles": {"type": "dict", "required": True},
                "facts": {"type": "dict", "default": {}},
                "min_driver": {"type": "str", "default": ""},
                "secrets": {"type": "list", "elements": "str", "default": [], "no_log": True},
            }
        )
        versions = {
            "ascend_ops.vllm": collection_version(),
            "ansible-core": ansible_core,
            "Python": platform.python_version(),
            "on": platform.platform(),
        }
        folder = os.path.abspath(given["path"])
        results = given["bundles"]
        try:
            stamp, index, files = archive.build(
                given["plan"],
                results,
                given["facts"],
                lambda facts: evaluate(processes(given["plan"]), facts, given["min_driver"], ansible_core),
                versions,
                Redactor(given["secrets"]),
            )
            bundles = {host: answer["bundle"] for host, answer in results.items() if answer.get("bundle")}
            path = archive.write(folder, stamp, files, bundles)
        except (OSError, tarfile.TarError) as error:
            raise AnsibleActionFail(
                f"The archive cannot be written to {folder} on this machine: {error}. Choose another folder with "
                "-e vllm_diagnostics_dir=FOLDER."
            )
        result.update(changed=False, path=path, summary=text.summary(index, path))
        return result
