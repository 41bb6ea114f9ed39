"""Verdicts on a node as a machine; and what is read of one, from files laid out as its own."""

import json
import os
import subprocess
import sys

import pytest
from ansible_collections.ascend_ops.vllm.plugins.module_utils._checks import host as checks_host
from ansible_collections.ascend_ops.vllm.plugins.module_utils._checks.host import binds_cpus, parse_size
from ansible_collections.ascend_ops.vllm.plugins.module_utils._facts import host as facts_host
from ansible_collections.ascend_ops.vllm.plugins.module_utils._facts.host import (
    Reader,
    count,
    gather,
    memory,
    os_release,
    package,
    parse_limits,
    stale,
)
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.model import processes
from ansible_collections.ascend_ops.vllm.plugins.plugin_utils._plan import plan
from healthy import EMPTY, catalogue, evaluated, put, whole
from hypothesis import given, settings
from hypothesis import strategies as st
from test_plan import a2, a3

NODES = processes(plan(a2()))
N = NODES[0]
A3 = processes(plan(a3()))[0]
GIB = 1 << 30
OWN, OTHER = "a" * 64, "b" * 64


def verdicts_on(change=None, node=N, policy=None):
    return evaluated(checks_host, node, change, policy)


@pytest.mark.parametrize("node", [NODES[0], NODES[1], A3], ids=["primary", "secondary", "a3"])
def test_a_healthy_node_passes_everything(node):
    verdicts = verdicts_on(node=node)
    assert {check["verdict"] for check in verdicts.values()} == {"pass"}, verdicts
    assert set(verdicts) == set(checks_host.CHECKS)


def test_the_catalogue_is_whole():
    catalogue(checks_host)


def with_shm(size):
    return dict(N, container=dict(N["container"], shm_size=size))


def process(container=None, pid=4711, command="VLLM::EngineCore_DP0"):
    return {"pid": pid, "command": command, "container": container}


def old(**changes):
    """Another container of this collection."""
    known = {"name": "old", "id": OTHER[:12], "image": "i", "running": False, "ours": True, "privileged": False}
    return dict(known, devices=["/dev/davinci0"], **changes)


def both(*changes):
    return lambda facts: [change(facts) for change in changes]


