# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A plan as text for the screen, and as data for other programs. Runs on the controller."""

from __future__ import annotations

import json
import re
import shlex

from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.engine import create_argv
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.secrets import masked
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan import model
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.inputs import is_secret_option
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.render import argv, command_lines

_PLACEHOLDER = re.compile(r"\{[A-Za-z]+\}")
_PLACEHOLDERS = {
    "{NIC}": "the interface that carries the node's address; the node reports it at deploy",
    "{IMAGE}": "what image and CANN set; the launch script adds to it",
    "{JEMALLOC}": "libjemalloc.so.2 inside the image; the launch script finds it",
}
_MASK = "********"


def plan_data(plan):
    """The processes of a plan as data for other programs: a list of mappings, without the values of secrets."""
    return [_masked(process) for process in model.processes(plan)]


def _masked(process):
    """A process with its secrets masked, in environment and arguments. One of an older plan may have no ``args``."""
    result = dict(process, env={name: masked(name, value) for name, value in process["env"].items()})
    args = process.get("args") or {}
    secret = [name for name, value in args.items() if is_secret_option(name, value)]
    if secret:
        result["args"] = {**args, **dict.fromkeys(secret, _MASK)}
        result["argv"] = process["argv"][:3] + argv(result["args"])
    return result


def plan_text(plan):
    """The plan as an operator reads it: each process, then what only the nodes can fill in."""
    processes = plan_data(plan)
    parts = ["\n".join(_process_lines(process)) for process in processes]
    names = sorted(set(_PLACEHOLDER.findall(json.dumps([process["env"] for process in processes]))))
    if names:
        parts.append(
            "\n".join(["filled in on the node:"] + [f"    {name}  {_PLACEHOLDERS.get(name, '')}" for name in names])
        )
    return "\n\n".join(parts)


def _process_lines(process):
    first, last, size = process["ranks"]
    recipe = process["recipe"]
    head = "{host}  {role} of replica {replica}  {hardware}  {address}".format(**process)
    lines = [
        head,
        "-" * len(head),
        _field(
            "recipe",
            f"{recipe['name']} {recipe['release']}, checkpoint {recipe['checkpoint']}, scenarios "
            + (", ".join(recipe["scenarios"]) or "none"),
        ),
        _field("ranks", f"data parallel {first} to {last} of {size}"),
        _field("listens", ", ".join(f"{name} {_port(value)}" for name, value in process["ports"].items())),
        "container:",
        *_indented(_create_lines(process["container"])),
        "environment:",
        *_indented(f"{name}={value}" for name, value in process["env"].items()),
    ]
    if process.get("secrets"):
        lines.append(f"secrets: {', '.join(process['secrets'])} (vllm_service_secrets)")
    command, *options = command_lines(process["argv"])
    return [*lines, "command:", *_indented([command]), *_indented(_indented(options))]


def _field(name, value):
    return f"{name + ':':<10}{value}"


def _indented(lines):
    return ["    " + line for line in lines]


def _port(value):
    """A port, or the first and last one of a range."""
    return str(value) if isinstance(value, int) else "{0}-{1}".format(*value)


def _create_lines(spec):
    """``docker create ...``, an option a line; mounts that may be absent are marked."""
    optional = {mount["source"] for mount in spec["mounts"] if mount["optional"]}
    command, *words = create_argv(spec)
    lines = ["docker " + command]
    for word in words:
        if word.startswith("--"):
            lines.append("    " + word)
        elif lines[-1].strip().startswith("--") and " " not in lines[-1].strip():
            lines[-1] += " " + shlex.quote(word)
        else:
            lines.append("    " + shlex.quote(word))
    return [line + ("    # where the node has it" if _source(line) in optional else "") for line in lines]


def _source(line):
    """The source of the mount in a line of the command, or None."""
    match = re.search(r"source=([^,]+)", line)
    return match.group(1) if match else None
