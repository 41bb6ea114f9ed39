# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The checks of the checkpoints: complete, of the right kind, the same on all nodes, and readable in time."""

from __future__ import annotations

from ansible_collections.ascend_ops.vllm.plugins.module_utils._checks.check import Check
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.verdict import (
    FAIL,
    PASS,
    SKIPPED,
    UNKNOWN,
    WARN,
    verdict,
)

DEFAULT_READY_TIMEOUT = 600  # seconds, vLLM's own default
SLOWEST = 10 * 10**6  # bytes per second that any disk reads
# Quantization methods in a config.json that vllm-ascend loads without --quantization.
LOADED = (None, "fp8", "ascend", "compressed-tensors")
SEE_SERVED = "See weights.served."

CHECKS = {
    "weights.served": Check(
        why="A missing or truncated shard ends the start after minutes of loading, with a message that does not name the "
        "file; an HTML page of a model hub saved in its place looks like a shard to `ls`.",
        source="https://github.com/QwenLM/Qwen3-VL/issues/264",
        read="the index against the shards, the safetensors header of each shard against its size, and the tensors of the "
        "index against the headers; tensor data is not read",
        remedy="Download or copy the checkpoint again, or point vllm_recipe_weights_dir at the directory that contains it.",
    ),
    "weights.draft": Check(
        why="The command names a draft model for speculative decoding; the start fails without it.",
        read="as weights.served, for the draft model; skipped if the plan has none",
        remedy="Download or copy the draft model, or omit speculative_config with vllm_recipe_args.",
    ),
    "weights.architecture": Check(
        why="Another model in the expected directory starts and answers as that model, or fails in the parsers.",
        read="architectures in config.json, compared with the recipe",
        remedy="Put the checkpoint of the recipe there, or deploy with the recipe of this model.",
    ),
    "weights.quantization": Check(
        why="With `--quantization ascend` vllm-ascend requires quant_model_description.json; other quantization methods are "
        "rejected on NPUs. Without the option older releases load quantized weights as unquantized ones.",
        source="https://github.com/vllm-project/vllm-ascend/issues/633",
        read="quant_method in config.json and quant_model_description.json, compared with the command of the plan",
        remedy="Use the checkpoint that the recipe names, or set vllm_recipe_checkpoint to the one on the node.",
    ),
    "weights.same": Check(
        why="Nodes with different copies start, and return wrong answers or fail during a request.",
        read="a fingerprint on each node: names, sizes and headers of all shards, and the digests of config.json, "
        "generation_config.json, tokenizer.json, the index and quant_model_description.json; not the data of tensors",
        remedy="Copy the checkpoint from one node to the others (rsync --checksum), or share one directory.",
    ),
    "weights.load_time": Check(
        why="If loading takes longer than VLLM_ENGINE_READY_TIMEOUT_S (600 s by default), the start fails with `Timed out "
        "waiting for engines`, every time.",
        source="https://github.com/vllm-project/vllm/issues/35547",
        read="the size of the checkpoint divided by the read speed, measured for at most 3 s on up to 64 MiB of four shards, "
        "bypassing the page cache",
        remedy="Raise VLLM_ENGINE_READY_TIMEOUT_S and HCCL_CONNECT_TIMEOUT with vllm_recipe_env, or store the weights on a "
        "local disk.",
    ),
}


def evaluate(node, facts, policy):
    """The verdicts on the checkpoints of one node."""
    reported = reported_by_path(facts)
    served = [item for item in node["weights"] if not item["draft"]]
    drafts = [item for item in node["weights"] if item["draft"]]
    checks = [_complete("weights.served", item, reported.get(item["path"])) for item in served[:1]]
    if drafts:
        checks.append(_complete("weights.draft", drafts[0], reported.get(drafts[0]["path"])))
    else:
        checks.append(verdict("weights.draft", SKIPPED, "the plan has no draft model", "a complete draft model"))
    for item in served[:1]:
        found = reported.get(item["path"])
        checks.append(_architecture(node, found, policy))
        checks.append(_quantization(node, found))
        checks.append(_load_time(node, [reported.get(other["path"]) for other in node["weights"]]))
    return checks


def reported_by_path(facts):
    """The checkpoints that a node reported completely, by path."""
    return {
        item.get("path"): item
        for item in facts.get("weights") or []
        if isinstance(item, dict) and all(item.get(key) is not None for key in ("problems", "shards", "bytes"))
    }


def _complete(name, item, found):
    wanted = f"the checkpoint of {item['source']} at {item['path']}"
    remedy = f"Download it there, or point vllm_recipe_weights_dir at the directory that contains {item['directory']}."
    if found is None:
        return verdict(name, UNKNOWN, "the node did not report it", wanted, remedy)
    if found["exists"] is None:
        seen = "; ".join(found["problems"] or ["the node did not report it"])
        return verdict(name, UNKNOWN, seen, wanted, "Run 'df' and 'mount' on the node: the file system hangs.")
    if not found["exists"]:
        return verdict(name, FAIL, f"no directory {item['path']}", wanted, remedy)
    if found["problems"]:
        remedy = "The copy is incomplete: copy or download it again. " + remedy
        return verdict(name, FAIL, "; ".join(found["problems"][:3]), wanted, remedy)
    seen = f"{found['shards']} shards, {found['bytes'] / 1e9:.1f} GB"
    expected = found.get("index_bytes")
    if expected and found.get("data_bytes") is not None and found["data_bytes"] < expected:
        seen = f"{seen} of tensors; the index says {expected / 1e9:.1f} GB"
        remedy = "Compare the index with the one at the source: it may belong to another revision."
        return verdict(name, WARN, seen, wanted, remedy)
    return verdict(name, PASS, seen, wanted)


