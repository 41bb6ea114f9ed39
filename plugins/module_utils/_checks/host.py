# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The checks of a node as a machine: memory, CPUs, limits, disks, and what an earlier deployment left."""

from __future__ import annotations

import json
import re

from ansible_collections.ascend_ops.vllm.plugins.module_utils._checks.weights import flag
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.verdict import verdict

GB = 10**9
GIB = 1 << 30
ISSUES = "https://github.com/vllm-project/vllm-ascend/issues/"
MIN_PYTHON = "3.7"  # what this collection's modules need
CPUS_PER_NPU = 5
NOFILE = 16384
LEAST_DISK, ROOMY_DISK = 100 << 20, 2 * GIB
LEAST_SHM = 64 << 20  # Docker's own
ENOUGH_SHM = GIB
SWAPPED = GIB
MACHINES = ("aarch64", "x86_64")

CHECKS = {
    "host.python": {
        "why": "Ansible runs its modules with the node's Python: ansible-core 2.17 needs 3.7 there, 2.19 needs 3.8. An "
        "older one fails with a syntax error that names neither.",
        "source": "https://docs.ansible.com/ansible/latest/reference_appendices/release_and_maintenance.html",
        "read": "the version of the Python that the module ran with",
        "remedy": "Install a newer Python on the node and set ansible_python_interpreter, or use an older ansible-core.",
    },
    "host.architecture": {
        "why": "Images of vllm-ascend are published for aarch64 and x86_64 alone.",
        "source": "",
        "read": "`uname -m`",
        "remedy": "Deploy on an aarch64 or x86_64 server.",
    },
    "host.memory": {
        "why": "All ranks of a node read the same shards. When memory cannot hold the checkpoint, it is read anew from disk "
        "for each of them, and the start takes a multiple of the time; with still less the kernel kills a worker.",
        "source": "",
        "read": "MemTotal and MemAvailable of /proc/meminfo against the bytes of the checkpoints",
        "remedy": "Stop what else uses the memory ('ps aux --sort=-rss | head'), or plan for a longer start.",
    },
    "host.swap": {
        "why": "A worker that was swapped out stalls all others at the next collective.",
        "source": "",
        "read": "SwapTotal and SwapFree of /proc/meminfo",
        "remedy": "Find what is swapped out and stop it; 'swapoff -a; swapon -a' takes the pages back when memory is free.",
    },
    "host.shm": {
        "why": "vLLM's processes exchange data in /dev/shm. Docker's own 64 MB ends in a bus error or a dead EngineCore; a "
        "limit above the node's memory is no limit.",
        "source": ISSUES + "3513",
        "read": "the container's shm_size in the plan, which has a /dev/shm of its own, against MemTotal",
        "remedy": "Set vllm_recipe_container.shm_size to 1g or more, and to less than the node's memory.",
    },
    "host.hugepages": {
        "why": "Reserved huge pages that nobody uses are taken from the memory that loads the weights.",
        "source": "",
        "read": "HugePages_Total, HugePages_Free and Hugepagesize of /proc/meminfo",
        "remedy": "Lower vm.nr_hugepages, unless something that starts later needs them.",
    },
    "host.ulimits": {
        "why": "Containers inherit the engine's limits. vLLM raises its open files to 65535 when it may; with few, requests "
        "fail under load with 'Too many open files'.",
        "source": "",
        "read": "/proc/PID/limits of dockerd and containerd",
        "remedy": "Raise LimitNOFILE in the units docker.service and containerd.service, and restart both.",
    },
    "host.cpus_per_npu": {
        "why": "With enable_cpu_binding each chip needs 5 CPUs of its own; with fewer the binding fails and the ranks "
        "disturb each other.",
        "source": ISSUES + "6966",
        "read": "CPUs online by the chips of the plan; only where the plan binds CPUs, and only on aarch64, where it is done",
        "remedy": "Bring CPUs online, or set enable_cpu_binding to false in additional-config.",
    },
    "host.numa": {
        "why": "CPU binding takes it that the CPUs are spread evenly over the NUMA nodes; a node without memory, from a "
        "missing DIMM, makes its ranks slow.",
        "source": ISSUES + "6966",
        "read": "/sys/devices/system/node/node*/cpulist and meminfo",
        "remedy": "Look at 'numactl -H' and 'dmidecode -t memory': a DIMM may be lost, or CPUs offline.",
    },
    "host.cpufreq": {
        "why": "The recipe wants the governor performance. Where it cannot be set the CPUs clock down between tokens.",
        "source": "",
        "read": "/sys/devices/system/cpu/cpu*/cpufreq/scaling_governor, and whether it can be written",
        "remedy": "Set the power policy to performance in the server's firmware (BIOS or iBMC); the tuning goes on without.",
    },
    "host.selinux": {
        "why": "With SELinux enforcing and an engine that uses it, a container may not read bind mounts without a label: "
        "weights and driver files are denied.",
        "source": "",
        "read": "/sys/fs/selinux/enforce or `getenforce`, and the security options of `docker info`",
        "remedy": "'setenforce 0' to try; then label the mounts (chcon -t container_file_t) or turn selinux-enabled off in "
        "the engine.",
    },
    "host.disk": {
        "why": "A full disk keeps Ansible, the launch files and the logs from being written, in the middle of a deploy.",
        "source": "",
        "read": "bytes free on the file systems of /, /var, /tmp, /etc/ascend-vllm and /var/lib/ascend-vllm",
        "remedy": "'df -h' and 'du -xh --max-depth=2 / | sort -h | tail' show what fills it.",
    },
    "service.stale": {
        "why": "When the API process dies its children live on, hold HBM and ports, and answer /health with 200. A new "
        "service beside them does not become ready.",
        "source": "https://github.com/vllm-project/vllm/issues/32116",
        "read": "processes VLLM::* and `vllm serve` outside the plan's container, and other containers of this collection",
        "remedy": "Look at 'ps -fp PID', then 'kill PID'; 'docker rm -f NAME' for a container of an earlier deployment.",
    },
}


