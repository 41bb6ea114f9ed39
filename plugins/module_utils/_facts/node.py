# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Gather all facts of a node before a deploy. They are evaluated in ``_checks``, on the controller."""

from __future__ import annotations

import os
import re
import socket
import stat
import struct
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.run import run
from ansible_collections.ascend_ops.vllm.plugins.module_utils._facts import engine as facts_engine
from ansible_collections.ascend_ops.vllm.plugins.module_utils._facts import fabric, files, host, load, weights
from ansible_collections.ascend_ops.vllm.plugins.module_utils._facts import network as facts_network
from ansible_collections.ascend_ops.vllm.plugins.module_utils._facts.image import Layers
from ansible_collections.ascend_ops.vllm.plugins.module_utils._facts.processes import CHIP, holders, owner, owners
from ansible_collections.ascend_ops.vllm.plugins.module_utils._npu.hccn import parse_hccn_conf
from ansible_collections.ascend_ops.vllm.plugins.module_utils._npu.read import driver_package_version, read_npus

# What CANN reads where it exists, whatever the plan says.
ROOT_INFO = "/etc/hccl_rootinfo.json"
SECOND = 3  # times the timeout: how long a source that did not answer beside the others may take when asked alone
LISTEN = "0A"  # the state of a listening socket in /proc/net/tcp


def gather(plan, engine="docker", archive="", npu_smi=None, hccn_tool=None, timeout=20.0):
    """All facts that the checks of a node need, for the node's *plan*. A source that fails leaves None or an ``error``.

    The slow sources are queried at the same time; each limits its own commands to *timeout* seconds. One that did not answer
    in time is asked once more, alone, for up to SECOND times as long: a busy node is not a broken one.

    :param plan: the node's part of the plan.
    :param engine: the command of the container engine.
    :param archive: path of the image's archive on the node, or empty.
    :param npu_smi, hccn_tool: paths of the tools; searched if None.
    """
    options = {"engine": engine, "archive": archive, "npu_smi": npu_smi, "hccn_tool": hccn_tool, "timeout": timeout}
    started = time.monotonic()
    facts = {
        "python": "{0}.{1}.{2}".format(*sys.version_info[:3]),
        "root": os.geteuid() == 0,
        "machine_id": host.machine_id(),
        "driver_package": driver_package_version(),
        "devices": {path: is_device(path) for path in plan["container"]["devices"]},
        "paths": {mount["source"]: os.path.exists(mount["source"]) for mount in plan["container"]["mounts"]},
        "hccn_conf": hccn_conf("/etc/hccn.conf"),
        "archive": os.path.isfile(archive) if archive else None,
        "chips": chips_here(),
        "rank_tables": rank_tables(plan),
    }
    slow = {
        "network": lambda: network(plan["address"], timeout),
        "npu": lambda: npus(npu_smi, timeout),
        "engine": lambda: facts_engine.gather(plan, options),
        "weights": lambda: weights.gather(plan, options),
        "host": lambda: host.gather(plan, options),
        "net": lambda: facts_network.gather(plan, options),
        "fabric": lambda: fabric.gather(plan, options),
        "files": lambda: files.gather(plan, options),
    }
    with ThreadPoolExecutor(len(slow)) as pool:
        for name, future in [(name, pool.submit(query)) for name, query in slow.items()]:
            facts[name] = future.result()
    facts["late"] = ask_again(plan, options, facts)
    container = facts["engine"]["container"]
    members = pids_of(container["id"]) if container else []
    for _again in range(2):
        if not ended(facts["npu"], members):
            break
        # A process ended between npu-smi's listing and ours, such as when the container was restarted.
        facts["npu"] = npus(npu_smi, timeout)
        members = pids_of(container["id"]) if container else []
    facts["service_pids"] = sorted(members)
    facts["owners"] = owners(facts["npu"])
    used = holders([path for path in plan["container"]["devices"] if CHIP.match(path)])
    facts["holders"] = None if used is None else [one for one in used if one["pid"] not in members]
    facts["ports"] = listeners(wanted_ports(plan["ports"]), set(members))
    _look_in_image(facts["files"], (facts["engine"]["image"] or {}).pop("layers", None) or [])
    facts["busy"] = load.gather()
    facts["seconds"] = round(time.monotonic() - started, 2)
    return facts


def ask_again(plan, options, facts):
    """Ask the sources that did not answer in time once more, one at a time; their new answers replace those in *facts*.

    :return: ``[{source, within, seconds, answered}]``: *within* is the time limit in seconds that was not kept first,
        *seconds* how long the second try took, and *answered* whether it was answered.
    """
    patient = dict(options, timeout=SECOND * options["timeout"])
    tries = []
    for source, is_late, query in (
        ("the engine", lambda: facts["engine"]["late"], lambda: _engine_again(plan, patient, facts)),
        ("npu-smi", lambda: facts["npu"].get("code") == "timeout", lambda: _npus_again(patient, facts)),
        (
            "hccn_tool",
            lambda: bool(fabric.silent(facts["fabric"])),
            lambda: fabric.ask_silent(plan, facts["fabric"], patient),
        ),
        ("the command ip", lambda: facts["network"].get("late"), lambda: _network_again(plan, patient, facts)),
    ):
        if is_late():
            began = time.monotonic()
            query()
            name = source + (" for chip " + ", ".join(fabric.silent(facts["fabric"])) if source == "hccn_tool" else "")
            tries.append(
                {
                    "source": name if is_late() else source,
                    "within": options["timeout"],
                    "seconds": round(time.monotonic() - began, 1),
                    "answered": not is_late(),
                }
            )
    return tries


