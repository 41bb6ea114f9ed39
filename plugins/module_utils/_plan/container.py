# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The container of a process: what an operator may set of it, and what is given to ``docker create``."""

from __future__ import annotations

import re

from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.layout import SERVICE_DIR
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.errors import (
    PlanError,
    listed,
    nearest,
    quoted,
    raise_all,
    shown,
)
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.forms import is_directory
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.options import merge

NPU_MANAGEMENT_DEVICES = ("/dev/davinci_manager", "/dev/devmm_svm", "/dev/hisi_hdc")
# Driver parts that the container shares with the host. Which of them exist depends on the driver's version.
DRIVER_MOUNTS = (
    "/usr/local/dcmi",
    "/usr/local/Ascend/driver/tools/hccn_tool",
    "/usr/local/bin/npu-smi",
    "/usr/local/sbin/npu-smi",  # where newer drivers put it
    "/usr/local/Ascend/driver/lib64",
    "/usr/local/Ascend/driver/version.info",
    "/etc/ascend_install.info",
    # Not in the guide. Without it a service starts and answers wrongly: vllm-ascend issues 7711 and 4866.
    "/etc/hccn.conf",
)
# Where the container sees certificate and key. Nothing can be mounted below the folder of the service.
TLS_DIR = "/etc/ascend-vllm-tls"
_TLS_FILES = {"certificate": "certificate.pem", "key": "key.pem"}

# What vllm_recipe_container may set besides mounts: a pattern and what it wants, or None for true and false.
SETTINGS = {
    "name": (r"[A-Za-z0-9][A-Za-z0-9_.-]*", "letters, digits, '_', '.' and '-'"),
    "shm_size": (r"[1-9][0-9]*[bkmgBKMG]?", "a size such as 16g"),
    "privileged": None,
    "restart": (r"no|always|unless-stopped|on-failure(:[0-9]+)?", "'no', always, unless-stopped or on-failure:N"),
    # The files with environment and secrets are root's alone (0600), and so are the NPU devices on most nodes.
    "user": (
        r"(root|0)(:[A-Za-z0-9_][A-Za-z0-9_.-]*)?",
        "root, which alone can read the service's files, or root:group",
    ),
    "log_max_size": (r"[1-9][0-9]*[kmg]?", "a size such as 100m"),
    "log_max_file": (r"[1-9][0-9]*", "a whole number from 1"),
    "init": None,
}
_REQUIRED = ("name", "shm_size")


def override(container, over):
    """Lay ``vllm_recipe_container`` on the container of a recipe; its mounts are added.

    :param container: the recipe's, with the scenarios merged in.
    :param over: the operator's.
    :return: a new mapping, whose settings all have their form.
    :raises PlanError: with each setting that is not known or not of its form.
    """
    known = [*SETTINGS, "mounts"]
    raise_all(
        [
            f"vllm_recipe_container contains '{key}'; known are {listed(known)}.{nearest(key, known)}"
            for key in over
            if key not in known
        ]
    )
    over = dict(over)
    mounts = over.pop("mounts", None) or []
    if not isinstance(mounts, list):
        raise PlanError([f"vllm_recipe_container.mounts is {shown(mounts)}; wanted a list of mounts."])
    merged = merge(container, over)
    merged["mounts"] = (container.get("mounts") or []) + mounts
    errors = []
    for key in SETTINGS:
        if key in merged or key in _REQUIRED:
            merged[key], wanted = _setting(key, merged.get(key))
            if wanted:
                errors.append(f"vllm_recipe_container.{key} is {wanted}")
    raise_all(errors)
    return merged


def _setting(key, value):
    """``(value in its form, the rest of a sentence on what is wrong with it, or an empty string)``."""
    if SETTINGS[key] is None:
        flag = truth(value)
        return flag, f"{shown(value)}; wanted true or false." if flag is None else ""
    pattern, wanted = SETTINGS[key]
    if isinstance(value, bool) or value is None or not re.match(f"({pattern})\\Z", str(value)):
        return value, f"{quoted(value)}; wanted {wanted}."
    return str(value), ""


def truth(value):
    """True or False, also for the words that templates turn them into; None for anything else."""
    return {"true": True, "yes": True, "false": False, "no": False}.get(str(value).lower())


def spec(container, image, devices, weights_dir, tls):
    """What is given to ``docker create``.

    :param container: as :func:`override` returns it.
    :param image: the image in full.
    :param devices: the numbers of the ``/dev/davinciN``.
    :param weights_dir: the folder of the checkpoints, mounted at the same path.
    :param tls: ``{"certificate": path, "key": path}`` on the node, or an empty mapping.
    :return: ``{"name", "image", "user", "network", "shm_size", "privileged", "init", "restart", "devices", "mounts",
        "log", "command"}``; a mount is ``{"source", "target", "read_only", "optional"}`` and ``create`` for a folder that is
        made when it is missing.
    :raises PlanError: a mount that is not one, or two with the same target.
    """
    return {
        "name": container["name"],
        "image": image,
        "user": str(container.get("user", "0")),
        "network": "host",
        "shm_size": str(container["shm_size"]),
        "privileged": bool(container.get("privileged", False)),
        "init": bool(container.get("init", True)),
        "restart": str(container.get("restart", "unless-stopped")),
        "devices": [f"/dev/davinci{number}" for number in devices] + list(NPU_MANAGEMENT_DEVICES),
        "mounts": _mounts(container, weights_dir, tls),
        "log": {
            "driver": "json-file",
            "max-size": str(container.get("log_max_size", "100m")),
            "max-file": str(container.get("log_max_file", 5)),
        },
        "command": ["/bin/bash", SERVICE_DIR + "/launch.sh"],
    }


def _mounts(container, weights_dir, tls):
    def mount(source, target, **flags):
        return {"source": source, "target": target, "read_only": True, "optional": False, **flags}

    mounts = [mount(path, path, optional=True) for path in DRIVER_MOUNTS]
    mounts.append(mount(weights_dir, weights_dir))
    mounts.extend(_own_mount(given) for given in container.get("mounts") or [])
    if tls:
        mounts.extend(mount(tls[name], f"{TLS_DIR}/{file}") for name, file in _TLS_FILES.items())
    # The launch script and the environment file, rendered by the role vllm_service.
    mounts.append(mount(f"{SERVICE_DIR}/{container['name']}", SERVICE_DIR, create=True))

    targets = [one["target"].rstrip("/") for one in mounts]
    twice = sorted({target for target in targets if targets.count(target) > 1})
    if twice:
        raise PlanError(
            [f"two mounts have the target {listed(twice)}; wanted one. Correct vllm_recipe_container.mounts."]
        )
    return mounts


def _own_mount(given):
    """A mount of a recipe or an operator, with its defaults."""
    mount = dict(given) if isinstance(given, dict) else {}
    mount.setdefault("target", mount.get("source"))
    flags = {
        key: truth(mount.pop(key, default))
        for key, default in (("read_only", True), ("optional", False), ("create", False))
    }
    if set(mount) != {"source", "target"} or None in flags.values() or not all(map(is_directory, mount.values())):
        raise PlanError(
            [
                f"vllm_recipe_container.mounts contains {shown(given)}; wanted {{source: /path, target: /path, "
                "read_only: true|false}."
            ]
        )
    if not flags["create"]:
        del flags["create"]
    return {**mount, **flags}
