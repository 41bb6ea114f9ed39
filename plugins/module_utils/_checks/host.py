# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The checks of a node as a machine: memory, CPUs, limits, disks, and remains of an earlier deployment."""

from __future__ import annotations

import json
import re

from ansible_collections.ascend_ops.vllm.plugins.module_utils._checks.check import Check
from ansible_collections.ascend_ops.vllm.plugins.module_utils._checks.owners import REMEDY, engine_silent
from ansible_collections.ascend_ops.vllm.plugins.module_utils._checks.weights import flag
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.layout import RECORDS_DIR, SERVICE_DIR
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.verdict import (
    FAIL,
    PASS,
    SKIPPED,
    UNKNOWN,
    WARN,
    verdict,
)
from ansible_collections.ascend_ops.vllm.plugins.module_utils._npu.chips import chips_of

GB = 10**9
GIB = 1 << 30
ISSUES = "https://github.com/vllm-project/vllm-ascend/issues/"
MIN_PYTHON = "3.7"  # what the modules of this collection require
CPUS_PER_NPU = 5
NOFILE = 16384
LEAST_DISK, ROOMY_DISK = 100 << 20, 2 * GIB
LEAST_SHM = 64 << 20  # Docker's default
ENOUGH_SHM = GIB
SWAPPED = GIB
MACHINES = ("aarch64", "x86_64")

CHECKS = {
    "host.python": Check(
        why="Ansible runs its modules with the node's Python: ansible-core 2.17 requires 3.7 there, 2.19 requires 3.8. An "
        "older one fails with a syntax error that names neither.",
        source="https://docs.ansible.com/ansible/latest/reference_appendices/release_and_maintenance.html",
        read="the version of the Python that ran the module",
        remedy="Install a newer Python on the node and set ansible_python_interpreter, or use an older ansible-core.",
    ),
    "host.architecture": Check(
        why="Images of vllm-ascend are published for aarch64 and x86_64 only.",
        read="`uname -m`",
        remedy="Deploy on an aarch64 or x86_64 server.",
    ),
    "host.memory": Check(
        why="All ranks of a node read the same shards. If the checkpoint does not fit in memory, each rank reads it from disk "
        "again and the start takes several times as long; with even less memory the kernel kills a worker.",
        read="MemTotal and MemAvailable in /proc/meminfo, compared with the size of the checkpoints",
        remedy="Stop other processes that use the memory ('ps aux --sort=-rss | head'), or expect a longer start.",
    ),
    "host.swap": Check(
        why="A worker that is swapped out stalls all others in the next collective.",
        read="SwapTotal and SwapFree in /proc/meminfo",
        remedy="Find and stop what is swapped out; with enough free memory, 'swapoff -a; swapon -a' brings the pages back.",
    ),
    "host.shm": Check(
        why="vLLM's processes exchange data in /dev/shm. Docker's default of 64 MB ends in a bus error or a dead EngineCore; "
        "a size above the node's memory does not limit anything.",
        source=ISSUES + "3513",
        read="shm_size of the container in the plan, which gets its own /dev/shm, compared with MemTotal",
        remedy="Set vllm_recipe_container.shm_size to 1g or more, and to less than the node's memory.",
    ),
    "host.hugepages": Check(
        why="Reserved huge pages that are not used reduce the memory for loading the weights.",
        read="HugePages_Total, HugePages_Free and Hugepagesize in /proc/meminfo",
        remedy="Lower vm.nr_hugepages, unless something that starts later needs them.",
    ),
    "host.ulimits": Check(
        why="Containers inherit the engine's limits. vLLM raises its limit of open files to 65535 if permitted; with a low "
        "limit, requests fail under load with 'Too many open files'.",
        read="/proc/PID/limits of dockerd and containerd",
        remedy="Raise LimitNOFILE in the units docker.service and containerd.service, and restart both.",
    ),
    "host.cpus_per_npu": Check(
        why="With enable_cpu_binding each chip needs 5 CPUs of its own; with fewer, binding fails and the ranks compete for "
        "CPUs.",
        source=ISSUES + "6966",
        read="online CPUs divided by the chips of the plan; only if the plan binds CPUs, and only on aarch64, where "
        "vllm-ascend does so",
        remedy="Bring CPUs online, or set enable_cpu_binding to false in additional-config.",
    ),
    "host.numa": Check(
        why="CPU binding assumes that the CPUs are distributed evenly over the NUMA nodes; ranks on a NUMA node without "
        "memory, as with a missing DIMM, are slow.",
        source=ISSUES + "6966",
        read="/sys/devices/system/node/node*/cpulist and meminfo",
        remedy="Check 'numactl -H' and 'dmidecode -t memory': a DIMM may be missing, or CPUs may be offline.",
    ),
    "host.cpufreq": Check(
        why="The recipe sets the governor performance. If it cannot be set, the CPUs clock down between tokens.",
        read="/sys/devices/system/cpu/cpu*/cpufreq/scaling_governor, and whether it is writable",
        remedy="Set the power policy to performance in the server's firmware (BIOS or iBMC); the tuning continues without it.",
    ),
    "host.selinux": Check(
        why="If SELinux is enforcing and the engine uses it, a container cannot read bind mounts without a label: access to "
        "weights and driver files is denied.",
        read="/sys/fs/selinux/enforce or `getenforce`, and the security options in `docker info`",
        remedy="'setenforce 0' as a test; then label the mounts (chcon -t container_file_t) or disable selinux-enabled in the "
        "engine.",
    ),
    "host.disk": Check(
        why="On a full disk Ansible, the launch files and the logs cannot be written, which stops a deploy halfway.",
        read=f"free bytes on the file systems of /, /var, /tmp, {SERVICE_DIR} and {RECORDS_DIR}",
        remedy="'df -h' and 'du -xh --max-depth=2 / | sort -h | tail' show what fills it.",
    ),
    "service.stale": Check(
        why="When the API process dies, its child processes survive, occupy HBM and ports, and answer /health with 200. A new "
        "service next to them does not become ready.",
        source="https://github.com/vllm-project/vllm/issues/32116",
        read="processes VLLM::* and `vllm serve` outside the plan's container, and other containers of this collection",
        remedy="Check 'ps -fp PID', then 'kill PID'; 'docker rm -f NAME' for a container of an earlier deployment.",
    ),
}
NOT_REPORTED = (UNKNOWN, "the node did not report it")


