# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The small files of a service on its node: read, written atomically, compared, shown without secrets."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import tempfile

from ansible_collections.ascend_ops.vllm.plugins.module_utils._common import secrets

SECRETS = "secrets.env"
WATCHED = "watched.sha256"


def read(path):
    """``(content, mode)`` of a file; two Nones where it does not exist. Raises OSError for one that cannot be read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as handle:
            return handle.read(), stat.S_IMODE(os.fstat(handle.fileno()).st_mode)
    except FileNotFoundError:
        return None, None


def write(path, content, mode):
    """Write a file atomically, with its mode. Raises OSError."""
    handle, temporary = tempfile.mkstemp(dir=os.path.dirname(path), prefix="." + os.path.basename(path))
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(content)
            os.fchmod(stream.fileno(), mode)
            stream.flush()
            os.fsync(stream.fileno())
        os.rename(temporary, path)
    except OSError:
        os.unlink(temporary)
        raise


def sync(directory):
    """Flush a folder's entries to the disk."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def watched(paths):
    """The output of ``sha256sum`` for files, or None for no files."""
    lines = []
    for path in paths:
        with open(path, "rb") as stream:
            lines.append(f"{hashlib.sha256(stream.read()).hexdigest()}  {path}\n")
    return "".join(lines) or None


def shown(name, content):
    """The content of a file as a diff may show it: with secrets masked."""
    if name == SECRETS:
        return "".join(name + "=********\n" for name in re.findall(r"(?m)^(\w+)=", content))
    return re.sub(r"(?m)^(\w+)=(.+)$", lambda m: f"{m.group(1)}={secrets.masked(*m.groups())}", content)


def digest(name, content):
    """A digest of a file's content, in hex. That of secrets is slow to compute, so that a weak one cannot be guessed from it."""
    data = content.encode("utf-8")
    if name == SECRETS:
        return hashlib.pbkdf2_hmac("sha256", data, b"ascend_ops.vllm", 200000).hex()
    return hashlib.sha256(data).hexdigest()


def put(directory, wanted, check_mode):
    """Ensure that files in a folder have their content and mode. Raises OSError.

    :param wanted: ``[{"name", "content", "mode"}]``; a file with None as content is removed.
    :param check_mode: change nothing.
    :return: ``(written, diff)``: the names of files that were written or removed, or would be, and a diff for each.
    """
    written = []
    diff = []
    if not check_mode and not os.path.isdir(directory):
        os.makedirs(directory, 0o755)
    for item in wanted:
        path = os.path.join(directory, item["name"])
        mode = int(item["mode"], 8) if item["content"] is not None else None
        content, old_mode = read(path)
        if content == item["content"] and old_mode == mode:
            continue
        written.append(item["name"])
        before, after = (shown(item["name"], text or "") for text in (content, item["content"]))
        diff.append(dict(before=before, after=after, before_header=path, after_header=path))
        if check_mode:
            continue
        if item["content"] is not None:
            write(path, item["content"], mode)
            continue
        os.unlink(path)
        # A removed file has no time; the first file shows that the folder changed.
        first = os.path.join(directory, wanted[0]["name"])
        if os.path.exists(first):
            os.utime(first)
    return written, diff


def newest(directory, names):
    """When the newest of some files was written, in seconds since the epoch; None where none exists."""
    times = []
    for name in names:
        try:
            times.append(os.stat(os.path.join(directory, name)).st_mtime)
        except OSError:
            pass
    return max(times) if times else None
