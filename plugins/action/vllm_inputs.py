# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Validate the inputs of all roles on one host against their argument specs, in one task and without a connection."""

from __future__ import annotations

from collections.abc import Mapping

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.secrets import secrets_given
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan import inventory
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.files import known_inputs, role_options
from ansible_collections.ascend_ops.vllm.plugins.plugin_utils._inputs import PLAYBOOKS, input_errors

SECRETS = "vllm_service_secrets"


class ActionModule(ActionBase):
    """The action of ``ascend_ops.vllm.vllm_inputs``."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        unused, given = self.validate_argument_spec(
            argument_spec={
                "settings": {"type": "list", "elements": "str", "required": True},
                "role": {"type": "str", "required": True},
            }
        )
        host = task_vars["inventory_hostname"]
        names = [name for name in task_vars if isinstance(name, str)]
        errors = inventory.unknown_inputs(names, known_inputs())
        values, unresolved = self._resolved(task_vars)
        errors += unresolved
        options = {**role_options(), **PLAYBOOKS}
        secrets = secrets_given(values.pop(SECRETS, {}))
        for name, value in values.items():
            errors += input_errors(name, value, options[name])
        errors += secrets["errors"]
        if errors:
            raise AnsibleActionFail("\n".join(f"node {host}: {text}" for text in errors))
        return dict(
            result,
            changed=False,
            host=host,
            groups=task_vars["group_names"],
            settings={name[len(given["role"]) + 1 :]: values.get(name) for name in given["settings"]},
            secrets=secrets["names"],
        )

    def _resolved(self, task_vars):
        """``({input: value}, [error])``: the inputs that are set, with their templates resolved."""
        values = {}
        errors = []
        for name in (*role_options(), *PLAYBOOKS):
            if name not in task_vars:
                continue
            try:
                values[name] = plain(self._templar.template(task_vars[name]))
            except Exception as error:  # whatever a filter in a template can raise
                why = " ".join(str(error).split()) if name not in inventory.SECRET_INPUTS else type(error).__name__
                errors.append(f"{name} cannot be resolved: {why.rstrip('.')}. Correct what it refers to.")
        return values, errors


def plain(value):
    """A value as data alone: with the containers and texts of Ansible's own classes as those of Python."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return str(value) if "Encrypted" in type(value).__name__ else value
