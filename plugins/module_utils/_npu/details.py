# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Parse what npu-smi prints beyond its table: mapping, topology, common and usages. Pure functions."""

from __future__ import annotations

import re
from typing import Any, Dict, List

from ansible_collections.ascend_ops.vllm.plugins.module_utils._npu.smi import is_null, logical_lines, parse_number


def parse_mapping(text: str) -> List[Dict[str, Any]]:
    """Parse ``npu-smi info -m``: one entry per chip, without the management controllers (Mcu)."""
    fields = {
        "npu id": "npu_id",
        "slot id": "slot_id",
        "chip id": "chip_id",
        "chip logic id": "logic_id",
        "chip phy-id": "phy_id",
        "chip name": "name",
    }
    chips, header = [], []
    for line in logical_lines(text):
        words = re.split(r"\s{2,}", line)
        if words[0].lower() == "npu id":
            header = [fields.get(word.lower()) for word in words]
        elif header and len(words) == len(header) and words[-1].lower() not in ("mcu", "3559"):
            row = dict.fromkeys(fields.values())
            for field, word in zip(header, words):
                if field:
                    row[field] = word if field == "name" else parse_number(word)
            chips.append(row)
    return chips


def parse_blocks(text: str) -> List[Dict[str, Any]]:
    """Parse ``npu-smi info -t common|usages -i N``: one dict per chip, ``{title: value}``, with numbers as such.

    A blank line ends a block. The block about the NPU alone, and those of the management controller (Mcu), are left out;
    the chip id is the first line of a block in some releases and the last in others.
    """
    blocks: List[Dict[str, Any]] = [{}]
    for line in text.splitlines():
        title, colon, value = line.partition(":")
        if not line.strip():
            blocks.append({})
        elif colon and title.strip():
            number = parse_number(value.strip())
            blocks[-1][title.strip()] = value.strip() if number is None and not is_null(value.strip()) else number
    return [block for block in blocks if "Chip ID" in block and not re.match("mcu", str(block.get("Chip Name")), re.I)]


def parse_topo(text: str) -> Dict[str, Any]:
    """Parse ``npu-smi info -t topo``: {"links": {npu: {other npu: kind}}, "cpu_affinity": {npu: cpus}}."""
    links, affinity, header = {}, {}, []
    for line in logical_lines(text):
        words = line.replace("CPU Affinity", "CPU_Affinity").split()
        if "CPU_Affinity" in words:
            header = words[: words.index("CPU_Affinity")]
        elif header and len(words) >= len(header) + 1 and words[0] in header:
            links[words[0]] = {other: kind for other, kind in zip(header, words[1:]) if other != words[0]}
            affinity[words[0]] = words[len(header) + 1] if len(words) > len(header) + 1 else None
    return {"links": links, "cpu_affinity": affinity}