def judge(node, facts, policy):
    """The verdicts on one node as a machine."""
    host = facts.get("host") or {}
    checks = []
    for check, function, wanted in (
        ("host.python", _python, "Python {0} or later".format((policy or {}).get("min_python") or MIN_PYTHON)),
        ("host.architecture", _architecture, " or ".join(MACHINES)),
        ("host.memory", _memory, "more memory available than the checkpoints have bytes"),
        ("host.swap", _swap, f"less than {SWAPPED / GIB:.0f} GiB swapped out"),
        ("host.shm", _shm, "a container's /dev/shm of 1 GiB or more, within the node's memory"),
        ("host.hugepages", _hugepages, "at most a quarter of the memory in idle huge pages"),
        ("host.ulimits", _ulimits, f"{NOFILE} open files or more"),
        ("host.cpus_per_npu", _cpus, f"{CPUS_PER_NPU} CPUs per chip"),
        ("host.numa", _numa, "CPUs spread evenly over NUMA nodes that have memory"),
        ("host.cpufreq", _cpufreq, "a governor that can be set"),
        ("host.selinux", _selinux, "no SELinux between a container and its mounts"),
        ("host.disk", _disk, f"{ROOMY_DISK / GIB:.0f} GiB free"),
        ("service.stale", _stale, "no process or container of an earlier deployment"),
    ):
        try:
            word, seen = function(node, facts, host, policy or {})
        except (AttributeError, KeyError, TypeError, ValueError):  # a part of it was not told, or otherwise
            word, seen = UNTOLD
        checks.append(verdict(check, word, seen, wanted, CHECKS[check]["remedy"]))
    return checks


UNTOLD = ("unknown", "the node did not tell")


def _numbers(text):
    return tuple(int(number) for number in re.findall(r"\d{1,6}", str(text))[:3])


def _python(node, facts, host, policy):
    seen = host.get("python")
    if not seen:
        return UNTOLD
    return "pass" if _numbers(seen) >= _numbers(policy.get("min_python") or MIN_PYTHON) else "fail", str(seen)


def _architecture(node, facts, host, policy):
    machine = host.get("machine")
    if not machine:
        return UNTOLD
    return "pass" if machine in MACHINES else "fail", machine


