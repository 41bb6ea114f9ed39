# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the nodes told of a running service, as a report and as text; and what a teardown did."""

from __future__ import annotations

from ansible_collections.ascend_ops.vllm.plugins.module_utils import _status, _teardown


class FilterModule:
    """Filters of ascend_ops.vllm."""

    def filters(self):
        return {
            "status_report": _status.report,
            "status_text": _status.text,
            "teardown_row": _teardown.row,
            "teardown_text": _teardown.text,
        }
