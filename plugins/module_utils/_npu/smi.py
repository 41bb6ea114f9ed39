# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Read what npu-smi prints. Pure functions that take text and never raise on any of it.

A chip takes two rows of the table. Which value stands where differs between products and releases, so the
two header rows are read first and say it:

    | NPU   Name         | Health       | Power(W)    Temp(C)           Hugepages-Usage(page) |   first rows
    | Chip  Phy-ID       | Bus-Id       | AICore(%)   Memory-Usage(MB)  HBM-Usage(MB)         |   second rows
    +====================+==============+=====================================================+
    | 0     Ascend910    | OK           | 178.9       36                0    / 0              |
    | 0     0            | 0000:9D:00.0 | 0           0    / 0          3412 / 65536          |

Rows look alike in the table of processes, which begins at the header that says "Process id".
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
# The 950 has "NPU Util(%)" where the others have "AICore(%)"; the tool fills both from the same counter.
# "Device" (310P) is a logical id, not the physical one, and fills nothing.
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
    """Read the output of ``npu-smi info``.

    Returns tool_version, driver_version, devices, problems (lines that were not understood, with the reason), and
    for whoever judges the result: table (a header was there), process_npus (ids of the NPUs the table of processes
    speaks for, so that "none listed" can be told from "not told") and unplaced_processes (of no listed chip).
    """
    reader = _InfoReader()
    for line in _logical_lines(text):
        reader.read(line)
    return reader.result()


def _logical_lines(text: str) -> List[str]:
    """The lines of the text; a row that a narrow terminal has broken in two is whole again."""
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


def _is_null(value: str) -> bool:
    return value.lower() in ("", "-", "--", "na", "n/a", "none")


def _number(value: str) -> Any:
    """An int or a float; None for anything else."""
    match = _NUMBER.fullmatch(value)
    if not match:
        return None
    return float(value) if match.group(1) else int(value)


class _InfoReader:
    """Goes through the lines once; remembers which table it is in and the chip whose second row is still to come."""

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
        self.told_npus = set()
        self.told_all = False
        self.ended = False

    def problem(self, reason: str, line: str) -> None:
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append("%s: %s" % (reason, line[:200]))

    def read(self, line: str) -> None:
        if not line or self.ended:
            return
        banner = _BANNER.search(line)
        if banner:
            self.versions = tuple(None if _is_null(value) else value for value in banner.groups())
        elif _is_rule(line):
            self.end_block()
        elif not line.startswith("|"):
            self.problem(NOISE, line)
        elif _NO_PROCESS.fullmatch(line):
            self.read_no_process(_NO_PROCESS.fullmatch(line).group(1))
        elif not self.read_header(_cells(line)):
            if not line.endswith("|"):
                self.problem("a row that was cut off", line)
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
                self.problem("a second table follows, only the first one is read", " | ".join(cells))
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
        return all(_is_null(word) or _number(word) is not None for word in " ".join(cells[:at]).split())

    def read_second_row(self, cells: List[str], line: str) -> None:
        if self.pending is None:
            self.pending, self.pending_line = dict.fromkeys(DEVICE_FIELDS), line
            self.problem("a chip without its first row (its NPU id, name and health are not told)", line)
        self.fill(self.pending, self.second_header, cells, line)
        self.add_device(self.pending)
        self.pending = None

    def end_block(self) -> None:
        """A rule, a header or the next chip: whatever was begun gets no more rows."""
        if self.pending is not None:
            self.problem("a chip without its second row", self.pending_line)
            self.add_device(self.pending)
            self.pending = None
        if self.listing_npu is not None:
            self.told_npus.add(self.listing_npu)
            self.listing_npu = None

    def add_device(self, device: Device) -> None:
        key = (device["npu_id"], device["chip_id"])
        if device["npu_id"] is not None and key in self.listed:
            self.problem("a chip that was listed before", "NPU %s chip %s" % key)
            return
        self.listed.add(key)
        device["processes"] = []
        self.devices.append(device)

    def fill(self, device: Device, header: Titles, cells: List[str], line: str) -> None:
        """Put the values of one row into the device, each by the title above it."""
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
        if _is_null(value):
            return
        if title in _PAIR_COLUMNS:
            for field, part in zip(_PAIR_COLUMNS[title], re.split(r"\s*/\s*", value) if "/" in value else ("", "")):
                if not _is_null(part):
                    device[field] = self.checked_number(field, part, line)
            if "/" not in value:
                self.problem("no 'used / total' under %s" % title, line)
        elif title in ("name", "health", "bus-id"):
            device[_COLUMNS[title]] = value
        elif title in _COLUMNS:
            device[_COLUMNS[title]] = self.checked_number(_COLUMNS[title], value, line)

    def checked_number(self, field: str, value: str, line: str) -> Any:
        number = _number(value)
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
            self.told_all = True
        else:
            self.told_npus.add(int(npu))

    def read_process(self, cells: List[str], line: str) -> None:
        extra = len(cells) - len(self.process_header)
        if extra > 0:  # a name with a bar in it
            cells = cells[:2] + ["|".join(cells[2 : 3 + extra])] + cells[3 + extra :]
        row = dict(zip([titles[-1] if titles else "" for titles in self.process_header], cells))
        ids = [_number(word) for word in cells[0].split()] if cells else []
        pid = row.get("process id", "")
        if not ids or not isinstance(ids[0], int) or not (_is_null(pid) or isinstance(_number(pid), int)):
            self.problem("not a process", line)
            return
        if self.listing_npu not in (None, ids[0]):
            self.end_block()
        self.listing_npu = ids[0] if line.endswith("|") else None
        if _is_null(pid):
            return
        name = row.get("process name", "")
        memory = _number(row.get("process memory", ""))
        process = {"pid": _number(pid), "name": None if _is_null(name) else name, "memory_mb": memory}
        chip = ids[1] if len(ids) > 1 else None
        for device in self.devices:
            if device["npu_id"] == ids[0] and (chip is None or device["chip_id"] in (None, chip)):
                device["processes"].append(process)
                return
        self.unplaced.append(dict(process, npu_id=ids[0], chip_id=chip))
        self.problem("a process on a chip that is not listed", line)

    def result(self) -> Dict[str, Any]:
        # A list of processes that no rule closes may have been cut off: its NPU does not count as told.
        self.listing_npu = None
        self.end_block()
        listed = {device["npu_id"] for device in self.devices if device["npu_id"] is not None}
        return {
            "tool_version": self.versions[0],
            "driver_version": self.versions[1],
            "devices": self.devices,
            "problems": self.problems,
            "table": bool(self.first_header),
            "process_npus": sorted(listed if self.told_all else self.told_npus),
            "unplaced_processes": self.unplaced,
        }


