# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How much of a chip a checkpoint takes: bytes of experts and of the rest, and the dimensions of the KV cache."""

from __future__ import annotations

import re

LAYER = re.compile(r"(?:^|\.)layers\.(\d{1,6})\.")
EXPERT = re.compile(r"\.experts\.")  # routed ones; shared_experts are on every rank


def dimensions(config):
    """``{layers, kv_heads, head_dim, latent, max_len}`` from a config.json, each None if it is not there.

    They give the size of the KV cache of a token: ``latent`` (of MLA) is the width that a layer keeps, where it is not two
    times ``kv_heads * head_dim``.
    """
    config = config or {}
    inner = config.get("text_config")
    config = dict(config, **inner) if isinstance(inner, dict) else config

    def number(*names):
        values = [config.get(name) for name in names]
        return next((value for value in values if isinstance(value, int) and 0 < value < 1 << 40), None)

    heads, hidden = number("num_attention_heads"), number("hidden_size")
    rank = number("kv_lora_rank")
    return {
        "layers": number("num_hidden_layers"),
        "kv_heads": number("num_key_value_heads", "num_attention_heads"),
        "head_dim": number("head_dim") or (hidden // heads if hidden and heads else None),
        "latent": rank + (number("qk_rope_head_dim") or 0) if rank else None,
        "max_len": number("max_position_embeddings"),
    }


def add_tensors(memory, tensors, types):
    """Add the tensors of a shard to the bytes that a model takes in chips.

    Layers that follow the model's own, which only predict further tokens (MTP), are left out: they are loaded on demand.

    :param memory: ``{"experts", "dense"}``, bytes by type, which are added to, and ``"model"``, see ``dimensions``.
    :param tensors: name to bytes.
    :param types: name to safetensors' name of the type, such as BF16.
    """
    layers = memory["model"]["layers"]
    for name, size in tensors.items():
        layer = LAYER.search(name)
        if name.startswith("mtp.") or (layer and layers and int(layer.group(1)) >= layers):
            continue
        part = memory["experts" if EXPERT.search(name) else "dense"]
        kind = types.get(name, "")
        part[kind] = part.get(kind, 0) + size