def _engine_again(plan, options, facts):
    facts["engine"] = facts_engine.gather(plan, options)


def _npus_again(options, facts):
    facts["npu"] = npus(options["npu_smi"], options["timeout"])


def _network_again(plan, options, facts):
    facts["network"] = network(plan["address"], options["timeout"])


def _look_in_image(found, roots):
    """Set the state of each file that no mount has from the layers of the image, if those can be read."""
    layers = Layers(roots)
    for entry in found:
        if entry["host"] is None and layers.roots:
            entry["state"] = "there" if layers.find(entry["path"]) else "missing"


def chips_here():
    """The numbers of all /dev/davinciN of this node, or None."""
    try:
        return sorted(int(name[7:]) for name in os.listdir("/dev") if re.match(r"davinci\d+$", name))
    except OSError:
        return None


def rank_tables(plan):
    """The files that exist on this node of those which tell HCCL of ranks: ROOT_INFO, and RANK_TABLE_FILE of the plan."""
    named = (plan.get("env") or {}).get("RANK_TABLE_FILE")
    return [path for path in (ROOT_INFO, named) if path and os.path.exists(path)]


def npus(executable, timeout):
    """The result of npu-smi, or its failure: ``{code, meaning, remedy, rc, output}``."""
    info, failure = read_npus(executable, timeout)
    return failure if info is None else info


def ended(npu, members):
    """The pids that npu-smi lists, that are not in *members*, and that no longer run."""
    processes = [process for device in npu.get("devices") or () for process in device["processes"]]
    named = {process["pid"] for process in processes + list(npu.get("unplaced_processes") or ())}
    return sorted(pid for pid in named.difference(members) if not os.path.exists(f"/proc/{pid}"))


def is_device(path):
    """Whether the path is a character device."""
    try:
        return stat.S_ISCHR(os.stat(path).st_mode)
    except OSError:
        return False


def hccn_conf(path):
    """The content of hccn.conf by chip, or None if it cannot be read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return parse_hccn_conf(stream.read(1 << 20))
    except OSError:
        return None


# -- network --------------------------------------------------------------------------------------------------------


def network(address, timeout=10):
    """``{interface, addresses, error}``: the interface with *address* or None, and all addresses with their interfaces.

    ``late`` is there, and true, if the command ip did not answer in time.
    """
    rc, output, late = run(["ip", "-o", "addr", "show"], timeout)
    if rc == 127:
        rc, output, late = run(["/usr/sbin/ip", "-o", "addr", "show"], timeout)
    addresses = parse_addresses(output) if rc == 0 else {}
    facts = {
        "interface": addresses.get(address),
        "addresses": addresses,
        "error": "" if rc == 0 else output.strip()[:200] or f"exit status {rc}",
    }
    if late:
        facts.update(error=f"'ip' gave no answer within {timeout:g} s", late=True)
    return facts


def parse_addresses(text):
    """``{address: interface}`` from the output of ``ip -o addr show``."""
    result = {}
    for line in text.splitlines():
        match = re.match(r"\d+:\s+(\S+?)(?:@\S+)?\s+inet6?\s+([0-9a-fA-F.:]+)", line)
        if match:
            result[match.group(2)] = match.group(1)
    return result


def wanted_ports(ports):
    """All port numbers in a plan's ``ports``."""
    result = []
    for value in ports.values():
        result.extend([value] if isinstance(value, int) else range(value[0], value[1] + 1))
    return result


def listeners(ports, own):
    """The processes that listen on some ports: ``[{port, address, pid, name, own, container}]``.

    None if /proc/net cannot be read.

    :param own: the pids of the service.
    """
    wanted = set(ports)
    found = {}
    readable = False
    for path in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            with open(path) as stream:
                lines = stream.read().splitlines()[1:]
        except OSError:
            continue
        readable = True
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
                    "container": None,
                }
    if found:
        for pid in _pids():
            for inode in _socket_inodes(pid) & set(found):
                found[inode].update(pid=pid, name=_name(pid), own=pid in own, container=owner(pid))
    return sorted(found.values(), key=lambda item: item["port"]) if readable else None


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
        for name in os.listdir(f"/proc/{pid}/fd"):
            match = re.match(r"socket:\[(\d+)\]", os.readlink(f"/proc/{pid}/fd/{name}"))
            if match:
                result.add(match.group(1))
    except OSError:
        pass
    return result


def _name(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as stream:
            command = stream.read(2000).replace(b"\0", b" ").decode("utf-8", "replace").strip()
            return host.SECRET.sub(r"\1***", command)[:200] or None
    except OSError:
        return None


def pids_of(container_id):
    """The pids on this node that run in a container."""
    result = []
    for pid in _pids():
        try:
            with open(f"/proc/{pid}/cgroup") as stream:
                if container_id in stream.read():
                    result.append(pid)
        except OSError:
            continue
    return result
