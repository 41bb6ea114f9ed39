# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The service's container, for a support bundle: its state, its environment, the logs that CANN wrote in it, its secrets."""

from __future__ import annotations

import glob
import os
import stat

from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.layout import RECORDS_DIR, SERVICE_DIR
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.redact import parse_environment, secret_values
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.run import run
from ansible_collections.ascend_ops.vllm.plugins.module_utils._facts.engine import first_json
from ansible_collections.ascend_ops.vllm.plugins.module_utils._support.parts import Missing, Part, contents

CANN_FILES, CANN_BYTES = 24, 128 * 1024  # the newest of CANN's logs, and bytes of each


def environment_of(inspected):
    """The environment in the output of ``container inspect``: a list of ``NAME=value``, empty where there is none."""
    found = first_json(inspected or "", "[")
    try:
        return [str(word) for word in found[0]["Config"]["Env"] or []]
    except (TypeError, KeyError, IndexError):
        return []


def state_of(inspected):
    """The container's state in the output of ``container inspect``, or None for no container.

    ``{"status", "exit_code", "oom_killed", "restart_count", "started_at", "finished_at", "image"}``, times as the engine
    prints them.
    """
    found = first_json(inspected or "", "[")
    try:
        state = found[0]["State"]
        return {
            "status": state.get("Status"),
            "exit_code": state.get("ExitCode"),
            "oom_killed": bool(state.get("OOMKilled")),
            "restart_count": found[0].get("RestartCount", 0),
            "started_at": state.get("StartedAt"),
            "finished_at": state.get("FinishedAt"),
            "image": (found[0].get("Config") or {}).get("Image"),
        }
    except (TypeError, KeyError, IndexError, AttributeError):
        return None


def known_secrets(name, root="/", environment=()):
    """``(values, notes)``: the secrets in the files of a service and in its container's environment, and what was unreadable.

    :param name: the container.
    :param environment: ``NAME=value`` words of the container.
    """
    values = []
    notes = []
    folder = os.path.join(root, SERVICE_DIR.lstrip("/"), name)
    records = os.path.join(root, RECORDS_DIR.lstrip("/"), name)
    older = [
        os.path.join(records, place, "*", "secrets.env") for place in ("revisions", "generations")
    ]  # the latter of 0.1.0
    for path in [os.path.join(folder, "secrets.env")] + sorted(
        path for pattern in older for path in glob.glob(pattern)
    ):
        try:
            with open(path, encoding="utf-8", errors="replace") as stream:
                values.extend(value for unused, value in parse_environment(stream.read(1 << 20)))
        except FileNotFoundError:
            continue
        except OSError as error:
            notes.append(f"{path}: {error.strerror or error}; only what looks like a secret was redacted")
    try:
        with open(os.path.join(folder, "service.env"), encoding="utf-8", errors="replace") as stream:
            values.extend(secret_values(parse_environment(stream.read(1 << 20))))
    except OSError:
        pass  # the file is a part of the bundle, and its reason stands there
    values.extend(secret_values(word.split("=", 1) for word in environment if "=" in str(word)))
    return values, notes


def cann_logs(docker, name, timeout, root="/"):
    """Fill a part with the ends of the newest logs that CANN wrote in the container, which may have ended.

    They are read where the engine keeps the container's files, since they may be gigabytes: too much for a copy.
    """

    def fill(part):
        base, place = _cann_folder(docker, name, timeout, root)
        folder = base
        for step in place.split("/"):
            folder = os.path.join(folder, step)
            if os.path.islink(folder) or not os.path.isdir(folder):  # a link would lead out of the container
                raise Missing(f"CANN wrote no /{place} in the container")
        found = sorted(((os.lstat(path).st_mtime, path) for path in _regular_files(folder)), reverse=True)
        texts = []
        for _time, path in found[:CANN_FILES]:
            tail = Part(path, "", contents(path, CANN_BYTES))
            tail.run()
            part.cut += tail.cut
            texts.append(f"== {path[len(base) :]}\n{tail.text or tail.missing}\n")
        if len(found) > CANN_FILES:
            part.problems.append(f"the {CANN_FILES} newest of {len(found)} files")
        if not texts:
            raise Missing(f"/{place} is empty")
        return "\n".join(texts)

    return fill


def _cann_folder(docker, name, timeout, root):
    """``(root of the container's files on the node, folder of CANN's logs below it)``."""
    rc, text, late = run([docker, "container", "inspect", name], timeout)
    found = first_json(text, "[") if rc == 0 else None
    if not found:
        raise Missing("the engine does not answer" if late else f"there is no container {name}")
    variables = dict(word.split("=", 1) for word in environment_of(text) if "=" in word)
    place = (variables.get("ASCEND_PROCESS_LOG_PATH") or "/root/ascend/log").strip("/")
    pid = (found[0].get("State") or {}).get("Pid")
    upper = ((found[0].get("GraphDriver") or {}).get("Data") or {}).get("UpperDir")
    base = os.path.join(root, "proc", str(pid), "root") if pid else upper
    if not base:
        raise Missing("the container has ended, and the engine does not say where its files are")
    return base, place


def _regular_files(folder):
    for place, _folders, files in os.walk(folder):
        for name in files:
            path = os.path.join(place, name)
            if stat.S_ISREG(os.lstat(path).st_mode):
                yield path
