# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a support bundle reads on a node, group by group."""

from __future__ import annotations

import glob
import os
import time

from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.layout import RECORDS_DIR, SERVICE_DIR, STATE_DIR
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.run import driver_env, find_tool
from ansible_collections.ascend_ops.vllm.plugins.module_utils._npu.smi import parse_info
from ansible_collections.ascend_ops.vllm.plugins.module_utils._state import memory
from ansible_collections.ascend_ops.vllm.plugins.module_utils._support import parts
from ansible_collections.ascend_ops.vllm.plugins.module_utils._support.container import cann_logs
from ansible_collections.ascend_ops.vllm.plugins.module_utils._support.logs import SUPERVISOR, log_commands
from ansible_collections.ascend_ops.vllm.plugins.module_utils._support.parts import (
    Missing,
    Part,
    commands,
    contents,
    only_names,
    refuse,
)

NPU_QUESTIONS = ("health", "board", "common", "usages", "product")
HCCN_QUESTIONS = ("link", "net_health", "ip", "tls", "lldp", "optical", "link_stat", "stat")
# Kernel settings that matter for the service or its network.
SYSCTLS = (
    "vm/swappiness vm/overcommit_memory vm/max_map_count vm/nr_hugepages vm/zone_reclaim_mode vm/min_free_kbytes "
    "kernel/numa_balancing kernel/sched_migration_cost_ns kernel/pid_max kernel/threads-max kernel/shmmax kernel/shmall "
    "kernel/core_pattern kernel/panic fs/file-max fs/file-nr net/core/somaxconn net/core/rmem_max net/core/wmem_max "
    "net/ipv4/ip_local_port_range net/ipv4/ip_local_reserved_ports net/ipv4/ip_forward net/ipv4/tcp_rmem "
    "net/ipv4/tcp_wmem net/ipv4/conf/all/rp_filter"
).split()
FILES = (
    ("system/os-release.txt", "/etc/os-release", "distribution"),
    ("npu/driver-version.txt", "/usr/local/Ascend/driver/version.info", "driver version"),
    ("npu/firmware-version.txt", "/usr/local/Ascend/firmware/version.info", "firmware version"),
    ("npu/install.txt", "/etc/ascend_install.info", "driver installation"),
    ("fabric/hccn.conf", "/etc/hccn.conf", "addresses of the chips"),
    ("engine/daemon.json", "/etc/docker/daemon.json", "engine settings"),
    ("system/meminfo.txt", "/proc/meminfo", "memory and huge pages"),
    ("system/mounts.txt", "/proc/mounts", "mounts"),
    ("host-tuning/record.json", RECORDS_DIR + "/host_tuning.json", "settings before host tuning"),
    ("host-tuning/sysctl.conf", "/etc/sysctl.d/90-ascend-vllm.conf", "kernel settings applied at boot"),
)


