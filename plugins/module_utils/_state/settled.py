# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Is there anything for a deploy to do on a node? Asked in one go what its steps would find out one after the other.

Each part is compared by the function that its own step compares with. What is not understood counts as something to do.
"""

from __future__ import annotations

import sys

from ansible_collections.ascend_ops.vllm.plugins.module_utils._common import files as common_files
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common import layout, secrets
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.engine import (
    LABEL_SPEC,
    Engine,
    EngineError,
    mounts_here,
    spec_digest,
)
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.openai import Client
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan import render
from ansible_collections.ascend_ops.vllm.plugins.module_utils._state import supervision as state_supervision
from ansible_collections.ascend_ops.vllm.plugins.module_utils._state.revisions import Generations
from ansible_collections.ascend_ops.vllm.plugins.module_utils._tuning import host


def look(node, options):
    """``{"settled", "differs", "group", "verdicts", "answer"}``; *differs* names the first thing that is to be done.

    :param node: the node's plan.
    :param options: ``interface``, ``tuning``, ``secrets``, ``supervision``, ``hosts``, ``checks``, ``api_key``,
        ``request_timeout``, ``engine``; see the module vllm_settled.
    """
    result = {"settled": False, "differs": "", "group": None, "verdicts": [], "answer": ""}
    try:
        for part in (container, files, generation, supervision, tuning, service):
            result["differs"] = part(node, options, result)
            if result["differs"]:
                return result
    except (EngineError, host.TuningError, OSError, ValueError, KeyError, TypeError) as error:
        result["differs"] = f"{type(error).__name__}: {error}"
        return result
    return dict(result, settled=True)


def container(node, options, unused):
    """It runs, made as the plan wants it, and after the newest of its files."""
    spec = node["container"]
    engine = Engine(options["engine"])
    found = engine.container(spec["name"])
    image = engine.image(spec["image"])
    if found is None or image is None or not found["running"]:
        return "the container does not run"
    mounts, missing = mounts_here(spec)
    if missing or found["labels"].get(LABEL_SPEC) != spec_digest(spec, mounts, image["id"]):
        return "the container is made otherwise"
    options["container"] = found
    return ""


def files(node, options, unused):
    """They are as they would be written."""
    wanted = render.node_files(node, options["interface"] or None)
    wanted.append(dict(name=common_files.SECRETS, content=secrets.secrets_file(options["secrets"] or {}), mode="0600"))
    watch = [node["tls"]["certificate"]] if node.get("tls") else []
    wanted.append(dict(name=common_files.WATCHED, content=common_files.watched(watch), mode="0644"))
    directory = layout.service_directory(node["container"])
    written = common_files.put(directory, wanted, True)[0]
    if written:
        return "{0} would be written".format(", ".join(written))
    newest = common_files.newest(directory, [item["name"] for item in wanted])
    return "its files are newer than what runs" if newest > options["container"]["started_at"] else ""


def generation(node, options, result):
    """It was recorded as proven, with the nodes that are its replica now."""
    kept = Generations(Engine(options["engine"]), node["container"]["name"], True)
    result["group"] = kept.proven_group(node, options["hosts"], options["container"]["image_id"])
    return "" if result["group"] else "what runs is not what was proven last"


def supervision(node, options, unused):
    """It is watched as wanted, or not at all."""
    name, settings = node["container"]["name"], options["supervision"]
    timer = state_supervision.timer_is(name)
    if not settings:
        return "it is watched" if any(timer) else ""
    wanted = dict(state_supervision.code(), **state_supervision.settings_file(name, settings))
    wanted.update(state_supervision.units(name, settings, sys.executable))
    if timer != (True, True) or any(common_files.read(path)[0] != content for path, content in wanted.items()):
        return "it is not watched as wanted"
    return ""


def tuning(unused, options, result):
    """The host is tuned, where it is to be."""
    if not options["tuning"]:
        return ""
    outcome = host.tune(host.Host(), host.parse_settings(options["tuning"]), dry_run=True)
    return "the host is not tuned as wanted" if outcome.changed or not outcome.compliant else ""


def service(node, options, result):
    """It answers, on the node that serves the API."""
    if node["role"] == "secondary":
        return ""
    told = node["service"]
    client = Client(
        told["url"], told["model"], options["request_timeout"], options["api_key"], told.get("ca_file") or ""
    )
    for check in options["checks"]:
        result["verdicts"].append(getattr(client, check)())
        if result["verdicts"][-1]["verdict"] != "pass":
            return "{id}: {seen}".format(**result["verdicts"][-1])
    result["answer"] = "".join(verdict.get("text", "") for verdict in result["verdicts"])
    return ""
