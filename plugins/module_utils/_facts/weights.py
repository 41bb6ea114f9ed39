# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Gather the facts of the plan's checkpoints: whether they are complete, their kind, a fingerprint, and the read speed.

The data of the weights is never read as a whole. The ``fingerprint`` of a checkpoint is a SHA-256 over, sorted by name,
each shard's name, size and the digest of its header (names, types, shapes and offsets of all tensors), and the digests
of the small files in SMALL. It changes with the model, its quantization and revision, and with a missing or truncated
shard; it does not reveal a flipped bit in the data of a tensor.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
import threading
import time

from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.parallel import bounded
from ansible_collections.ascend_ops.vllm.plugins.module_utils._facts.size import add_tensors, dimensions

INDEX = "model.safetensors.index.json"
DESCRIPTION = "quant_model_description.json"
SMALL = ("config.json", "generation_config.json", "tokenizer.json", INDEX, DESCRIPTION)
SMALL_LIMIT = 64 << 20
HEADER_LIMIT = 1 << 27
NO_HEADER = "its header is not a safetensors header"

PROBE_BYTES = 64 << 20  # read at most, to measure the speed
PROBE_LEAST = 32 << 20  # a smaller checkpoint says nothing about the speed
PROBE_SHARDS = 4
PROBE_SECONDS = 3.0
PROBE_CHUNK = 1 << 20


def gather(plan, options):
    """The facts of each checkpoint of the plan, see ``empty``.

    :param options: ``timeout`` in seconds. A checkpoint that does not respond in time has ``exists`` None and a problem.
    """
    timeout = options.get("timeout") or 20
    return [_checkpoint(item["path"], plan, timeout) for item in plan["weights"]]


def _checkpoint(path, plan, timeout):
    memory = {}
    facts = bounded(lambda: weights(path, memory), timeout)
    if facts is None:
        facts = empty(path)
        facts["exists"] = None
        facts["problems"].append(f"the directory did not respond within {timeout:g} s")
    elif facts["exists"]:
        facts.update(bounded(lambda: place(path), timeout) or {})
        names = facts["names"]
        hidden = bounded(lambda: unseen(path, names, plan["container"]["mounts"]), timeout)
        if hidden:
            facts["problems"].append(
                "{0} is a link to {1}, which is not visible in the container; mount it with "
                "vllm_recipe_container.mounts".format(*hidden)
            )
        facts["read"] = bounded(lambda: read_speed(path, names), PROBE_SECONDS + 2)
        facts["memory"] = memory
    facts.pop("names", None)
    return facts


def unseen(path, names, mounts):
    """``(link, target)`` of the directory, or of a shard, that is outside all mounts of the container; or None."""
    roots = [os.path.realpath(mount["source"]) for mount in mounts]
    for item in [path] + [os.path.join(path, name) for name in names]:
        real = os.path.realpath(item)
        if not any(real == root or real.startswith(root.rstrip("/") + "/") for root in roots):
            return item, real
    return None


def empty(path):
    """The facts of a checkpoint that is not there. Sizes are in bytes.

    ``description`` are the kinds of quantization in quant_model_description.json with their counts, ``index_tensors`` and
    ``index_bytes`` what the index promises, ``names`` the shards. ``problems`` says what makes the checkpoint incomplete.
    """
    return {
        "path": path,
        "exists": False,
        "architecture": None,
        "quantization": None,
        "description": None,
        "shards": 0,
        "bytes": 0,
        "tensors": 0,
        "index_tensors": None,
        "data_bytes": 0,
        "index_bytes": None,
        "problems": [],
        "fingerprint": None,
        "filesystem": None,
        "free_bytes": None,
        "read": None,
        "names": [],
    }


