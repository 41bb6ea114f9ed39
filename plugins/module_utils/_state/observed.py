# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a node has of a service: container, files, what was deployed there, and the arguments of what really runs."""

from __future__ import annotations

import os

from ansible_collections.ascend_ops.vllm.plugins.module_utils._common import files as common_files
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common import layout
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.engine import (
    LABEL_SERVICE,
    LABEL_SPEC,
    EngineError,
    container_state,
)
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan import render
from ansible_collections.ascend_ops.vllm.plugins.module_utils._state import arguments, records
from ansible_collections.ascend_ops.vllm.plugins.module_utils._state.container import found_settings, restart_policy

# Files that are read where the launch script is, in the order in which they are written.
FILES = ("launch.sh", "service.env", common_files.SECRETS, common_files.WATCHED, records.PROCESS)
# And those of them that a deploy renders from the plan.
DEPLOYED = ("launch.sh", "service.env")


def observed(process, context):
    """What the node has for a process of a plan.

    :param process: the process plan; only names and paths of it are used.
    :param context: ``engine`` (an ``Engine``) and, for tests, ``proc``.
    :return: ``{"engine_error", "container", "image", "files", "deployed", "running"}``. *container* is None or what
        ``engine.container_state`` says, with ``image``, ``foreign``, ``restart_policy``, ``digest`` (of the spec that made
        it) and ``settings``; *image* None or ``engine.image_state``, of the plan's image; *files* name to
        ``records.read``; *deployed* name of a file to the contents with which it was deployed, the newest first;
        *running* as of ``arguments.running``, or None where the container does not run.
    """
    spec = process["container"]
    directory = layout.service_directory(spec)
    result = {"engine_error": "", "container": None, "image": None, "running": None}
    try:
        found = context["engine"].inspect("container", spec["name"])
        result["image"] = context["engine"].image(spec["image"])
        if found is not None:
            result["container"] = container_of(found, spec["name"])
    except EngineError as error:
        result["engine_error"] = str(error)
    container = result["container"]
    if container and container["running"]:
        result["running"] = arguments.running(container["pid"], context.get("proc", "/proc"))
    return dict(result, **files_of(directory, spec["name"]))


def files_of(directory, name):
    """The parts ``files`` and ``deployed`` of :func:`observed`.

    :param directory: the folder of the service's files.
    :param name: the container.
    """
    return {
        "files": {file: records.read(os.path.join(directory, file)) for file in FILES},
        "deployed": deployed_files(directory, name),
    }


def container_of(found, name):
    """A container's state with how it was made, from what the engine prints of it."""
    state = container_state(found, name)
    labels = state.pop("labels")
    state["image"] = found["Config"].get("Image") or ""
    state["foreign"] = LABEL_SERVICE not in labels
    state["digest"] = labels.get(LABEL_SPEC)
    state["restart_policy"] = restart_policy(found)
    state["settings"] = found_settings(found)
    return state


def deployed_files(directory, name):
    """The contents with which the files of a service may have been deployed: ``{file: [content, ...]}``.

    What process.json renders to, and what the current revision has: a run that was broken off wrote only some of them.
    """
    sides = (rendered_files(directory, name), recorded_files(name))
    return {file: [side[file] for side in sides if file in side] for file in DEPLOYED}


def rendered_files(directory, name):
    """Launch script and environment as process.json renders them, name to content; without the values of secrets."""
    found = records.deployed_process(directory, name)
    if found:
        try:
            items = render.node_files(found["process"], found["interface"] or None)
            return {item["name"]: item["content"] for item in items}
        except (ValueError, KeyError, TypeError, AttributeError):
            pass  # of 0.1.0, which did not note the interface; or of a version with another plan
    return {}


def recorded_files(name):
    """Launch script and environment of the current revision, name to content; without those whose digest is another."""
    record = records.deployed_record(name)
    if not record:
        return {}
    folder = records.revision_folder(os.path.join(layout.RECORDS_DIR, name), str(record["current"]["id"]))
    found = {file: records.read(os.path.join(folder, file))["content"] for file in DEPLOYED}
    revision = next(filter(None, (records.read_json(os.path.join(folder, file)) for file in records.NAMES)), {})
    digests = revision.get("digests")
    digests = digests if isinstance(digests, dict) else {}
    return {
        file: content
        for file, content in found.items()
        if content is not None and digests.get(file) in (None, common_files.digest(file, content))
    }