def evaluate(node, facts, policy):
    """The verdicts on one node as a machine.

    :param policy: ``min_python``: the oldest Python that the controller's ansible-core supports on nodes, or empty.
    """
    host, policy = facts.get("host") or {}, policy or {}
    checks = []
    for check, function, wanted in (
        ("host.python", _python, f"Python {policy.get('min_python') or MIN_PYTHON} or later"),
        ("host.architecture", _architecture, " or ".join(MACHINES)),
        ("host.memory", _memory, "more available memory than the size of the checkpoints"),
        ("host.swap", _swap, f"less than {SWAPPED / GIB:.0f} GiB swapped out"),
        ("host.shm", _shm, "a /dev/shm of 1 GiB or more in the container, within the node's memory"),
        ("host.hugepages", _hugepages, "at most a quarter of the memory in idle huge pages"),
        ("host.ulimits", _ulimits, f"{NOFILE} open files or more"),
        ("host.cpus_per_npu", _cpus, f"{CPUS_PER_NPU} CPUs per chip"),
        ("host.numa", _numa, "CPUs distributed evenly over NUMA nodes that have memory"),
        ("host.cpufreq", _cpufreq, "a governor that can be set"),
        ("host.selinux", _selinux, "no SELinux between a container and its mounts"),
        ("host.disk", _disk, f"{ROOMY_DISK / GIB:.0f} GiB free"),
        ("service.stale", _stale, "no process or container of an earlier deployment"),
    ):
        try:
            word, seen = function(node, facts, host, policy)
        except (AttributeError, KeyError, TypeError, ValueError):  # a part is missing, or of another kind
            word, seen = NOT_REPORTED
        of_unknown = check == "service.stale" and word == UNKNOWN and engine_silent(facts)
        checks.append(verdict(check, word, seen, wanted, REMEDY if of_unknown else CHECKS[check].remedy))
    return checks


# -- system and memory: each function returns (verdict, seen) ----------------------------------------------------------


def _numbers(text):
    return tuple(int(number) for number in re.findall(r"\d{1,6}", str(text))[:3])


def _python(node, facts, host, policy):
    seen = host.get("python")
    if not seen:
        return NOT_REPORTED
    return PASS if _numbers(seen) >= _numbers(policy.get("min_python") or MIN_PYTHON) else FAIL, str(seen)


