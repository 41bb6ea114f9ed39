# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a node tells of itself as a machine: Python, kernel, memory, CPUs, limits, disks, and what runs there already."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import sys

from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.parallel import bounded
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.run import DRIVER, run

FIRMWARE = "/usr/local/Ascend/firmware"
DAEMONS = ("dockerd", "containerd", "podman")
TIME_DAEMONS = ("chronyd", "systemd-timesyn", "ntpd", "ptp4l")
SYSCTLS = (
    "vm.swappiness",
    "vm.overcommit_memory",
    "vm.max_map_count",
    "vm.nr_hugepages",
    "kernel.numa_balancing",
    "kernel.pid_max",
    "kernel.threads-max",
    "net.core.somaxconn",
    "net.ipv4.ip_local_port_range",
)
DISKS = ("/", "/var", "/tmp", "/etc/ascend-vllm", "/var/lib/ascend-vllm")
# What an engine of vLLM calls its processes, or the command that starts it.
STALE = re.compile(
    r"^(VLLM::|((\S*/)?python[\d.]*\s+(-\S+\s+)*)?((\S*/)?vllm\s+serve(\s|$)|vllm\.entrypoints\.(openai\.api_server|cli)))"
)
SECRET = re.compile(r"(--[\w-]*(?:key|token|password|secret)[\w-]*[= ]+)(?!--)\S+", re.I)
CONTAINER = re.compile(r"(?:^|[/:-])([0-9a-f]{64})(?:\.scope)?(?:/|$)", re.M)


def gather(plan, options, root="/"):
    """All of it; what cannot be read is null. *root* is where /proc, /sys and /etc are found."""
    reader = Reader(root)
    processes = reader.processes()
    facts = {}
    for key, function in (
        ("python", lambda: "{0}.{1}.{2}".format(*sys.version_info[:3])),
        ("kernel", platform.release),
        ("machine", platform.machine),
        ("os", lambda: os_release(reader.text("etc/os-release") or reader.text("usr/lib/os-release"))),
        ("memory", lambda: memory(reader.text("proc/meminfo"))),
        ("shm_bytes", lambda: disk(reader.path("dev/shm"), "total")),
        ("limits", lambda: limits(reader, processes)),
        ("cpus", lambda: cpus(reader)),
        ("numa", lambda: numa(reader)),
        ("cpufreq", lambda: cpufreq(reader)),
        ("sysctls", lambda: {name: reader.line("proc/sys/" + name.replace(".", "/")) for name in SYSCTLS}),
        ("selinux", lambda: selinux(reader, options.get("timeout") or 20)),
        ("apparmor", lambda: {"Y": True, "N": False}.get(reader.line("sys/module/apparmor/parameters/enabled"))),
        ("disks", lambda: {path: disk(reader.path(path.lstrip("/")), "free") for path in DISKS}),
        ("uptime", lambda: float((reader.line("proc/uptime") or "").split()[0])),
        ("load", lambda: [float(word) for word in (reader.line("proc/loadavg") or "").split()[:3]] or None),
        ("time_sync", lambda: sorted({one["name"] for one in processes or [] if one["name"] in TIME_DAEMONS})),
        ("stale", lambda: stale(processes)),
        ("driver", lambda: package(reader.text(DRIVER.lstrip("/") + "/version.info"), "compatible_version_fw")),
        ("firmware", lambda: package(reader.text(FIRMWARE.lstrip("/") + "/version.info"), "compatible_version_drv")),
    ):
        facts[key] = bounded(function, 10)
    return facts


class Reader:
    """Small files under a root; what cannot be read is None."""

    def __init__(self, root="/"):
        self.root = root

    def path(self, name):
        """The path of a name under the root."""
        return os.path.join(self.root, name)

    def text(self, name):
        """The content of a file, at most 1 MiB."""
        try:
            with open(self.path(name), "rb") as stream:
                return stream.read(1 << 20).decode("utf-8", "replace")
        except OSError:
            return None

    def line(self, name):
        """The content of a file of one line, without space around it."""
        content = self.text(name)
        return None if content is None else " ".join(content.split())

    def names(self, folder, pattern):
        """The names in a folder that match, in the order of their numbers."""
        try:
            found = os.listdir(self.path(folder))
        except OSError:
            return []
        return sorted((name for name in found if re.match(pattern, name)), key=lambda name: (len(name), name))

    def processes(self):
        """``[{pid, name, command, container}]`` of all processes; None where /proc is not told."""
        found = []
        for pid in self.names("proc", r"\d+$"):
            command = (self.text(f"proc/{pid}/cmdline") or "").replace("\0", " ").strip()
            groups = CONTAINER.findall(self.text(f"proc/{pid}/cgroup") or "")
            found.append(
                {
                    "pid": int(pid),
                    "name": self.line(f"proc/{pid}/comm"),
                    "command": SECRET.sub(r"\1***", command)[:200],
                    # The innermost: nodes that are containers themselves have the outer one in all their paths.
                    "container": groups[-1] if groups else None,
                }
            )
        return found or None


def machine_id(root="/"):
    """16 hexadecimal digits that tell this machine, as it is booted now, from any other; None if it has no boot id.

    A digest of /etc/machine-id and the kernel's boot id. Cloned machines share the former, containers on one machine
    the latter. The ids themselves stay on the node.
    """
    reader = Reader(root)
    machine, boot = reader.line("etc/machine-id"), reader.line("proc/sys/kernel/random/boot_id")
    if not boot:
        return None
    return hashlib.sha256(f"ascend_ops.vllm {machine or ''} {boot}".encode()).hexdigest()[:16]