# change, check, verdict, what is seen, what remedy or wanted name
BROKEN = [
    (put("host", "python", "3.7.9"), "host.python", "fail", "3.7.9", "Python 3.8 or later"),
    (put("host", "machine", "loongarch64"), "host.architecture", "fail", "loongarch64", "aarch64"),
    (put("host", "memory", "available", 200 * 10**9), "host.memory", "warn", "200.0 of", "rss"),
    (put("weights", []), "host.memory", "unknown", "not all reported", "rss"),
    (
        both(put("host", "memory", "swap_total", 8 * GIB), put("host", "memory", "swap_free", 3 * GIB)),
        "host.swap",
        "warn",
        "5.0 of 8.0 GiB in use",
        "swapoff",
    ),
    (put("host", "memory", "total", 1 << 40), "host.shm", "warn", "shm_size 1200g, memory 1024 GiB", "less than"),
    (put("host", "memory", None), "host.shm", "unknown", "not reported", "1g"),
    (
        put("host", "memory", "hugepages_free", 600 * GIB),
        "host.hugepages",
        "warn",
        "600.0 GiB of it idle",
        "nr_hugepages",
    ),
    (
        put("host", "limits", "dockerd", "nofile", [1024, 4096]),
        "host.ulimits",
        "warn",
        "dockerd: 4096 open files",
        "LimitNOFILE",
    ),
    (put("host", "limits", {}), "host.ulimits", "unknown", "no daemon", "docker.service"),
    (
        put("host", "cpus", "online", 39),
        "host.cpus_per_npu",
        "warn",
        "39 CPUs online for 8 chips",
        "enable_cpu_binding",
    ),
    (put("host", "numa", 3, "cpus", 12), "host.numa", "warn", "node 3: 12 CPUs", "numactl"),
    (put("host", "numa", 3, "memory", 0), "host.numa", "warn", "node 3: 24 CPUs, 0 GiB", "DIMM"),
    (put("host", "numa", 3, "memory", None), "host.numa", "unknown", "node 3: 24 CPUs, memory not reported", "DIMM"),
    (
        put("host", "cpufreq", {"cpus": 192, "writable": 0, "governors": ["powersave"]}),
        "host.cpufreq",
        "warn",
        "powersave on 192 CPUs, 0 writable",
        "BIOS",
    ),
    (put("host", "cpufreq", {"cpus": 0, "writable": 0, "governors": []}), "host.cpufreq", "warn", "no cpufreq", "BIOS"),
    (
        both(put("host", "selinux", "enforcing"), put("engine", "security", ["name=selinux"])),
        "host.selinux",
        "warn",
        "the engine uses it",
        "chcon",
    ),
    (
        both(put("host", "selinux", "enforcing"), put("engine", "security", None)),
        "host.selinux",
        "warn",
        "did not report whether",
        "setenforce",
    ),
    (put("host", "disks", "/tmp", GIB), "host.disk", "warn", "1.0 GiB free at /tmp", "df -h"),
    (put("host", "disks", "/tmp", 65536), "host.disk", "fail", "(65536 bytes)", "df -h"),
    (put("host", "disks", "/tmp", None), "host.disk", "unknown", "did not report", "df -h"),
    (
        put("host", "stale", [process()]),
        "service.stale",
        "fail",
        "outside containers: pid 4711 (VLLM::EngineCore_DP0)",
        "kill",
    ),
    (put("host", "stale", [process(OTHER)]), "service.stale", "warn", "in the container bbbbbbbbbbbb", "docker rm"),
    (
        put("engine", "others", [old()]),
        "service.stale",
        "warn",
        "stopped container of this collection: old",
        "docker rm",
    ),
    (
        both(put("engine", "others", [old(running=True)]), put("host", "stale", [process(OTHER)])),
        "service.stale",
        "warn",
        "vLLM in the container old",
        "docker rm",
    ),
    (put("engine", "others", None), "service.stale", "unknown", "does not list", "docker rm"),
    (put("host", "stale", None), "service.stale", "unknown", "did not report", "ps -fp"),
]


@pytest.mark.parametrize("change, check, word, seen, named", BROKEN)
def test_broken(change, check, word, seen, named):
    found = verdicts_on(change)[check]
    assert (found["verdict"], seen in found["seen"]) == (word, True), found
    assert named in found["remedy"] or named in found["wanted"], found


@pytest.mark.parametrize(
    "size, word", [("64m", "fail"), ("512m", "warn"), ("1g", "pass"), ("4t", "warn"), ("?", "unknown")]
)
def test_shared_memory_of_the_plan(size, word):
    assert verdicts_on(node=with_shm(size))["host.shm"]["verdict"] == word


def test_sizes():
    assert parse_size("1200g") == 1200 * GIB and parse_size("64MB") == parse_size("65536k") == 64 << 20
    assert parse_size(67108864) == 64 << 20 and parse_size("1.5GiB") == 3 * GIB // 2
    assert parse_size("") is parse_size("g") is parse_size(None) is None


def test_the_oldest_python_is_the_controllers():
    older = put("host", "python", "3.7.9")
    assert verdicts_on(older, policy={})["host.python"]["verdict"] == "pass"
    assert verdicts_on(older, policy={"min_python": "3.9"})["host.python"]["verdict"] == "fail"
    assert (
        verdicts_on(put("host", "python", "3.10.2"), policy={"min_python": "3.9"})["host.python"]["verdict"] == "pass"
    )


