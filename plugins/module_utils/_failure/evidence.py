# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a container left behind that may tell why it died: its own log and those of CANN, bounded."""

from __future__ import annotations

import os
import re
import stat

from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.engine import EngineError
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.run import run_tail
from ansible_collections.ascend_ops.vllm.plugins.module_utils._failure.search import explain, telling

HEAD, TAIL = 1 << 20, 2 << 20  # bytes of a container's log since its start, from both ends
STARTS, BEFORE = 5, 900  # so many starts, at most so many seconds old, are read where the last one says nothing
LINES = 5000  # where the log is too long to be read from its start
CANN_FILES, CANN_BYTES = 24, 128 << 10  # the newest of CANN's logs, and bytes of the end of each
_STAMP = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z ?", re.M)
_SERVED = re.compile(r"Application startup complete|GET /|POST /|generation throughput")
_CANN_LINE = re.compile(r"^\[ERROR\] (?:.*?\b(\d{4}-\d\d-\d\d-\d\d:\d\d:\d\d\.\d{3}\.\d{3})\b)?.*$", re.M)


class NoFolder(Exception):
    """CANN's logs cannot be found; the text says why."""


def death(engine, container, since=0, until=None, root="/"):
    """Why a container died: ``{"causes", "telling", "log"}``, as ``explain`` and ``telling`` have them, and the log's last lines.

    :param engine: an ``Engine``.
    :param container: its state as ``Engine.container`` has it.
    :param since: when it was started, in seconds since the epoch; 0 for all that there is.
    :param until: when it was started again, if it was.
    :param root: where the node's files begin.
    """
    log = log_since(engine, container["name"], since, until)
    said = "\n".join([log, container.get("error") or ""])
    causes = explain(said, container.get("exit_code"), cann_errors(engine, container["name"], since, until, root))
    plain = _STAMP.sub("", log)
    return {
        "causes": causes,
        "telling": [] if causes else telling(plain),
        "log": "\n".join(plain.splitlines()[-40:]),
    }


def causes_of(engine, name, root="/"):
    """Why a container died, or what is wrong since its last start; empty where the engine does not answer.

    Where the last start ended before it served, and says nothing itself, the starts before it are read, the latest first: the engine
    starts what died again, until somebody stops it. That it was stopped from outside is no cause here.
    """
    try:
        container = engine.container(name)
        if container is None:
            return []
        since = container["started_at"] or 0
        found = death(engine, container, since, root=root)
        if not (_own(found["causes"]) or container["running"] or _SERVED.search(found["log"])):
            found = _before(engine, container, root) or found
    except EngineError:
        return []
    return [cause for cause in found["causes"] if cause["id"] != "stopped-from-outside"]


def _before(engine, container, root):
    """The latest start before the last one that says something of its own, as of :func:`death`; None where none does."""
    until = container["started_at"] or 0
    starts = [start for start in engine.starts(container["name"], int(until) - BEFORE) if start < until - 0.5]
    for since in starts[: -STARTS - 1 : -1]:
        found = death(engine, dict(container, exit_code=None, error=""), since, until, root)
        if _own(found["causes"]):
            return found
        until = since
    return None


def _own(causes):
    return [cause for cause in causes if not cause["line"].startswith("exit code")]


def log_since(engine, name, since=0, until=None, timeout=60):
    """What a container printed between two times, with the engine's time before each line, both ends where it is long."""
    words = [engine.executable, "logs", "--timestamps", "--since", str(since)] + (
        ["--until", str(until)] if until else []
    )
    rc, text, late, unused = run_tail(words + [name], timeout, TAIL, engine.env, HEAD)
    if late:
        rc, text, late, unused = run_tail(words + ["--tail", str(LINES), name], timeout, TAIL, engine.env)
    return "" if late or rc != 0 else text


def cann_errors(engine, name, since=0, until=None, root="/"):
    """The errors that CANN logged between two times in the container, in the order of time; empty where there are none."""
    try:
        unused, files = cann_files(engine, name, root)
    except (NoFolder, EngineError, OSError):
        return ""
    texts = []
    of_this_start = [path for changed, path in files if since <= changed and (until is None or changed < until)]
    for path in of_this_start[:CANN_FILES]:
        try:
            with open(path, "rb") as stream:
                stream.seek(max(0, os.fstat(stream.fileno()).st_size - CANN_BYTES))
                texts.append(stream.read(CANN_BYTES).decode("utf-8", "replace"))
        except OSError:
            continue
    return errors_of_cann(texts)


def errors_of_cann(texts):
    """The lines of CANN's logs that are errors, in the order of time."""
    found = [match for text in texts for match in _CANN_LINE.finditer(text)]
    return "\n".join(match.group(0) for match in sorted(found, key=lambda match: match.group(1) or ""))


def cann_files(engine, name, root="/"):
    """CANN's logs in a container, which may have ended: ``(root of its files on the node, [(changed, path)])``, the newest first.

    They are read where the engine keeps the container's files, since they may be gigabytes: too much for a copy. Raises NoFolder.
    """
    found = engine.inspect("container", name)
    if not found:
        raise NoFolder(f"there is no container {name}")
    environment = (found.get("Config") or {}).get("Env") or []
    variables = dict(word.split("=", 1) for word in environment if "=" in word)
    place = (variables.get("ASCEND_PROCESS_LOG_PATH") or "/root/ascend/log").strip("/")
    base, below = _files_of(found, place, root)
    folder = base
    for step in below.split("/") if below else []:
        folder = os.path.join(folder, step)
        if os.path.islink(folder) or not os.path.isdir(folder):  # a link would lead out of the container
            raise NoFolder(f"CANN wrote no /{place} in the container")
    files = sorted(((os.lstat(path).st_mtime, path) for path in _regular_files(folder)), reverse=True)
    if not files:
        raise NoFolder(f"/{place} is empty")
    return base, files


def _files_of(found, place, root):
    """``(folder on the node, what of *place* is below it)``: a mount of the container, or else the root of its files."""
    for mount in found.get("Mounts") or []:
        target = (mount.get("Destination") or "").strip("/")
        if target and mount.get("Source") and (place + "/").startswith(target + "/"):
            return os.path.join(root, mount["Source"].lstrip("/")), place[len(target) :].strip("/")
    pid = (found.get("State") or {}).get("Pid")
    upper = ((found.get("GraphDriver") or {}).get("Data") or {}).get("UpperDir")
    if pid or upper:
        return os.path.join(root, "proc", str(pid), "root") if pid else upper, place
    raise NoFolder("the container has ended, and the engine does not say where its files are")


def _regular_files(folder):
    for place, _folders, files in os.walk(folder):
        for name in files:
            path = os.path.join(place, name)
            if stat.S_ISREG(os.lstat(path).st_mode):
                yield path
