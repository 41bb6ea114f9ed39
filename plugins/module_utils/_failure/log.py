# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A log as lines: who printed each, at which level, when, and whether it can tell a cause."""

from __future__ import annotations

import re

LONGEST = 2000  # characters of a line that are looked at, from both ends: patterns must not take minutes for a line of megabytes
ERROR, WARNING, INFO, RAW = "error", "warning", "info", ""

# What journald and Compose put before each line.
_FOREIGN = re.compile(r"(?:[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \S+ [\w.@-]+\[\d+\]: |[\w.-]+ +\| )")
# What stands before the text of a line, one after the other: the engine's time, vLLM's process, torch's rank, the level as vLLM,
# Python's logging, torch, glog and CANN write it, and the bars of an exception group.
_TIME = re.compile(
    r"\[?(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d(?:[.,]\d{1,6})?)\d*(?:Z|[+-]\d\d:?\d\d)?\]? (?:std(?:out|err) [FP] )?"
)
_PROCESS = re.compile(r"\(([A-Za-z]\w*) (?:(rank=\d+) )?[^)]*?pid=\d+[^)]*\) ?")
_RANK = re.compile(r"\[(rank\d+|Stage-\d+)\]:? ?")
_VLLM = re.compile(
    r"(DEBUG|INFO|WARNING|ERROR|CRITICAL)\b[ :]+(?:(\d\d-\d\d)(?: (\d\d:\d\d:\d\d))?)?(?: ?\[?[\w./-]+:\d+[\]:])? ?"
)
_TORCH = re.compile(r"\[([IWEF])\d{3,4}(?: (\d\d:\d\d:\d\d)\.\d+)? [^\]]*\] ?")
_LOGGING = re.compile(
    r"(?:- )?(?:[\w.-]+ - )?(DEBUG|INFO|WARNING|ERROR|CRITICAL) - (?:[\w.-]+ - )?|\| (DEBUG|INFO|WARNING|ERROR|CRITICAL) +\| \S+ [-|] "
)
_GLOG = re.compile(r"([IWEF])(?:\d{4})?\d{4} (\d\d:\d\d:\d\d)\.\d+ +\d+ [\w./+-]+:\d+\] ?")
_GROUP = re.compile(r"\s+\| ?")
_CANN = re.compile(r"\[(ERROR|WARNING|INFO|EVENT|DEBUG|TRACE|WARN)\] ?")
_CANN_TIME = re.compile(r"\b(\d{4}-\d\d-\d\d)-(\d\d:\d\d:\d\d)\.(\d{3})\.\d{3}\b")
_PYTHON_WARNING = re.compile(r"\S+\.py:\d+: \w*Warning: ")
_LEVELS = {
    **dict.fromkeys(("ERROR", "CRITICAL", "E", "F"), ERROR),
    **dict.fromkeys(("WARNING", "WARN", "W"), WARNING),
    **dict.fromkeys(("INFO", "EVENT", "DEBUG", "TRACE", "I"), INFO),
}
_ORDER = (RAW, INFO, WARNING, ERROR)
_FRAME = re.compile(r'\s*File "[^"]*", line \d+')
# What a request of a client met: it does not kill the service.
_REQUEST = re.compile(r"\[?(?:[\w./-]*/)?(?:serving\w*|\w*(?:tool|reasoning)_parser)\.py:\d+[\]:]")
_ASGI = "Exception in ASGI application"  # uvicorn's words for the same
# What CANN and Ray advise or think possible: words that name other causes.
_ADVICE = re.compile(
    r"(?:Solution|Possible Causes?|Suggest(?:ion)?) ?:.*|Reason: ?1\..*|(?:potential root|possible) causes?\b.*|^\s+\(?\d\s?[.)] ?[A-Z].*"
)
_OF_TRACEBACK = re.compile(r"\s|$|Traceback \(|During handling of|The above exception|\+")
_SOURCE = re.compile(r"\s+(?:(?:raise|return|assert|await)\b|self\.|super\(\)|\^+$|~+)")
_CANN_ERROR = re.compile(r"\bE[A-Z]\d{4}\b")
_ANSI = re.compile(r"\x1b\[[0-9;]*m")

# What bash and glibc say in a Chinese locale.
_CHINESE = (
    ("：", ": "),
    ("未找到命令", "command not found"),
    ("权限不够", "Permission denied"),
    ("没有那个文件或目录", "No such file or directory"),
    ("设备上没有空间", "No space left on device"),
    ("无法分配内存", "Cannot allocate memory"),
    ("打开的文件过多", "Too many open files"),
    ("地址已在使用", "Address already in use"),
    ("段错误", "Segmentation fault"),
    ("总线错误", "Bus error"),
    ("已杀死", "Killed"),
    ("已中止", "Aborted"),
    ("非法指令", "Illegal instruction"),
)
_CHINESE_LINE = re.compile(r"第 ?(\d+) ?行: *")

