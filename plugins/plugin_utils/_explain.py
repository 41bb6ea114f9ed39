# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Logs that somebody sends, explained: a file, a folder, or an unpacked support bundle."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

from ansible.errors import AnsibleActionFail
from ansible_collections.ascend_ops.vllm.plugins.module_utils._failure.evidence import HEAD, TAIL, errors_of_cann
from ansible_collections.ascend_ops.vllm.plugins.module_utils._failure.search import explain, first_to_fail, telling

PATTERNS = ("*.log", "*.log.*", "container/log.txt")  # the last is the container's log of a support bundle


def explain_path(path):
    """What the logs at a path say: ``{"logs": [{"path", "causes", "telling"}], "first": path or None}``.

    *causes* are as ``search.explain`` returns them, *telling* are the last telling lines of a log without a known cause, *first* is
    the log of what failed first.

    :raises AnsibleActionFail: there is nothing to read at the path.
    """
    place = Path(path).expanduser()
    if not place.exists():
        raise _refused(path, "there is no such file or folder")
    logs = (
        [place]
        if place.is_file()
        else sorted({file for pattern in PATTERNS for file in place.rglob(pattern) if file.is_file()})
    )
    if not logs:
        raise _refused(path, "no file below it ends with .log, and it is no unpacked support bundle")
    try:
        explained = [_explained(file) for file in logs]
    except (OSError, EOFError, gzip.BadGzipFile) as error:
        raise _refused(path, f"it cannot be read: {error}") from error
    return {"logs": explained, "first": first_to_fail({log["path"]: log["causes"] for log in explained})}


def text_of(explained):
    """What :func:`explain_path` found, for the screen."""
    lines = []
    for log in explained["logs"]:
        several = len(explained["logs"]) > 1
        lines.append(log["path"] + ("  (failed first)" if several and log["path"] == explained["first"] else ""))
        for cause in log["causes"]:
            where = ", ".join(filter(None, (cause["process"], cause["time"])))
            lines += [f"  {cause['id']}: {cause['meaning']}", f"    do   {cause['advice']}"]
            lines.append(f"    log  {cause['line']}{f'  ({where})' if where else ''}")
        if not log["causes"]:
            lines.append("  no known cause; the most telling lines:")
            lines += [f"    {line}" for line in log["telling"]] or ["    (the log is empty)"]
    return "\n".join(lines)


def _refused(path, why):
    return AnsibleActionFail(
        f"vllm_explain_path is '{path}': {why}. Wanted: a log, a folder with *.log files, or the folder of an unpacked support bundle."
    )


def _explained(file):
    text, plog, code = _read(file), "", None
    if file.name == "log.txt":
        other = file.with_name("cann-logs.txt")
        plog = errors_of_cann([_read(other)]) if other.is_file() else ""
        code = _exit_code(file.with_name("inspect.json"))
    causes = explain(text, code, plog)
    return {"path": str(file), "causes": causes, "telling": [] if causes else telling(text)}


def _read(file):
    """Both ends of a file, gzip or not, as much as is read of a container's log."""
    with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as stream:
        head = stream.read(HEAD)
        tail = bytearray()
        cut = False
        while chunk := stream.read(1 << 16):
            tail += chunk
            if len(tail) > 2 * TAIL:
                del tail[:-TAIL]
                cut = True
    if cut:
        head, tail = head[: head.rfind(b"\n") + 1], tail[tail.find(b"\n") + 1 :]
    return (head + tail).decode("utf-8", "replace")


def _exit_code(file):
    try:
        return json.loads(file.read_text(encoding="utf-8", errors="replace"))[0]["State"]["ExitCode"]
    except (OSError, ValueError, LookupError, TypeError):
        return None