def weights(path, memory=None):
    """The facts of the checkpoint in a directory, see ``empty``.

    Every shard that the index names must exist, be as long as its own header says, and contain the tensors that the index
    lists for it.

    :param memory: a mapping to fill with what decides how much of a chip the model takes: ``{"experts", "dense"}``, bytes by
        safetensors' name of the type (such as BF16, F8_E4M3), and ``"model"``, see ``size.dimensions``. Layers that follow the
        model's own, which only predict further tokens (MTP), are left out: they are loaded on demand.
    """
    memory = {} if memory is None else memory
    facts = empty(path)
    facts["exists"] = os.path.isdir(path)
    if not facts["exists"]:
        return facts
    config = _read_config(path, facts)
    memory.update(experts={}, dense={}, model=dimensions(config))
    try:
        found = sorted(os.listdir(path))
    except OSError as error:
        facts["problems"].append(f"it cannot be listed: {error.strerror}")
        return facts
    names, promised = _shards_of(path, found, facts)
    digest = hashlib.sha256()
    for name in names:
        digest.update(_add_shard(path, name, promised.get(name, set()), facts, memory))
    for name in SMALL:
        digest.update(f"{name}\0{small_digest(os.path.join(path, name))}\n".encode())
    facts["fingerprint"] = digest.hexdigest()
    facts["names"] = names
    return facts


def _read_config(path, facts):
    """Architecture and quantization from the JSON files of a checkpoint; returns its config.json, or None."""
    config = _json(os.path.join(path, "config.json"), facts["problems"])
    if config is not None:
        architectures, quantization = config.get("architectures"), config.get("quantization_config")
        facts["architecture"] = architectures[0] if isinstance(architectures, list) and architectures else None
        facts["quantization"] = quantization.get("quant_method") if isinstance(quantization, dict) else None
    if os.path.exists(os.path.join(path, DESCRIPTION)):
        facts["description"] = kinds(_json(os.path.join(path, DESCRIPTION), facts["problems"]))
    return config


def _shards_of(path, found, facts):
    """``(names, promised)``: the shards to read, and ``{shard: tensors}`` of the index, which is empty without one.

    :param found: the files in the directory.
    """
    names = [name for name in found if name.endswith(".safetensors")]
    indexes = [name for name in found if name.endswith(".safetensors.index.json")]
    if not indexes:
        if not names:
            facts["problems"].append("no *.safetensors file")
        return names, {}
    promised = _index(os.path.join(path, INDEX if INDEX in indexes else indexes[0]), facts)
    missing = sorted(name for name in promised if name not in names)
    if missing:
        facts["problems"].append(
            f"{len(missing)} of {len(promised)} shards of the index are missing, such as {missing[0]}"
        )
    return sorted(name for name in promised if name in names), promised


def _add_shard(path, name, promised, facts, memory):
    """Add a shard to the facts of its checkpoint; returns its part of the fingerprint."""
    types = {}
    size, expected_size, problem, tensors, header = shard(os.path.join(path, name), types)
    facts["shards"] += 1
    facts["bytes"] += size
    facts["tensors"] += len(tensors)
    if problem:
        facts["problems"].append(f"{name}: {problem}")
    else:
        facts["data_bytes"] += tensors_bytes(tensors)
        add_tensors(memory, tensors, types)
        if size != expected_size:
            facts["problems"].append(f"{name} has {size} bytes and its header says {expected_size}")
        absent = sorted(promised - set(tensors))
        if absent:
            facts["problems"].append(
                f"{name} lacks {len(absent)} tensors that the index lists for it, such as {absent[0]}"
            )
    return f"{name}\0{size}\0{header}\n".encode("utf-8", "surrogateescape")


def _index(path, facts):
    """The shards that an index names: ``{shard: set of tensors}``."""
    index = _json(path, facts["problems"])
    weight_map = (index or {}).get("weight_map")
    promised = {}
    if isinstance(weight_map, dict):
        for tensor, name in weight_map.items():
            promised.setdefault(str(name), set()).add(tensor)
    if index is not None and not promised:
        facts["problems"].append(f"{os.path.basename(path)} names no shard")
    metadata = (index or {}).get("metadata")
    total = metadata.get("total_size") if isinstance(metadata, dict) else None
    facts["index_bytes"] = int(total) if isinstance(total, (int, float)) and 0 <= total < 1 << 60 else None
    facts["index_tensors"] = sum(map(len, promised.values()))
    return promised


def kinds(description):
    """The number of weights by kind of quantization; an empty dict without a description."""
    counts = {}
    for name, kind in (description or {}).items():
        if isinstance(kind, str) and name.endswith("weight"):
            counts[kind[:40]] = counts.get(kind[:40], 0) + 1
    return counts


def _json(path, problems):
    try:
        with open(path, encoding="utf-8") as stream:
            data = json.load(stream)
    except (OSError, ValueError, RecursionError) as error:
        problems.append("{0}: {1}".format(os.path.basename(path), getattr(error, "strerror", None) or "not JSON"))
        return None
    if not isinstance(data, dict):
        problems.append(f"{os.path.basename(path)}: not a JSON object")
        return None
    return data