def test_what_does_not_apply_is_skipped():
    plain = dict(N, argv=["vllm", "serve", "/m", "--additional-config", '{"enable_cpu_binding": false}'])
    few = put("host", "cpus", "online", 8)
    assert verdicts_on(few, plain)["host.cpus_per_npu"]["verdict"] == "skipped"
    found = verdicts_on(both(few, put("host", "machine", "x86_64")))["host.cpus_per_npu"]
    assert found["verdict"] == "skipped" and "x86_64" in found["seen"]
    assert verdicts_on(put("host", "numa", []))["host.numa"]["verdict"] == "skipped"
    assert verdicts_on(put("service_pids", [1]))["host.memory"]["verdict"] == "skipped"
    assert binds_cpus(["--additional-config={"]) is binds_cpus(["--additional-config", "[]"]) is binds_cpus([]) is False


def test_what_is_as_good_as_healthy():
    permitted = both(put("host", "selinux", "enforcing"), put("engine", "security", ["name=seccomp"]))
    assert verdicts_on(permitted)["host.selinux"]["verdict"] == "pass"
    fixed = {"cpus": 192, "writable": 0, "governors": ["performance"]}
    assert verdicts_on(put("host", "cpufreq", fixed))["host.cpufreq"]["verdict"] == "pass"
    settable = {"cpus": 192, "writable": 192, "governors": ["powersave"]}
    assert verdicts_on(put("host", "cpufreq", settable))["host.cpufreq"]["verdict"] == "pass"
    endless = put("host", "limits", "dockerd", "nofile", [1024, -1])
    assert verdicts_on(endless)["host.ulimits"]["verdict"] == "pass"
    far = verdicts_on(put("host", "numa", 3, "cpus", 0))["host.numa"]  # memory of another kind has no CPUs
    assert far["verdict"] == "pass"


def test_its_own_service_is_not_stale():
    running = both(
        put("engine", "container", {"id": OWN, "running": True}), put("host", "stale", [process(OWN), process(OWN, 2)])
    )
    assert verdicts_on(running)["service.stale"]["verdict"] == "pass"
    # One of the same name that this collection did not create is not its own.
    assert verdicts_on(both(running, put("engine", "foreign", True)))["service.stale"]["verdict"] == "warn"
    second = dict(old(running=True), devices=["/dev/davinci8"])
    beside = both(running, put("engine", "others", [second]), put("host", "stale", [process(OTHER)]))
    found = verdicts_on(beside)["service.stale"]
    assert found["verdict"] == "pass" and "other chips" in found["seen"]


@pytest.mark.parametrize("facts", EMPTY)
def test_a_node_that_tells_nothing_passes_nothing(facts):
    checks = whole(checks_host.evaluate(N, facts, {}), checks_host)
    assert set(checks) == set(checks_host.CHECKS)
    assert {check["verdict"] for check in checks.values()} == {"unknown"}


# -- what is read ---------------------------------------------------------------------------------------------------

