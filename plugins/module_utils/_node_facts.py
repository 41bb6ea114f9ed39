# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a node can tell of itself, read and never judged here. Judging is in ``_preflight``, on the controller."""

from __future__ import absolute_import, annotations, division, print_function

__metaclass__ = type

import json
import os
import re
import socket
import stat
import struct
import sys

from ansible_collections.ascend_ops.vllm.plugins.module_utils._engine import LABEL_SERVICE, Engine, EngineError
from ansible_collections.ascend_ops.vllm.plugins.module_utils._hccn import parse_hccn_conf
from ansible_collections.ascend_ops.vllm.plugins.module_utils._npu_read import driver_package_version, read_npus
from ansible_collections.ascend_ops.vllm.plugins.module_utils._run import run

LISTEN = "0A"  # the state of a listening socket in /proc/net/tcp


def gather(plan, engine="docker", archive="", npu_smi=None, timeout=20.0):
    """All facts that the checks of a node need, for the node's *plan*. Each source that fails leaves a null or an error."""
    container_name = plan["container"]["name"]
    facts = {
        "python": "{0}.{1}.{2}".format(*sys.version_info[:3]),
        "root": os.geteuid() == 0,
        "cpus": os.cpu_count(),
        "network": network(plan["address"]),
        "npu": npus(npu_smi, timeout),
        "driver_package": driver_package_version(),
        "devices": {path: is_device(path) for path in plan["container"]["devices"]},
        "paths": {mount["source"]: os.path.exists(mount["source"]) for mount in plan["container"]["mounts"]},
        "hccn_conf": hccn_conf("/etc/hccn.conf"),
        "engine": engine_facts(engine, plan["container"]["image"], container_name, timeout),
        "archive": os.path.isfile(archive) if archive else None,
        "weights": [weights(item["path"]) for item in plan["weights"]],
    }
    container = facts["engine"]["container"]
    members = pids_of(container["id"]) if container and container["running"] else []
    facts["service_pids"] = sorted(members)
    facts["ports"] = listeners(wanted_ports(plan["ports"]), set(members))
    return facts


def npus(executable, timeout):
    """The result of npu-smi, or how it failed: ``{code, meaning, remedy, rc, output}``."""
    info, failure = read_npus(executable, timeout)
    return failure if info is None else info


def is_device(path):
    """Is there a character device?"""
    try:
        return stat.S_ISCHR(os.stat(path).st_mode)
    except OSError:
        return False


def hccn_conf(path):
    """The content of hccn.conf by chip, or None where there is none to read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return parse_hccn_conf(stream.read(1 << 20))
    except OSError:
        return None


# -- network --------------------------------------------------------------------------------------------------------


def network(address):
    """The interface that carries *address* (None where there is none), and all addresses with their interfaces."""
    rc, output, unused = run(["ip", "-o", "addr", "show"], 10)
    if rc == 127:
        rc, output, unused = run(["/usr/sbin/ip", "-o", "addr", "show"], 10)
    addresses = parse_addresses(output) if rc == 0 else {}
    return {
        "interface": addresses.get(address),
        "addresses": addresses,
        "error": "" if rc == 0 else output.strip()[:200],
    }


def parse_addresses(text):
    """``{address: interface}`` from the output of ``ip -o addr show``."""
    result = {}
    for line in text.splitlines():
        match = re.match(r"\d+:\s+(\S+?)(?:@\S+)?\s+inet6?\s+([0-9a-fA-F.:]+)", line)
        if match:
            result[match.group(2)] = match.group(1)
    return result


def wanted_ports(ports):
    """The single ports of a plan's ``ports``."""
    result = []
    for value in ports.values():
        result.extend([value] if isinstance(value, int) else range(value[0], value[1] + 1))
    return result


def listeners(ports, own):
    """Who listens on the wanted ports: ``[{port, address, pid, name, own}]``; *own* are the pids of the service.

    None where the kernel does not tell.
    """
    wanted = set(ports)
    found = {}
    told = False
    for path in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            with open(path) as stream:
                lines = stream.read().splitlines()[1:]
        except OSError:
            continue
        told = True
        for line in lines:
            fields = line.split()
            address, unused, port = fields[1].rpartition(":")
            if fields[3] == LISTEN and int(port, 16) in wanted:
                found[fields[9]] = {
                    "port": int(port, 16),
                    "address": _address(address),
                    "pid": None,
                    "name": None,
                    "own": False,
                }
    if found:
        for pid in _pids():
            for inode in _socket_inodes(pid) & set(found):
                found[inode].update(pid=pid, name=_name(pid), own=pid in own)
    return sorted(found.values(), key=lambda item: item["port"]) if told else None


def _address(text):
    if len(text) == 8:
        return socket.inet_ntop(socket.AF_INET, struct.pack("<I", int(text, 16)))
    words = struct.pack("<4I", *(int(text[index : index + 8], 16) for index in range(0, 32, 8)))
    return socket.inet_ntop(socket.AF_INET6, words)


