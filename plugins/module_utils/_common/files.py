# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The small files of a service on its node: read, written as a whole or not at all, told apart, shown without secrets."""

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
    """Content and mode of a file, or two Nones."""
    try:
        with open(path, encoding="utf-8", errors="replace") as handle:
            return handle.read(), stat.S_IMODE(os.fstat(handle.fileno()).st_mode)
    except FileNotFoundError:
        return None, None


def write(path, content, mode):
    """Put a file in place as a whole: it is there with content and mode, or not at all."""
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
    """Have on the disk what names a folder holds."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def watched(paths):
    """What sha256sum prints for files, or None for no files."""
    lines = []
    for path in paths:
        with open(path, "rb") as stream:
            lines.append(f"{hashlib.sha256(stream.read()).hexdigest()}  {path}\n")
    return "".join(lines) or None


def shown(name, content):
    """A file as a diff may show it: without the values of secrets."""
    if name == SECRETS:
        return "".join(name + "=********\n" for name in re.findall(r"(?m)^(\w+)=", content))
    return re.sub(r"(?m)^(\w+)=(.+)$", lambda m: f"{m.group(1)}={secrets.masked(*m.groups())}", content)


def digest(name, content):
    """A digest of a file; slow for that of secrets, since others may read digests and must not guess a weak secret."""
    data = content.encode("utf-8")
    if name == SECRETS:
        return hashlib.pbkdf2_hmac("sha256", data, b"ascend_ops.vllm", 200000).hex()
    return hashlib.sha256(data).hexdigest()


def put(directory, wanted, check_mode):
    """Have files in a folder, each ``{"name", "content", "mode"}``; None as content for one that is not to be there.

    :return: ``(written, diff)``: the names of those that were written or removed, or would be.
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
        # What is gone has no time of its own; the first file tells that the folder changed.
        first = os.path.join(directory, wanted[0]["name"])
        if os.path.exists(first):
            os.utime(first)
    return written, diff


def newest(directory, names):
    """When the newest of some files was written, in seconds since the epoch; None where there is none of them."""
    times = []
    for name in names:
        try:
            times.append(os.stat(os.path.join(directory, name)).st_mtime)
        except OSError:
            pass
    return max(times) if times else None