LIMITS = """\
Limit                     Soft Limit           Hard Limit           Units
Max processes             96364                unlimited            processes
Max open files            1024                 524288               files
Max locked memory         unlimited            unlimited            bytes
"""
FILES = {
    "etc/os-release": 'NAME="openEuler"\nVERSION_ID="22.03"\nID=openEuler\nPRETTY_NAME="openEuler 22.03"\n',
    "proc/meminfo": "MemTotal:  2000 kB\nMemAvailable: 1500 kB\nSwapTotal: 80 kB\nSwapFree: 50 kB\n"
    "HugePages_Total: 4\nHugePages_Free: 3\nHugepagesize: 2048 kB\n",
    "proc/uptime": "86400.5 1.0\n",
    "proc/loadavg": "0.10 0.20 0.30 1/100 4711\n",
    "proc/sys/vm/swappiness": "10\n",
    "proc/sys/net/ipv4/ip_local_port_range": "32768\t60999\n",
    "sys/devices/system/cpu/present": "0-3\n",
    "sys/devices/system/cpu/online": "0-1,3\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "powersave\n",
    "sys/devices/system/cpu/cpu10/cpufreq/scaling_governor": "performance\n",
    "sys/devices/system/cpu/cpuidle/current_driver": "none\n",
    "sys/devices/system/node/node0/cpulist": "0-3\n",
    "sys/devices/system/node/node0/meminfo": "Node 0 MemTotal:       1024 kB\n",
    "sys/devices/system/node/node1/cpulist": "\n",
    "sys/fs/selinux/enforce": "1",
    "sys/module/apparmor/parameters/enabled": "Y\n",
    "proc/1/comm": "systemd\n",
    "proc/1/cmdline": "/sbin/init\0",
    "proc/150/comm": "dockerd\n",
    "proc/150/limits": LIMITS.replace("524288", "3"),
    "proc/150/cgroup": f"0::/docker/{OTHER}\n",  # an engine inside a container is another one
    "proc/200/comm": "dockerd\n",
    "proc/200/cmdline": "/usr/bin/dockerd\0-H\0fd://\0",
    "proc/200/limits": LIMITS,
    "proc/201/comm": "chronyd\n",
    "proc/300/comm": "VLLM::EngineCor\n",
    "proc/300/cmdline": "VLLM::EngineCore_DP0\0",
    "proc/300/cgroup": f"0::/system.slice/docker-{OWN}.scope\n",
    "proc/301/comm": "python3\n",
    "proc/301/cmdline": "/usr/bin/python3\0/usr/local/bin/vllm\0serve\0/models/x\0--api-key\0s3cret\0--hf-token=s3cret\0",
    "proc/301/cgroup": f"9:name=systemd:/docker/{OTHER}/docker/{OWN}\n0::/\n",
    "proc/302/comm": "bash\n",
    "proc/302/cmdline": "tail\0-f\0/var/log/vllm-serve.log\0",
    "proc/302/cgroup": "0::/user.slice\n",
    "usr/local/Ascend/driver/version.info": "Version=24.1.rc1\npackage_version=24.1.rc1\n"
    "compatible_version=[V100R001C30]\ncompatible_version_fw=[7.0.0,7.2.99]\n",
    "usr/local/Ascend/firmware/version.info": "Version=7.1.0.11.220\npackage_version=23.0.7\n"
    "compatible_version_drv=[23.0.rc3,23.0.rc3.],[23.0.0,23.0.0.]\n",
}


def lay(root, files=None):
    for name, content in (FILES if files is None else files).items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return str(root)


def test_what_a_machine_tells(tmp_path):
    facts = gather(N, {"timeout": 5}, lay(tmp_path))
    assert json.loads(json.dumps(facts)) == facts
    assert facts["python"] == "{0}.{1}.{2}".format(*sys.version_info[:3]) and facts["machine"] == os.uname().machine
    assert facts["os"] == {"id": "openEuler", "version": "22.03", "name": "openEuler 22.03"}
    assert facts["memory"] == {
        "total": 2000 * 1024,
        "available": 1500 * 1024,
        "swap_total": 80 * 1024,
        "swap_free": 50 * 1024,
        "hugepages": 8 << 20,
        "hugepages_free": 6 << 20,
    }
    assert facts["limits"] == {"dockerd": {"nofile": [1024, 524288], "memlock": [-1, -1], "nproc": [96364, -1]}}
    assert facts["cpus"] == {"present": 4, "online": 3}
    assert facts["numa"] == [{"node": 0, "cpus": 4, "memory": 1 << 20}, {"node": 1, "cpus": 0, "memory": None}]
    assert facts["cpufreq"] == {"cpus": 2, "writable": 2, "governors": ["performance", "powersave"]}
    assert facts["sysctls"]["vm.swappiness"] == "10" and facts["sysctls"]["kernel.pid_max"] is None
    assert facts["sysctls"]["net.ipv4.ip_local_port_range"] == "32768 60999"
    assert (facts["selinux"], facts["apparmor"]) == ("enforcing", True)
    assert (facts["uptime"], facts["load"], facts["time_sync"]) == (86400.5, [0.1, 0.2, 0.3], ["chronyd"])
    assert facts["stale"] == [
        {"pid": 300, "command": "VLLM::EngineCore_DP0", "container": OWN},
        {
            "pid": 301,
            "command": "/usr/bin/python3 /usr/local/bin/vllm serve /models/x --api-key *** --hf-token=***",
            "container": OWN,
        },
    ]
    assert "s3cret" not in json.dumps(facts)
    assert facts["driver"] == {"version": "24.1.rc1", "package": "24.1.rc1", "compatible": [["7.0.0", "7.2.99"]]}
    assert facts["firmware"]["compatible"] == [["23.0.rc3", "23.0.rc3."], ["23.0.0", "23.0.0."]]
    assert all(free > 0 for free in facts["disks"].values()) and len(facts["disks"]) == 5


