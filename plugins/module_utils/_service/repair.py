# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Launch script and environment of a service on its node: are they as they were deployed, and from what can they be restored?"""

from __future__ import annotations

import os

from ansible_collections.ascend_ops.vllm.plugins.module_utils._common import files, layout, secrets
from ansible_collections.ascend_ops.vllm.plugins.module_utils._state import drift, observed, records

MODES = {"launch.sh": 0o755, "service.env": 0o600}
# What a file was replaced by is kept beside it: it may be somebody's edit.
KEPT = ".replaced"
MASK = secrets.masked("TOKEN", "value")


def look_files(name):
    """The files of a service: ``{"digests": {file: hex}, "altered": {file: {"how", "usable", "restorable"}}}``.

    *altered* has those that are not as they were deployed: *how*, as words that follow the name; whether the service can
    be started with it as it is; and whether it can be restored. A file of which nothing tells how it was deployed is
    altered only where it is of no use.

    :param name: the container.
    """
    folder = os.path.join(layout.SERVICE_DIR, name)
    result = {"digests": {}, "altered": {}}
    wanted = copies(folder, name)
    for file in MODES:
        found = records.read(os.path.join(folder, file))
        content = found["content"]
        if content is not None:
            result["digests"][file] = files.digest(file, content)
        known = wanted[file]["known"]
        same = content is not None and any(drift.same(file, content, text, True) for text in known)
        defect = ("" if same else _defect(file, content)) or _mode_defect(file, found["mode"])
        if defect or (known and not same):
            result["altered"][file] = {
                "how": defect or "differs from what was deployed",
                "usable": not defect,
                "restorable": wanted[file]["source"] is not None,
            }
    return result


def copies(folder, name):
    """What tells how the files were deployed: ``{file: {"known": [text, ...], "source": text or None}}``.

    *source* is what a file can be restored from: the copy of the current revision, which has the values of secrets too;
    else what process.json renders to, where that has no secret. A revision that is not of the last deploy is no source.
    """
    rendered, recorded = observed.rendered_files(folder, name), observed.recorded_files(name)
    result = {}
    for file in MODES:
        one, other = rendered.get(file), recorded.get(file)
        source = None
        if other is not None and (not _defect(file, other) if one is None else drift.same(file, other, one, True)):
            source = other
        elif one is not None and MASK not in one:
            source = one
        result[file] = {"known": [text for text in (one, other) if text is not None], "source": source}
    return result


def _defect(file, content):
    """Why the service cannot be started with a file, as words that follow its name; empty for a file that is of use."""
    if content is None:
        return "is missing"
    if not content.strip():
        return "is empty"
    if "\0" in content or "\ufffd" in content:
        return "is no text"
    if drift.parsed(file, content) is None:
        return "starts no 'vllm serve'" if file == "launch.sh" else "is not what a shell reads"
    if file == "launch.sh" and not content.startswith("#!"):
        return "is no script"
    return ""


def _mode_defect(file, mode):
    if mode is not None and MODES[file] & 0o111 and not int(mode, 8) & 0o111:
        return f"has mode {mode}, and cannot be run"
    return ""


def restore(name):
    """Write the files that are not as they were deployed as they were; what was there is kept beside them.

    :return: their names.
    :raises OSError: a file cannot be written.
    """
    folder = os.path.join(layout.SERVICE_DIR, name)
    restored = []
    for file, entry in copies(folder, name).items():
        if file not in look_files(name)["altered"] or entry["source"] is None:
            continue
        path = os.path.join(folder, file)
        content = records.read(path)["content"]
        if content is not None and content != entry["source"]:
            files.write(path + KEPT, content, 0o600)
        files.write(path, entry["source"], MODES[file])
        restored.append(file)
    return restored