class Sources:
    """The parts of one node's bundle.

    :param name: the container.
    :param engine: name or path of the engine's command.
    :param chips: physical ids of the chips to query.
    :param lines: lines of each log, from its end.
    :param since: how far to look back in logs, such as ``10m``.
    :param npu_smi, hccn_tool: paths of the tools, where the operator gave them.
    :param timeout: seconds for each command.
    :param root: where the node's files begin.
    """

    def __init__(self, name, engine, chips, lines, since, npu_smi, hccn_tool, timeout, root="/"):
        self.name, self.chips, self.timeout, self.root = name, chips, timeout, root
        self.npu_smi, self.hccn_tool = npu_smi, hccn_tool
        self.docker = find_tool(engine) or engine
        self.log, self.journal = log_commands(name, self.docker, lines, since)
        self.env = driver_env()

    def groups(self):
        """``{group: [parts]}``. Groups are read at the same time, the parts of a group one after the other."""
        result = {
            "npu": self._npu(),
            "engine": self._engine(),
            "journal": self._journals(),
            "network": self._network(),
            "system": self._system(),
            # Alone, since a network file system that is gone blocks it.
            "disks": [self._run("system/disks.txt", "disks", ["df", "-hT"], ["df", "-i"])],
            "files": [Part(path, what, contents(self._at(source))) for path, source, what in FILES],
            "service": self._service(),
        }
        result.update((f"chip {chip}", [self._chip(chip)]) for chip in self.chips)
        if not self.chips:
            result["chip"] = [Part("fabric/chips.txt", "hccn_tool output", refuse("there is no /dev/davinciN"))]
        return result

    def each_npu(self, table):
        """The parts of each NPU that *table*, the output of ``npu-smi info``, lists."""
        npus = {device["npu_id"] for device in parse_info(table or "")["devices"]} - {None}
        return [
            self._run(
                f"npu/npu-{npu}.txt",
                f"npu-smi output of NPU {npu}",
                *[["npu-smi", "info", "-t", question, "-i", str(npu)] for question in NPU_QUESTIONS],
                env=self.env,
                explicit=self.npu_smi,
            )
            for npu in sorted(npus)
        ]

    def _at(self, path):
        return os.path.join(self.root, path.lstrip("/"))

    def _run(self, path, what, *argvs, **options):
        return Part(path, what, commands(argvs, **dict({"timeout": self.timeout}, **options)))

    def _npu(self):
        npu_smi = {"env": self.env, "explicit": self.npu_smi}
        lists = [["npu-smi", "info"] + words for words in (["-l"], ["-m"], ["-t", "topo"])]
        return [
            self._run("npu/info.txt", "npu-smi table", ["npu-smi", "info"], **npu_smi),
            self._run("npu/lists.txt", "npu-smi list, mapping, topology", *lists, **npu_smi),
        ]

    def _chip(self, chip):
        return self._run(
            f"fabric/chip-{chip}.txt",
            f"hccn_tool output of chip {chip}",
            *[["hccn_tool", "-i", str(chip), "-" + question, "-g"] for question in HCCN_QUESTIONS],
            env=self.env,
            explicit=self.hccn_tool,
        )

    def _engine(self):
        def of(path, what, words, **options):
            return self._run(path, what, [self.docker] + words, **options)

        events = ["events", "--since", "24h", "--until", str(int(time.time())), "--filter", "container=" + self.name]
        cann = cann_logs(self.docker, self.name, self.timeout, self.root)
        return [
            of("container/inspect.json", "container as the engine has it", ["container", "inspect", self.name]),
            of("container/log.txt", "last lines of the container's log", self.log[1:], limit=parts.LOG),
            Part("container/cann-logs.txt", "newest logs of CANN", cann),
            of("engine/version.txt", "versions of client and engine", ["version"]),
            of("engine/info.txt", "engine configuration", ["info"]),
            of("engine/containers.txt", "all containers", ["ps", "--all", "--no-trunc"]),
            of("engine/images.txt", "images", ["images", "--digests", "--no-trunc"]),
            of("engine/events.txt", "events of the container in the last 24 hours", events),
            of("engine/disk.txt", "disk usage of the engine", ["system", "df"], timeout=3 * self.timeout),
        ]

    def _journals(self):
        def of(path, what, *words):
            return self._run(path, what, self.journal + list(words), limit=parts.LOG)

        unit = SUPERVISOR.format(self.name)
        systemctl = ["systemctl", "--no-pager"]
        return [
            of("supervisor/journal.txt", "journal of the supervisor", "-u", unit),
            self._run(
                "supervisor/units.txt",
                "units of the supervisor",
                systemctl + ["--full", "status", unit, f"ascend-vllm@{self.name}.timer"],
                systemctl + ["cat", unit],
                systemctl + ["list-timers", "--all"],
            ),
            of("engine/journal.txt", "journal of the engine", "-u", "docker.service", "-u", "containerd.service"),
            of("kernel/journal.txt", "journal of the kernel", "-k"),
            self._run("kernel/dmesg.txt", "kernel messages", ["dmesg", "-T"], limit=2 * parts.OUTPUT),
            self._run("system/failed-units.txt", "failed units", systemctl + ["--failed"]),
        ]

    def _network(self):
        links = [["ip"] + words for words in (["-d", "addr"], ["route"], ["-s", "link"])]
        return [
            self._run("network/ip.txt", "addresses, routes, counters", *links),
            self._run("network/listening.txt", "listening sockets", ["ss", "-tnlp"]),
            self._run("network/connections.txt", "connections", ["ss", "-tnp"]),
        ]

    def _system(self):
        processes = ["ps", "-eo", "pid,ppid,user,stat,lstart,rss,nlwp,args"]
        return [
            self._run("system/uname.txt", "kernel, uptime, clock", ["uname", "-a"], ["uptime"], ["timedatectl"]),
            self._run("system/cpu.txt", "CPUs", ["lscpu"]),
            self._run("system/memory.txt", "memory", ["free", "-m"]),
            self._run("system/processes.txt", "all processes", processes, limit=parts.LOG),
            Part("npu/users.txt", "processes with an open NPU device", chip_users(self.root)),
            Part("host-tuning/governors.txt", "CPU governors", governors(self.root)),
            Part("host-tuning/sysctls.txt", "kernel settings in effect", sysctls(self.root)),
        ]

    def _service(self):
        """The service's own files on the node."""
        folders = [self._at(f"{place}/{self.name}") for place in (SERVICE_DIR, RECORDS_DIR, STATE_DIR)]
        # It is removed from the other places when the first one takes it.
        places = memory.places(self.name)
        state = next((path for path in reversed(places) if os.path.exists(self._at(path))), places[0])
        found = [
            self._run("service/files.txt", "files of the service", ["ls", "-laR"] + folders),
            Part(
                "supervisor/state.json",
                "last state of the supervisor",
                contents(self._at(state)),
            ),
            Part("service/deployed.json", "deployed revision", contents(os.path.join(folders[1], "deployed.json"))),
        ]
        try:
            names = sorted(os.listdir(folders[0]))
        except OSError as error:
            reason = f"{folders[0]}: {error.strerror or error}"
            return found + [Part("service/config", "launch script and environment", refuse(reason))]
        for file in names:
            fill = contents(os.path.join(folders[0], file))
            if "secret" in file.lower():
                fill = only_names(fill)
            found.append(Part("service/config/" + file, f"of {SERVICE_DIR}/{self.name}", fill))
        return found


