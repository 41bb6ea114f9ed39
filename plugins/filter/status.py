# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The status of a running service as a report and as text; and what an uninstall did."""

from __future__ import annotations

from ansible_collections.ascend_ops.vllm.plugins.module_utils._service import teardown
from ansible_collections.ascend_ops.vllm.plugins.module_utils._state import report, text


class FilterModule:
    """Filters of ascend_ops.vllm."""

    def filters(self):
        return {
            "status_report": report.report,
            "status_text": text.text,
            "teardown_row": teardown.row,
            "teardown_text": teardown.text,
        }
