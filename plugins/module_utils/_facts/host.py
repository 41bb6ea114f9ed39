# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Gather the facts of a node as a machine: Python, kernel, memory, CPUs, limits, disks, running processes."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import sys

from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.layout import RECORDS_DIR, SERVICE_DIR
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
DISKS = ("/", "/var", "/tmp", SERVICE_DIR, RECORDS_DIR)
# The process names of a vLLM engine, and the commands that start one.
STALE = re.compile(
    r"^(VLLM::|((\S*/)?python[\d.]*\s+(-\S+\s+)*)?((\S*/)?vllm\s+serve(\s|$)|vllm\.entrypoints\.(openai\.api_server|cli)))"
)
SECRET = re.compile(r"(--[\w-]*(?:key|token|password|secret)[\w-]*[= ]+)(?!--)\S+", re.I)
# Vendors and products of virtual machines in the firmware's tables.
VIRTUAL = re.compile(
    r"\b(QEMU|KVM|OpenStack|VMware|VirtualBox|Xen|Hyper-V|Virtual Machine|Alibaba Cloud ECS|Bochs)\b", re.I
)
CONTAINER = re.compile(r"(?:^|[/:-])([0-9a-f]{64})(?:\.scope)?(?:/|$)", re.M)


def gather(plan, options, root="/"):
    """All facts below; None for what cannot be read. *root* is the parent directory of /proc, /sys and /etc."""
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
        ("virtual", lambda: virtual(reader)),
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
    """Reads small files below a root directory; None for what cannot be read."""

    def __init__(self, root="/"):
        self.root = root

    def path(self, name):
        """The path of a file below the root."""
        return os.path.join(self.root, name)

    def text(self, name):
        """The content of a file, at most 1 MiB."""
        try:
            with open(self.path(name), "rb") as stream:
                return stream.read(1 << 20).decode("utf-8", "replace")
        except OSError:
            return None

    def line(self, name):
        """The content of a file as one line, without superfluous whitespace."""
        content = self.text(name)
        return None if content is None else " ".join(content.split())

    def names(self, folder, pattern):
        """The matching names in a directory, in the order of their numbers."""
        try:
            found = os.listdir(self.path(folder))
        except OSError:
            return []
        return sorted((name for name in found if re.match(pattern, name)), key=lambda name: (len(name), name))

    def processes(self):
        """All processes, ``[{pid, name, command, container}]``, with secrets masked; None if /proc cannot be read."""
        found = []
        for pid in self.names("proc", r"\d+$"):
            command = (self.text(f"proc/{pid}/cmdline") or "").replace("\0", " ").strip()
            groups = CONTAINER.findall(self.text(f"proc/{pid}/cgroup") or "")
            found.append(
                {
                    "pid": int(pid),
                    "name": self.line(f"proc/{pid}/comm"),
                    "command": SECRET.sub(r"\1***", command)[:200],
                    # The innermost container: on a node that is itself a container, all paths contain the outer one.
                    "container": groups[-1] if groups else None,
                }
            )
        return found or None


def machine_id(root="/"):
    """16 hexadecimal digits that identify this machine since its last boot; None if the boot id cannot be read.

    A digest of /etc/machine-id and the kernel's boot id. Cloned machines share the former, containers on one machine
    the latter. The ids themselves stay on the node.
    """
    reader = Reader(root)
    machine, boot = reader.line("etc/machine-id"), reader.line("proc/sys/kernel/random/boot_id")
    if not boot:
        return None
    return hashlib.sha256(f"ascend_ops.vllm {machine or ''} {boot}".encode()).hexdigest()[:16]


def os_release(text):
    """``{id, version, name}`` from /etc/os-release, or None."""
    values = dict(re.findall(r'^([A-Z_]+)="?([^"\n]*)"?$', text or "", re.M))
    if not values:
        return None
    return {"id": values.get("ID"), "version": values.get("VERSION_ID"), "name": values.get("PRETTY_NAME")}


def memory(text):
    """Bytes from /proc/meminfo: ``{total, available, swap_total, swap_free, hugepages, hugepages_free}``."""
    values = {
        name: int(number) * (1024 if unit else 1)
        for name, number, unit in re.findall(r"^([\w()]+):\s+(\d+)( kB)?$", text or "", re.M)
    }
    if "MemTotal" not in values:
        return None
    page = values.get("Hugepagesize", 0)
    return {
        "total": values["MemTotal"],
        "available": values.get("MemAvailable"),
        "swap_total": values.get("SwapTotal"),
        "swap_free": values.get("SwapFree"),
        "hugepages": values.get("HugePages_Total", 0) * page,
        "hugepages_free": values.get("HugePages_Free", 0) * page,
    }


