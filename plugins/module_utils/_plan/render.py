# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A node's plan as what is laid on the node and what an operator reads: launch script, environment file, text."""

from __future__ import annotations

import json
import re
import shlex

from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.engine import create_argv
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.secrets import masked

PLACEHOLDER = re.compile(r"\{[A-Za-z]+\}")

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
        export LD_PRELOAD="PRELOAD"
        break
    fi
done
[ -n "${LD_PRELOAD:-}" ] || echo "ascend_ops.vllm: no libjemalloc.so.2 in this image; starting without it" >&2
"""


def plan_data(plan):
    """The nodes of a plan as data for other programs, without the values of secrets."""
    return [
        dict(node, env={name: masked(name, value) for name, value in node["env"].items()}) for node in plan["nodes"]
    ]


def launch_script(node):
    """The script that the container of *node* runs."""
    preload = node["env"].get("LD_PRELOAD", "")
    return _LAUNCH.format(
        host=node["host"],
        role=node["role"],
        replica=node["replica"],
        directory=node["container"]["command"][-1].rpartition("/")[0],
        jemalloc=_JEMALLOC.replace('PRELOAD"', preload.replace("{JEMALLOC}", "$library") + '"', 1)
        if "{JEMALLOC}" in preload
        else "",
        command=" \\\n    ".join(_lines(node["argv"])),
    )


def environment_file(node, nic):
    """The environment of *node* as lines that a shell reads, with the name of the interface filled in.

    *nic* may be None for a node whose environment does not name the interface.
    """
    if not nic and any("{NIC}" in value for value in node["env"].values()):
        raise ValueError(
            "node {0}: no interface is known that carries {1}; see network.address of the preflight.".format(
                node["host"], node["address"]
            )
        )
    return "".join(
        "{0}={1}\n".format(name, shlex.quote(value.replace("{NIC}", nic or "")))
        for name, value in node["env"].items()
        if "{JEMALLOC}" not in value  # the launch script sets it, from the image
    )


def node_files(node, nic):
    """The files that the role vllm_service lays on a node, with the name of the node's interface."""
    return [
        {"name": "launch.sh", "mode": "0755", "content": launch_script(node)},
        {"name": "service.env", "mode": "0600", "content": environment_file(node, nic)},
    ]


def _lines(argv):
    """A command as lines of shell words: an option and its value share a line."""
    lines = [" ".join(shlex.quote(word) for word in argv[:3])]
    for word in argv[3:]:
        if word.startswith("--"):
            lines.append(shlex.quote(word))
        else:
            lines[-1] += " " + shlex.quote(word)
    return lines


def plan_text(plan):
    """The plan as an operator reads it."""
    parts = []
    for node in plan["nodes"]:
        first, last, size = node["ranks"]
        ports = ", ".join(
            "{0} {1}".format(name, value if isinstance(value, int) else "{0}-{1}".format(*value))
            for name, value in node["ports"].items()
        )
        head = "{host}  {role} of replica {replica}  {hardware}  {address}".format(**node)
        parts.append(
            "\n".join(
                [head, "-" * len(head)]
                + _field(
                    "recipe",
                    "{name} {release}, checkpoint {checkpoint}, scenarios {0}".format(
                        ", ".join(node["recipe"]["scenarios"]) or "none",
                        **{key: node["recipe"][key] for key in ("name", "release", "checkpoint")},
                    ),
                )
                + _field("ranks", f"data parallel {first} to {last} of {size}")
                + _field("listens", ports)
                + ["container:"]
                + ["    " + line for line in _create_lines(node["container"])]
                + ["environment:"]
                + [f"    {name}={masked(name, value)}" for name, value in node["env"].items()]
                + (
                    ["secrets: {0} (vllm_service_secrets)".format(", ".join(node["secrets"]))]
                    if node.get("secrets")
                    else []
                )
                + ["command:"]
                + ["    " + ("" if index == 0 else "    ") + line for index, line in enumerate(_lines(node["argv"]))]
            )
        )
    open_names = sorted(set(PLACEHOLDER.findall(json.dumps([node["env"] for node in plan["nodes"]]))))
    notes = {
        "{NIC}": "the interface that carries the node's address; the node tells it at deploy",
        "{JEMALLOC}": "libjemalloc.so.2 inside the image; the launch script finds it",
    }
    if open_names:
        parts.append(
            "\n".join(["left to the node:"] + ["    {0}  {1}".format(name, notes.get(name, "")) for name in open_names])
        )
    return "\n\n".join(parts)


def _field(name, value):
    return ["{0:<10}{1}".format(name + ":", value)]


def _create_lines(spec):
    """`docker create …`, an option a line; mounts that may be absent are marked."""
    optional = {mount["source"] for mount in spec["mounts"] if mount["optional"]}
    words = create_argv(spec)
    lines = ["docker " + words[0]]
    for word in words[1:]:
        if word.startswith("--"):
            lines.append("    " + word)
        elif lines[-1].strip().startswith("--") and " " not in lines[-1].strip():
            lines[-1] += " " + shlex.quote(word)
        else:
            lines.append("    " + shlex.quote(word))
    for index, line in enumerate(lines):
        match = re.search(r"source=([^,]+)", line)
        if match and match.group(1) in optional:
            lines[index] = line + "    # where the node has it"
    return lines
