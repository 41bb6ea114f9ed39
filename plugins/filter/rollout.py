# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Replicas as a whole: which are up to date, and the order in which a play goes through them."""

from __future__ import annotations

from ansible_collections.ascend_ops.vllm.plugins.module_utils._service import rollout
from ansible_collections.ascend_ops.vllm.plugins.module_utils._state import rollback


class FilterModule:
    """Filters of ascend_ops.vllm."""

    def filters(self):
        return {
            "up_to_date": rollback.agree,
            "rollout_order": rollout.order,
            "rollout_batches": rollout.batches,
        }
