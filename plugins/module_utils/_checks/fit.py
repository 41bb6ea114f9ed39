# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The check that the model fits in the HBM of the chips. What is needed is estimated from below, what there is from above.

Where the numbers come from:

- **Distribution.** Weights are divided over tensor and pipeline parallel ranks, and repeated by every data parallel rank, but
  routed experts are divided over all ranks, with expert parallelism and without it (vLLM, FusedMoEParallelConfig:
  ``flatten_tp_across_dp``). In truth some weights are repeated by every rank, so that more is needed.
- **Types.** Chips before the Ascend 950 have no FP8: vllm-ascend turns such weights into BF16, which takes twice the bytes
  (https://github.com/vllm-project/vllm-ascend/pull/7105). Float32 is counted as BF16, in which vLLM loads it.
- **HCCL.** Every communicator takes 2 x HCCL_BUFFSIZE MB, by default 200 MB
  (https://www.hiascend.com/document/detail/en/canncommercial/850/commlib/hcclug/hcclug_000076.html). Counted are that of tensor
  parallelism and that of the experts, which every request uses.
- **HBM.** PyTorch sees less than npu-smi: 29.50 of 32 GiB on a 910B4, 60.96 of 64 GiB on a 910B3 (the "total capacity" in public
  messages of NPU out of memory). gpu-memory-utilization is a share of that (vllm_ascend/worker/worker.py), and has to hold
  weights, buffers, activations and the KV cache.
- **KV cache.** vLLM refuses to start unless one sequence of max-model-len fits.
"""

from __future__ import annotations

import math
import re

from ansible_collections.ascend_ops.vllm.plugins.module_utils._checks.check import Check
from ansible_collections.ascend_ops.vllm.plugins.module_utils._checks.node import planned_chips
from ansible_collections.ascend_ops.vllm.plugins.module_utils._checks.weights import SEE_SERVED, reported_by_path
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.sizes import size_of
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.verdict import (
    FAIL,
    PASS,
    UNKNOWN,
    WARN,
    verdict,
)
from ansible_collections.ascend_ops.vllm.plugins.module_utils._npu.chips import chips_of

GB = 10**9
MIB = 1 << 20
RESERVED_MB = 2500  # of a chip's HBM, for the driver and the system; measured 2560 of 32768 and 3113 of 65536
DEFAULT_UTILIZATION = 0.92  # vLLM's own, 0.9 in earlier releases
MOST_UTILIZATION = 0.95
DEFAULT_BUFFSIZE_MB = 200
LEAST_SHARE = 0.05  # of the budget: with less left than this, activations alone fill it
# How much larger a tensor is in a chip than in its file, by safetensors' name of its type.
GROWTH = {"F8_E4M3": 2, "F8_E5M2": 2, "F32": 0.5, "F64": 0.25}

CHECKS = {
    "weights.fit": Check(
        why="A model that does not fit in the HBM of the chips fails after minutes of loading, with `NPU out of memory` or "
        "`No available memory for the cache blocks`. There are A2 with 32 GB a chip (910B4), on which everything else "
        "passes.",
        source="https://github.com/vllm-project/vllm-ascend/issues/9372",
        read="sizes and types of all tensors in the shards' headers, divided as the plan's parallel sizes say, plus the buffers "
        "of HCCL; compared with the HBM in `npu-smi info` x gpu-memory-utilization. The need is estimated from below, so a "
        "failure is certain; a warning if little is left for activations and the KV cache.",
        remedy="Use a quantized checkpoint (vllm_recipe_checkpoint), more chips per copy of the model (tensor-parallel-size), "
        "or nodes with more HBM per chip.",
    ),
}


def evaluate(node, facts, policy):
    """The verdict on one node: weights.fit."""
    name, wanted = "weights.fit", "weights, HCCL buffers and a KV cache within the HBM of every chip"
    chips = planned_chips(facts.get("npu") or {}, set(chips_of(node)))
    totals = [one.get("hbm_total_mb") for one in chips.get("devices") or []]
    if not totals or not all(isinstance(total, int) and total > RESERVED_MB for total in totals):
        return [verdict(name, UNKNOWN, "npu-smi did not report the HBM of every chip", wanted, "See npu.tool.")]
    reported = reported_by_path(facts)
    found = [(item, reported.get(item["path"])) for item in node["weights"]]
    if not all(one and one.get("exists") and one.get("data_bytes") for _item, one in found):
        return [verdict(name, UNKNOWN, "not all checkpoints were reported", wanted, SEE_SERVED)]
    sizes = Sizes(node)
    weights = sum(_per_chip(one, sizes, item["draft"]) for item, one in found) - sizes.offloaded
    buffers = sizes.communicators(any(_experts(one) for _item, one in found)) * 2 * sizes.buffer
    visible = (min(totals) - RESERVED_MB) * MIB
    budget = visible if sizes.cache else visible * sizes.utilization
    # Without the draft model's own, which is small.
    sequence = sizes.cache or _sequence(found[0][1], sizes)
    left = budget - weights - buffers
    seen = (
        f"each chip needs at least {_gb(weights + buffers)}: {_gb(weights)} of weights, {_gb(buffers)} of HCCL buffers; "
        f"{_gb(budget)} of its {min(totals)} MB of HBM can be used"
        + ("" if sizes.cache else f" (gpu-memory-utilization {sizes.utilization:g})")
    )
    if left < 0:
        seen += f": {_gb(-left)} too little"
        return [verdict(name, FAIL, seen, wanted, _remedy(weights + buffers, visible, sizes, found))]
    if any(one["problems"] for _item, one in found):
        return [verdict(name, UNKNOWN, seen + "; not all of the weights are there", wanted, SEE_SERVED)]
    seen += f"; {_gb(left)} left"
    if sequence and left < sequence:
        seen += f", and one sequence of {sizes.length or found[0][1]['memory']['model']['max_len']} tokens takes {_gb(sequence)}"
        remedy = "Lower max-model-len in vllm_recipe_args. " + _remedy(
            weights + buffers + sequence, visible, sizes, found
        )
        return [verdict(name, WARN, seen, wanted, remedy)]
    if left < LEAST_SHARE * budget:
        remedy = _remedy(weights + buffers + LEAST_SHARE * budget, visible, sizes, found)
        return [verdict(name, WARN, seen + " for activations and the KV cache", wanted, remedy)]
    return [verdict(name, PASS, seen, wanted)]


class Sizes:
    """What the options of a process say about sizes; bytes unless another unit is named."""

    def __init__(self, node):
        self.options = {str(key).replace("_", "-"): value for key, value in (node.get("args") or {}).items()}
        self.tensor = self._count("tensor-parallel-size")
        self.pipeline = self._count("pipeline-parallel-size")
        self.data = max(self._count("data-parallel-size"), node["ranks"][2])
        self.context = self._count("prefill-context-parallel-size")
        self.decode_context = self._count("decode-context-parallel-size")
        speculative = self.options.get("speculative-config")
        draft = speculative.get("draft_tensor_parallel_size") if isinstance(speculative, dict) else None
        self.draft_tensor = draft if isinstance(draft, int) and draft > 0 else self.tensor
        self.utilization = self._number("gpu-memory-utilization") or DEFAULT_UTILIZATION
        self.offloaded = self._number("cpu-offload-gb") * (1 << 30)
        self.cache = self._number("kv-cache-memory-bytes")
        self.buffer = (_float(node["env"].get("HCCL_BUFFSIZE")) or DEFAULT_BUFFSIZE_MB) * MIB
        self.length = size_of(self.options.get("max-model-len")) or 0
        self.cache_type = str(self.options.get("kv-cache-dtype") or "auto")

    def _number(self, name):
        return _float(self.options.get(name))

    def _count(self, name):
        return max(1, int(self._number(name)))

    def communicators(self, experts):
        """How many communicators of HCCL a chip certainly has."""
        return (self.tensor > 1) + bool(experts and self.data > 1)


def _float(value):
    """The number in a value, 0 for anything else and for what is not above 0."""
    try:
        number = 0.0 if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        return 0.0
    return number if math.isfinite(number) and number > 0 else 0.0


def _experts(found):
    """The bytes of routed experts in a chip, over all ranks."""
    return _grown(found, "experts")


def _grown(found, part):
    kinds = (found.get("memory") or {}).get(part) or {}
    return sum(size * GROWTH.get(kind, 1) for kind, size in kinds.items() if isinstance(size, int))


def _per_chip(found, sizes, draft):
    """The least bytes of a checkpoint in a chip."""
    experts, dense = _experts(found), _grown(found, "dense")
    if not experts + dense:  # facts without types: as if all of it were experts
        experts = found["data_bytes"] * (2 if found.get("quantization") == "fp8" else 1)
    if draft:
        return (experts + dense) / sizes.draft_tensor
    ranks = sizes.tensor * sizes.pipeline
    return experts / (ranks * sizes.data * sizes.context) + dense / ranks


def _sequence(found, sizes):
    """The bytes of the KV cache for one sequence of the greatest length in a chip; 0 if they cannot be computed."""
    model = (found.get("memory") or {}).get("model") or {}
    length = sizes.length or model.get("max_len")
    if not length or not model.get("layers"):
        return 0
    if model.get("latent"):
        width = model["latent"]
    elif model.get("kv_heads") and model.get("head_dim"):
        width = 2 * math.ceil(model["kv_heads"] / sizes.tensor) * model["head_dim"]
    else:
        return 0
    value = 1 if re.search(r"fp8|int8", sizes.cache_type) else 2
    return length * width * value * model["layers"] / sizes.pipeline / sizes.context / sizes.decode_context


def _gb(size):
    return f"{size / GB:.1f} GB"


def _remedy(needed, visible, sizes, found):
    """What to change, the least of it first."""
    parts = []
    share = math.ceil(needed / visible * 100) / 100
    if not sizes.cache and sizes.utilization < share <= MOST_UTILIZATION:
        parts.append(f"set gpu-memory-utilization to {share:g} or more in vllm_recipe_args")
    if any(one.get("quantization") == "fp8" for _item, one in found):
        parts.append(
            "use a W8A8 checkpoint with vllm_recipe_checkpoint, which takes half: this chip has no FP8, so that such weights "
            "are turned into BF16"
        )
    if sizes.buffer > DEFAULT_BUFFSIZE_MB * MIB:
        parts.append("lower HCCL_BUFFSIZE in vllm_recipe_env as far as the recipe allows")
    hbm = math.ceil((needed / min(sizes.utilization, 1) / MIB + RESERVED_MB) / 1024)
    parts.append(
        f"divide the model over more chips (tensor-parallel-size, more nodes), or use chips with {hbm} GB or more"
    )
    text = "; ".join(parts)
    return text[0].upper() + text[1:] + "."
