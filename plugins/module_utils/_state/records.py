# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the collection keeps on a node about a service, and how to read it: records of revisions, the deployed plan.

Reads only, and never raises for what is missing or not understood: such a record counts as none.
"""

from __future__ import annotations

import json
import os
import stat

from ansible_collections.ascend_ops.vllm.plugins.module_utils._common import layout
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.secrets import masked

# Beside the launch script: the process plan that was deployed, without secrets; of use until a revision is recorded.
PROCESS = "process.json"
# Folders and files of revisions; the second of each is that of 0.1.0.
FOLDERS = ("revisions", "generations")
NAMES = ("revision.json", "generation.json")
RECIPE = ("name", "release", "checkpoint", "scenarios")
MAX_FILE = 1 << 20


def read(path):
    """``{"content", "mode", "mtime"}`` of a file: its text, ``"0644"``, seconds since the epoch; None where it is missing."""
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            seen = os.fstat(stream.fileno())
            return {
                "content": stream.read(MAX_FILE),
                "mode": f"{stat.S_IMODE(seen.st_mode):04o}",
                "mtime": seen.st_mtime,
            }
    except OSError:
        return {"content": None, "mode": None, "mtime": None}


def read_json(path):
    """The mapping in a JSON file; None where there is none."""
    try:
        found = json.loads(read(path)["content"] or "")
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def known_record(found):
    """What a deploy wrote to deployed.json, or None where it is not what this version reads."""
    current = found.get("current") if isinstance(found, dict) else None
    good = (
        isinstance(current, dict)
        and {"id", "group", "proven_at", "recipe"} <= set(current)
        and isinstance(current["recipe"], dict)
        and set(RECIPE) <= set(current["recipe"])
    )
    return found if good else None


def deployed_record(name):
    """``{"current", "previous"}`` of the container *name* as its last verified deploy wrote it, or None."""
    return known_record(read_json(os.path.join(layout.RECORDS_DIR, name, "deployed.json")))


def revision_folder(records, identity):
    """The folder of a revision below the records of a container, also where 0.1.0 put it."""
    paths = [os.path.join(records, folder, identity) for folder in FOLDERS]
    return next((path for path in paths if os.path.isdir(path)), paths[0])


def process_text(process, interface):
    """The content of process.json: the process plan without values of secrets, and the interface it was rendered for.

    The interface is left empty where the environment does not name it.
    """
    env = {name: masked(name, value) for name, value in process["env"].items()}
    named = any("{NIC}" in value for value in process["env"].values())
    data = {"interface": (interface or "") if named else "", "process": dict(process, env=env)}
    return json.dumps(data, indent=1) + "\n"  # the environment is rendered in its own order


def deployed_process(directory, name):
    """The process plan that was deployed last: ``{"process", "interface"}``, or None where nothing tells.

    From process.json; for a deploy of 0.1.0 from its current revision, which does not tell the interface.

    :param directory: the folder of the service's files.
    :param name: the container.
    """
    found = read_json(os.path.join(directory, PROCESS))
    if found and _is_process(found.get("process")) and isinstance(found.get("interface"), str):
        return {"process": found["process"], "interface": found["interface"]}
    record = deployed_record(name)
    if not record:
        return None
    folder = revision_folder(os.path.join(layout.RECORDS_DIR, name), str(record["current"]["id"]))
    for file in NAMES:
        revision = read_json(os.path.join(folder, file))
        if revision and _is_process(revision.get("node")):
            return {"process": revision["node"], "interface": ""}
    return None


def _is_process(found):
    return isinstance(found, dict) and {"env", "argv", "container", "address"} <= set(found)
