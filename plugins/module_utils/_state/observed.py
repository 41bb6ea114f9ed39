# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a node tells of its service, read in one go. Judging is in ``_status``, on the controller.

Files are compared here, so that their contents stay on the node.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import stat
import time
from concurrent.futures import ThreadPoolExecutor

from ansible_collections.ascend_ops.vllm.plugins.module_utils._common import layout
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.engine import (
    LABEL_SERVICE,
    LABEL_SPEC,
    Engine,
    EngineError,
    container_state,
    mounts_here,
    spec_digest,
)
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.openai import Client
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.run import run
from ansible_collections.ascend_ops.vllm.plugins.module_utils._facts.node import network
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan import render
from ansible_collections.ascend_ops.vllm.plugins.module_utils._state import report
from ansible_collections.ascend_ops.vllm.plugins.module_utils._tuning import host

MAX_FILE = 1 << 20
STATE = "/run/ascend-vllm"
RECORDS = "/var/lib/ascend-vllm"
_NAME = re.compile(r"^(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)=", re.M)


def gather(plan, options):
    """All that status.yml needs to know of a node, for the node's *plan*.

    :param options: ``engine``, ``timeout``, ``request_timeout``, ``api_key``, ``secret_names``, ``supervised``, and ``tuning``: the settings
        of the module host_tuning, or None where the host is not tuned.
    """
    name = plan["container"]["name"]
    directory = layout.service_directory(plan["container"])
    deployed = report.known_record(read_json(os.path.join(RECORDS, name, "deployed.json")))
    secrets, values = secrets_file(os.path.join(directory, "secrets.env"))
    secrets["wanted"] = sorted(options["secret_names"])
    facts = {"time": int(time.time()), "deployed": deployed, "secrets": secrets}
    facts.update(engine_facts(plan, options))
    facts.update(file_facts(plan, directory, deployed))
    slow = {
        "supervisor": lambda: supervisor(name, options),
        "tuning": lambda: tuning(options["tuning"]),
        "probe": lambda: probe(plan, options, options["api_key"] or values.get("VLLM_API_KEY", "")),
    }
    with ThreadPoolExecutor(len(slow)) as pool:
        for key, told in [(key, pool.submit(ask)) for key, ask in slow.items()]:
            facts[key] = told.result()
    return facts


# -- files ----------------------------------------------------------------------------------------------------------


def read(path):
    """``{content, mode, mtime}`` of a file; content None where it cannot be read."""
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
    """The object in a JSON file; None where there is none."""
    try:
        told = json.loads(read(path)["content"] or "")
    except ValueError:
        return None
    return told if isinstance(told, dict) else None


def file_facts(plan, directory, deployed):
    """The files of the service, each compared with the plan's and with the one that was deployed."""
    interface = network(plan["address"])["interface"]
    error = ""
    try:
        wanted = render.node_files(plan, interface)
    except ValueError as problem:  # no interface carries the address
        error = str(problem)
        wanted = []
    generation = None
    if deployed:
        generation = os.path.join(RECORDS, plan["container"]["name"], "generations", str(deployed["current"]["id"]))
    files = []
    for item in wanted:
        path = os.path.join(directory, item["name"])
        found = read(path)
        before = read(os.path.join(generation, item["name"]))["content"] if generation else None
        entry = report.compare_file(item["content"], found["content"], before)
        entry.update(path=path, mode=found["mode"], wanted_mode=item["mode"], mtime=found["mtime"])
        files.append(entry)
    return {"files": files, "files_error": error}


def secrets_file(path):
    """What may be told of the file of secrets, and its values, which may not."""
    found = read(path)
    content = found.pop("content")
    values = {}
    try:
        for word in shlex.split(content or "", comments=True):
            name, equals, value = word.partition("=")
            if equals:
                values[name] = value
        names = sorted(values)
    except ValueError:  # no shell lines; their names are told all the same
        names = sorted(set(_NAME.findall(content or "")))
    return dict(found, path=path, missing=content is None, names=names), values


# -- engine ---------------------------------------------------------------------------------------------------------


def engine_facts(plan, options):
    """The container and the image of the plan, and whether the one is made as the plan wants it."""
    spec = plan["container"]
    facts = {
        "engine_error": "",
        "container": None,
        "image": None,
        "others": [],
        "same_spec": None,
        "parts": [],
        "missing_mounts": [],
    }
    engine = Engine(options["engine"], options["timeout"])
    try:
        found = engine.inspect("container", spec["name"])
        facts["image"] = engine.image(spec["image"])
        facts["others"] = engine.ours(spec["name"])
    except EngineError as error:
        facts["engine_error"] = str(error)
        return facts
    if found is None:
        return facts
    container = container_state(found, spec["name"])
    labels = container.pop("labels")
    container["image"] = found["Config"].get("Image") or ""
    container["foreign"] = LABEL_SERVICE not in labels
    container["restart_policy"] = ((found.get("HostConfig") or {}).get("RestartPolicy") or {}).get("Name") or ""
    facts["container"] = container
    mounts, facts["missing_mounts"] = mounts_here(spec)
    # Where the image's name is gone, what the container was made of stands for it: that is told apart.
    image_id = facts["image"]["id"] if facts["image"] else container["image_id"]
    facts["same_spec"] = labels.get(LABEL_SPEC) == spec_digest(spec, mounts, image_id)
    facts["parts"] = report.differing_parts(spec, mounts, image_id, found)
    return facts


# -- supervisor, tuning, service ------------------------------------------------------------------------------------


def supervisor(name, options):
    """Whether somebody watches the service, and what was seen last."""
    told = {
        "wanted": options["supervised"],
        "loaded": False,
        "active": False,
        "enabled": False,
        "for": None,
        "error": "",
        "state": report.known_state(read_json(os.path.join(STATE, name, "state.json"))),
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
        told["error"] = "cannot be asked for: {0}".format(" ".join(output.split())[:200] or "systemctl gave no answer")
        return told
    values = dict(line.split("=", 1) for line in output.splitlines() if "=" in line)
    told["loaded"] = values.get("LoadState") == "loaded"
    told["active"] = values.get("ActiveState") == "active"
    told["enabled"] = values.get("UnitFileState", "").startswith("enabled")
    entered = values.get("ActiveEnterTimestampMonotonic", "")  # microseconds
    if told["active"] and entered.isdigit():
        told["for"] = round(time.monotonic() - int(entered) / 1e6, 1)
    return told


def tuning(settings):
    """Whether the host's tuning is in place: ``{compliant, differs, error}``; None where there is none to be."""
    if not settings:
        return None
    try:
        outcome = host.tune(host.Host(), host.parse_settings(settings), dry_run=True, strict=False)
    except (host.TuningError, OSError) as error:
        return {"compliant": False, "differs": [], "error": str(error)}
    lines = [line for line in host.report_lines(outcome) if ": differs" in line]
    return {"compliant": outcome.compliant, "differs": lines, "error": ""}


def probe(plan, options, api_key):
    """Does the service yield tokens? ``{state, verdicts}``; None on a node that serves no API."""
    if plan["role"] == "secondary":
        return None
    service = plan["service"]
    more = {"ca_file": service["ca_file"]} if service.get("ca_file") else {}
    client = Client(service["url"], service["model"], options["request_timeout"], api_key, **more)
    verdicts = [client.models()]
    if verdicts[0]["verdict"] == "pass":
        verdicts.append(client.chat())
        verdicts[-1].pop("text", None)
    return {"state": "ready" if verdicts[-1]["verdict"] == "pass" else "silent", "verdicts": verdicts}
