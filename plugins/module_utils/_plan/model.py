# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The shape of a plan."""

from __future__ import annotations


def processes(plan):
    """All processes of a plan, in its order."""
    return plan["nodes"]
