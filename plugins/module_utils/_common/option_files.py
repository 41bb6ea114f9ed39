# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files and folders that options of ``vllm serve`` name, as the container sees them, and where they are on the node.

The plan refuses those that the container cannot see, preflight looks for the others on each node. What vLLM does with a
value: vllm/engine/arg_utils.py, vllm/entrypoints/openai/cli_args.py and, for the chat template, load_chat_template in
vllm/entrypoints/chat_utils.py of the releases in vllm_options.yml.
"""

from __future__ import annotations

import json
import posixpath
import re

FILE, FOLDER = "file", "folder"
# An option, or after a dot a key of its mapping, and what it names. Not here: what vLLM only writes to, names that it looks up
# elsewhere (parsers, plugins, repositories of models), and --tool-server, which takes addresses.
OPTIONS = (
    ("config", FILE),
    ("chat-template", FILE),
    ("reasoning-parser-plugin", FILE),
    ("tool-parser-plugin", FILE),
    ("structured-outputs-config.reasoning_parser_plugin", FILE),
    ("log-config-file", FILE),
    ("ssl-certfile", FILE),
    ("ssl-keyfile", FILE),
    ("ssl-ca-certs", FILE),
    ("mm-encoder-fp8-scale-path", FILE),
    ("additional-config.expert_map_path", FILE),
    ("additional-config.eplb_config.expert_map_path", FILE),
    ("tokenizer", FOLDER),
    ("hf-config-path", FOLDER),
    ("generation-config", FOLDER),
    ("allowed-local-media-path", FOLDER),
    ("lora-modules", FOLDER),
    ("default-mm-loras", FOLDER),
    ("spec-model", FOLDER),
    ("speculative-config.model", FOLDER),
    ("speculative-config.draft_model", FOLDER),
)
# Folders of the images of vllm-ascend themselves (their Dockerfile), such as vLLM's examples with chat templates.
IN_IMAGE = ("/vllm-workspace", "/workspace", "/usr")


def named(args):
    """The absolute paths that options name: ``[(option, kind, path)]``, *kind* FILE or FOLDER.

    A relative name is left out: it is the image's own, or one of a repository. So is a chat template that is given as text:
    vLLM opens it as a file, and takes what cannot be opened as text if it contains a brace or a line break.

    :param args: the options of a process plan, with their tokens filled in.
    """
    found = []
    options = {str(name).replace("_", "-"): value for name, value in args.items()}
    for name, kind in OPTIONS:
        option, _dot, keys = name.partition(".")
        value = options.get(option)
        for key in keys.split(".") if keys else ():
            value = _mapping(value).get(key)
        for path in _paths(value):
            if path.startswith("/") and not re.search(r"[{}\n]", path):
                found.append((name, kind, posixpath.normpath(path)))
    return found


def _mapping(value):
    """A mapping, also one that is given as JSON; an empty one for anything else."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return {}
    return value if isinstance(value, dict) else {}


def _paths(value):
    """The paths in a value: a text, ``NAME=PATH``, a mapping with ``path`` (or of names to paths), or a list of them."""
    if isinstance(value, (list, tuple)):
        return [path for item in value for path in _paths(item)]
    if isinstance(value, str) and value.lstrip().startswith("{") and _mapping(value):
        value = _mapping(value)
    if isinstance(value, dict):
        return _paths(value["path"]) if "path" in value else [path for item in value.values() for path in _paths(item)]
    if not isinstance(value, str):
        return []
    match = re.match(r"[\w.-]+=(/.*)", value)
    return [match.group(1) if match else value]


def on_host(path, mounts):
    """Where a path of the container is on the node; None if no mount contains it. The innermost mount counts."""
    best = None
    for mount in mounts:
        target = posixpath.normpath(mount["target"])
        if inside(path, target) and (best is None or len(target) > len(best[0])):
            best = target, mount["source"]
    return None if best is None else posixpath.normpath(best[1] + "/" + path[len(best[0].rstrip("/")) :])


def inside(path, folder):
    """Whether a normal path is a folder, or below it."""
    return path == folder or path.startswith(folder.rstrip("/") + "/")
