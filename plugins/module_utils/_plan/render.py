# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a process needs on its node: command line, launch script, environment file.

Runs on the controller and on nodes: Python 3.7, and no import from the rest of ``_plan``.
"""

from __future__ import annotations

import json
import shlex

_LAUNCH = """\
#!/bin/bash
# Written by ascend_ops.vllm for {host} ({role} of replica {replica}); a deploy replaces it.
# Runs inside the container. Environment: service.env beside this file, and secrets.env where there are secrets.

# CANN's own environment: the image sets it in ~/.bashrc only, which a container that starts vllm does not read.
for file in /usr/local/Ascend/ascend-toolkit/set_env.sh /usr/local/Ascend/cann/set_env.sh \\
    /usr/local/Ascend/nnal/atb/set_env.sh; do
    if [ -r "$file" ]; then
        # shellcheck disable=SC1090
        . "$file"
    fi
done
driver=/usr/local/Ascend/driver/lib64
if [ -d "$driver" ]; then
    export LD_LIBRARY_PATH="$driver/common:$driver/driver:$driver${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}}"
fi
set -eu
set -a
. {directory}/service.env
if [ -r {directory}/secrets.env ]; then
    . {directory}/secrets.env
fi
set +a
{jemalloc}exec {command}
"""

# Ubuntu images, then openEuler images. Without one the service starts as well, only slower to allocate.
_JEMALLOC = """\
for library in "/usr/lib/$(uname -m)-linux-gnu/libjemalloc.so.2" /usr/lib64/libjemalloc.so.2; do
    if [ -e "$library" ]; then
        export LD_PRELOAD=PRELOAD
        break
    fi
done
[ -n "${LD_PRELOAD:-}" ] || echo "ascend_ops.vllm: no libjemalloc.so.2 in this image; starting without it" >&2
"""


def argv(args):
    """The options of ``vllm serve`` as a list of strings.

    :param args: name without dashes to value, in the order of the command line: true gives the bare option, false its
        ``--no-`` form, a mapping JSON, a list several values.
    """
    result = []
    for name, value in args.items():
        if value is False:
            result.append("--no-" + name)
            continue
        result.append("--" + name)
        if isinstance(value, list):
            result.extend(_text(item) for item in value)
        elif value is not True:
            result.append(_text(value))
    return result


def _text(value):
    if isinstance(value, (dict, list)):
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return str(value)


def command_lines(argv):
    """A command line, a list of strings, as lines that a shell reads: an option and its values share a line."""
    lines = [" ".join(shlex.quote(word) for word in argv[:3])]
    for word in argv[3:]:
        if word.startswith("--"):
            lines.append(shlex.quote(word))
        else:
            lines[-1] += " " + shlex.quote(word)
    return lines


def launch_script(process):
    """The script that the container of a process runs, as text."""
    return _LAUNCH.format(
        host=process["host"],
        role=process["role"],
        replica=process["replica"],
        directory=process["container"]["command"][-1].rpartition("/")[0],
        jemalloc=_preload(process["env"].get("LD_PRELOAD", "")),
        command=" \\\n    ".join(command_lines(process["argv"])),
    )


def _preload(value):
    """The lines that preload the image's jemalloc, with what else the variable holds; an empty string without jemalloc."""
    before, jemalloc, after = value.partition("{JEMALLOC}")
    if not jemalloc:
        return ""
    sides = [shlex.quote(side) if side else "" for side in (before, after)]
    lines = _JEMALLOC.replace("PRELOAD\n", '"$library"'.join(sides) + "\n", 1)
    others = ":".join(part for part in (before.rstrip(":"), after.lstrip(":")) if part)
    if others:
        lines += f'[ -n "${{LD_PRELOAD:-}}" ] || export LD_PRELOAD={shlex.quote(others)}\n'
    return lines


def environment_file(process, nic):
    """The environment of a process as lines that a shell reads, with the name of the interface filled in.

    :param nic: the interface that carries the node's address; None where it is not known.
    :raises ValueError: the environment names the interface, and it is not known.
    """
    if not nic and any("{NIC}" in value for value in process["env"].values()):
        raise ValueError(
            "node {0}: no interface is known that carries {1}; see network.address of the preflight.".format(
                process["host"], process["address"]
            )
        )
    return "".join(
        "{0}={1}\n".format(name, _assigned(name, value.replace("{NIC}", nic or "")))
        for name, value in process["env"].items()
        if "{JEMALLOC}" not in value  # the launch script sets it, from the image
    )


def _assigned(name, value):
    """A value as a shell reads it, with ``{IMAGE}`` as what the variable holds before; nothing else in it is replaced."""
    before, image, after = value.partition("{IMAGE}")
    if not image or before[-1:] not in ("", ":") or after[:1] not in ("", ":"):
        return shlex.quote(value)
    # No ':' at an end of the value, and none beside a variable that is empty or not set.
    if before:
        middle = f'"${{{name}:+:${name}}}"'
    else:
        middle = f'"${{{name}:+${name}:}}"' if after else f'"${{{name}:-}}"'
    parts = [before[:-1], after if before else after[1:]]
    return middle.join(shlex.quote(part) if part else "" for part in parts)


def node_files(process, nic):
    """The files of a process on its node: ``[{"name", "mode", "content"}]``.

    :param nic: the interface that carries the node's address; None where it is not known.
    :raises ValueError: the environment names the interface, and it is not known.
    """
    return [
        {"name": "launch.sh", "mode": "0755", "content": launch_script(process)},
        {"name": "service.env", "mode": "0600", "content": environment_file(process, nic)},
    ]
