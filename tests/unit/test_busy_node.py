"""A busy node is not a broken one: what did not answer is asked again, and nobody is accused whose owner is not known."""

import copy
import json
import os
import subprocess
import sys
import time

import pytest
from ansible_collections.ascend_ops.vllm.plugins.module_utils._checks import server
from ansible_collections.ascend_ops.vllm.plugins.module_utils._checks.preflight import evaluate
from ansible_collections.ascend_ops.vllm.plugins.module_utils._facts import fabric, load, processes
from ansible_collections.ascend_ops.vllm.plugins.module_utils._facts import node as facts_node
from ansible_collections.ascend_ops.vllm.plugins.module_utils._facts.engine import gather as gather_engine
from ansible_collections.ascend_ops.vllm.plugins.module_utils._facts.node import gather
from ansible_collections.ascend_ops.vllm.plugins.module_utils._npu.failures import explain_failure
from healthy import evaluated, own_facts, put
from test_checks_node import NODE, healthy
from test_node_facts import NODE as SEEN_BY_A_NODE

OWN, OTHER = "0123abcd" * 8, "f00dfeed" * 8
LATE_ENGINE = {"error": "'docker version' gave no answer within 60 s; see 'systemctl status docker'", "late": True}


def tool(folder, name, script):
    path = folder / name
    path.write_text("#!/bin/sh\n" + script)
    path.chmod(0o755)
    return str(path)


# -- a second try ---------------------------------------------------------------------------------------------------

# The first call takes long, as on a loaded node; the later ones answer at once.
SLOW_ONCE = """echo call >> {folder}/calls
[ $(wc -l < {folder}/calls) -gt 1 ] || sleep 30
case $1 in
  version) echo 24.0.7 ;;
  info) echo '{{"DefaultRuntime": "runc", "DockerRootDir": "/"}}' ;;
  ps) ;;
  *) echo 'Error: No such object' ; exit 1 ;;
esac
"""


def test_an_engine_that_was_late_is_asked_again_alone(tmp_path):
    docker = tool(tmp_path, "docker", SLOW_ONCE.format(folder=tmp_path))
    facts = gather(SEEN_BY_A_NODE, engine=docker, npu_smi="/nowhere/npu-smi", timeout=1)
    assert json.loads(json.dumps(facts)) == facts
    assert (facts["engine"]["error"], facts["engine"]["late"], facts["engine"]["version"]) == ("", False, "24.0.7")
    (late,) = facts["late"]
    assert (late["source"], late["within"], late["answered"]) == ("the engine", 1, True)


@pytest.mark.parametrize("source, argument", [("the engine", "engine"), ("npu-smi", "npu_smi")])
def test_one_that_is_late_again_was_given_longer(source, argument, tmp_path):
    hanging = tool(tmp_path, "hanging", "sleep 60\n")
    given = dict({"engine": "/nowhere/docker", "npu_smi": "/nowhere/npu-smi"}, **{argument: hanging})
    facts = gather(SEEN_BY_A_NODE, timeout=0.5, **given)
    (late,) = facts["late"]
    assert (late["source"], late["answered"]) == (source, False)
    assert 1.4 < late["seconds"] < 10  # three times the time limit
    assert facts["seconds"] < 20


def test_a_tool_that_fails_is_not_late(tmp_path):
    failing = tool(tmp_path, "failing", "echo dcmi module initialize failed. ret is -8005; exit 187\n")
    facts = gather(SEEN_BY_A_NODE, engine="/nowhere/docker", npu_smi=failing, timeout=5)
    assert facts["late"] == [] and facts["npu"]["code"] == "-8005" and facts["engine"]["late"] is False


HANGING_CHIP = """[ $2 = 1 ] && [ $(ls {folder}/awake 2>/dev/null | wc -l) = 0 ] && exec sleep 60
case $3 in -link) echo 'link status: UP' ;; *) echo 'Command execute failed' ;; esac
"""


