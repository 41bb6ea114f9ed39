# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The service's container, for a support bundle: its state, its environment, the logs that CANN wrote in it, its secrets."""

from __future__ import annotations

import glob
import os

from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.engine import Engine, EngineError
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.layout import RECORDS_DIR, SERVICE_DIR
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.redact import parse_environment, secret_values
from ansible_collections.ascend_ops.vllm.plugins.module_utils._facts.engine import first_json
from ansible_collections.ascend_ops.vllm.plugins.module_utils._failure.evidence import (
    CANN_BYTES,
    CANN_FILES,
    NoFolder,
    cann_files,
)
from ansible_collections.ascend_ops.vllm.plugins.module_utils._support.parts import Missing, Part, contents


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
    """Fill a part with the ends of the newest logs that CANN wrote in the container, which may have ended."""

    def fill(part):
        try:
            base, found = cann_files(Engine(docker, timeout), name, root)
        except (NoFolder, EngineError) as error:
            raise Missing(str(error))
        texts = []
        for _time, path in found[:CANN_FILES]:
            tail = Part(path, "", contents(path, CANN_BYTES))
            tail.run()
            part.cut += tail.cut
            texts.append(f"== {path[len(base) :]}\n{tail.text or tail.missing}\n")
        if len(found) > CANN_FILES:
            part.problems.append(f"the {CANN_FILES} newest of {len(found)} files")
        return "\n".join(texts)

    return fill