def _pids():
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _socket_inodes(pid):
    result = set()
    try:
        for name in os.listdir("/proc/{0}/fd".format(pid)):
            match = re.match(r"socket:\[(\d+)\]", os.readlink("/proc/{0}/fd/{1}".format(pid, name)))
            if match:
                result.add(match.group(1))
    except OSError:
        pass
    return result


def _name(pid):
    try:
        with open("/proc/{0}/cmdline".format(pid), "rb") as stream:
            return stream.read(200).replace(b"\0", b" ").decode("utf-8", "replace").strip() or None
    except OSError:
        return None


def pids_of(container_id):
    """The pids on this node that run in a container."""
    result = []
    for pid in _pids():
        try:
            with open("/proc/{0}/cgroup".format(pid)) as stream:
                if container_id in stream.read():
                    result.append(pid)
        except OSError:
            continue
    return result


# -- engine and weights ---------------------------------------------------------------------------------------------


def engine_facts(executable, image, container, timeout):
    """Version of the engine, the image and the container of the plan; ``error`` where the engine cannot be asked."""
    facts = {"version": None, "error": "", "image": None, "container": None, "foreign": False}
    engine = Engine(executable, timeout)
    try:
        facts["version"] = (engine.call(["version", "--format", "{{.Server.Version}}"])[1].split() or [None])[-1]
        facts["image"] = engine.image(image)
        found = engine.container(container)
        if found is not None:
            facts["foreign"] = LABEL_SERVICE not in found["labels"]
        facts["container"] = found
    except EngineError as error:
        facts["error"] = str(error)
    return facts


def weights(path):
    """A checkpoint's directory: ``{path, exists, architecture, quantization, shards, bytes, problems}``.

    Every shard that the index names must be there, and be as long as its own header says.
    """
    facts = {
        "path": path,
        "exists": os.path.isdir(path),
        "architecture": None,
        "quantization": None,
        "shards": 0,
        "bytes": 0,
        "problems": [],
    }
    if not facts["exists"]:
        return facts
    config = _json(os.path.join(path, "config.json"), facts["problems"])
    if config is not None:
        architectures, quantization = config.get("architectures"), config.get("quantization_config")
        facts["architecture"] = architectures[0] if isinstance(architectures, list) and architectures else None
        facts["quantization"] = quantization.get("quant_method") if isinstance(quantization, dict) else None
    try:
        names = sorted(name for name in os.listdir(path) if name.endswith(".safetensors"))
    except OSError as error:
        facts["problems"].append("it cannot be listed: {0}".format(error.strerror))
        return facts
    index_path = os.path.join(path, "model.safetensors.index.json")
    if os.path.exists(index_path):
        index = _json(index_path, facts["problems"])
        weight_map = (index or {}).get("weight_map")
        wanted = sorted(set(map(str, weight_map.values()))) if isinstance(weight_map, dict) else []
        if index is not None and not wanted:
            facts["problems"].append("model.safetensors.index.json names no shard")
        missing = [name for name in wanted if name not in names]
        if missing:
            facts["problems"].append(
                "{0} of {1} shards of the index are missing, such as {2}".format(len(missing), len(wanted), missing[0])
            )
        names = [name for name in wanted if name not in missing]
    elif not names:
        facts["problems"].append("no *.safetensors file")
    for name in names:
        size, wanted_size, problem = shard(os.path.join(path, name))
        facts["shards"] += 1
        facts["bytes"] += size
        if problem:
            facts["problems"].append("{0}: {1}".format(name, problem))
        elif size != wanted_size:
            facts["problems"].append("{0} has {1} bytes and its header says {2}".format(name, size, wanted_size))
    return facts


def _json(path, problems):
    try:
        with open(path, encoding="utf-8") as stream:
            data = json.load(stream)
    except (OSError, ValueError) as error:
        problems.append("{0}: {1}".format(os.path.basename(path), getattr(error, "strerror", None) or "no JSON"))
        return None
    if not isinstance(data, dict):
        problems.append("{0}: no JSON object".format(os.path.basename(path)))
        return None
    return data


def shard(path):
    """``(size, size by its header, problem)`` of a safetensors file; reads the header alone."""
    try:
        size = os.path.getsize(path)
        with open(path, "rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            if length > 1 << 27:
                return size, None, "its header is no safetensors header"
            if length + 8 > size:
                return size, None, "has {0} bytes and its header says {1} or more".format(size, length + 8)
            header = json.loads(stream.read(length).decode("utf-8"))
        ends = [item["data_offsets"][1] for name, item in header.items() if name != "__metadata__"]
        return size, 8 + length + max(ends or [0]), ""
    except (OSError, ValueError, struct.error, KeyError, IndexError, TypeError, AttributeError) as error:
        return 0, None, getattr(error, "strerror", None) or "its header is no safetensors header"
