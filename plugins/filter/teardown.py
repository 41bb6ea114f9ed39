# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an uninstall did on each node."""

from __future__ import annotations

from ansible_collections.ascend_ops.vllm.plugins.module_utils._service import teardown


class FilterModule:
    """Filters of ascend_ops.vllm."""

    def filters(self):
        return {
            "teardown_row": teardown.row,
            "teardown_text": teardown.text,
        }