def test_a_machine_without_any_of_it(tmp_path):
    facts = gather(N, {}, str(tmp_path))
    assert json.loads(json.dumps(facts)) == facts
    nothing = ("os", "memory", "sysctls", "selinux", "apparmor", "uptime", "load", "stale", "driver", "firmware")
    for name in nothing:
        if name not in ("sysctls", "selinux"):
            assert facts[name] is None, name
    assert set(facts["sysctls"].values()) == {None}
    assert (facts["limits"], facts["numa"], facts["time_sync"]) == ({}, [], [])
    assert facts["cpufreq"]["cpus"] == 0 and facts["cpus"] == {"present": None, "online": None}


def test_a_governor_that_cannot_be_written(tmp_path, monkeypatch):
    root = lay(tmp_path)
    monkeypatch.setattr(facts_host.os, "access", lambda path, mode: mode == os.W_OK and "cpu10" in path)
    assert gather(N, {}, root)["cpufreq"]["writable"] == 1


def test_selinux_by_its_tool_where_the_kernel_does_not_tell(tmp_path, monkeypatch):
    for answer, seen in (
        ((0, "Permissive\n", False), "permissive"),
        ((127, "", False), "disabled"),
        ((1, "?", False), None),
    ):
        monkeypatch.setattr(facts_host, "run", lambda argv, timeout, answer=answer: answer)
        assert facts_host.selinux(Reader(str(tmp_path)), 5) == seen


def test_a_real_process_of_an_earlier_service():
    argv = ["bash", "-c", "exec -a VLLM::EngineCore_DP0 sleep 30"]
    with subprocess.Popen(argv) as other:
        try:
            for _unused in range(200):
                seen = [one["pid"] for one in stale(Reader().processes())]
                if other.pid in seen:
                    break
            assert other.pid in seen
        finally:
            other.kill()
    assert other.pid not in [one["pid"] for one in stale(Reader().processes())]


def test_this_machine():
    facts = gather(N, {"timeout": 5})
    assert json.loads(json.dumps(facts)) == facts
    assert facts["memory"]["total"] > facts["memory"]["available"] > 0
    assert facts["cpus"]["online"] >= 1 and facts["uptime"] > 0
    whole(checks_host.evaluate(N, {"host": facts}, {}), checks_host)


def test_counts():
    assert count("0-47,96") == 49 and count("0") == 1
    assert count("") is count(None) is count("a-b") is count("0-") is None


@settings(deadline=None)
@given(st.text() | st.text(alphabet="MemTotalSwpFHugPgs_: 0123456789kB\n=[],.\"'"))
def test_any_text_is_read_or_left(text):
    for function in (memory, os_release, parse_limits, count):
        json.dumps(function(text))
    for pair in package(text, "compatible_version_drv")["compatible"]:
        assert len(pair) == 2
