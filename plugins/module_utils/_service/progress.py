# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How far a service is that starts, by what its log says, and how long its last start took."""

from __future__ import annotations

import json
import os
import re

from ansible_collections.ascend_ops.vllm.plugins.module_utils._common import files
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.layout import RECORDS_DIR

# What vLLM and vllm-ascend print while they start, and what it means.
STAGES = (
    (r"Loading \S+ checkpoint shards:\s+(\d+)% Completed \| (\d+)/(\d+)", "loading weights, {1} of {2} shards ({0} %)"),
    (r"Starting to load model|Loading model weights\b(?! took)", "loading weights"),
    (r"Loading weights took|Model loading took|Loading model weights took", "weights loaded"),
    (r"[Cc]apturing [^\n]*graphs?[^\n%]*?(\d+)%", "capturing graphs ({0} %)"),
    (r"[Cc]apturing [^\n]*graph", "capturing graphs"),
    (r"KV cache size", "KV cache allocated"),
    (r"Waiting for [^\n]*(?:core engine|engine core)", "waiting for the engines of all nodes"),
    (r"Starting vLLM (?:API )?server|Application startup complete", "API server started"),
)
_STAGES = tuple((re.compile(pattern), text) for pattern, text in STAGES)


def stage(log):
    """What a starting service is at, in a few words: the last stage that *log* speaks of; empty where it speaks of none."""
    last, words = -1, ""
    for pattern, text in _STAGES:
        for match in pattern.finditer(log):
            if match.start() > last:
                last, words = match.start(), text.format(*match.groups())
    return words


def last_start(name, records=RECORDS_DIR):
    """Seconds from the start of the containers to the first tokens when the service was verified last; None for unknown."""
    text = files.read(os.path.join(records, name, "deployed.json"))[0]
    try:
        seconds = (json.loads(text or "{}").get("current") or {}).get("ready_seconds")
    except (ValueError, AttributeError):
        return None
    return seconds if isinstance(seconds, (int, float)) else None
