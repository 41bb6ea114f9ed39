# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What one node of a plan runs: its arguments, environment, ports and container."""

from __future__ import annotations

import json
import re

from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.secrets import ENV_NAME
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.inputs import (
    PlanError,
    listed,
    nearest,
    shown,
)
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.options import (
    merge,
    port,
    same_option,
    value_of,
)

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
SERVICE_DIR = "/etc/ascend-vllm"
# Where the container sees certificate and key. Nothing can be mounted below the folder of the service.
TLS_DIR = "/etc/ascend-vllm-tls"
TLS_OPTIONS = ("ssl-certfile", "ssl-keyfile")
HCCL_BASE_PORT = 60000

_DIRECTORY = re.compile(r"/[^,\n]*[^,\n/]/*\Z")
# What vllm_recipe_container may hold besides mounts: a pattern and its words, or None for true and false.
CONTAINER_SETTINGS = {
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


def override_container(container, over):
    known = list(CONTAINER_SETTINGS) + ["mounts"]
    errors = [
        f"vllm_recipe_container holds '{key}'; known are {listed(known)}.{nearest(key, known)}"
        for key in over
        if key not in known
    ]
    if errors:
        raise PlanError(errors)
    over = dict(over)
    mounts = over.pop("mounts", None) or []
    if not isinstance(mounts, list):
        raise PlanError([f"vllm_recipe_container.mounts is {shown(mounts)}; wanted a list of mounts."])
    merged = merge(container, over)
    merged["mounts"] = (container.get("mounts") or []) + mounts
    for key, form in CONTAINER_SETTINGS.items():
        if key not in merged and key not in ("name", "shm_size"):
            continue
        value = merged.get(key)
        if form is None:
            merged[key] = truth(value)
            if merged[key] is None:
                errors.append(f"vllm_recipe_container.{key} is {shown(value)}; wanted true or false.")
        elif isinstance(value, bool) or not re.match(f"({form[0]})\\Z", str(value)) or value is None:
            errors.append(
                "vllm_recipe_container.{0} is {1}; wanted {2}.".format(
                    key, f"'{value}'" if isinstance(value, str) else shown(value), form[1]
                )
            )
        else:
            merged[key] = str(value)
    if errors:
        raise PlanError(errors)
    return merged


def truth(value):
    """True or False, also from the words that templates turn them into; None for all else."""
    return {"true": True, "yes": True, "false": False, "no": False}.get(str(value).lower())


def args_of(role, args, start_rank):
    """The arguments in the guide's order, with what only a secondary has, or does not have."""
    if role != "secondary":
        return args
    result = {}
    for name, value in args.items():
        if name == "host":
            result["headless"] = True
        elif name not in ("port",) + TLS_OPTIONS:
            result[name] = value
        if name == "data-parallel-size-local":
            result["data-parallel-start-rank"] = start_rank
    result.setdefault("headless", True)
    result.setdefault("data-parallel-start-rank", start_rank)
    return result


def fill(value, tokens):
    if isinstance(value, dict):
        return {key: fill(item, tokens) for key, item in value.items()}
    if isinstance(value, list):
        return [fill(item, tokens) for item in value]
    if isinstance(value, str):
        for name, text in tokens.items():
            value = value.replace("{" + name + "}", text)
    return value


def _json(value):
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def argv(args):
    argv = []
    for name, value in args.items():
        if value is True:
            argv.append("--" + name)
        elif value is False:
            argv.append("--no-" + name)
        elif isinstance(value, dict):
            argv.extend(["--" + name, _json(value)])
        elif isinstance(value, list):
            argv.append("--" + name)
            argv.extend(_json(item) if isinstance(item, (dict, list)) else str(item) for item in value)
        else:
            argv.extend(["--" + name, str(value)])
    return argv


def environment(env, tokens):
    errors = []
    result = {}
    for name, value in env.items():
        if not ENV_NAME.match(str(name)):
            errors.append(
                f"'{name}' cannot be the name of an environment variable; wanted letters, digits and '_', not "
                "starting with a digit. Correct it in vllm_recipe_env."
            )
        elif isinstance(value, (dict, list)):
            errors.append(
                f"the environment variable {name} is {shown(value)}; wanted one text or number. Correct it in vllm_recipe_env."
            )
        else:
            result[name] = fill(str(value), tokens)
    if errors:
        raise PlanError(errors)
    return result


def ports_of(args, env, chips, role):
    """The ports on which a node listens: ``api``, ``rpc`` and the range ``hccl``, as far as it has them."""
    ports = {}
    if role != "secondary":
        ports["api"] = port(args, "port") or 8000
        rpc = port(args, "data-parallel-rpc-port")
        if rpc:
            ports["rpc"] = rpc
    base = str(env.get("HCCL_IF_BASE_PORT", HCCL_BASE_PORT))
    if not re.match(r"[0-9]{1,9}\Z", base) or not 1024 <= int(base) <= 65536 - chips:
        raise PlanError(
            [
                f"HCCL_IF_BASE_PORT is '{base}'; wanted 1024 to {65536 - chips}, since each of {chips} chips takes one port from "
                "there on. Set it in vllm_recipe_env."
            ]
        )
    ports["hccl"] = [int(base), int(base) + chips - 1]
    if ports.get("api") is not None and ports.get("api") == ports.get("rpc"):
        raise PlanError(
            [
                "port and data-parallel-rpc-port are both {0}. Give one of them another port in "
                "vllm_recipe_args.".format(ports["api"])
            ]
        )
    for name, option in (("api", "port"), ("rpc", "data-parallel-rpc-port")):
        if name in ports and ports["hccl"][0] <= ports[name] <= ports["hccl"][1]:
            raise PlanError(
                [
                    "{0} is {1}, inside the HCCL ports {2} to {3}. Give it another port in vllm_recipe_args, "
                    "or move HCCL with HCCL_IF_BASE_PORT.".format(
                        option, ports[name], ports["hccl"][0], ports["hccl"][1]
                    )
                ]
            )
    return ports


def serve_at(args, settings):
    """The arguments with what vllm_recipe_listen and vllm_recipe_tls say."""
    errors = []
    if settings.get("listen") and value_of(settings.get("args") or {}, "host") is not None:
        errors.append("vllm_recipe_args holds 'host', which vllm_recipe_listen sets. Take one of them out.")
    errors.extend(
        f"the arguments hold '{name}'; wanted vllm_recipe_tls instead: it also gives the files to the container, checks them, "
        "and lets the proofs ask over https."
        for name in TLS_OPTIONS
        if value_of(args, name) is not None
    )
    if errors:
        raise PlanError(errors)
    result = dict(args)
    if settings.get("listen"):
        result[same_option("host", result)] = (
            "{PrimaryNodeIP}" if settings["listen"] == "node" else str(settings["listen"])
        )
    if settings.get("tls"):
        result.update({"ssl-certfile": TLS_DIR + "/certificate.pem", "ssl-keyfile": TLS_DIR + "/key.pem"})
    return result


def listen_of(args):
    """The address that the API binds to."""
    return str(value_of(args, "host") or "0.0.0.0")


def url_of(args, tokens):
    host = listen_of(args)
    if host in ("0.0.0.0", "::"):
        host = tokens["PrimaryNodeIP"]
    return "{0}://{1}:{2}".format(
        "https" if value_of(args, "ssl-certfile") else "http",
        f"[{host}]" if ":" in host else host,
        port(args, "port") or 8000,
    )


def _mount(given):
    mount = dict(given) if isinstance(given, dict) else {}
    mount.setdefault("target", mount.get("source"))
    flags = {
        key: truth(mount.pop(key, default))
        for key, default in (("read_only", True), ("optional", False), ("create", False))
    }
    if (
        set(mount) != {"source", "target"}
        or None in flags.values()
        or not all(isinstance(path, str) and _DIRECTORY.match(path) for path in mount.values())
    ):
        raise PlanError(
            [
                f"vllm_recipe_container.mounts holds {shown(given)}; wanted {{source: /path, target: /path, "
                "read_only: true|false}."
            ]
        )
    if not flags["create"]:
        del flags["create"]
    return dict(mount, **flags)


def container_of(container, image, devices, weights_dir, tls):
    mounts = [{"source": path, "target": path, "read_only": True, "optional": True} for path in DRIVER_MOUNTS]
    mounts.append({"source": weights_dir, "target": weights_dir, "read_only": True, "optional": False})
    for mount in container.get("mounts") or []:
        mounts.append(_mount(mount))
    for name, target in (("certificate", "certificate.pem"), ("key", "key.pem")) if tls else ():
        mounts.append({"source": tls[name], "target": TLS_DIR + "/" + target, "read_only": True, "optional": False})
    # The launch script and the environment file, rendered by the role vllm_service.
    mounts.append(
        {
            "source": "{0}/{1}".format(SERVICE_DIR, container["name"]),
            "target": SERVICE_DIR,
            "read_only": True,
            "optional": False,
            "create": True,
        }
    )
    targets = [mount["target"].rstrip("/") for mount in mounts]
    twice = sorted({target for target in targets if targets.count(target) > 1})
    if twice:
        raise PlanError(
            [f"two mounts have the target {listed(twice)}; wanted one. Correct vllm_recipe_container.mounts."]
        )
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
        "mounts": mounts,
        "log": {
            "driver": "json-file",
            "max-size": str(container.get("log_max_size", "100m")),
            "max-file": str(container.get("log_max_file", 5)),
        },
        "command": ["/bin/bash", SERVICE_DIR + "/launch.sh"],
    }
