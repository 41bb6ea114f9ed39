# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Look for the files that options of ``vllm serve`` name: on the node, where a mount has them, else in the image."""

from __future__ import annotations

import os

from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.option_files import FILE, inside, named, on_host
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.parallel import bounded


def gather(plan, options):
    """``[{option, kind, path, host, state}]``: *path* in the container, *host* on the node, None without a mount.

    ``state`` of a path in a mount is ``there``, ``missing``, ``hidden`` (a link to a place that no mount shows), ``kind``
    (a folder instead of a file, or the reverse), ``unreadable`` or, from a file system that does not answer, None. Without a
    mount it is None here; see ``engine.gather``, which reads the image.

    :param options: ``timeout`` in seconds.
    """
    mounts = plan["container"]["mounts"]
    found = []
    checkpoints = {item["path"] for item in plan["weights"]}  # ``weights.gather`` looks at those
    for option, kind, path in named(plan.get("args") or {}):
        if path in checkpoints:
            continue
        host = on_host(path, mounts)
        entry = {"option": option, "kind": kind, "path": path, "host": host, "state": None}
        if host is not None:
            entry["state"] = bounded(_looker(host, kind, mounts), options.get("timeout") or 20)
        found.append(entry)
    return found


def _looker(host, kind, mounts):
    return lambda: state(host, kind, mounts)


def state(host, kind, mounts):
    """The state of a path of the node, see ``gather``."""
    if not os.path.lexists(host):
        return "missing"
    real = os.path.realpath(host)
    if not any(inside(real, os.path.realpath(mount["source"])) for mount in mounts):
        return "hidden"
    if not os.path.exists(real):
        return "missing"
    if os.path.isdir(real) == (kind == FILE):
        return "kind"
    return "there" if os.access(real, os.R_OK) else "unreadable"
