"""The verdicts before a deploy: a healthy pair passes everything; each broken thing is seen by its check, by name."""

import copy
from pathlib import Path

import pytest
from ansible_collections.ascend_ops.vllm.plugins.filter.plan import plan, preflight
from ansible_collections.ascend_ops.vllm.plugins.module_utils._npu_smi import explain_failure, parse_info
from ansible_collections.ascend_ops.vllm.plugins.module_utils._preflight import judge, stopping, text
from test_plan import a2, a3

FIXTURES = Path(__file__).parent / "fixtures" / "npu-smi"
A2 = parse_info((FIXTURES / "info-910B3-8npu-24.1.rc1.b030.txt").read_text())
A3 = parse_info((FIXTURES / "info-A3-8npu16die-24.1.rc3.7-idle.txt").read_text())
A2["process_npus"] = list(range(8))  # the recording ends before the table of processes
NODES = plan(a2())["nodes"]
HOSTS = ["a2-node1", "a2-node2"]


def healthy(node, npu=A2):
    """What a good node tells."""
    container = node["container"]
    return copy.deepcopy(
        {
            "python": "3.10.12",
            "root": True,
            "network": {"interface": "eth0", "addresses": {node["address"]: "eth0", "127.0.0.1": "lo"}, "error": ""},
            "npu": npu,
            "driver_package": npu["driver_version"],
            "devices": dict.fromkeys(container["devices"], True),
            "paths": {mount["source"]: True for mount in container["mounts"]},
            "hccn_conf": {str(chip): {"address": "192.0.2.{0}".format(chip)} for chip in range(16)},
            "engine": {
                "version": "24.0.7",
                "error": "",
                "image": {"id": "sha256:0f1e2d3c4b5a69788796"},
                "container": None,
                "foreign": False,
            },
            "archive": None,
            "weights": [
                {"path": item["path"], "exists": True, "shards": 125, "bytes": 230e9, "problems": []}
                for item in node["weights"]
            ],
            "service_pids": [],
            "ports": [],
        }
    )


def judged(change=None, host="a2-node1", nodes=NODES, npu=A2, **options):
    """{check: verdict} of a host, after *change* has had its way with the facts of all nodes."""
    facts = {node["host"]: healthy(node, npu) for node in nodes}
    if change:
        change(facts)
    reports = judge(nodes, facts, **options)
    for report in reports:
        for entry in report["nodes"]:
            for check in entry["checks"]:
                assert set(check) == {"id", "verdict", "seen", "wanted", "remedy"}
                assert check["seen"] and check["wanted"], check
                assert check["remedy"] or check["verdict"] in ("pass", "skipped"), check
    (checks,) = [entry["checks"] for report in reports for entry in report["nodes"] if entry["host"] == host]
    assert len({check["id"] for check in checks}) == len(checks)
    return {check["id"]: check for check in checks}


def test_a_healthy_pair_passes_everything():
    for host in HOSTS:
        verdicts = judged(host=host, min_driver="24.1.rc1")
        assert {check["verdict"] for check in verdicts.values()} == {"pass"}, verdicts
    assert {
        "node.reachable",
        "node.rights",
        "network.address",
        "npu.count",
        "npu.devices",
        "driver.files",
        "fabric.hccn_conf",
        "port.hccl",
        "engine.running",
        "image.available",
        "container.name",
        "weights.served",
        "replica.driver",
        "replica.image",
    } <= set(verdicts)
    assert "port.api" not in verdicts and {"port.api", "port.rpc"} <= set(judged())


def test_a_healthy_a3_passes_everything_and_has_no_mates_to_compare():
    nodes = plan(a3())["nodes"]
    verdicts = judged(host="a3-node1", nodes=nodes, npu=A3, min_driver="24.1.rc3")
    assert {check["verdict"] for check in verdicts.values()} == {"pass"}
    assert {"weights.served", "weights.draft"} <= set(verdicts)
    assert not [name for name in verdicts if name.startswith("replica.")]


def put(*path_and_value):
    """A change: the value at a path in the facts of a2-node1."""
    *path, last, value = path_and_value

    def change(facts):
        inner = facts["a2-node1"]
        for key in path:
            inner = inner[key]
        inner[last] = copy.deepcopy(value)

    return change


