# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sizes as people write them, read as vLLM reads them."""

from __future__ import annotations

import re

_SIZE = re.compile(r"(\d+(?:\.\d+)?)([kKmMgGtT]?)\Z", re.ASCII)
_UNITS = {
    "": 1,
    **{"k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12},
    **{"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40},
}


def size_of(value):
    """The number that a size such as 4096, 8k (8000) or 8K (8192) means; None for anything else, and for what is below 0."""
    match = None if isinstance(value, bool) else _SIZE.match(str(value).strip())
    return int(float(match.group(1)) * _UNITS[match.group(2)]) if match else None
