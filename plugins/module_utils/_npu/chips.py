# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The chips that a plan uses, and whether their group spans nodes."""

from __future__ import annotations

import re

NO_TOOL = "there is no hccn_tool in /usr/local/Ascend/driver/tools, in the usual places or in PATH"


def chips_of(plan):
    """The physical chip ids of a plan, from its /dev/davinciN."""
    found = (re.match(r"/dev/davinci(\d+)$", str(path)) for path in plan["container"]["devices"])
    return sorted(int(match.group(1)) for match in found if match)


def spans_nodes(plan):
    """Whether the replica of the plan has ranks on other nodes."""
    first, last, world = plan["ranks"]
    return world > last - first + 1
