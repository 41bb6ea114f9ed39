# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a node reports of its service, read in one go. ``report`` judges it, on the controller.

Files are compared here, so that their contents and the values of secrets stay on the node.
"""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor

from ansible_collections.ascend_ops.vllm.plugins.module_utils._common import files as common_files
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common import layout, redact
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.engine import Engine, EngineError
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.openai import Client
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.run import run
from ansible_collections.ascend_ops.vllm.plugins.module_utils._facts.node import network
from ansible_collections.ascend_ops.vllm.plugins.module_utils._state import (
    arguments,
    compare,
    drift,
    memory,
    records,
    schema,
)


def gather(process, options):
    """All that status.yml needs to know of a node; the return values of the module vllm_status.

    :param process: the process plan of the node.
    :param options: ``engine`` (name of the command), ``timeout`` and ``request_timeout`` (seconds), ``api_key``,
        ``secret_names``, ``supervised``, and ``tuning``: the settings of the module host_tuning, empty where the host is not
        tuned.
    """
    name = process["container"]["name"]
    directory = layout.service_directory(process["container"])
    engine = Engine(options["engine"], options["timeout"])
    wanted, seen = compare.sides(process, {"engine": engine, "interface": network(process["address"])["interface"]})
    secrets, values = secrets_file(os.path.join(directory, common_files.SECRETS))
    secrets["wanted"] = sorted(options["secret_names"])
    facts = {
        "time": int(time.time()),
        "engine_error": seen["engine_error"],
        "container": seen["container"],
        "image": seen["image"],
        "others": [],
        "causes": [],
        "missing_mounts": wanted["missing_mounts"],
        "files": [_without_items(entry) for entry in drift.of_files(wanted, seen) if "changes" in entry],
        "files_error": wanted["files_error"],
        "secrets": secrets,
        "running": {key: (seen["running"] or {}).get(key) for key in ("pid", "error")},
        "deployed": records.deployed_record(name),
    }
    if not seen["engine_error"]:
        try:
            facts["others"] = engine.ours(name)
        except EngineError as error:
            facts["engine_error"] = str(error)
    facts["drift"] = drift.drift(wanted, seen)
    slow = {
        "supervisor": lambda: supervisor(name, options),
        "tuning": lambda: compare.tuning(options["tuning"]) if options["tuning"] else None,
        "probe": lambda: probe(process, options, options["api_key"] or values.get("VLLM_API_KEY", "")),
    }
    with ThreadPoolExecutor(len(slow)) as pool:
        for key, found in [(key, pool.submit(ask)) for key, ask in slow.items()]:
            facts[key] = found.result()
    tuned = facts["tuning"]
    if tuned:
        facts["drift"] += tuned.pop("items")
    for item in facts["drift"]:
        item["text"] = drift.line(item)
    return facts


def _without_items(entry):
    return {key: value for key, value in entry.items() if key != "items"}


def secrets_file(path):
    """What may be reported of the file of secrets, and its values (name to value), which may not."""
    found = records.read(path)
    content = found.pop("content")
    try:
        values = arguments.of_environment(content or "")
        names = sorted(values)
    except ValueError:  # not what a shell reads; the names are reported all the same
        values = {}
        names = sorted({name for name, unused in redact.parse_environment(content)})
    return dict(found, path=path, missing=content is None, names=names), values


def supervisor(name, options):
    """Whether the service is supervised, and what the supervisor saw last.

    ``{"wanted", "loaded", "active", "enabled", "for", "error", "state", "trouble"}``; *for* in seconds, or None; *state* by
    the clock of now; *trouble*: what may keep it from reporting, as sentences.
    """
    state, trouble = memory.load(name, memory.clock())
    result = {
        "wanted": options["supervised"],
        "loaded": False,
        "active": False,
        "enabled": False,
        "for": None,
        "error": "",
        "state": state,
        "trouble": trouble,
    }
    rc, output, unused = run(
        [
            "systemctl",
            "show",
            "--property=LoadState,ActiveState,UnitFileState,ActiveEnterTimestampMonotonic",
            f"ascend-vllm@{name}.timer",
        ],
        options["timeout"],
    )
    if rc != 0:
        result["error"] = "is not known: {0}".format(" ".join(output.split())[:200] or "systemctl gave no answer")
        return result
    values = dict(line.split("=", 1) for line in output.splitlines() if "=" in line)
    result["loaded"] = values.get("LoadState") == "loaded"
    result["active"] = values.get("ActiveState") == "active"
    result["enabled"] = values.get("UnitFileState", "").startswith("enabled")
    entered = values.get("ActiveEnterTimestampMonotonic", "")  # microseconds
    if result["active"] and entered.isdigit():
        result["for"] = round(time.monotonic() - int(entered) / 1e6, 1)
    if result["active"]:
        result["trouble"] += _trouble(name, options["timeout"])
    return result


def _trouble(name, timeout):
    """What may keep a supervisor from reporting, beyond the state that is there."""
    obstacles = memory.obstacles(name)
    found = [memory.memory(obstacles, "")] if len(obstacles) == len(memory.places(name)) else []
    path = os.path.join(layout.SERVICE_DIR, name, "supervise.json")
    settings = records.read_json(path)
    problem = "cannot be read" if settings is None else schema.settings_error(settings)
    if problem:
        found.append(f"its settings, {path}: {problem}")
    words = ["systemctl", "show", "--property=Result,ExecMainStatus", f"ascend-vllm@{name}.service"]
    output = run(words, timeout)[1]
    values = dict(line.split("=", 1) for line in output.splitlines() if "=" in line)
    if values.get("Result", "success") != "success":
        found.append(
            "its last check ended with {Result}, status {0}".format(values.get("ExecMainStatus", "?"), **values)
        )
    return found


def probe(process, options, api_key):
    """Does the service yield tokens? ``{"state", "verdicts"}``; None on a node that serves no API."""
    if process["role"] == "secondary":
        return None
    service = process["service"]
    more = {"ca_file": service["ca_file"]} if service.get("ca_file") else {}
    client = Client(service["url"], service["model"], options["request_timeout"], api_key, **more)
    verdicts = [client.models()]
    if verdicts[0]["verdict"] == "pass":
        verdicts.append(client.chat())
        verdicts[-1].pop("text", None)
    return {"state": "ready" if verdicts[-1]["verdict"] == "pass" else "silent", "verdicts": verdicts}