def _architecture(node, facts, host, policy):
    machine = host.get("machine")
    if not machine:
        return NOT_REPORTED
    return PASS if machine in MACHINES else FAIL, machine


def _memory(node, facts, host, policy):
    memory = host.get("memory")
    weights = [item for item in facts.get("weights") or [] if item.get("exists")]
    if not memory or memory.get("available") is None:
        return NOT_REPORTED
    available, required = memory["available"], sum(item.get("bytes") or 0 for item in weights)
    seen = f"{available / GB:.1f} of {memory['total'] / GB:.1f} GB available; weights {required / GB:.1f} GB"
    if facts.get("service_pids"):
        return SKIPPED, seen + "; the service is running"
    if len(weights) < len(node["weights"]):
        return UNKNOWN, seen + ", not all reported"
    return PASS if available > required else WARN, seen


def _swap(node, facts, host, policy):
    memory = host.get("memory")
    if not memory or memory.get("swap_total") is None or memory.get("swap_free") is None:
        return NOT_REPORTED
    used = memory["swap_total"] - memory["swap_free"]
    return WARN if used >= SWAPPED else PASS, f"{used / GIB:.1f} of {memory['swap_total'] / GIB:.1f} GiB in use"


def parse_size(text):
    """Bytes of a size as the engine reads it, such as 1200g or 512mb; None for anything else."""
    match = re.match(r"(\d+(?:\.\d+)?)\s*([kmgt]?)i?b?$", str(text).strip().lower())
    return int(float(match.group(1)) * 1024 ** " kmgt".index(match.group(2) or " ")) if match else None


def _shm(node, facts, host, policy):
    text = node["container"].get("shm_size")
    size = parse_size(text)
    memory = host.get("memory")
    if size is None:
        return UNKNOWN, f"shm_size {text!r} is not a size"
    if size <= LEAST_SHM:
        return FAIL, f"shm_size {text}"
    if size < ENOUGH_SHM:
        return WARN, f"shm_size {text}"
    if not memory:
        return UNKNOWN, f"shm_size {text}; the node's memory was not reported"
    return WARN if size > memory["total"] else PASS, f"shm_size {text}, memory {memory['total'] / GIB:.0f} GiB"


def _hugepages(node, facts, host, policy):
    memory = host.get("memory")
    if not memory:
        return NOT_REPORTED
    reserved, idle = memory.get("hugepages") or 0, memory.get("hugepages_free") or 0
    seen = f"{reserved / GIB:.1f} GiB reserved, {idle / GIB:.1f} GiB of it idle"
    return WARN if idle > memory["total"] / 4 else PASS, seen


def _ulimits(node, facts, host, policy):
    limits = host.get("limits")
    if not limits:
        return UNKNOWN, "no daemon of the engine was found"
    low, parts = False, []
    for name, values in sorted(limits.items()):
        hard = (values.get("nofile") or [None, None])[1]
        if hard is None:
            return NOT_REPORTED
        low = low or 0 <= hard < NOFILE
        locked = (values.get("memlock") or [None, None])[1]
        files = "unlimited" if hard < 0 else hard
        memory = "not reported" if locked is None else "unlimited" if locked < 0 else f"{locked} bytes"
        parts.append(f"{name}: {files} open files, locked memory {memory}")
    return WARN if low else PASS, "; ".join(parts)


# -- CPUs --------------------------------------------------------------------------------------------------------------


def binds_cpus(argv):
    """Whether the command asks vllm-ascend to bind CPUs."""
    try:
        config = json.loads(flag(argv, "--additional-config") or flag(argv, "--additional_config") or "{}")
    except ValueError:
        return False
    return isinstance(config, dict) and config.get("enable_cpu_binding") in (True, "true", "True", 1)


def _cpus(node, facts, host, policy):
    if not binds_cpus(node["argv"]):
        return SKIPPED, "the plan does not bind CPUs"
    machine, online, chips = host.get("machine"), (host.get("cpus") or {}).get("online"), len(chips_of(node))
    if machine not in (None, "aarch64", "arm64"):
        return SKIPPED, f"on {machine} vllm-ascend does not bind CPUs"
    if not online or not chips or machine is None:
        return NOT_REPORTED
    return PASS if online >= CPUS_PER_NPU * chips else WARN, f"{online} CPUs online for {chips} chips"