def test_only_the_chips_that_hang_are_asked_again_and_named(tmp_path):
    hccn = tool(tmp_path, "hccn_tool", HANGING_CHIP.format(folder=tmp_path))
    facts = gather(SEEN_BY_A_NODE, engine="/nowhere/docker", npu_smi="/nowhere/npu-smi", hccn_tool=hccn, timeout=0.5)
    (late,) = facts["late"]
    assert (late["source"], late["answered"]) == ("hccn_tool for chip 1", False)
    assert facts["fabric"]["chips"]["0"]["link"] == "UP"

    (tmp_path / "awake").write_text("")
    fabric.ask_silent(SEEN_BY_A_NODE, facts["fabric"], {"hccn_tool": hccn, "timeout": 5})
    assert facts["fabric"]["chips"]["1"]["link"] == "UP" and fabric.silent(facts["fabric"]) == []


def test_the_command_ip_that_is_late_is_not_an_address_that_is_missing(monkeypatch):
    monkeypatch.setattr(facts_node, "run", lambda argv, timeout: (124, "", True))
    seen = facts_node.network("10.0.0.11")
    assert seen["error"] == "'ip' gave no answer within 10 s" and seen["late"]
    facts = dict(healthy(NODE), network=seen)
    found = {check["id"]: check for check in verdicts(facts)}
    assert found["network.address"]["verdict"] == "unknown"


def test_an_engine_that_is_late_says_so(tmp_path):
    plan = {"container": {"name": "x", "image": "y"}}
    facts = gather_engine(plan, {"engine": tool(tmp_path, "docker", "sleep 30\n"), "timeout": 0.3})
    assert facts["late"] is True and "gave no answer within 0.3 s" in facts["error"]
    assert gather_engine(plan, {"engine": "/nowhere/docker"})["late"] is False


# -- whose a process is ---------------------------------------------------------------------------------------------


def test_the_owner_of_a_process(tmp_path):
    for pid, content in (
        (1, "0::/system.slice/docker-" + OWN + ".scope\n"),
        (2, "0::/system.slice/sshd.service\n"),
        (3, f"0::/docker/{OTHER}/docker/{OWN}\n"),
    ):
        (tmp_path / str(pid)).mkdir()
        (tmp_path / str(pid) / "cgroup").write_text(content)
    assert [processes.owner(pid, str(tmp_path)) for pid in (1, 2, 3, 4)] == [OWN, "", OWN, None]
    npu = {"devices": [{"processes": [{"pid": 1}]}], "unplaced_processes": [{"pid": 4}]}
    assert processes.owners(npu, str(tmp_path)) == {"1": OWN, "4": None}
    assert processes.owners({"code": "timeout"}) == {}


def test_a_listener_tells_its_container():
    server_of_ours = "import socket; s = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen(); print(s.getsockname()[1], flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", server_of_ours], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        (seen,) = facts_node.listeners([int(other.stdout.readline())], set())
        other.stdin.close()
    assert seen["container"] == processes.owner(os.getpid())


# -- the verdicts ---------------------------------------------------------------------------------------------------


def verdicts(facts, node=NODE):
    return evaluate([node], {node["host"]: facts}, {})[0]["nodes"][0]["checks"]


def serving(container=OWN):
    """The facts of a node whose service runs, as they are when the engine answers."""
    facts = {**healthy(NODE), **own_facts(NODE), "npu": copy.deepcopy(healthy(NODE)["npu"])}
    workers = [{"pid": 4000 + chip, "name": "VLLM::Worker", "memory_mb": 50000} for chip in range(8)]
    for worker, device in zip(workers, facts["npu"]["devices"]):
        device.update(processes=[worker], hbm_used_mb=58000)
    facts["engine"]["container"] = {"id": OWN, "labels": {}}
    facts["service_pids"] = [worker["pid"] for worker in workers]
    facts["owners"] = {str(worker["pid"]): container for worker in workers}
    facts["ports"] = [
        {"port": port, "address": "0.0.0.0", "pid": 4000, "name": "vllm", "own": True, "container": container}
        for port in (20004, 2347, 60000)
    ]
    facts["host"]["stale"] = [{"pid": 4000, "command": "VLLM::Worker", "container": container or None}]
    return facts