def listener(port, pid=4711, name="nginx: master", own=False):
    return [{"port": port, "address": "0.0.0.0", "pid": pid, "name": name, "own": own}]


def chip(key, value):
    """A change: something of the chip of NPU 3."""

    def change(facts):
        facts["a2-node1"]["npu"]["devices"][3][key] = value

    return change


def lose_a_chip(facts):
    facts["a2-node1"]["npu"]["devices"].pop()


WEIGHTS = "/opt/data/verification/models/MiniMax-M2.5"
BUSY = [{"pid": 78617, "name": "VLLM::EngineCore", "memory_mb": 50000}]
# change, check, verdict, what is seen, what the remedy (or what is wanted) names
BROKEN = [
    (put("root", False), "node.rights", "fail", "an ordinary user", "ansible_become"),
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
    (put("npu", "driver_version", "22.0.0"), "npu.driver", "fail", "22.0.0", "24.1.rc1"),
    (put("npu", "driver_version", None), "npu.driver", "unknown", "not told", "24.1.rc1"),
    (put("devices", "/dev/davinci5", False), "npu.devices", "fail", "missing: /dev/davinci5", "dmesg"),
    (put("devices", {}), "npu.devices", "fail", "/dev/davinci0", "dmesg"),
    (put("paths", "/usr/local/bin/npu-smi", False), "driver.files", "fail", "g: /usr/local/bin/npu-smi", "--full"),
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
    (put("ports", None), "port.api", "unknown", "does not tell", "ss -ltnp"),
    (put("engine", "error", "Cannot connect"), "engine.running", "fail", "Cannot connect", "systemctl status docker"),
    (put("engine", "error", "Cannot connect"), "image.available", "unknown", "did not answer", "engine.running"),
    (put("engine", "error", "Cannot connect"), "container.name", "unknown", "did not answer", "engine.running"),
    (put("engine", "image", None), "image.available", "warn", "it will be pulled", "npu_container_image_archive"),
    (put("engine", "foreign", True), "container.name", "fail", "did not make", "docker rm -f minimax2_5"),
    (put("weights", 0, "exists", False), "weights.served", "fail", "no directory " + WEIGHTS, "vllm_recipe_weights"),
    (put("weights", 0, "problems", ["a", "b", "c", "d"]), "weights.served", "fail", "a; b; c", "not complete"),
    (put("weights", []), "weights.served", "unknown", "did not tell", "MiniMax-M2.5"),
    (
        put("npu", "driver_version", "25.0.0"),
        "replica.driver",
        "fail",
        "a2-node1: 25.0.0, a2-node2: 24.1.rc1.b030",
        "same driver",
    ),
    (
        put("engine", "image", {"id": "sha256:ffff2d3c4b5a6978"}),
        "replica.image",
        "fail",
        "a2-node1: sha256:ffff2d3c4b5a",
        "docker rmi",
    ),
]


@pytest.mark.parametrize("change, check, verdict, seen, named", BROKEN)
def test_broken(change, check, verdict, seen, named):
    found = judged(change, min_driver="24.1.rc1")[check]
    assert found["verdict"] == verdict, found
    assert seen in found["seen"]
    assert named in found["remedy"] or named in found["wanted"], found


def test_what_is_broken_on_one_node_is_not_seen_on_the_other():
    for change, check, *_unused in BROKEN:
        other = judged(change, host="a2-node2", min_driver="24.1.rc1")
        if not check.startswith("replica."):
            assert other.get(check, {"verdict": "pass"})["verdict"] == "pass", check


def test_archive_takes_the_place_of_the_image():
    def change(archive):
        def both(facts):
            for fact in facts.values():
                fact["engine"]["image"], fact["archive"] = None, archive

        return both

    assert judged(change(True))["image.available"]["verdict"] == "pass"
    assert judged(change(False))["image.available"]["verdict"] == "fail"
    assert judged(change(True))["replica.image"]["verdict"] == "skipped"


def test_an_old_driver_is_a_warning_unless_a_version_was_demanded():
    old = put("npu", "driver_version", "23.0.0")
    assert judged(old, oldest_driver="25.0")["npu.driver"]["verdict"] == "warn"
    assert judged(old, min_driver="25.0")["npu.driver"]["verdict"] == "fail"
    assert judged(old)["npu.driver"]["verdict"] == "skipped"


