# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Gather the state of a node's container engine, of the plan's image and container, and of other users of the chips."""

from __future__ import annotations

import json
import os
import re

from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.engine import (
    LABEL_SERVICE,
    Engine,
    EngineError,
    EngineSilent,
    image_state,
)
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.parallel import bounded
from ansible_collections.ascend_ops.vllm.plugins.module_utils._facts import image as facts_image

CHIP = re.compile(r"/dev/davinci\d+$")
# A key of the engine's `info` -> the key here.
_INFO = {
    "CgroupDriver": "cgroup_driver",
    "CgroupVersion": "cgroup_version",
    "Driver": "storage_driver",
    "DockerRootDir": "data_root",
    "LoggingDriver": "logging_driver",
    "LiveRestoreEnabled": "live_restore",
    "DefaultRuntime": "default_runtime",
    "SecurityOptions": "security",
}


def gather(plan, options):
    """Version and configuration of the engine, image and container of the plan; ``error`` if the engine does not respond.

    ``late`` says that it did not respond in time, which is no error of its own: it may be busy.

    :param options: ``engine`` (the command), ``timeout`` (seconds for one call), ``archive`` (path of the image's archive, or
        empty).
    """
    executable = options.get("engine") or "docker"
    facts = {
        "kind": "podman" if "podman" in os.path.basename(executable) else "docker",
        "version": None,
        "error": "",
        "late": False,
        "image": None,
        "container": None,
        "foreign": False,
        "others": None,
        "archive_bytes": size(options.get("archive")),
        "free_bytes": None,
        "mirrors": None,
        "insecure": None,
    }
    facts.update((key, None) for key in _INFO.values())
    engine = Engine(executable, options.get("timeout") or 20)
    name = plan["container"]["name"]
    try:
        facts["version"] = (engine.call(["version", "--format", "{{.Server.Version}}"])[1].split() or [None])[-1]
        facts["image"] = _image(engine, plan["container"]["image"])
        facts["container"] = engine.container(name)
        if facts["container"] is not None:
            facts["foreign"] = LABEL_SERVICE not in facts["container"]["labels"]
        facts.update(info(engine.call(["info", "--format", "{{json .}}"], check=False)[1]))
        facts["others"] = others(engine, name)
    except EngineError as error:
        facts["error"] = str(error)
        facts["late"] = isinstance(error, EngineSilent)
    except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
        facts["error"] = f"the engine's answer could not be parsed ({type(error).__name__}: {error})"
    facts["free_bytes"] = free_bytes(facts["data_root"])
    return facts


def _image(engine, name):
    """The result of ``Engine.image``, and ``os``, ``soc`` (the chip that vllm-ascend in it was built for), ``env`` (see
    ``image.environment``), ``cann`` (see ``image.cann``) and ``layers`` (its folders on the node)."""
    found = engine.inspect("image", name)
    if found is None:
        return None
    env = facts_image.environment(found)
    return dict(
        image_state(found),
        os=found.get("Os"),
        soc=env.get("SOC_VERSION"),
        env=env,
        cann=bounded(lambda: facts_image.cann(found), engine.timeout),
        layers=facts_image.roots(found),
    )


def info(output):
    """The facts in the output of ``docker info --format '{{json .}}'``; an empty dict if there are none."""
    data = first_json(output, "{")
    if not isinstance(data, dict):
        return {}
    facts = {ours: data.get(theirs) for theirs, ours in _INFO.items()}
    facts["cgroup_version"] = str(facts["cgroup_version"]) if facts["cgroup_version"] else None
    registries = data.get("RegistryConfig")
    registries = registries if isinstance(registries, dict) else {}
    indexes = registries.get("IndexConfigs")
    indexes = indexes if isinstance(indexes, dict) else {}
    facts["mirrors"] = registries.get("Mirrors") or []
    facts["insecure"] = sorted(
        str(name) for name, index in indexes.items() if isinstance(index, dict) and index.get("Secure") is False
    ) + [str(network) for network in registries.get("InsecureRegistryCIDRs") or [] if network != "127.0.0.0/8"]
    return facts