def _memory(node, facts, host, policy):
    memory = host.get("memory")
    weights = [item for item in facts.get("weights") or [] if item.get("exists")]
    if not memory or memory.get("available") is None:
        return UNTOLD
    needed = sum(item.get("bytes") or 0 for item in weights)
    seen = "{0:.1f} of {1:.1f} GB available; weights {2:.1f} GB".format(
        memory["available"] / GB, memory["total"] / GB, needed / GB
    )
    if facts.get("service_pids"):
        return "skipped", seen + "; the service runs already"
    if len(weights) < len(node["weights"]):
        return "unknown", seen + ", not all told"
    return "pass" if memory["available"] > needed else "warn", seen


def _swap(node, facts, host, policy):
    memory = host.get("memory")
    if not memory or memory.get("swap_total") is None or memory.get("swap_free") is None:
        return UNTOLD
    used = memory["swap_total"] - memory["swap_free"]
    seen = "{0:.1f} of {1:.1f} GiB in use".format(used / GIB, memory["swap_total"] / GIB)
    return "warn" if used >= SWAPPED else "pass", seen


def parse_size(text):
    """Bytes of a size as the engine reads it, such as 1200g or 512mb; None for what is none."""
    match = re.match(r"(\d+(?:\.\d+)?)\s*([kmgt]?)i?b?$", str(text).strip().lower())
    return int(float(match.group(1)) * 1024 ** " kmgt".index(match.group(2) or " ")) if match else None


def _shm(node, facts, host, policy):
    text = node["container"].get("shm_size")
    size = parse_size(text)
    memory = host.get("memory")
    if size is None:
        return "unknown", f"shm_size {text!r} is no size"
    if size <= LEAST_SHM:
        return "fail", f"shm_size {text}"
    if size < ENOUGH_SHM:
        return "warn", f"shm_size {text}"
    if not memory:
        return "unknown", f"shm_size {text}; the node's memory is not told"
    seen = "shm_size {0}, memory {1:.0f} GiB".format(text, memory["total"] / GIB)
    return "warn" if size > memory["total"] else "pass", seen


def _hugepages(node, facts, host, policy):
    memory = host.get("memory")
    if not memory:
        return UNTOLD
    idle = memory.get("hugepages_free") or 0
    seen = "{0:.1f} GiB reserved, {1:.1f} GiB of it idle".format((memory.get("hugepages") or 0) / GIB, idle / GIB)
    return "warn" if idle > memory["total"] / 4 else "pass", seen


def _ulimits(node, facts, host, policy):
    limits = host.get("limits")
    if not limits:
        return "unknown", "no daemon of the engine was found"
    few = False
    parts = []
    for name, told in sorted(limits.items()):
        hard = (told.get("nofile") or [None, None])[1]
        if hard is None:
            return UNTOLD
        few = few or 0 <= hard < NOFILE
        locked = (told.get("memlock") or [None, None])[1]
        parts.append(
            "{0}: {1} open files, {2} locked".format(
                name,
                "any number of" if hard < 0 else hard,
                "not told" if locked is None else "any" if locked < 0 else f"{locked} bytes",
            )
        )
    return "warn" if few else "pass", "; ".join(parts)


def binds_cpus(argv):
    """Does the command ask vllm-ascend to bind CPUs?"""
    try:
        config = json.loads(flag(argv, "--additional-config") or flag(argv, "--additional_config") or "{}")
    except ValueError:
        return False
    return isinstance(config, dict) and config.get("enable_cpu_binding") in (True, "true", "True", 1)


def _chips(node):
    return sum(1 for path in node["container"]["devices"] if re.match(r"/dev/davinci\d+$", path))


def _cpus(node, facts, host, policy):
    if not binds_cpus(node["argv"]):
        return "skipped", "the plan does not bind CPUs"
    machine, online, chips = host.get("machine"), (host.get("cpus") or {}).get("online"), _chips(node)
    if machine not in (None, "aarch64", "arm64"):
        return "skipped", f"on {machine} vllm-ascend does not bind CPUs"
    if not online or not chips or machine is None:
        return UNTOLD
    seen = f"{online} CPUs online for {chips} chips"
    return "pass" if online >= CPUS_PER_NPU * chips else "warn", seen


