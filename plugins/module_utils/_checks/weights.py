# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The checks of the checkpoints: complete, the right kind, the same on all nodes, and read in time."""

from __future__ import annotations

from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.verdict import verdict

DEFAULT_READY_TIMEOUT = 600  # vLLM's own, in seconds
SLOWEST = 10 * 10**6  # bytes per second that any disk reads
# What a config.json may say that vllm-ascend loads without a flag.
LOADED = (None, "fp8", "ascend", "compressed-tensors")

CHECKS = {
    "weights.served": {
        "why": "A shard that is missing or cut off ends the start after minutes of loading, with a message that names no "
        "file; a page of a hub in its place looks like a shard to `ls`.",
        "source": "https://github.com/QwenLM/Qwen3-VL/issues/264",
        "read": "the index against the shards, each shard's safetensors header against its size, and the index's tensors "
        "against the headers; no data is read",
        "remedy": "Download or copy the checkpoint again, or point vllm_recipe_weights_dir at the directory that holds it.",
    },
    "weights.draft": {
        "why": "The command names the draft model for speculative decoding; the start fails without it.",
        "source": "",
        "read": "as weights.served, for the draft model; skipped where the plan has none",
        "remedy": "Download or copy the draft model, or leave speculative_config out with vllm_recipe_args.",
    },
    "weights.architecture": {
        "why": "Another model in the right folder starts, and answers as another model, or fails on the parsers.",
        "source": "",
        "read": "architectures in config.json against the recipe's",
        "remedy": "Put the recipe's checkpoint there, or deploy with the recipe of this model.",
    },
    "weights.quantization": {
        "why": "With `--quantization ascend` vllm-ascend needs quant_model_description.json; other methods of "
        "quantization are refused on NPUs. Without the flag older releases load quantized weights as plain ones.",
        "source": "https://github.com/vllm-project/vllm-ascend/issues/633",
        "read": "quant_method in config.json and quant_model_description.json against the command of the plan",
        "remedy": "Use the checkpoint that the recipe names, or set vllm_recipe_checkpoint to the one that is there.",
    },
    "weights.same": {
        "why": "Nodes with different copies start, and answer wrongly or fail in the middle of a request.",
        "source": "",
        "read": "a fingerprint on each node: names, sizes and headers of all shards, and the digests of config.json, "
        "generation_config.json, tokenizer.json, the index and quant_model_description.json; not the data of tensors",
        "remedy": "Copy the checkpoint from one node to the others (rsync --checksum), or share one directory.",
    },
    "weights.load_time": {
        "why": "Weights that load longer than VLLM_ENGINE_READY_TIMEOUT_S (600 s without it) end the start with "
        "`Timed out waiting for engines`, again and again.",
        "source": "https://github.com/vllm-project/vllm/issues/35547",
        "read": "bytes of the checkpoint by the speed of reading up to 64 MiB of four shards past the page cache, "
        "at most 3 s",
        "remedy": "Raise VLLM_ENGINE_READY_TIMEOUT_S and HCCL_CONNECT_TIMEOUT with vllm_recipe_env, or keep the weights on "
        "a local disk.",
    },
}


def judge(node, facts, policy):
    """The verdicts on the checkpoints of one node."""
    told = told_by_path(facts)
    served = [item for item in node["weights"] if not item["draft"]]
    drafts = [item for item in node["weights"] if item["draft"]]
    checks = [_complete("weights.served", item, told.get(item["path"])) for item in served[:1]]
    if drafts:
        checks.append(_complete("weights.draft", drafts[0], told.get(drafts[0]["path"])))
    else:
        checks.append(verdict("weights.draft", "skipped", "the plan has no draft model", "complete where there is one"))
    for item in served[:1]:
        found = told.get(item["path"])
        checks.append(_architecture(node, found, policy))
        checks.append(_quantization(node, found))
        checks.append(_load_time(node, [told.get(other["path"]) for other in node["weights"]]))
    return checks


def told_by_path(facts):
    """The checkpoints that a node told of, whole, by their paths."""
    return {
        item.get("path"): item
        for item in facts.get("weights") or []
        if isinstance(item, dict) and all(item.get(key) is not None for key in ("problems", "shards", "bytes"))
    }


def _complete(name, item, told):
    wanted = "the checkpoint of {0} at {1}".format(item["source"], item["path"])
    remedy = "Download it there, or point vllm_recipe_weights_dir at the directory that holds {0}.".format(
        item["directory"]
    )
    if told is None:
        return verdict(name, "unknown", "the node did not tell", wanted, remedy)
    if told["exists"] is None:
        return verdict(
            name,
            "unknown",
            "; ".join(told["problems"] or ["the node did not tell"]),
            wanted,
            "See 'df' and 'mount' on the node: it hangs.",
        )
    if not told["exists"]:
        return verdict(name, "fail", "no directory {0}".format(item["path"]), wanted, remedy)
    if told["problems"]:
        return verdict(
            name,
            "fail",
            "; ".join(told["problems"][:3]),
            wanted,
            "The copy is not complete: copy or download it again. " + remedy,
        )
    seen = "{0} shards, {1:.1f} GB".format(told["shards"], told["bytes"] / 1e9)
    promised = told.get("index_bytes")
    if promised and told.get("data_bytes") is not None and told["data_bytes"] < promised:
        return verdict(
            name,
            "warn",
            f"{seen} of tensors; the index says {promised / 1e9:.1f} GB",
            wanted,
            "Compare the index with the one at the source: it may belong to another revision.",
        )
    return verdict(name, "pass", seen, wanted)


