"""The checks of a node and of its NPUs: a healthy node passes; each broken thing is seen by its check, by name."""

import copy
import hashlib
from pathlib import Path

import healthy as common
import pytest
from ansible_collections.ascend_ops.vllm.plugins.module_utils._checks import node as checks_node
from ansible_collections.ascend_ops.vllm.plugins.module_utils._npu.failures import explain_failure
from ansible_collections.ascend_ops.vllm.plugins.module_utils._npu.smi import parse_info
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.model import processes
from ansible_collections.ascend_ops.vllm.plugins.plugin_utils._plan import plan
from test_plan import a2, a3

FIXTURES = Path(__file__).parent / "fixtures" / "npu-smi"
A2 = parse_info((FIXTURES / "info-910B3-8npu-24.1.rc1.b030.txt").read_text())
A3 = parse_info((FIXTURES / "info-A3-8npu16die-24.1.rc3.7-idle.txt").read_text())
A2["process_npus"] = list(range(8))  # the recording ends before the table of processes
NODE = processes(plan(a2()))[0]
SINGLE = processes(plan(a3()))[0]


def healthy(node, npu=A2):
    """The facts of a healthy node."""
    container = node["container"]
    return copy.deepcopy(
        {
            "root": True,
            "machine_id": hashlib.sha256(node["host"].encode()).hexdigest()[:16],
            "network": {"interface": "eth0", "addresses": {node["address"]: "eth0", "127.0.0.1": "lo"}, "error": ""},
            "npu": npu,
            "devices": dict.fromkeys(container["devices"], True),
            "paths": {mount["source"]: True for mount in container["mounts"]},
            "hccn_conf": {str(chip): {"address": f"192.0.2.{chip}"} for chip in range(16)},
            "service_pids": [],
            "ports": [],
        }
    )


def verdicts_on(change=None, node=NODE, npu=A2):
    """{check: verdict} after *change* was applied to the facts."""
    facts = healthy(node, npu)
    if change:
        change(facts)
    return common.whole(checks_node.evaluate(node, facts, {}), checks_node)


def words(verdicts):
    return {check["verdict"] for check in verdicts.values()}


def test_a_healthy_node_passes_everything():
    assert words(verdicts_on()) == {"pass"}
    assert words(verdicts_on(node=SINGLE, npu=A3)) == {"pass"}
    assert {"port.api", "port.rpc", "port.hccl"} <= set(verdicts_on())
    assert "port.rpc" not in verdicts_on(node=SINGLE, npu=A3)


def test_every_check_is_documented():
    assert set(verdicts_on()) == set(checks_node.CHECKS)
    common.catalogue(checks_node)


put = common.put


def listener(port, pid=4711, name="nginx: master", own=False):
    return [{"port": port, "address": "0.0.0.0", "pid": pid, "name": name, "own": own}]


def chip(key, value):
    """A change of a value of the chip of NPU 3."""

    def change(facts):
        facts["npu"]["devices"][3][key] = value

    return change


def lose_a_chip(facts):
    facts["npu"]["devices"].pop()


BUSY = [{"pid": 78617, "name": "VLLM::EngineCore", "memory_mb": 50000}]


def without_npu_smi(facts):
    facts["paths"].update({"/usr/local/bin/npu-smi": False, "/usr/local/sbin/npu-smi": False})


# change, check, verdict, what is seen, what the remedy (or what is wanted) names
BROKEN = [
    (put("root", False), "node.rights", "fail", "an unprivileged user", "ansible_become"),
    (put("network", "interface", None), "network.address", "fail", "has 10.0.0.11 (eth0)", "vllm_recipe_address"),
    (
        put("network", {"interface": None, "addresses": {"127.0.0.1": "lo", "fe80::1": "eth0"}, "error": ""}),
        "network.address",
        "fail",
        "the node has no address",
        "10.0.0.11",
    ),
    (
        put("network", {"interface": None, "addresses": {}, "error": "no command ip"}),
        "network.address",
        "unknown",
        "no command ip",
        "iproute",
    ),
    (put("npu", explain_failure(187, "")), "npu.tool", "fail", "driver", ""),
    (put("npu", explain_failure(187, "")), "npu.count", "unknown", "no table", "npu.tool"),
    (lose_a_chip, "npu.count", "fail", "7 chips", "lspci"),
    (chip("health", "Alarm"), "npu.health", "fail", "NPU 3", "reset"),
    (chip("health", None), "npu.health", "unknown", "NPU 3", ""),
    (chip("name", "310P3"), "npu.product", "fail", "310P3", "hardware"),
    (chip("processes", BUSY), "npu.idle.processes", "fail", "PID 78617 (VLLM::EngineCore) on NPU 3", "ps -fp"),
    (chip("hbm_used_mb", 50000), "npu.idle.hbm", "fail", "50000", "5000"),
    (put("devices", "/dev/davinci5", False), "npu.devices", "fail", "missing: /dev/davinci5", "dmesg"),
    (put("devices", {}), "npu.devices", "fail", "/dev/davinci0", "dmesg"),
    (without_npu_smi, "driver.files", "fail", "g: /usr/local/bin/npu-smi", "--full"),
    (put("paths", "/usr/local/dcmi", False), "driver.files", "warn", "missing: /usr/local/dcmi", "--full"),
    (put("paths", {}), "driver.files", "fail", "/usr/local/Ascend/driver/lib64", "--full"),
    (put("hccn_conf", None), "fabric.hccn_conf", "fail", "no readable /etc/hccn.conf", "hccn_tool"),
    (
        put("hccn_conf", {"0": {"address": "192.0.2.1"}, "1": {}}),
        "fabric.hccn_conf",
        "fail",
        "1 chips with an address",
        "hccn_tool",
    ),
    (put("ports", listener(20004)), "port.api", "fail", "20004 taken by pid 4711 (nginx: master)", "vllm_recipe_args"),
    (
        put("ports", listener(2347, None, None)),
        "port.rpc",
        "fail",
        "2347 taken by an unknown process",
        "data-parallel-rpc-port",
    ),
    (put("ports", listener(60007)), "port.hccl", "fail", "60007 taken by pid 4711", "HCCL_IF_BASE_PORT"),
    (put("ports", None), "port.api", "unknown", "does not show who listens", "ss -ltnp"),
]


