# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The check of the files that options of ``vllm serve`` name. That a mount shows them is the plan's own rule."""

from __future__ import annotations

from ansible_collections.ascend_ops.vllm.plugins.module_utils._checks.check import Check
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.option_files import named
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.verdict import (
    FAIL,
    PASS,
    SKIPPED,
    UNKNOWN,
    verdict,
    worst,
)

CHECKS = {
    "files.options": Check(
        why="A chat template, a parser plugin or a LoRA that is not on every node ends the start of that node after the others "
        "have loaded their weights; with some options it ends with a message that does not name the file.",
        source="https://github.com/vllm-project/vllm-ascend/issues/8753",
        read="each absolute path in the options of `vllm serve`, translated to the node by the plan's mounts; for a path in no "
        "mount, the layers of the image",
        remedy="Copy the file to the same place on all nodes of the replica, readable by root, or correct the option in "
        "vllm_recipe_args.",
    ),
}
_STATES = {
    "there": (PASS, ""),
    "missing": (FAIL, "is not there"),
    "hidden": (FAIL, "is a link to a place that no mount of the container shows"),
    "unreadable": (FAIL, "cannot be read"),
    None: (UNKNOWN, "was not answered for in time"),
}


def evaluate(node, facts, policy):
    """The verdict on one node: files.options."""
    name, wanted = "files.options", "every file that an option names, readable, on this node or in the image"
    checkpoints = {item["path"] for item in node["weights"]}  # weights.served and weights.draft look at those
    planned = [entry for entry in named(node.get("args") or {}) if entry[2] not in checkpoints]
    if not planned:
        return [verdict(name, SKIPPED, "no option names a file", wanted)]
    found = {(entry["option"], entry["path"]): entry for entry in facts.get("files") or [] if entry}
    engine = facts.get("engine") or {"error": "not reported"}
    no_image = not engine.get("error") and not engine.get("image")
    words, bad = [], []
    for option, kind, path in planned:
        word, seen = _judge(found.get((option, path)), kind, no_image)
        words.append(word)
        if word != PASS:
            bad.append(f"--{option}: {seen}")
    seen = "; ".join(bad[:4]) or ", ".join(path for _option, _kind, path in planned[:4])
    return [verdict(name, worst(words), seen, wanted, CHECKS[name].remedy)]


def _judge(entry, kind, no_image):
    """``(verdict, what was seen)`` of one file.

    :param no_image: whether the image is not on the node yet.
    """
    if entry is None:
        return UNKNOWN, "the node did not report it"
    if entry["host"] is None:
        if no_image:
            return SKIPPED, f"{entry['path']} is looked for in the image, which is not on the node yet"
        if entry["state"] is None:
            return UNKNOWN, f"{entry['path']} is in no mount, and the files of the image cannot be read"
        word, text = _STATES.get(entry["state"], _STATES["missing"])
        return word, f"{entry['path']} {text} in the image"
    if entry["state"] == "kind":
        return FAIL, f"{entry['host']} is {'a folder' if kind == 'file' else 'a file'}; wanted a {kind}"
    word, text = _STATES.get(entry["state"], _STATES[None])
    place = "" if entry["host"] == entry["path"] else f" ({entry['path']} in the container)"
    return word, f"{entry['host']}{place} {text}".rstrip()