def os_release(text):
    """``{id, version, name}`` of /etc/os-release."""
    told = dict(re.findall(r'^([A-Z_]+)="?([^"\n]*)"?$', text or "", re.M))
    return {"id": told.get("ID"), "version": told.get("VERSION_ID"), "name": told.get("PRETTY_NAME")} if told else None


def memory(text):
    """Bytes of /proc/meminfo: ``{total, available, swap_total, swap_free, hugepages, hugepages_free}``."""
    told = {
        name: int(number) * (1024 if unit else 1)
        for name, number, unit in re.findall(r"^([\w()]+):\s+(\d+)( kB)?$", text or "", re.M)
    }
    if "MemTotal" not in told:
        return None
    page = told.get("Hugepagesize", 0)
    return {
        "total": told["MemTotal"],
        "available": told.get("MemAvailable"),
        "swap_total": told.get("SwapTotal"),
        "swap_free": told.get("SwapFree"),
        "hugepages": told.get("HugePages_Total", 0) * page,
        "hugepages_free": told.get("HugePages_Free", 0) * page,
    }


def disk(path, what):
    """Bytes in *total* or *free* of the file system that holds a path, or its nearest parent that is there."""
    while not os.path.exists(path) and os.path.dirname(path) != path:
        path = os.path.dirname(path)
    found = os.statvfs(path)
    return (found.f_blocks if what == "total" else found.f_bavail) * found.f_frsize


def limits(reader, processes):
    """The limits of the engine's daemons, which its containers inherit: ``{name: {nofile: [soft, hard], memlock}}``.

    -1 is without limit.
    """
    result = {}
    for one in processes or []:
        if one["name"] in DAEMONS and one["container"] is None and one["name"] not in result:
            told = parse_limits(reader.text("proc/{0}/limits".format(one["pid"])))
            if told:
                result[one["name"]] = told
    return result


def parse_limits(text):
    """``{nofile: [soft, hard], memlock: [soft, hard], nproc: [soft, hard]}`` of /proc/PID/limits."""
    result = {}
    for title, name in (("Max open files", "nofile"), ("Max locked memory", "memlock"), ("Max processes", "nproc")):
        match = re.search(rf"^{title}\s+(\d+|unlimited)\s+(\d+|unlimited)", text or "", re.M)
        if match:
            result[name] = [-1 if word == "unlimited" else int(word) for word in match.groups()]
    return result


def cpus(reader):
    """``{present, online}``: how many CPUs."""
    return {
        "present": count(reader.line("sys/devices/system/cpu/present")),
        "online": count(reader.line("sys/devices/system/cpu/online")),
    }


def count(text):
    """How many numbers a list such as ``0-47,96`` holds; None for what is no list."""
    if not re.match(r"\d+(-\d+)?(,\d+(-\d+)?)*$", text or ""):
        return None
    total = 0
    for part in text.split(","):
        first, unused, last = part.partition("-")
        total += max(0, int(last or first) - int(first) + 1)
    return total


def numa(reader):
    """``[{node, cpus, memory}]``, the memory in bytes."""
    folder = "sys/devices/system/node"
    result = []
    for name in reader.names(folder, r"node\d+$"):
        match = re.search(r"MemTotal:\s+(\d+) kB", reader.text(f"{folder}/{name}/meminfo") or "")
        cpulist = reader.line(f"{folder}/{name}/cpulist")
        result.append(
            {
                "node": int(name[4:]),
                "cpus": 0 if cpulist == "" else count(cpulist),
                "memory": int(match.group(1)) * 1024 if match else None,
            }
        )
    return result


def cpufreq(reader):
    """``{cpus, writable, governors}``: CPUs with a governor, how many of these can be written, and the governors."""
    folder = "sys/devices/system/cpu"
    files = [f"{folder}/{name}/cpufreq/scaling_governor" for name in reader.names(folder, r"cpu\d+$")]
    told = [(reader.line(name), os.access(reader.path(name), os.W_OK)) for name in files]
    told = [item for item in told if item[0] is not None]
    return {
        "cpus": len(told),
        "writable": sum(writable for unused, writable in told),
        "governors": sorted({governor for governor, unused in told}),
    }


def selinux(reader, timeout):
    """enforcing, permissive or disabled."""
    told = reader.line("sys/fs/selinux/enforce")
    if told is not None:
        return {"1": "enforcing", "0": "permissive"}.get(told)
    rc, output, unused = run(["getenforce"], timeout)
    word = output.strip().lower()
    return word if rc == 0 and word in ("enforcing", "permissive", "disabled") else "disabled" if rc == 127 else None


def stale(processes):
    """The processes of a vLLM: ``[{pid, command, container}]``; None where processes are not told.

    Whose they are is for the judge: he knows the container of the plan.
    """
    if processes is None:
        return None
    return [
        {"pid": one["pid"], "command": one["command"] or one["name"], "container": one["container"]}
        for one in processes
        if STALE.search(one["command"]) or (one["name"] or "").startswith("VLLM::")
    ]


def package(text, key):
    """``{version, compatible}`` of a version.info, with *compatible* as ``[[first, last], …]``; None without a file."""
    if text is None:
        return None
    told = dict(re.findall(r"^\s*(\w+)\s*=\s*(\S.*?)\s*$", text, re.M))
    pairs = re.findall(r"\[\s*([^\],\s]+)\s*,\s*([^\],\s]+)\s*\]", told.get(key, ""))
    return {
        "version": told.get("Version"),
        "package": told.get("package_version"),
        "compatible": [list(pair) for pair in pairs],
    }