def engine_late(facts):
    """What of these facts is left when the engine does not answer: nothing says which processes are the service's."""
    facts["engine"] = dict(LATE_ENGINE, image=None, container=None, others=None)
    facts["service_pids"] = []
    for item in facts["ports"]:
        item["own"] = False
    facts["holders"] = [
        {"pid": 4000, "name": "VLLM::Worker", "container": facts["owners"]["4000"], "devices": ["/dev/davinci0"]}
    ]
    facts["late"] = [{"source": "the engine", "within": 20.0, "seconds": 60.1, "answered": False}]
    return facts


OF_OWNERS = {
    "npu.idle.processes",
    "npu.idle.hbm",
    "port.api",
    "port.rpc",
    "port.hccl",
    "service.stale",
    "process.holds_device",
}


def words(facts):
    return {check["id"]: check["verdict"] for check in verdicts(facts)}


def test_with_an_engine_that_answers_its_own_service_is_no_fault():
    assert {words(serving())[name] for name in OF_OWNERS} <= {"pass", "skipped"}


def test_with_an_engine_that_is_late_nothing_of_the_service_fails():
    facts = engine_late(serving())
    found = {check["id"]: check for check in verdicts(facts)}
    assert [name for name, check in found.items() if check["verdict"] == "fail"] == []
    for name in OF_OWNERS | {"engine.running", "container.name", "image.available", "image.kernels"}:
        assert found[name]["verdict"] == "unknown", found[name]
    for name in OF_OWNERS:
        assert found[name]["remedy"].startswith("Nothing is to be stopped"), found[name]
        for word in ("kill", "Stop that", "Stop what"):
            assert word not in found[name]["remedy"]
    assert "20 s" in found["node.load"]["seen"] and found["node.load"]["verdict"] == "warn"


def test_a_container_whose_owner_is_not_known_is_not_accused_either():
    facts = engine_late(serving(OTHER))
    assert {words(facts)[name] for name in OF_OWNERS} == {"unknown"}
    facts = engine_late(serving(None))
    facts["host"]["stale"] = []
    assert "fail" not in {words(facts)[name] for name in OF_OWNERS}


def test_a_process_outside_containers_is_foreign_whatever_the_engine_says():
    facts = engine_late(serving(""))
    found = words(facts)
    assert {found[name] for name in ("npu.idle.processes", "port.api", "service.stale", "process.holds_device")} == {
        "fail"
    }
    assert found["npu.idle.hbm"] == "unknown"


def test_of_two_processes_only_the_known_one_is_accused():
    facts = engine_late(serving())
    facts["owners"]["4003"] = ""
    found = {check["id"]: check for check in verdicts(facts)}["npu.idle.processes"]
    assert found["verdict"] == "fail" and "4003" in found["seen"] and "4000" not in found["seen"]


def test_with_an_engine_that_answers_the_foreign_are_accused_as_ever():
    facts = serving(OTHER)
    facts["service_pids"] = []
    for item in facts["ports"]:
        item["own"] = False
    found = words(facts)
    assert {found[name] for name in ("npu.idle.processes", "npu.idle.hbm", "port.api")} == {"fail"}


def test_a_process_that_this_machine_does_not_have_is_not_accused():
    facts = serving(OTHER)
    facts.update(service_pids=[], owners=dict.fromkeys(facts["owners"]))
    found = {check["id"]: check for check in verdicts(facts)}
    for name in ("npu.idle.processes", "npu.idle.hbm"):
        assert (found[name]["verdict"], found[name]["remedy"][:10]) == ("unknown", "Nothing is")


def test_memory_of_a_process_of_unknown_owner_is_not_called_free():
    facts = engine_late(serving())
    for device in facts["npu"]["devices"]:
        device["hbm_used_mb"] = 52000  # no more than its process has
    assert words(facts)["npu.idle.hbm"] == "unknown"