def sysctls(root="/"):
    """Fill a part with the kernel settings of SYSCTLS, one a line."""

    def fill(unused):
        lines = []
        for name in SYSCTLS:
            shown = name.replace("/", ".")
            try:
                with open(os.path.join(root, "proc/sys", name)) as stream:
                    lines.append(f"{shown} = {' '.join(stream.read(4096).split())}\n")
            except OSError as error:
                lines.append(f"{shown}: {error.strerror or error}\n")
        return "".join(lines)

    return fill


def governors(root="/"):
    """Fill a part with the CPU governors and how many CPUs have each."""

    def fill(unused):
        counts = {}
        for path in glob.glob(os.path.join(root, "sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor")):
            try:
                with open(path) as stream:
                    value = stream.read(100).strip()
            except OSError as error:
                value = error.strerror or str(error)
            counts[value] = counts.get(value, 0) + 1
        if not counts:
            raise Missing("the CPUs of this node have no cpufreq")
        return "".join(f"{value}: {counts[value]} CPUs\n" for value in sorted(counts))

    return fill


def chip_users(root="/"):
    """Fill a part with the processes that have an NPU device open: pid, devices, command."""

    def fill(unused):
        lines = []
        for pid in sorted((name for name in os.listdir(os.path.join(root, "proc")) if name.isdigit()), key=int):
            folder = os.path.join(root, "proc", pid)
            try:
                descriptors = os.listdir(os.path.join(folder, "fd"))
                links = {os.readlink(os.path.join(folder, "fd", name)) for name in descriptors}
                devices = sorted(link for link in links if link.startswith("/dev/davinci"))
                if devices:
                    with open(os.path.join(folder, "cmdline"), "rb") as stream:
                        command = stream.read(4000).replace(b"\0", b" ").decode("utf-8", "replace")
                    lines.append(f"{pid}  {' '.join(devices)}  {command.strip()}\n")
            except OSError:
                continue
        return "".join(lines) or "no process has a /dev/davinci* open\n"

    return fill
