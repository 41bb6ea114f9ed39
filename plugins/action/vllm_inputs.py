# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Validate the inputs of all roles on one host against their argument specs, in one task and without a connection."""

from __future__ import annotations

from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.plugins.action import ActionBase
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan import inventory
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.files import known_inputs, role_options


class ActionModule(ActionBase):
    """The action of ``ascend_ops.vllm.vllm_inputs``."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        unused, given = self.validate_argument_spec(
            argument_spec={
                "settings": {"type": "dict", "required": True},
                "secrets": {"type": "dict", "default": {}},
            }
        )
        host = task_vars["inventory_hostname"]
        names = [name for name in task_vars if isinstance(name, str)]
        errors = inventory.unknown_inputs(names, known_inputs())
        errors += given["secrets"].get("errors", [])
        errors += self._misfits(task_vars)
        if errors:
            raise AnsibleActionFail("\n".join(f"node {host}: {text}" for text in errors))
        return dict(
            result,
            changed=False,
            host=host,
            groups=task_vars["group_names"],
            settings=given["settings"],
            secrets=given["secrets"].get("names", []),
        )

    def _misfits(self, task_vars):
        """What of the inputs does not fit its spec; the values of secrets are not shown."""
        errors = []
        for name, option in role_options().items():
            if name not in task_vars:
                continue
            try:
                value = self._templar.template(task_vars[name])
            except AnsibleError as error:
                errors.append(f"{name} cannot be resolved: {error}")
                continue
            if value is None:
                continue
            checked = ArgumentSpecValidator({name: option}).validate({name: value})
            if checked.error_messages and name in inventory.SECRET_INPUTS:
                errors.append(f"{name} does not fit; wanted a {option['type']}.")
            else:
                errors += [f"{name}: {text}" for text in checked.error_messages]
        return errors