def disk(path, what):
    """The *total* or *free* bytes of the file system with a path, or with its nearest existing parent."""
    while not os.path.exists(path) and os.path.dirname(path) != path:
        path = os.path.dirname(path)
    found = os.statvfs(path)
    return (found.f_blocks if what == "total" else found.f_bavail) * found.f_frsize


def limits(reader, processes):
    """The limits of the engine's daemons, which its containers inherit: ``{daemon: the result of parse_limits}``."""
    result = {}
    for one in processes or []:
        if one["name"] in DAEMONS and one["container"] is None and one["name"] not in result:
            found = parse_limits(reader.text("proc/{0}/limits".format(one["pid"])))
            if found:
                result[one["name"]] = found
    return result


def parse_limits(text):
    """``{nofile: [soft, hard], memlock: [soft, hard], nproc: [soft, hard]}`` from /proc/PID/limits; -1 is unlimited."""
    result = {}
    for title, name in (("Max open files", "nofile"), ("Max locked memory", "memlock"), ("Max processes", "nproc")):
        match = re.search(rf"^{title}\s+(\d+|unlimited)\s+(\d+|unlimited)", text or "", re.M)
        if match:
            result[name] = [-1 if word == "unlimited" else int(word) for word in match.groups()]
    return result


def cpus(reader):
    """The number of CPUs: ``{present, online}``."""
    return {
        "present": count(reader.line("sys/devices/system/cpu/present")),
        "online": count(reader.line("sys/devices/system/cpu/online")),
    }


def count(text):
    """The number of items in a list such as ``0-47,96``; None for any other text."""
    if not re.match(r"\d+(-\d+)?(,\d+(-\d+)?)*$", text or ""):
        return None
    total = 0
    for part in text.split(","):
        first, unused, last = part.partition("-")
        total += max(0, int(last or first) - int(first) + 1)
    return total


def numa(reader):
    """The NUMA nodes: ``[{node, cpus, memory}]``, the memory in bytes."""
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
    """``{cpus, writable, governors}``: how many CPUs have a governor, how many of those can be set, and the governors."""
    folder = "sys/devices/system/cpu"
    files = [f"{folder}/{name}/cpufreq/scaling_governor" for name in reader.names(folder, r"cpu\d+$")]
    found = [(reader.line(name), os.access(reader.path(name), os.W_OK)) for name in files]
    found = [item for item in found if item[0] is not None]
    return {
        "cpus": len(found),
        "writable": sum(writable for _governor, writable in found),
        "governors": sorted({governor for governor, _writable in found}),
    }


def virtual(reader):
    """The product name of the virtual machine that the node is; an empty text for a real machine, None if it is not known."""
    names = [reader.line("sys/class/dmi/id/" + name) for name in ("sys_vendor", "product_name")]
    seen = " ".join(name for name in names if name)
    if VIRTUAL.search(seen):
        return seen
    if re.search(r"^flags\s*:.*\bhypervisor\b", reader.text("proc/cpuinfo") or "", re.M):
        return seen or "a hypervisor"
    return "" if seen else None


def selinux(reader, timeout):
    """The mode of SELinux: enforcing, permissive or disabled; None if it is not known."""
    mode = reader.line("sys/fs/selinux/enforce")
    if mode is not None:
        return {"1": "enforcing", "0": "permissive"}.get(mode)
    rc, output, _late = run(["getenforce"], timeout)
    word = output.strip().lower()
    return word if rc == 0 and word in ("enforcing", "permissive", "disabled") else "disabled" if rc == 127 else None


def stale(processes):
    """The processes of any vLLM: ``[{pid, command, container}]``; None if processes cannot be listed.

    Which of them belong to the plan's container is decided where the facts are evaluated.
    """
    if processes is None:
        return None
    return [
        {"pid": one["pid"], "command": one["command"] or one["name"], "container": one["container"]}
        for one in processes
        if STALE.search(one["command"]) or (one["name"] or "").startswith("VLLM::")
    ]


def package(text, key):
    """``{version, package, compatible}`` from a version.info; None without a file.

    *compatible* are the ranges ``[[first, last], ...]`` listed under *key*.
    """
    if text is None:
        return None
    values = dict(re.findall(r"^\s*(\w+)\s*=\s*(\S.*?)\s*$", text, re.M))
    pairs = re.findall(r"\[\s*([^\],\s]+)\s*,\s*([^\],\s]+)\s*\]", values.get(key, ""))
    return {
        "version": values.get("Version"),
        "package": values.get("package_version"),
        "compatible": [list(pair) for pair in pairs],
    }
