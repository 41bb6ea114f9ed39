# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The settings of a container as a mapping of strings: as a plan wants them, and as the engine reports them.

Both mappings have the same keys: ``shm_size``, ``restart``, ``user``, ``network``, ``init``, ``privileged``, ``command``,
``log driver``, ``log max-size``, ``log max-file``, and one ``device PATH`` and ``mount TARGET`` for each.
"""

from __future__ import annotations

UNITS = (("t", 1024**4), ("g", 1024**3), ("m", 1024**2), ("k", 1024))


def wanted_settings(spec, mounts):
    """The settings of a container by its plan.

    :param spec: the part ``container`` of a process plan.
    :param mounts: those of its mounts that the node can make.
    """
    result = {
        "user": spec["user"],
        "network": spec["network"],
        "shm_size": size_text(size(spec["shm_size"])),
        "restart": spec["restart"],
        "log driver": spec["log"]["driver"],
        "log max-size": spec["log"]["max-size"],
        "log max-file": spec["log"]["max-file"],
        "init": _word(spec["init"]),
        "privileged": _word(spec["privileged"]),
        "command": " ".join(spec["command"]),
    }
    result.update(("device " + path, "present") for path in spec["devices"])
    result.update(_mount(mount["source"], mount["target"], mount["read_only"]) for mount in mounts)
    return result


def found_settings(inspected):
    """The settings of a container by what ``docker container inspect`` prints of it (one element of its list)."""
    config, host = inspected["Config"], inspected["HostConfig"]
    log = host.get("LogConfig") or {}
    options = log.get("Config") or {}
    result = {
        "user": config.get("User") or "",
        "network": host.get("NetworkMode") or "",
        "shm_size": size_text(host.get("ShmSize")),
        "restart": restart_policy(inspected),
        "log driver": log.get("Type"),
        "log max-size": options.get("max-size"),
        "log max-file": options.get("max-file"),
        "init": _word(host.get("Init")),
        "privileged": _word(host.get("Privileged")),
        "command": " ".join((config.get("Entrypoint") or []) + (config.get("Cmd") or [])),
    }
    result.update(("device " + device["PathOnHost"], "present") for device in host.get("Devices") or [])
    result.update(
        _mount(mount["Source"], mount["Destination"], not mount.get("RW"))
        for mount in inspected.get("Mounts") or []
        if mount.get("Type") == "bind"
    )
    return result


def restart_policy(inspected):
    """The restart policy of a container in the words of ``docker create --restart``; empty where it has none."""
    policy = (inspected.get("HostConfig") or {}).get("RestartPolicy") or {}
    name, count = policy.get("Name") or "", policy.get("MaximumRetryCount") or 0
    return f"{name}:{count}" if name == "on-failure" and count else name


def size(text):
    """Bytes of a size in the words of ``docker create`` (``1200g``, ``64MB``); None for what is none."""
    text = str(text).strip().lower()
    text = text[:-1] if text[-2:-1].isalpha() and text.endswith("b") else text
    factor = dict(UNITS, b=1).get(text[-1:], 1)
    digits = text[:-1] if text[-1:] in dict(UNITS, b=1) else text
    return int(digits) * factor if digits.isdigit() else None


def size_text(count):
    """Bytes in the shortest exact words of ``docker create``: ``1200g``; None for None."""
    if count is None:
        return None
    for unit, factor in UNITS:
        if count and count % factor == 0:
            return f"{count // factor}{unit}"
    return str(count)


def _word(value):
    return "true" if value else "false"


def _mount(source, target, read_only):
    return "mount " + target, "{0} ({1})".format(source, "read-only" if read_only else "writable")
