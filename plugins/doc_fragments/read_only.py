# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """The attributes of all modules that only read."""

    DOCUMENTATION = r"""
attributes:
  check_mode:
    description: Only reads; the same in check mode.
    support: full
  diff_mode:
    description: There is nothing to compare.
    support: none
"""
