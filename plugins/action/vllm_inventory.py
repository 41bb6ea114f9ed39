# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Validate the groups of the inventory and the tags of the run, before a node is asked."""

from __future__ import annotations

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan import inventory


class ActionModule(ActionBase):
    """The action of ``ascend_ops.vllm.vllm_inventory``."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        unused, given = self.validate_argument_spec(
            argument_spec={
                "groups": {"type": "dict", "required": True},
                "hardware": {"type": "str"},
                "tags": {"type": "list", "elements": "str", "default": []},
                "run_tags": {"type": "list", "elements": "str", "default": []},
                "skip_tags": {"type": "list", "elements": "str", "default": []},
            }
        )
        errors = inventory.layout_errors(given["groups"], given["hardware"])
        errors += inventory.tag_errors(given["run_tags"], given["skip_tags"], given["tags"])
        if errors:
            raise AnsibleActionFail("\n".join(errors))
        return dict(result, changed=False)