def _numa(node, facts, host, policy):
    nodes = host.get("numa")
    if nodes is None:
        return NOT_REPORTED
    if not nodes:
        return SKIPPED, "the kernel has no NUMA nodes"
    seen = ", ".join(_numa_text(one) for one in nodes[:8])
    if any(one.get("cpus") is None or one.get("memory") is None for one in nodes):
        return UNKNOWN, seen
    # A node without CPUs is memory of another kind (HBM, CXL), which is normal.
    with_cpus = [one for one in nodes if one["cpus"]]
    uneven = len({one["cpus"] for one in with_cpus}) > 1 or any(not one["memory"] for one in with_cpus)
    return WARN if uneven else PASS, seen


def _numa_text(one):
    cpus, memory = one.get("cpus"), one.get("memory")
    amount = "memory not reported" if memory is None else f"{memory / GIB:.0f} GiB"
    return f"node {one['node']}: {'?' if cpus is None else cpus} CPUs, {amount}"


def _cpufreq(node, facts, host, policy):
    cpufreq = host.get("cpufreq")
    if cpufreq is None:
        return NOT_REPORTED
    cpus, writable, governors = cpufreq["cpus"], cpufreq["writable"], cpufreq["governors"]
    if not cpus:
        return WARN, "the kernel has no cpufreq on this node"
    seen = f"{', '.join(governors)} on {cpus} CPUs, {writable} writable"
    return PASS if governors == ["performance"] or writable == cpus else WARN, seen


# -- access, disks, processes ------------------------------------------------------------------------------------------


def _selinux(node, facts, host, policy):
    mode = host.get("selinux")
    if mode is None:
        return NOT_REPORTED
    if mode != "enforcing":
        return PASS, mode
    security = (facts.get("engine") or {}).get("security")
    if security is None:
        return WARN, "enforcing; the engine did not report whether it uses SELinux"
    if any("selinux" in str(option) for option in security):
        return WARN, "enforcing, and the engine uses it"
    return PASS, "enforcing, but the engine does not use it"


def _disk(node, facts, host, policy):
    disks = host.get("disks")
    if not disks or any(free is None for free in disks.values()):
        return NOT_REPORTED
    path = min(sorted(disks), key=lambda one: disks[one])
    free = disks[path]
    seen = f"{free / GIB:.1f} GiB free at {path}" + ("" if free >= LEAST_DISK else f" ({free} bytes)")
    return FAIL if free < LEAST_DISK else WARN if free < ROOMY_DISK else PASS, seen


def _stale(node, facts, host, policy):
    engine, processes = facts.get("engine") or {}, host.get("stale")
    if processes is None:
        return NOT_REPORTED
    others = engine.get("others")
    own = "" if engine.get("foreign") else (engine.get("container") or {}).get("id") or ""
    foreign = [one for one in processes if not (own and one["container"] and one["container"].startswith(own))]
    outside = [f"pid {one['pid']} ({one['command'][:60]})" for one in foreign if not one["container"]]
    inside = {one["container"][:12] for one in foreign if one["container"]}
    stopped = [one["name"] for one in others or [] if one["ours"] and not one["running"]]
    seen = _stale_text(outside, inside, stopped, {one["id"][:12]: one["name"] for one in others or []})
    if outside:
        return FAIL, _stale_text(outside, [], stopped, {}) if engine_silent(facts) else seen
    if inside and engine_silent(facts):
        return UNKNOWN, seen + "; it is not known whose it is"
    if others is None and not seen:
        return UNKNOWN, "the engine does not list its containers"
    # A second service on other chips is legitimate; on the same chips container.holds_device fails.
    planned = set(node["container"]["devices"])
    beside = [one for one in others or [] if one["ours"] and one["running"] and not set(one["devices"]) & planned]
    if stopped or inside - {one["id"][:12] for one in beside}:
        return WARN, seen
    return PASS, "none" + ("; another service of this collection on other chips" if beside else "")


def _stale_text(outside, inside, stopped, names):
    parts = []
    if outside:
        parts.append("outside containers: " + ", ".join(outside[:4]))
    if inside:
        parts.append("vLLM in the container " + ", ".join(sorted(names.get(one, one) for one in inside)))
    if stopped:
        parts.append("stopped container of this collection: " + ", ".join(stopped))
    return "; ".join(parts)