@pytest.mark.parametrize(("change", "check", "verdict", "seen", "named"), BROKEN)
def test_broken(change, check, verdict, seen, named):
    found = verdicts_on(change)[check]
    assert found["verdict"] == verdict, found
    assert seen in found["seen"]
    assert named in found["remedy"] or named in found["wanted"], found


@pytest.mark.parametrize(("memory", "hbm"), [(55000, "pass"), (50, "skipped"), (None, "skipped")])
def test_its_own_running_service_is_no_fault(memory, hbm):
    process = {"pid": 78617, "name": "VLLM::Worker", "memory_mb": memory}

    def running(facts):
        facts["service_pids"] = [78617]
        facts["ports"] = listener(60000, 78617, "VLLM::Worker", own=True)
        for device in facts["npu"]["devices"]:
            device.update(processes=[process], hbm_used_mb=58000)

    verdicts = verdicts_on(running)
    assert verdicts.pop("npu.idle.hbm")["verdict"] == hbm
    assert words(verdicts) == {"pass"}
    assert verdicts["port.hccl"]["seen"] == "in use by the service itself"


def test_hccn_conf_matters_less_on_a_single_node():
    assert verdicts_on(put("hccn_conf", None), SINGLE, A3)["fabric.hccn_conf"]["verdict"] == "warn"


def test_npu_smi_may_be_in_either_place():
    assert verdicts_on(put("paths", "/usr/local/bin/npu-smi", False))["driver.files"]["verdict"] == "pass"


def test_chips_of_another_service_are_ignored():
    node = processes(plan(a2(devices=[0, 1, 2, 3], args={"tensor-parallel-size": 4})))[0]

    def busy(*rows):
        def change(facts):
            for row in rows:
                facts["npu"]["devices"][row].update(processes=BUSY, hbm_used_mb=60000, health="Alarm")

        return change

    assert words(verdicts_on(busy(4, 7), node)) == {"pass"}
    assert verdicts_on(busy(3), node)["npu.idle.processes"]["verdict"] == "fail"


# -- where the API listens ------------------------------------------------------------------------------------------


def listens(listen, change=None):
    return verdicts_on(change, node=processes(plan(a3(listen=listen)))[0], npu=A3)


@pytest.mark.parametrize("listen", ["node", "127.0.0.1", "0.0.0.0", "::"])
def test_an_address_of_the_node_is_listened_at(listen):
    assert listens(listen)["network.listen"]["verdict"] == "pass"


def test_an_address_of_another_node_cannot_be_listened_at():
    seen = listens("10.0.0.99")["network.listen"]
    assert (seen["verdict"], seen["seen"]) == ("fail", "the node has 10.0.0.21, 127.0.0.1")
    assert "vllm_recipe_listen" in seen["remedy"]
    assert (
        listens("10.0.0.99", lambda facts: facts["network"].update(addresses={}))["network.listen"]["verdict"]
        == "unknown"
    )


def test_an_ipv6_address_is_the_same_in_any_spelling():
    def change(facts):
        facts["network"]["addresses"]["fd00::21"] = "eth0"

    assert listens("fd00:0:0::0021", change)["network.listen"]["verdict"] == "pass"


def test_a_secondary_listens_nowhere():
    node = processes(plan(a2()))[1]
    assert verdicts_on(node=node)["network.listen"]["verdict"] == "skipped"


def test_a_name_is_not_looked_up():
    node = processes(plan(a3(args={"host": "somewhere"})))[0]
    assert verdicts_on(node=node, npu=A3)["network.listen"]["verdict"] == "skipped"


@pytest.mark.parametrize(
    "listen, at, verdict",
    [
        ("node", "0.0.0.0", "fail"),
        ("node", "10.0.0.21", "fail"),
        ("node", "::", "fail"),
        ("node", "127.0.0.1", "pass"),
        ("127.0.0.1", "10.0.0.21", "pass"),
        ("", "127.0.0.1", "fail"),
    ],
)
def test_a_port_is_taken_only_where_the_api_listens(listen, at, verdict):
    def change(facts):
        facts["ports"] = [{"port": 8000, "address": at, "pid": 7, "name": "x", "own": False}]

    assert listens(listen, change)["port.api"]["verdict"] == verdict