def others(engine, name):
    """The containers other than the plan's own: ``[{name, id, image, running, ours, privileged, devices}]``.

    All running ones, and the stopped ones that this collection created. ``devices`` are the chips that were passed to a
    container: by name, by a mount, or by a request. None if the engine does not list them.
    """
    rc, output = engine.call(["ps", "--no-trunc", "--quiet"], check=False)
    more_rc, more = engine.call(
        ["ps", "--all", "--no-trunc", "--quiet", "--filter", "label=" + LABEL_SERVICE], check=False
    )
    if rc != 0 or more_rc != 0:
        return None
    ids = sorted({word for word in (output + " " + more).split() if re.match(r"[0-9a-f]{12,64}$", word)})
    if not ids:
        return []
    # If a container disappears in between, the command fails, but still prints the others.
    found = first_json(engine.call(["inspect", "--type", "container"] + ids, check=False)[1], "[")
    if not isinstance(found, list):
        return None
    result = []
    for entry in found:
        one = _container(entry)
        if one["name"] != name:
            result.append(one)
    return sorted(result, key=lambda one: one["name"])


def _container(entry):
    host = entry.get("HostConfig") or {}
    config = entry.get("Config") or {}
    devices = [str(device.get("PathOnHost")) for device in host.get("Devices") or [] if isinstance(device, dict)]
    devices += [str(mount.get("Source")) for mount in entry.get("Mounts") or [] if isinstance(mount, dict)]
    # Device plugins and CDI: {"Driver": "cdi", "DeviceIDs": ["huawei.com/npu=0"]}.
    for request in host.get("DeviceRequests") or []:
        for device in request.get("DeviceIDs") or [] if isinstance(request, dict) else []:
            match = re.search(r"(?:npu|ascend|davinci)(?:.*[=:/_-])?(\d{1,3})$", str(device), re.I)
            devices.extend([f"/dev/davinci{match.group(1)}"] if match else [])
    # Ascend's container runtime passes the chips with this variable, not with --device.
    for word in config.get("Env") or []:
        if str(word).startswith("ASCEND_VISIBLE_DEVICES="):
            devices.extend(f"/dev/davinci{number}" for number in numbers(str(word).partition("=")[2]))
    return {
        "name": str(entry.get("Name", "")).lstrip("/"),
        "id": str(entry.get("Id", ""))[:12],
        "image": str(config.get("Image", "")),
        "running": bool((entry.get("State") or {}).get("Running")),
        "ours": LABEL_SERVICE in (config.get("Labels") or {}),
        "privileged": bool(host.get("Privileged")),
        "devices": sorted({path for path in devices if CHIP.match(path)}, key=lambda path: (len(path), path)),
    }


def numbers(text):
    """The numbers in a list such as ``0,2-4``; anything else is left out."""
    result = []
    for part in text.split(","):
        match = re.match(r"\s*(\d{1,3})(?:-(\d{1,3}))?\s*$", part)
        if match:
            result.extend(range(int(match.group(1)), int(match.group(2) or match.group(1)) + 1))
    return result


def first_json(text, opening):
    """The JSON value that starts at the first *opening* bracket in a text that may contain warnings, or None."""
    start = text.find(opening)
    try:
        return json.JSONDecoder().raw_decode(text[start:])[0] if start >= 0 else None
    except (ValueError, RecursionError):
        return None


def free_bytes(path):
    """Bytes available on the file system of *path*, or None."""
    try:
        found = os.statvfs(path) if path else None
    except (OSError, TypeError, ValueError):
        return None
    return found.f_bavail * found.f_frsize if found else None


def size(path):
    """The size of a file in bytes, or None."""
    try:
        return os.path.getsize(path) if path else None
    except OSError:
        return None