def test_npu_smi_is_broken_only_when_it_does_not_answer_alone_either():
    facts = serving()
    facts["npu"] = dict(explain_failure(124, ""), rc=124, output="")
    found = {check["id"]: check for check in verdicts(facts)}
    assert found["npu.tool"]["verdict"] == "unknown"
    assert {check["verdict"] for name, check in found.items() if name.startswith("npu.") and name != "npu.tool"} == {
        "unknown"
    } | {
        found["npu.driver"]["verdict"],
        found["npu.firmware"]["verdict"],
    }
    facts["late"] = [{"source": "npu-smi", "within": 20.0, "seconds": 60.0, "answered": False}]
    assert words(facts)["npu.tool"] == "fail" and words(facts)["npu.health"] == "unknown"


# -- what makes it slow ---------------------------------------------------------------------------------------------

STAT = "{0} ({1}) {2} 1 1 1 0 -1 4194560 0 0 0 0 0 0 0 0 20 0 1 0 0\n"


def test_load_pressure_and_blocked_processes(tmp_path):
    for name, content in {
        "proc/loadavg": "95.21 80.10 60.00 97/2047 123456\n",
        "sys/devices/system/cpu/online": "0-39\n",
        "proc/pressure/io": "some avg10=83.25 avg60=1.00 avg300=0.10 total=1\nfull avg10=1.00 avg60=0 avg300=0 total=1\n",
        "proc/pressure/cpu": "some avg10=4.00 avg60=1.00 avg300=0.10 total=1\n",
        "proc/7/stat": STAT.format(7, "npu smi) x", "D"),
        "proc/7/cmdline": "npu-smi\0info",
        "proc/8/stat": STAT.format(8, "kworker", "D"),
        "proc/8/cmdline": "",
        "proc/9/stat": STAT.format(9, "sshd", "S"),
        "proc/9/cmdline": "sshd",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    assert load.gather(str(tmp_path)) == {
        "load": [95.21, 80.1, 60.0],
        "cpus": 40,
        "pressure": {"cpu": 4.0, "io": 83.25, "memory": None},
        "blocked": ["npu smi) x"],
    }
    (tmp_path / "empty").mkdir()
    assert load.gather(str(tmp_path / "empty")) == {"load": None, "cpus": None, "pressure": None, "blocked": []}


BUSY = {
    "load": [95.2, 80.0, 60.0],
    "cpus": 40,
    "pressure": {"cpu": 4.0, "io": 83.2, "memory": None},
    "blocked": ["dockerd"],
}


@pytest.mark.parametrize(
    "late, word, seen",
    [
        ([], "pass", "all answered at once; load 95.2 on 40 CPUs, processes waited for I/O 83 % of the time"),
        (
            [{"source": "the engine", "within": 20.0, "seconds": 31.0, "answered": True}],
            "warn",
            "the engine did not answer within 20 s, but when it was asked alone; load 95.2 on 40 CPUs",
        ),
        (
            [{"source": "hccn_tool for chip 3", "within": 20.0, "seconds": 60.0, "answered": False}],
            "warn",
            "hccn_tool for chip 3 did not answer within 20 s, and not when it was asked alone (60 s)",
        ),
        (None, "unknown", "did not report"),
    ],
)
def test_a_slow_node_says_by_what(late, word, seen):
    def change(facts):
        facts.update(late=late, busy=BUSY)

    found = evaluated(server, NODE, change)["node.load"]
    assert found["verdict"] == word and seen in found["seen"], found


def test_a_busy_node_on_which_all_answered_is_no_fault():
    assert evaluated(server, NODE, put("busy", None))["node.load"]["verdict"] == "pass"


def test_gather_does_not_ask_again_without_need(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(facts_node, "npus", lambda *given: calls.append(given) or {"code": "-8005"})
    began = time.monotonic()
    gather(SEEN_BY_A_NODE, engine="/nowhere/docker", npu_smi="/nowhere/npu-smi", timeout=5)
    assert len(calls) == 1 and time.monotonic() - began < 5