def _numa(node, facts, host, policy):
    told = host.get("numa")
    if told is None:
        return UNTOLD
    if not told:
        return "skipped", "the kernel knows no NUMA nodes"
    with_cpus = [one for one in told if one.get("cpus")]
    seen = ", ".join(
        "node {0}: {1} CPUs, {2}".format(
            one["node"],
            "?" if one.get("cpus") is None else one["cpus"],
            "memory not told" if one.get("memory") is None else "{0:.0f} GiB".format(one["memory"] / GIB),
        )
        for one in told[:8]
    )
    if any(one.get("cpus") is None or one.get("memory") is None for one in told):
        return "unknown", seen
    # A node without CPUs is memory of another kind (HBM, CXL) and no fault.
    uneven = len({one["cpus"] for one in with_cpus}) > 1 or any(not one["memory"] for one in with_cpus)
    return "warn" if uneven else "pass", seen


def _cpufreq(node, facts, host, policy):
    told = host.get("cpufreq")
    if told is None:
        return UNTOLD
    if not told["cpus"]:
        return "warn", "the kernel has no cpufreq here"
    seen = "{0} on {1} CPUs, {2} writable".format(", ".join(told["governors"]), told["cpus"], told["writable"])
    if told["governors"] == ["performance"] or told["writable"] == told["cpus"]:
        return "pass", seen
    return "warn", seen


def _selinux(node, facts, host, policy):
    mode = host.get("selinux")
    if mode is None:
        return UNTOLD
    if mode != "enforcing":
        return "pass", mode
    security = (facts.get("engine") or {}).get("security")
    if security is None:
        return "warn", "enforcing; the engine does not tell whether it uses it"
    if any("selinux" in str(option) for option in security):
        return "warn", "enforcing, and the engine uses it"
    return "pass", "enforcing, but the engine does not use it"


def _disk(node, facts, host, policy):
    disks = host.get("disks")
    if not disks or any(free is None for free in disks.values()):
        return UNTOLD
    path = min(sorted(disks), key=lambda one: disks[one])
    free = disks[path]
    seen = f"{free / GIB:.1f} GiB free at {path}" + ("" if free >= LEAST_DISK else f" ({free} bytes)")
    return "fail" if free < LEAST_DISK else "warn" if free < ROOMY_DISK else "pass", seen


def _stale(node, facts, host, policy):
    engine = facts.get("engine") or {}
    own = (engine.get("container") or {}).get("id") or ""
    if engine.get("foreign"):
        own = ""
    processes = host.get("stale")
    others = engine.get("others")
    if processes is None:
        return UNTOLD
    beside = [one for one in processes if not (own and one["container"] and one["container"].startswith(own))]
    loose = ["pid {0} ({1})".format(one["pid"], one["command"][:60]) for one in beside if not one["container"]]
    inside = {one["container"][:12] for one in beside if one["container"]}
    names = {one["id"][:12]: one["name"] for one in others or []}
    planned = set(node["container"]["devices"])
    old = [one["name"] for one in others or [] if one["ours"] and not one["running"]]
    seen = []
    if loose:
        seen.append("outside containers: " + ", ".join(loose[:4]))
    if inside:
        seen.append("vLLM in the container " + ", ".join(sorted(names.get(one, one) for one in inside)))
    if old:
        seen.append("stopped container of this collection: " + ", ".join(old))
    if loose:
        return "fail", "; ".join(seen)
    if others is None and not engine.get("error") and not seen:
        return "unknown", "the engine does not list its containers"
    # On other chips a second service may run beside this one; on the same chips container.holds_device fails.
    mine = [one for one in others or [] if one["ours"] and one["running"] and not set(one["devices"]) & planned]
    legal = {one["id"][:12] for one in mine}
    if old or inside - legal:
        return "warn", "; ".join(seen)
    return "pass", "none" + ("; another service of this collection on other chips" if mine else "")