def _present(found):
    return bool(found and found.get("exists"))


def _architecture(node, found, policy):
    name = "weights.architecture"
    wanted = node.get("recipe", {}).get("architecture") or (policy or {}).get("architecture")
    if not wanted:
        return verdict(name, SKIPPED, "the recipe names no architecture", "the architecture of the recipe")
    if not _present(found):
        return verdict(name, UNKNOWN, "no checkpoint was reported", wanted, SEE_SERVED)
    seen = found.get("architecture")
    if not seen:
        return verdict(
            name, UNKNOWN, "config.json names none", wanted, "Compare config.json with the one at the source."
        )
    return verdict(name, PASS if seen == wanted else FAIL, seen, wanted, CHECKS[name].remedy)


def flag(argv, name):
    """The value of an option in an argument vector (``--name value`` or ``--name=value``), or None."""
    for index, word in enumerate(argv):
        if word == name:
            return argv[index + 1] if index + 1 < len(argv) else None
        if word.startswith(name + "="):
            return word[len(name) + 1 :]
    return None


def _quantization(node, found):
    name = "weights.quantization"
    option = flag(node["argv"], "--quantization")
    wanted = f"weights for --quantization {option}" if option else "weights that load without --quantization"
    if not _present(found):
        return verdict(name, UNKNOWN, "no checkpoint was reported", wanted, SEE_SERVED)
    method, description = found.get("quantization"), found.get("description")
    seen = f"quant_method {method or 'none'}"
    if description is not None:
        counts = ", ".join(f"{number} {kind}" for kind, number in sorted(description.items())[:4])
        seen += "; quant_model_description.json" + (": " + counts if counts else "")
    remedy = CHECKS[name].remedy
    if option == "ascend":
        unfit = _not_ascend(method, description)
        return verdict(name, PASS if unfit is None else FAIL, seen + (unfit or ""), wanted, remedy)
    if option:
        return verdict(name, PASS if method in (None, option) else FAIL, seen, wanted, remedy)
    if method not in LOADED:
        return verdict(name, FAIL, seen, wanted, remedy)
    if description is not None:
        remedy = "Set quantization: ascend in vllm_recipe_args, or set vllm_recipe_checkpoint."
        return verdict(name, WARN, seen, wanted, remedy)
    return verdict(name, PASS, seen, wanted)


def _not_ascend(method, description):
    """What makes weights unfit for ``--quantization ascend``, to append to a message; None if they fit."""
    if method not in (None, "ascend"):
        return ""
    if description is None and method is None:
        return ", no quant_model_description.json"
    if description is not None and not [kind for kind in description if kind != "FLOAT"]:
        return ", no quantized weights in it"
    return None


def _load_time(node, found):
    name = "weights.load_time"
    given = node["env"].get("VLLM_ENGINE_READY_TIMEOUT_S")
    try:
        limit = float(given) if given else float(DEFAULT_READY_TIMEOUT)
    except ValueError:
        limit = float(DEFAULT_READY_TIMEOUT)
    wanted = f"loaded within {limit:g} s (VLLM_ENGINE_READY_TIMEOUT_S{'' if given else ', the default'})"
    if not all(_present(one) for one in found):
        return verdict(name, UNKNOWN, "not all checkpoints were reported", wanted, SEE_SERVED)
    size = sum(one["bytes"] for one in found)
    if size / SLOWEST < limit / 2:
        return verdict(name, PASS, f"{size / 1e9:.2f} GB, which any disk reads in time", wanted)
    read = found[0].get("read") or {}
    if not read.get("bytes") or not read.get("seconds"):
        remedy = "Read a shard with 'dd' on the node."
        return verdict(name, UNKNOWN, "the read speed could not be measured", wanted, remedy)
    speed = read["bytes"] / read["seconds"]
    seconds = size / speed
    source = f" from {found[0]['filesystem']}" if found[0].get("filesystem") else ""
    seen = f"{size / 1e9:.1f} GB at {speed / 1e6:.0f} MB/s{source}: {seconds:.0f} s"
    # A short test on files that are not cached underestimates the speed: only a far too low one stops a run.
    word = FAIL if seconds > 2 * limit else WARN if seconds > limit / 2 else PASS
    return verdict(name, word, seen, wanted, CHECKS[name].remedy)


def evaluate_replica(members, facts_by_host, policy):
    """Whether all nodes of a replica have the same checkpoint: ``{host: [verdict]}``."""
    if len(members) < 2:
        return {node["host"]: [] for node in members}
    name, prints = "weights.same", {}
    for node in members:
        reported = reported_by_path(facts_by_host.get(node["host"]) or {})
        own = [(reported.get(item["path"]) or {}).get("fingerprint") for item in node["weights"]]
        prints[node["host"]] = tuple(own) if all(own) else None
    seen = ", ".join(
        f"{host}: {' '.join(one[:12] for one in own) if own else 'not reported'}" for host, own in prints.items()
    )
    different = len({own for own in prints.values() if own}) > 1
    word = FAIL if different else PASS if all(prints.values()) else UNKNOWN
    result = verdict(name, word, seen, "one checkpoint on all nodes", CHECKS[name].remedy)
    return {host: [dict(result)] for host in prints}