def parse_mapping(text: str) -> List[Dict[str, Any]]:
    """Read ``npu-smi info -m``: one entry a chip, without the management controllers."""
    fields = {
        "npu id": "npu_id",
        "slot id": "slot_id",
        "chip id": "chip_id",
        "chip logic id": "logic_id",
        "chip phy-id": "phy_id",
        "chip name": "name",
    }
    chips, header = [], []
    for line in _logical_lines(text):
        words = re.split(r"\s{2,}", line)
        if words[0].lower() == "npu id":
            header = [fields.get(word.lower()) for word in words]
        elif header and len(words) == len(header) and words[-1].lower() not in ("mcu", "3559"):
            row = dict.fromkeys(fields.values())
            for field, word in zip(header, words):
                if field:
                    row[field] = word if field == "name" else _number(word)
            chips.append(row)
    return chips


def parse_blocks(text: str) -> List[Dict[str, Any]]:
    """Read ``npu-smi info -t common|usages -i N``: one dict a chip, title to value, a number where it is one.

    A blank line ends a block. The block that only tells of the NPU, and those of the management controller (Mcu), are
    left out; the chip's id stands first in some listings and last in others.
    """
    blocks: List[Dict[str, Any]] = [{}]
    for line in text.splitlines():
        title, colon, value = line.partition(":")
        if not line.strip():
            blocks.append({})
        elif colon and title.strip():
            number = _number(value.strip())
            blocks[-1][title.strip()] = value.strip() if number is None and not _is_null(value.strip()) else number
    return [block for block in blocks if "Chip ID" in block and not re.match("mcu", str(block.get("Chip Name")), re.I)]


def parse_topo(text: str) -> Dict[str, Any]:
    """Read ``npu-smi info -t topo``: {"links": {npu: {other npu: kind}}, "cpu_affinity": {npu: cpus}}."""
    links, affinity, header = {}, {}, []
    for line in _logical_lines(text):
        words = line.replace("CPU Affinity", "CPU_Affinity").split()
        if "CPU_Affinity" in words:
            header = words[: words.index("CPU_Affinity")]
        elif header and len(words) >= len(header) + 1 and words[0] in header:
            links[words[0]] = {other: kind for other, kind in zip(header, words[1:]) if other != words[0]}
            affinity[words[0]] = words[len(header) + 1] if len(words) > len(header) + 1 else None
    return {"links": links, "cpu_affinity": affinity}


