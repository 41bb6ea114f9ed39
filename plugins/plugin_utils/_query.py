# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The answer to a JMESPath query on a task's data, in place of its text."""

from __future__ import annotations

import json

from ansible.errors import AnsibleActionFail
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.query import QueryError, query


def answer(name, expression, data):
    """What *expression* selects of *data*, as JSON. Raises AnsibleActionFail with the input's *name* for a bad query."""
    try:
        return json.dumps(query(data, expression), indent=2, ensure_ascii=False)
    except QueryError as error:
        raise AnsibleActionFail(f"{name}: {error}") from error
