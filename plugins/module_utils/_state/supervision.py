# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files that supervise a service on its node: systemd units, settings, and the supervisor's code."""

from __future__ import annotations

import ast
import importlib.util
import json
import sys

from ansible_collections.ascend_ops.vllm.plugins.module_utils._common import files, layout
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.run import run

CODE_DIR = "/usr/local/lib/ascend-vllm"
UNIT_DIR = "/etc/systemd/system"
MODULE_UTILS = "ansible_collections.ascend_ops.vllm.plugins.module_utils"
# What a timer runs. Only its source is read here: a module that calls code() imports it, so that it is sent to the node.
SUPERVISOR = MODULE_UTILS + "._service.supervise"

_SERVICE = """\
[Unit]
Description=ascend_ops.vllm: check the service {name} once
Documentation=file:/run/ascend-vllm/{name}/state.json

[Service]
Type=oneshot
Environment=PYTHONPATH={code} PYTHONDONTWRITEBYTECODE=1
ExecStart={python} -m {module} {name}
TimeoutStartSec={timeout}
# Not a line for each check, only for what is found and done.
LogLevelMax=notice
"""
_TIMER = """\
[Unit]
Description=ascend_ops.vllm: supervise the service {name}

[Timer]
OnActiveSec=1
OnUnitInactiveSec={interval}
AccuracySec=1

[Install]
WantedBy=timers.target
"""


class SystemdError(Exception):
    """systemd refused, or is not there."""


def systemctl(*arguments):
    """Run systemctl.

    :raises SystemdError: it refused, or is not there.
    """
    rc, output, unused = run(["systemctl"] + list(arguments), 120)
    if rc != 0:
        raise SystemdError(
            "'systemctl {0}' failed on the node: {1}. Supervision needs systemd; without it set "
            "vllm_service_supervised to false.".format(" ".join(arguments), " ".join(output.split())[-300:])
        )


def drop_slice():
    """Stop the slice that systemd made for the instances of the unit; empty, it would stay until the next boot."""
    run(["systemctl", "stop", "system-ascend\\x2dvllm.slice"], 30)


def timer_is(name):
    """``(active, enabled)``: does the timer of a service run, and does it start at boot?"""
    words = [
        run(["systemctl", question, f"ascend-vllm@{name}.timer"], 30)[1].strip()
        for question in ("is-active", "is-enabled")
    ]
    return words[0] == "active", words[1] == "enabled"


def stop(name):
    """Stop the timer and a check that is under way, so that the service can be changed; they stay off after a reboot.

    :raises SystemdError: systemd refused, or is not there.
    """
    systemctl("disable", "--now", f"ascend-vllm@{name}.timer")
    systemctl("stop", f"ascend-vllm@{name}.service")
    # A check that was cut short counts as failed, and its unit would stay listed after its file is gone.
    run(["systemctl", "reset-failed", f"ascend-vllm@{name}.service"], 30)


def desired(name, settings, python=sys.executable):
    """The files that supervise a service, path to content; empty for a service that is not supervised.

    :param name: the container.
    :param settings: as of :func:`settings_for`; empty for no supervision.
    """
    if not settings:
        return {}
    return dict(code(), **settings_file(name, settings), **units(name, settings, python))


def observed(name, paths):
    """The supervision of a service on this node: ``{"active", "enabled", "files": path to content or None}``."""
    active, enabled = timer_is(name)
    return {"active": active, "enabled": enabled, "files": {path: files.read(path)[0] for path in paths}}


def settings_for(processes, host, given):
    """The settings of the supervisor on one node.

    :param processes: the processes of a plan, those of the host's replica among them.
    :param given: ``engine``, ``ready_timeout``, ``stop_timeout``, ``interval``, ``probe_timeout``, ``probe_failures``,
        ``restart_limit``, ``stable_after``; times in seconds.
    """
    node = next(node for node in processes if node["host"] == host)
    primary = next(other for other in processes if other["replica"] == node["replica"] and other["role"] != "secondary")
    numbers = {name: int(value) for name, value in given.items() if name != "engine"}  # as text from older Ansible
    return dict(
        numbers,
        engine=given["engine"],
        name=node["container"]["name"],
        role=node["role"],
        url=primary["service"]["url"],
        model=primary["service"]["model"],
        ca_file=primary["service"].get("ca_file") or "",
        primary={"address": primary["address"], "rpc": primary["ports"].get("rpc")},
    )


def settings_file(name, settings):
    """The file of the settings, path to content."""
    return {f"{layout.SERVICE_DIR}/{name}/supervise.json": json.dumps(settings, indent=1, sort_keys=True) + "\n"}


def units(name, settings, python):
    """The files of timer and service, path to content; *python* is the interpreter that runs the supervisor."""
    # Asking for the counters twice and for a token once, as often as it takes to find a failure where nothing takes the
    # state; and at worst a restart of the container.
    looks = max(1, settings.get("probe_failures", 0))
    timeout = looks * (settings.get("probe_timeout", 0) + settings.get("interval", 0) + 10)
    timeout += settings.get("stop_timeout", 0) + 300
    return {
        f"{UNIT_DIR}/ascend-vllm@{name}.service": _SERVICE.format(
            name=name, code=CODE_DIR, python=python, module=SUPERVISOR, timeout=timeout
        ),
        f"{UNIT_DIR}/ascend-vllm@{name}.timer": _TIMER.format(name=name, interval=settings.get("interval", 0)),
    }


def code():
    """The files of the supervisor's code, path to content: its module and all that it imports of this collection.

    Found as Ansible finds what a module needs: by the imports in the source, from where this very module was loaded (a
    folder, or Ansible's archive). Packages come with their ``__init__``.
    """
    files = {}
    waiting = [SUPERVISOR]
    while waiting:
        name = waiting.pop()
        spec = importlib.util.find_spec(name)
        place = name.replace(".", "/") + ("/__init__.py" if spec.submodule_search_locations else ".py")
        path = f"{CODE_DIR}/{place}"
        if path in files:
            continue
        files[path] = spec.loader.get_source(name)
        waiting.append(name.rpartition(".")[0])
        waiting.extend(imported(files[path]))
        waiting = [name for name in waiting if name.startswith(MODULE_UTILS + ".")]
    return files


def imported(source):
    """The modules of this collection that a source imports, by their full names."""
    names = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(MODULE_UTILS):
            for name in node.names:
                whole = f"{node.module}.{name.name}"
                names.append(
                    whole
                    if importlib.util.find_spec(node.module).submodule_search_locations
                    and importlib.util.find_spec(whole)
                    else node.module
                )
    return names