# What the tool's own codes mean. The exit status is the code & 255.
_CODES = {
    -8001: (
        "the driver refused a parameter of the request",
        "Check that npu-smi and the driver are of the same release (/usr/local/Ascend/driver/version.info).",
    ),
    -8002: ("npu-smi is not permitted to do this", "Run it as root (become: true)."),
    -8005: (
        "npu-smi cannot reach the NPU driver: the driver is not loaded, or this user may not use it",
        "Run as root (become: true). Check 'lsmod | grep drv_' and 'ls -l /dev/davinci_manager'; if there is nothing, "
        "install the NPU driver, or reboot after installing it. In a container, mount the devices and the driver.",
    ),
    -8006: (
        "the driver did not answer npu-smi in time",
        "See 'dmesg | grep -i ascend'; reset the NPU or reboot the node.",
    ),
    -8007: ("there is no NPU with this id", "Use an id that 'npu-smi info -l' lists."),
    -8008: (
        "the NPU is not there",
        "See 'lspci | grep -i d80' and 'dmesg | grep -i ascend' for a lost card; reset it or reboot the node.",
    ),
    -8009: (
        "the call into the driver failed",
        "See 'dmesg | grep -i ascend'; reload the driver or reboot the node.",
    ),
    -8012: ("the NPU is not ready yet", "Wait until the driver has started the chips, then try again."),
    -8013: ("npu-smi cannot do this in a container", "Run it on the host."),
    -8020: (
        "the NPU is used: another container holds the devices",
        "Find it with 'docker ps' and stop it, or give each container its own /dev/davinciN. Run npu-smi on the host.",
    ),
    -8255: (
        "this NPU or driver does not support the request",
        "Check that npu-smi fits the product and the driver.",
    ),
    -9005: (
        "npu-smi cannot read the board type: often a container that lacks a part of the driver",
        "Run it on the host. In a container mount /usr/local/dcmi, /etc/ascend_install.info, "
        "/usr/local/Ascend/driver/version.info and /usr/local/Ascend/driver/lib64.",
    ),
}
_CODE_BY_STATUS = {code & 255: code for code in sorted(_CODES)}
_MESSAGES = (
    (re.compile(r"because the device is used", re.I), -8020),
    (re.compile(r"dcmi (module|model) initialized? failed", re.I), -8005),
)
_CODE_IN_TEXT = re.compile(r"(?<![\w.-])-[89][0-9]{3}(?![\w.])")
_LOADER = re.compile(
    r"error while loading shared libraries: *([^\s:]+)"
    r"|([^\s:/]{1,99}\.so[^\s:]{0,99}): cannot open shared object",
    re.I,
)


def explain_failure(rc: Optional[int], text: str) -> Dict[str, str]:
    """What a call of npu-smi that gave no usable table means: {code, meaning, remedy}, all strings."""
    text = (text or "")[:20000]
    code = _tool_code(text)
    if code is not None:
        return _by_code(code)
    loader = _LOADER.search(text)
    if loader:
        return _failure(
            "loader",
            "npu-smi cannot start: the library %s is not found" % (loader.group(1) or loader.group(2)),
            "Add /usr/local/Ascend/driver/lib64, its common/ and its driver/ to LD_LIBRARY_PATH, "
            "or install the NPU driver that holds them.",
        )
    if rc == 124:
        return _failure(
            "timeout",
            "npu-smi did not answer in time",
            "Raise the timeout if the node is busy. If it never answers, the driver hangs: see "
            "'dmesg | grep -i ascend', reset the NPU or reboot the node.",
        )
    if rc == 127 or re.search(r"command not found|npu-smi[^\n]{0,99}: (not found|No such file)", text):
        return _failure(
            "not-found",
            "npu-smi is not there",
            "Install the NPU driver, or set 'executable' to the path of npu-smi.",
        )
    if rc == 126:
        return _failure(
            "not-executable",
            "npu-smi is there but cannot be run",
            "Run as root (become: true) and check the file's mode and architecture.",
        )
    if re.search(r"There is no NPU", text, re.I):
        return _failure(
            "no-npu",
            "the driver is there and lists no NPU",
            "See 'lspci | grep -i d80' and 'dmesg | grep -i ascend' for lost cards.",
        )
    if rc in _CODE_BY_STATUS:
        return _by_code(_CODE_BY_STATUS[rc])
    if rc is not None and (rc < 0 or 128 < rc < 160):
        return _failure(
            "crashed",
            "npu-smi was ended by signal %d" % (-rc if rc < 0 else rc - 128),
            "Run it by hand on the node and see 'dmesg'. Check that it is of the same release as the driver.",
        )
    if not rc:
        return _failure(
            "no-table",
            "npu-smi said it succeeded, but printed no table of NPUs",
            "Run 'npu-smi info' by hand on the node, and check that 'executable' is the real tool.",
        )
    return _failure(
        "unknown",
        "npu-smi failed with exit status %s" % rc,
        "Run 'npu-smi info' by hand on the node and see 'dmesg'.",
    )


def _tool_code(text: str) -> Optional[int]:
    match = _CODE_IN_TEXT.search(text)
    if match:
        return int(match.group())
    for pattern, code in _MESSAGES:
        if pattern.search(text):
            return code
    return None


def _by_code(code: int) -> Dict[str, str]:
    unlisted = ("npu-smi failed with its code %d" % code, "Look the code up in the driver's DCMI manual.")
    meaning, remedy = _CODES.get(code, unlisted)
    return _failure(str(code), meaning, remedy)


def _failure(code: str, meaning: str, remedy: str) -> Dict[str, str]:
    return {"code": code, "meaning": meaning, "remedy": remedy}