# They stand around a cause and are none.
_WRAPPER = re.compile(
    r"Engine core initialization failed|See root cause above|WorkerProc initialization failed|Failed core proc\(s\)"
    r"|See stack trace for root cause|WorkerProc (hit an exception|failed to start)|EngineCore (failed to start|encountered a fatal)"
    r"|Engine process failed to start|EngineDeadError|EngineCore encountered an issue|AsyncLLM output_handler failed"
    r"|Executor failed\.|Failed to start the worker|Cancelled by (?!.*: )"
    r"|^\s*Traceback \(most recent call last\):|During handling of the above exception|The above exception was the direct cause"
    r"|leaked (shared_memory|semaphore) objects|destroy_process_group\(\) was not called|ERR99999 UNKNOWN|stats\.vllm\.ai"
    r"|^SystemExit\b|^KeyboardInterrupt\b|^(asyncio\.\S*|concurrent\.\S*)?CancelledError\b"
    r"|^\w*ExceptionGroup: .*sub-exception"
)
# They are wrappers as well, and yet tell how a process ended.
_SIGNALLED = re.compile(r"Failed core proc\(s\): \{[^}]*: -\d+[^}]*\}")
# The last line of a Python traceback.
EXCEPTION = re.compile(
    r"^(?:[A-Za-z_][\w]*\.)*(?:_?[A-Z]\w*)?(?:Error|Exception|Exit|Interrupt|Timeout|Fault|Warning|OutOfMemory|Died)\b(?:: |:?$)"
)
# The same below frames, where it may have any name.
_RAISED = re.compile(r"(?:[A-Za-z_]\w*\.)*[A-Za-z_]\w*(?::? .*|:)?$")


class Line:
    """One line of a log.

    ``number`` from 0, ``process`` such as ``Worker_DP0_TP3_EP3`` or empty, ``level`` as ERROR, WARNING, INFO or RAW where none
    is printed, ``time`` as text that sorts within one log or empty, ``text`` without what stands before it, ``raised`` where it is
    an exception.
    """

    __slots__ = ("level", "number", "process", "raised", "text", "time")

    def __init__(self, number, process, level, time, text):
        self.number, self.process, self.level, self.time, self.text = number, process, level, time, text
        self.raised = EXCEPTION.match(text) is not None


def read(log):
    """The lines of a log that can tell a cause, in their order: errors, and what has no level.

    Frames and source lines of tracebacks, wrappers and lines of lower levels are left out; but torch_npu passes on CANN's errors as
    warnings.
    """
    result = []
    tracebacks = _Tracebacks()
    for number, raw in enumerate(log.splitlines()):
        line = parse(number, raw)
        if tracebacks.take(line):
            continue
        died = _SIGNALLED.search(line.text) if "proc(s)" in line.text else None
        if died:
            line.text = died.group(0)
        elif ":" in line.text or line.text[:1] == " ":
            line.text = _ADVICE.sub("", line.text)
        told = line.level != INFO and (line.level != WARNING or _CANN_ERROR.search(line.text))
        if told and line.text.strip() and (died or not _WRAPPER.search(line.text)) and not _REQUEST.search(raw[:200]):
            result.append(line)
    return result


class _Tracebacks:
    """What of a log are frames and source of tracebacks, process by process, since processes write at once."""

    def __init__(self):
        self.open, self.of_requests = set(), set()
        self.asserted = {}  # what the last frame asserted

    def take(self, line):
        """Is a line of a traceback, and not its last one? The last one is marked as raised, with what was asserted."""
        process = line.process
        if line.level or not (line.raised or _OF_TRACEBACK.match(line.text)):
            self.of_requests.discard(process)
        if _ASGI in line.text:
            self.of_requests.add(process)  # the traceback below it has no levels
        if process in self.of_requests:
            return True
        if _FRAME.match(line.text):
            self.open.add(process)
            self.asserted.pop(process, None)
            return True
        if process in self.open:
            if line.text[:1] in (" ", "\t", "|") or not line.text:
                if line.text.lstrip().startswith("assert "):
                    self.asserted[process] = line.text.strip()
                return True  # the source of a frame
            self.open.discard(process)
            if line.text.strip() == "AssertionError" and process in self.asserted:
                line.text = f"AssertionError: {self.asserted[process]}"
            line.raised = line.raised or _RAISED.match(line.text) is not None
        # Of a frame whose head is not there, or of two processes that wrote at once.
        return _SOURCE.match(line.text) is not None


def parse(number, raw):
    """One line of a log as a :class:`Line`."""
    text = _ANSI.sub("", raw if len(raw) <= LONGEST else raw[: LONGEST // 2] + raw[-LONGEST // 2 :])
    text = text[_FOREIGN.match(text).end() :] if _FOREIGN.match(text) else text
    if not text.isascii():
        for word, english in _CHINESE:
            text = text.replace(word, english)
        text = _CHINESE_LINE.sub(r"line \1: ", text)
    process, level, day, clock = "", RAW, "", ""
    while True:
        for pattern in (_TIME, _PROCESS, _RANK, _VLLM, _LOGGING, _TORCH, _GLOG, _CANN, _GROUP):
            match = pattern.match(text)
            if not match or not match.group(0).strip():
                continue
            if pattern is _TIME:
                day, clock = match.groups()
            elif pattern in (_PROCESS, _RANK):
                process = " ".join(filter(None, match.groups()))
            elif pattern is not _GROUP:
                word = match.group(2) if pattern is _LOGGING and match.group(2) else match.group(1)
                level = max(level, _LEVELS[word], key=_ORDER.index)
                if pattern is _VLLM and not day:
                    day, clock = match.group(2) or "", match.group(3) or ""
            text = text[match.end() :]
            break
        else:
            break
    if _PYTHON_WARNING.match(text) or text.startswith("Warning: "):
        level = WARNING
    stamp = _CANN_TIME.search(text)
    if stamp and not day:
        day, clock = stamp.group(1), "{}.{}".format(*stamp.groups()[1:])
    return Line(number, process, level, f"{day[-5:]} {clock}".strip(), text)