def _there(told):
    return bool(told and told.get("exists"))


def _architecture(node, told, policy):
    name = "weights.architecture"
    wanted = node.get("recipe", {}).get("architecture") or (policy or {}).get("architecture")
    if not wanted:
        return verdict(name, "skipped", "the recipe names no architecture", "the recipe's architecture")
    if not _there(told):
        return verdict(name, "unknown", "no checkpoint is told", wanted, "See weights.served.")
    seen = told.get("architecture")
    if not seen:
        return verdict(name, "unknown", "config.json tells none", wanted, "Compare config.json with the source's.")
    return verdict(name, "pass" if seen == wanted else "fail", seen, wanted, CHECKS[name]["remedy"])


def flag(argv, name):
    """The value of an option in an argument vector, or None."""
    for index, word in enumerate(argv):
        if word == name:
            return argv[index + 1] if index + 1 < len(argv) else None
        if word.startswith(name + "="):
            return word[len(name) + 1 :]
    return None


def _quantization(node, told):
    name = "weights.quantization"
    option = flag(node["argv"], "--quantization")
    wanted = f"weights for --quantization {option}" if option else "weights that load without --quantization"
    if not _there(told):
        return verdict(name, "unknown", "no checkpoint is told", wanted, "See weights.served.")
    method, description = told.get("quantization"), told.get("description")
    seen = "quant_method {0}".format(method or "none")
    if description is not None:
        counts = ", ".join(f"{number} {kind}" for kind, number in sorted(description.items())[:4])
        seen += "; quant_model_description.json" + (": " + counts if counts else "")
    remedy = CHECKS[name]["remedy"]
    if option == "ascend":
        if method not in (None, "ascend"):
            return verdict(name, "fail", seen, wanted, remedy)
        if description is None and method is None:
            return verdict(name, "fail", seen + ", no quant_model_description.json", wanted, remedy)
        if description is not None and not [kind for kind in description if kind != "FLOAT"]:
            return verdict(name, "fail", seen + ", nothing quantized in it", wanted, remedy)
        return verdict(name, "pass", seen, wanted)
    if option:
        return verdict(name, "pass" if method in (None, option) else "fail", seen, wanted, remedy)
    if method not in LOADED:
        return verdict(name, "fail", seen, wanted, remedy)
    if description is not None:
        return verdict(
            name, "warn", seen, wanted, "Set quantization: ascend in vllm_recipe_args, or vllm_recipe_checkpoint."
        )
    return verdict(name, "pass", seen, wanted)


def _load_time(node, all_told):
    name = "weights.load_time"
    given = node["env"].get("VLLM_ENGINE_READY_TIMEOUT_S")
    try:
        limit = float(given) if given else float(DEFAULT_READY_TIMEOUT)
    except ValueError:
        limit = float(DEFAULT_READY_TIMEOUT)
    wanted = "loaded within {0:g} s (VLLM_ENGINE_READY_TIMEOUT_S{1})".format(limit, "" if given else ", the default")
    if not all(_there(told) for told in all_told):
        return verdict(name, "unknown", "not all checkpoints are told", wanted, "See weights.served.")
    size = sum(told["bytes"] for told in all_told)
    if size / SLOWEST < limit / 2:
        return verdict(name, "pass", f"{size / 1e9:.2f} GB, read in time from any disk", wanted)
    read = all_told[0].get("read") or {}
    if not read.get("bytes") or not read.get("seconds"):
        return verdict(
            name, "unknown", "the speed of reading could not be measured", wanted, "Try 'dd' on a shard on the node."
        )
    speed = read["bytes"] / read["seconds"]
    seconds = size / speed
    seen = "{0:.1f} GB at {1:.0f} MB/s{2}: {3:.0f} s".format(
        size / 1e9,
        speed / 1e6,
        " from {0}".format(all_told[0]["filesystem"]) if all_told[0].get("filesystem") else "",
        seconds,
    )
    # A short look at cold files guesses low: only what is far too slow stops a run.
    word = "fail" if seconds > 2 * limit else "warn" if seconds > limit / 2 else "pass"
    return verdict(name, word, seen, wanted, CHECKS[name]["remedy"])


def judge_replica(members, facts_by_host, policy):
    """Is it one checkpoint on all nodes of a replica? ``{host: [verdict]}``."""
    if len(members) < 2:
        return {node["host"]: [] for node in members}
    prints = []
    for node in members:
        told = told_by_path(facts_by_host.get(node["host"]) or {})
        own = [(told.get(item["path"]) or {}).get("fingerprint") for item in node["weights"]]
        prints.append((node["host"], tuple(own) if all(own) else None))
    seen = ", ".join(
        "{0}: {1}".format(host, " ".join(one[:12] for one in own) if own else "not told") for host, own in prints
    )
    known = {own for unused, own in prints if own}
    if len(known) > 1:
        word = "fail"
    else:
        word = "pass" if all(own for unused, own in prints) else "unknown"
    made = verdict("weights.same", word, seen, "one checkpoint on all nodes", CHECKS["weights.same"]["remedy"])
    return {node["host"]: [dict(made)] for node in members}
