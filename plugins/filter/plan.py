# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan, its parts and its renderings as filters; what they do is in module_utils."""

from __future__ import annotations

from ansible_collections.ascend_ops.vllm.plugins.module_utils._facts import peers
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan import inventory, model, text


class FilterModule:
    """Filters of ascend_ops.vllm."""

    def filters(self):
        """Name to function."""
        return {
            "plan_text": text.plan_text,
            "plan_data": text.plan_data,
            "plan_process": model.of_host,
            "plan_members": model.member_hosts,
            "plan_processes": model.processes,
            "peers": peers.peers_for,
            "target_groups": inventory.target_groups,
        }
