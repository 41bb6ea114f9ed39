# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Parse the table of ``npu-smi info``. Pure functions that accept any text and never raise.

A chip takes two rows of the table. The position of the values differs between products and releases, and is read from
the two header rows:

    | NPU   Name         | Health       | Power(W)    Temp(C)           Hugepages-Usage(page) |   first rows
    | Chip  Phy-ID       | Bus-Id       | AICore(%)   Memory-Usage(MB)  HBM-Usage(MB)         |   second rows
    +====================+==============+=====================================================+
    | 0     Ascend910    | OK           | 178.9       36                0    / 0              |
    | 0     0            | 0000:9D:00.0 | 0           0    / 0          3412 / 65536          |

The process table, whose rows look similar, begins at the header with "Process id".
"""

from __future__ import annotations

import re
from typing import Any, Dict, List, Optional, Tuple

Device = Dict[str, Any]
Titles = List[List[str]]

DEVICE_FIELDS = (
    "npu_id",
    "chip_id",
    "phy_id",
    "name",
    "health",
    "bus_id",
    "power_w",
    "temperature_c",
    "aicore_percent",
    "memory_used_mb",
    "memory_total_mb",
    "hbm_used_mb",
    "hbm_total_mb",
    "hugepages_used",
    "hugepages_total",
)
HEALTH_WORDS = ("ok", "warning", "alarm", "critical", "unknown")
NOISE = "not part of the table"
MAX_PROBLEMS = 100

# Column titles (without their unit) and the fields they fill; a pair is "used / total".
# The 950 prints "NPU Util(%)" instead of "AICore(%)"; the tool reads both from the same counter.
# "Device" (310P) is a logical id, not the physical one, and is ignored.
_COLUMNS = {
    "npu": "npu_id",
    "npu id": "npu_id",
    "name": "name",
    "health": "health",
    "power": "power_w",
    "temp": "temperature_c",
    "chip": "chip_id",
    "phy-id": "phy_id",
    "bus-id": "bus_id",
    "aicore": "aicore_percent",
    "npu util": "aicore_percent",
}
_PAIR_COLUMNS = {
    "memory-usage": ("memory_used_mb", "memory_total_mb"),
    "hbm-usage": ("hbm_used_mb", "hbm_total_mb"),
    "hugepages-usage": ("hugepages_used", "hugepages_total"),
}
_TITLE = re.compile(r"NPU ID|NPU Util\S*|Process id in container|Process id|Process name|Process memory\S*|\S+", re.I)
_UNIT = re.compile(r"\(.*")
_VALUE = re.compile(r"[^\s/]+\s*/\s*[^\s/]+|\S+")
_NUMBER = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,9})?")
_BUS_ID = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{1,2}:[0-9a-f]{1,2}\.[0-9a-f]{1,4}", re.I)
_BANNER = re.compile(r"npu-smi\s+(?:v(?=[0-9]))?([^\s|]+)\s+Version:\s*([^\s|]*)(?=[\s|])", re.I)
_NO_PROCESS = re.compile(r"\|\s*No running process(?:es)? found(?:\s+in\s+NPU\s+([0-9]{1,15}))?\s*\|", re.I)
_TERMINAL_CODES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def parse_info(text: str) -> Dict[str, Any]:
    """Parse the output of ``npu-smi info``.

    Returns ``tool_version``, ``driver_version``, ``devices`` (one dict per chip with DEVICE_FIELDS and ``processes``;
    null for a value that is not printed), ``problems`` (lines that were not understood, with the reason), and to evaluate
    the result: ``table`` (whether there was a header), ``process_npus`` (ids of the NPUs that the process table covers,
    which distinguishes "none listed" from "not reported") and ``unplaced_processes`` (on chips that are not listed).
    """
    reader = _InfoReader()
    for line in logical_lines(text):
        reader.read(line)
    return reader.result()


def logical_lines(text: str) -> List[str]:
    """The lines of the text, with rows that a narrow terminal wrapped joined again."""
    lines = []
    for raw in re.split(r"\r\n|\n|\r", _TERMINAL_CODES.sub("", text or "")):
        raw = raw.replace("\t", " ")
        begun, tail = (lines[-1].strip() if lines else ""), raw.strip()
        is_tail = tail == "|" or (tail.endswith("|") and tail[0] not in "|+")
        if is_tail and begun.startswith("|") and not begun.endswith("|"):
            lines[-1] += raw
        else:
            lines.append(raw)
    return [line.strip() for line in lines]


def _cells(line: str) -> List[str]:
    cells = [cell.strip() for cell in line.split("|")[1:]]
    return cells[:-1] if line.endswith("|") else cells


def _is_rule(line: str) -> bool:
    return ("---" in line or "===" in line) and not line.strip("-=+| ")


def _titles(cell: str) -> List[str]:
    return [_UNIT.sub("", title).lower() for title in _TITLE.findall(cell)]


def is_null(value: str) -> bool:
    return value.lower() in ("", "-", "--", "na", "n/a", "none")


def parse_number(value: str) -> Any:
    """An int or a float; None for anything else."""
    match = _NUMBER.fullmatch(value)
    if not match:
        return None
    return float(value) if match.group(1) else int(value)


class _InfoReader:
    """Reads the lines once; keeps track of the current table and of the chip whose second row is still to come."""

    def __init__(self) -> None:
        self.versions: Tuple[Optional[str], ...] = (None, None)
        self.devices: List[Device] = []
        self.listed = set()
        self.problems: List[str] = []
        self.unplaced: List[Dict[str, Any]] = []
        self.first_header: Titles = []
        self.second_header: Titles = []
        self.process_header: Titles = []
        self.pending: Optional[Device] = None
        self.pending_line = ""
        self.listing_npu: Optional[int] = None
        self.covered_npus = set()
        self.covers_all = False
        self.ended = False

    def problem(self, reason: str, line: str) -> None:
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append("%s: %s" % (reason, line[:200]))

    def read(self, line: str) -> None:
        if not line or self.ended:
            return
        banner = _BANNER.search(line)
        if banner:
            self.versions = tuple(None if is_null(value) else value for value in banner.groups())
        elif _is_rule(line):
            self.end_block()
        elif not line.startswith("|"):
            self.problem(NOISE, line)
        elif _NO_PROCESS.fullmatch(line):
            self.read_no_process(_NO_PROCESS.fullmatch(line).group(1))
        elif not self.read_header(_cells(line)):
            if not line.endswith("|"):
                self.problem("a truncated row", line)
            self.read_row(_cells(line), line)

    def read_header(self, cells: List[str]) -> bool:
        titles = [_titles(cell) for cell in cells]
        flat = [title for cell in titles for title in cell]
        if flat[:1] in (["npu"], ["npu id"]) and "process id" in flat:
            self.end_block()
            self.process_header = titles
        elif flat[:1] in (["npu"], ["npu id"]) and "health" in flat:
            if self.first_header:
                self.ended = True
                self.problem("a second table follows; only the first one is read", " | ".join(cells))
            self.first_header = titles
        elif "bus-id" in flat:
            self.second_header = titles
        else:
            return False
        return True

    def read_row(self, cells: List[str], line: str) -> None:
        if self.process_header:
            self.read_process(cells, line)
        elif not self.first_header or not self.second_header:
            self.problem("a row before its header", line)
        elif not any(cells):
            self.problem("a row without a value", line)
        elif len(cells) > len(self.first_header):
            self.problem("more cells than the header has", line)
        elif self.is_second_row(cells):
            self.read_second_row(cells, line)
        else:
            self.end_block()
            self.pending, self.pending_line = dict.fromkeys(DEVICE_FIELDS), line
            self.fill(self.pending, self.first_header, cells, line)

    def is_second_row(self, cells: List[str]) -> bool:
        at = self.first_header.index(["health"]) if ["health"] in self.first_header else 1
        state = cells[at] if at < len(cells) else ""
        if _BUS_ID.fullmatch(state):
            return True
        if state.lower() in HEALTH_WORDS:
            return False
        # Neither a bus id nor a health word, such as NA: a second row has numbers only, a first row has a name.
        return all(is_null(word) or parse_number(word) is not None for word in " ".join(cells[:at]).split())

    def read_second_row(self, cells: List[str], line: str) -> None:
        if self.pending is None:
            self.pending, self.pending_line = dict.fromkeys(DEVICE_FIELDS), line
            self.problem("a chip without its first row (NPU id, name and health are unknown)", line)
        self.fill(self.pending, self.second_header, cells, line)
        self.add_device(self.pending)
        self.pending = None

    def end_block(self) -> None:
        """A rule, a header or the next chip: what was begun gets no more rows."""
        if self.pending is not None:
            self.problem("a chip without its second row", self.pending_line)
            self.add_device(self.pending)
            self.pending = None
        if self.listing_npu is not None:
            self.covered_npus.add(self.listing_npu)
            self.listing_npu = None

    def add_device(self, device: Device) -> None:
        key = (device["npu_id"], device["chip_id"])
        if device["npu_id"] is not None and key in self.listed:
            self.problem("a chip that is listed twice", "NPU %s chip %s" % key)
            return
        self.listed.add(key)
        device["processes"] = []
        self.devices.append(device)

    def fill(self, device: Device, header: Titles, cells: List[str], line: str) -> None:
        """Store the values of one row in the device, each by the title above it."""
        if len(cells) < len(header):
            self.problem("fewer cells than the header has", line)
        for titles, cell in zip(header, cells):
            if titles[-1:] == ["name"]:
                values = cell.split(None, len(titles) - 1)
            elif len(titles) == 1:
                values = [cell]
            else:
                values = _VALUE.findall(re.sub(r"\bN/A\b", "NA", cell, flags=re.I))
            if len(values) > len(titles) or (values and len(values) < len(titles) and titles[0] not in ("npu", "chip")):
                self.problem("%d values under %d titles" % (len(values), len(titles)), line)
                continue
            for title, value in zip(titles, values):
                self.fill_value(device, title, value, line)

    def fill_value(self, device: Device, title: str, value: str, line: str) -> None:
        if is_null(value):
            return
        if title in _PAIR_COLUMNS:
            for field, part in zip(_PAIR_COLUMNS[title], re.split(r"\s*/\s*", value) if "/" in value else ("", "")):
                if not is_null(part):
                    device[field] = self.checked_number(field, part, line)
            if "/" not in value:
                self.problem("no 'used / total' under %s" % title, line)
        elif title in ("name", "health", "bus-id"):
            device[_COLUMNS[title]] = value
        elif title in _COLUMNS:
            device[_COLUMNS[title]] = self.checked_number(_COLUMNS[title], value, line)

    def checked_number(self, field: str, value: str, line: str) -> Any:
        number = parse_number(value)
        if (
            number is None
            or (number < 0 and field != "temperature_c")
            or (number > 100 and field == "aicore_percent")
            or (isinstance(number, float) and field.endswith("_id"))
        ):
            self.problem("%s cannot be %s" % (field, value), line)
            return None
        return number

    def read_no_process(self, npu: Optional[str]) -> None:
        self.end_block()
        if npu is None:
            self.covers_all = True
        else:
            self.covered_npus.add(int(npu))

    def read_process(self, cells: List[str], line: str) -> None:
        extra = len(cells) - len(self.process_header)
        if extra > 0:  # a name with a bar in it
            cells = cells[:2] + ["|".join(cells[2 : 3 + extra])] + cells[3 + extra :]
        row = dict(zip([titles[-1] if titles else "" for titles in self.process_header], cells))
        ids = [parse_number(word) for word in cells[0].split()] if cells else []
        pid = row.get("process id", "")
        if not ids or not isinstance(ids[0], int) or not (is_null(pid) or isinstance(parse_number(pid), int)):
            self.problem("not a process", line)
            return
        if self.listing_npu not in (None, ids[0]):
            self.end_block()
        self.listing_npu = ids[0] if line.endswith("|") else None
        if is_null(pid):
            return
        name = row.get("process name", "")
        memory = parse_number(row.get("process memory", ""))
        process = {"pid": parse_number(pid), "name": None if is_null(name) else name, "memory_mb": memory}
        chip = ids[1] if len(ids) > 1 else None
        for device in self.devices:
            if device["npu_id"] == ids[0] and (chip is None or device["chip_id"] in (None, chip)):
                device["processes"].append(process)
                return
        self.unplaced.append(dict(process, npu_id=ids[0], chip_id=chip))
        self.problem("a process on a chip that is not listed", line)

    def result(self) -> Dict[str, Any]:
        # A process list that is not closed by a rule may be truncated: its NPU does not count as covered.
        self.listing_npu = None
        self.end_block()
        listed = {device["npu_id"] for device in self.devices if device["npu_id"] is not None}
        return {
            "tool_version": self.versions[0],
            "driver_version": self.versions[1],
            "devices": self.devices,
            "problems": self.problems,
            "table": bool(self.first_header),
            "process_npus": sorted(listed if self.covers_all else self.covered_npus),
            "unplaced_processes": self.unplaced,
        }