def test_the_oldest_driver_comes_from_the_release():
    facts = {node["host"]: healthy(node) for node in NODES}
    facts["a2-node1"]["npu"]["driver_version"] = "23.0.0"
    checks = {check["id"]: check for check in preflight(NODES, facts)[0]["nodes"][0]["checks"]}
    assert (checks["npu.driver"]["verdict"], checks["npu.driver"]["wanted"]) == ("warn", "driver 25.0 or later")


@pytest.mark.parametrize("memory, hbm", [(55000, "pass"), (50, "skipped"), (None, "skipped")])
def test_its_own_running_service_is_no_fault(memory, hbm):
    process = {"pid": 78617, "name": "VLLM::Worker", "memory_mb": memory}

    def running(facts):
        for fact in facts.values():
            fact["service_pids"] = [78617]
            fact["ports"] = listener(60000, 78617, "VLLM::Worker", own=True)
            fact["engine"]["container"] = {"id": "c0ffee", "running": True}
            for device in fact["npu"]["devices"]:
                device.update(processes=[process], hbm_used_mb=58000)

    verdicts = judged(running, min_driver="24.1.rc1")
    assert verdicts.pop("npu.idle.hbm")["verdict"] == hbm
    assert {check["verdict"] for check in verdicts.values()} == {"pass"}
    assert verdicts["port.hccl"]["seen"] == "in use by the service itself"
    assert verdicts["container.name"]["seen"] == "made by this collection"


def test_hccn_conf_matters_less_on_a_single_node():
    nodes = plan(a3())["nodes"]
    verdicts = judged(lambda facts: facts["a3-node1"].update(hccn_conf=None), host="a3-node1", nodes=nodes, npu=A3)
    assert verdicts["fabric.hccn_conf"]["verdict"] == "warn"


@pytest.mark.parametrize("told", [{"error": "ssh: connect to host 10.0.0.11 port 22: timed out"}, None, {}])
def test_unreachable_node(told):
    def change(facts):
        facts["a2-node1"] = told

    first, second = judged(change), judged(change, host="a2-node2")
    assert set(first) == {"node.reachable", "replica.driver", "replica.image"}
    assert first["node.reachable"]["verdict"] == "fail"
    assert first["node.reachable"]["seen"] == (told or {"error": "nothing was heard of it"})["error"]
    assert "ssh 10.0.0.11" in first["node.reachable"]["remedy"]
    assert second["replica.driver"]["verdict"] == "unknown"
    assert second["replica.driver"]["seen"] == "a2-node1: not told, a2-node2: 24.1.rc1.b030"
    assert second["replica.image"]["verdict"] in ("unknown", "skipped")


def reports(change):
    facts = {node["host"]: healthy(node) for node in NODES}
    change(facts)
    return judge(NODES, facts)


def test_summary_text_and_what_stops():
    seen = reports(put("paths", "/usr/local/dcmi", False))
    assert seen[0]["summary"]["warn"] == 1 and seen[0]["summary"]["fail"] == 0
    assert seen[0]["schema_version"] == 1
    assert stopping(seen, ["fail", "unknown"]) == []
    assert stopping(seen, ["warn"]) == [
        "a2-node1: driver.files is warn: seen missing: /usr/local/dcmi; wanted the driver's files that the container "
        "shares. Install the driver, or reinstall it with --full. What is missing is left out of the container."
    ]
    lines = text(seen).splitlines()
    assert lines[0] == "a2-node1 (replica default)" and "a2-node2 (replica default)" in lines
    bad = lines.index("  warn    driver.files          missing: /usr/local/dcmi")
    assert lines[bad + 1].strip() == "wanted: the driver's files that the container shares"
    assert lines[bad + 2].strip().startswith("do: Install the driver")
    assert lines[bad + 3] == ""  # the worst stands last
    assert lines[-1] == "replica default: {0} pass, 2 skipped, 1 warn".format(seen[0]["summary"]["pass"])


def test_each_replica_has_its_report():
    nodes = plan(a2(replica="x") + a3(replica="y"))["nodes"]
    facts = {node["host"]: healthy(node, A3 if node["role"] == "single" else A2) for node in nodes}
    assert [(report["replica"], len(report["nodes"])) for report in judge(nodes, facts)] == [("x", 2), ("y", 1)]