def shard(path, types=None):
    """A safetensors file: ``(size, size according to its header, problem, {tensor: bytes}, digest of the header)``.

    :param types: a mapping to fill with the type of each tensor, by safetensors' name.
    """
    try:
        size = os.path.getsize(path)
        with open(path, "rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            if length > HEADER_LIMIT:
                return size, None, NO_HEADER, {}, ""
            if length + 8 > size:
                return size, None, f"has {size} bytes and its header says {length + 8} or more", {}, ""
            raw = stream.read(length)
        tensors = {}
        end = 0
        for name, item in json.loads(raw.decode("utf-8")).items():
            if name != "__metadata__":
                first, last = item["data_offsets"]
                if not (isinstance(first, int) and isinstance(last, int)):
                    return size, None, NO_HEADER, {}, ""
                tensors[name] = last - first
                if types is not None:
                    types[name] = str(item.get("dtype", ""))[:16]
                end = max(end, last)
        return size, 8 + length + end, "", tensors, hashlib.sha256(raw).hexdigest()
    except (
        OSError,
        ValueError,
        struct.error,
        KeyError,
        IndexError,
        TypeError,
        AttributeError,
        RecursionError,
    ) as error:
        return 0, None, getattr(error, "strerror", None) or NO_HEADER, {}, ""


def tensors_bytes(tensors):
    """The bytes of all tensors of a shard."""
    return sum(tensors.values())


def small_digest(path):
    """The digest of a small file, or "absent" or "not read"."""
    try:
        with open(path, "rb") as stream:
            content = stream.read(SMALL_LIMIT + 1)
    except FileNotFoundError:
        return "absent"
    except OSError:
        return "not read"
    return hashlib.sha256(content).hexdigest() if len(content) <= SMALL_LIMIT else "not read"


def place(path):
    """The file system of a directory: ``filesystem`` (its type, such as nfs4) and ``free_bytes``."""
    found = os.statvfs(path)
    with open("/proc/self/mounts") as stream:
        mounts = stream.read()
    return {"filesystem": filesystem(os.path.realpath(path), mounts), "free_bytes": found.f_bavail * found.f_frsize}


def filesystem(path, mounts):
    """The type of the file system of *path*, according to the text of /proc/mounts; None if it is not listed."""
    best, kind = "", None
    for line in mounts.splitlines():
        fields = line.split()
        if len(fields) < 3:
            continue
        point = fields[1].replace("\\040", " ")
        inside = path == point or path.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best):  # of two mounts at one point, the later one is on top
            best, kind = point, fields[2]
    return kind


def read_speed(path, names, seconds=PROBE_SECONDS):
    """The read speed of the shards, bypassing the page cache: ``{bytes, seconds}``; None if they are too small.

    Reads up to PROBE_BYTES from the middle of the largest shards, at the same time, as the ranks of a node do.
    """
    sizes = sorted(((os.path.getsize(os.path.join(path, name)), name) for name in names), reverse=True)[:PROBE_SHARDS]
    if sum(size for size, _name in sizes) < PROBE_LEAST:
        return None
    share = PROBE_BYTES // len(sizes)
    started = time.monotonic()
    done = [0] * len(sizes)

    def read(number, name, size):
        try:
            start = max(0, (size - share) // 2) // PROBE_CHUNK * PROBE_CHUNK
            descriptor = os.open(os.path.join(path, name), os.O_RDONLY)
        except OSError:
            return
        try:
            os.posix_fadvise(descriptor, start, share, os.POSIX_FADV_DONTNEED)
            while done[number] < share and time.monotonic() < started + seconds:
                got = len(os.pread(descriptor, min(PROBE_CHUNK, share - done[number]), start + done[number]))
                if not got:
                    break
                done[number] += got
        except OSError:
            pass
        finally:
            os.close(descriptor)

    workers = [threading.Thread(target=read, args=(number, name, size)) for number, (size, name) in enumerate(sizes)]
    for worker in workers:
        worker.daemon = True
        worker.start()
    for worker in workers:
        worker.join(max(0.0, started + seconds + 1 - time.monotonic()))
    return {"bytes": sum(done), "seconds": round(time.monotonic() - started, 4)}
