# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The support bundle of a node: all its parts read in parallel, redacted and packed.

Everything stays in memory, so that it works on a node whose disks are full. A part that cannot be read is in the index with
the reason.
"""

from __future__ import annotations

import io
import json
import os
import sys
import tarfile
import time

from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.engine import Engine
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.parallel import in_parallel
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.redact import SHORTEST, Redactor
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.run import last_lines
from ansible_collections.ascend_ops.vllm.plugins.module_utils._facts.engine import first_json
from ansible_collections.ascend_ops.vllm.plugins.module_utils._failure.evidence import causes_of
from ansible_collections.ascend_ops.vllm.plugins.module_utils._support.container import (
    environment_of,
    known_secrets,
    state_of,
)
from ansible_collections.ascend_ops.vllm.plugins.module_utils._support.sources import Sources

SECONDS = 150  # for all parts together


def collect(
    name,
    engine="docker",
    chips=(),
    lines=2000,
    since="",
    data=None,
    secrets=(),
    npu_smi=None,
    hccn_tool=None,
    timeout=20.0,
    limit=20 * 1024 * 1024,
    root="/",
):
    """Collect the bundle of a node: ``(tar.gz as bytes, index)``.

    :param name: the container.
    :param chips: physical ids of the chips to query.
    :param data: file name to data to add as JSON, redacted.
    :param secrets: values to redact, besides those that the node knows.
    :param timeout: seconds for each command.
    :param limit: bytes that the bundle may have at most.
    :return: the index is ``{"container", "python", "root", "collected_at", "causes", "notes", "entries", "redactions",
        "seconds"}``; an entry is ``{"path", "what"}`` with ``missing``, or with ``bytes``, ``cut`` and ``problems``.
    """
    started = time.monotonic()
    parts = read(Sources(name, engine, chips, lines, since, npu_smi, hccn_tool, timeout, root))
    inspected = next(part.text for part in parts if part.path == "container/inspect.json")
    values, notes = known_secrets(name, root, environment_of(inspected))
    redactor = Redactor(list(values) + list(secrets))
    if redactor.too_short:
        notes.append(
            f"{redactor.too_short} secret values are shorter than {SHORTEST} characters; they were redacted only where their "
            "names stand beside them"
        )
    files, entries = redacted_files(parts, data or {}, redactor)
    index = {
        "container": state_of(inspected),
        "python": "{0}.{1}.{2}".format(*sys.version_info[:3]),
        "root": os.geteuid() == 0,
        "collected_at": int(time.time()),
        "causes": causes_of(Engine(engine, timeout), name, root),
        "notes": notes,
        "entries": entries,
    }
    index = redactor.data(index)
    archive = pack({redactor.text(path): text for path, text in files.items()}, index, limit)
    index.update(redactions=redactor.count, seconds=round(time.monotonic() - started, 1))
    return archive, index


def read(sources):
    """Read all parts, the groups at the same time; the parts, sorted by path."""
    groups = sources.groups()
    table = groups["npu"][0]
    details = []

    def read_one(group):
        read_group(groups[group])
        # Which NPUs there are is known from the table.
        if group == "npu" and table.text and not table.hung:
            details.extend(sources.each_npu(table.text))
            in_parallel(lambda part: part.run(), details, SECONDS)

    in_parallel(read_one, list(groups), max(SECONDS, 3 * sources.timeout))
    return sorted([part for group in groups.values() for part in group] + details, key=lambda part: part.path)


def read_group(parts):
    """Fill the parts one after the other. After a tool that hangs the rest of its group is skipped."""
    for index, part in enumerate(parts):
        part.run()
        if part.hung and part.path.split("/")[0] in ("npu", "engine", "container", "fabric"):
            for other in parts[index + 1 :]:
                other.missing = "skipped: {0}".format("; ".join(part.problems[:1]))
            return


def redacted_files(parts, data, redactor):
    """``({path: text}, [entries of the index])`` of parts and of data from the controller, without secrets."""
    files = {}
    entries = []
    for part in parts:
        entry = {"path": part.path, "what": part.what}
        if part.text is None or part.missing:
            entry["missing"] = part.missing
        else:
            files[part.path] = redacted(part, redactor)
            entry.update(problems=part.problems, cut=part.cut)
        entries.append(entry)
    for path, content in sorted(data.items()):
        files[path] = json.dumps(redactor.data(content), indent=2, sort_keys=True) + "\n"
        entries.append({"path": path, "what": "from the controller", "problems": [], "cut": 0})
    return files, entries


def redacted(part, redactor):
    """A part's text without secrets. The engine's description of the container is data, whose names mark its secrets."""
    if part.path == "container/inspect.json":
        found = first_json(part.text, "[")
        if found:
            return json.dumps(redactor.data(found), indent=2) + "\n"
    return redactor.text(part.text)


def pack(files, index, limit):
    """A tar.gz of the files, in memory. While it is larger than *limit* bytes, the largest file loses its first half.

    The index gets the bytes of each file, and how many were cut.
    """
    files = {path: text.encode("utf-8", "replace") for path, text in files.items()}
    entries = {entry["path"]: entry for entry in index["entries"]}
    while True:
        archive = _tar(files)
        largest = max(files, key=lambda path: len(files[path]), default=None)
        if len(archive) <= limit or largest is None or len(files[largest]) < 2:
            break
        kept = last_lines(files[largest], len(files[largest]) // 2)
        entries[largest]["cut"] = entries[largest].get("cut", 0) + len(files[largest]) - len(kept)
        files[largest] = kept
    for path, data in files.items():
        entries[path]["bytes"] = len(data)
    return archive


def _tar(files):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz", compresslevel=6) as archive:
        for path in sorted(files):
            member = tarfile.TarInfo(path)
            member.size, member.mode, member.mtime = len(files[path]), 0o600, int(time.time())
            archive.addfile(member, io.BytesIO(files[path]))
    return stream.getvalue()
