# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""JMESPath queries with errors that name the place."""

from __future__ import annotations

from ansible.errors import AnsibleFilterError
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common import query as queries


def query(data, expression, name="query"):
    """What a JMESPath expression selects of *data*; an error says which input, by its *name*, has it."""
    try:
        return queries.query(data, expression)
    except queries.QueryError as error:
        raise AnsibleFilterError(f"{name}: {error}") from error


class FilterModule:
    """Filters of ascend_ops.vllm."""

    def filters(self):
        """Name to function."""
        return {"query": query}
