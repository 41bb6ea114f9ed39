"""The lab's stand-ins print what the real tools print, and what the collection reads from them is what was set."""

import importlib.machinery
import importlib.util
import json
import re
from pathlib import Path

import pytest
from ansible_collections.ascend_ops.vllm.plugins.module_utils._facts import fabric
from ansible_collections.ascend_ops.vllm.plugins.module_utils._npu import details, hccn, smi

ROOT = Path(__file__).resolve().parents[2]
CAPTURES = Path(__file__).parent / "fixtures" / "npu-smi"


def load(name):
    loader = importlib.machinery.SourceFileLoader(name.replace("-", "_"), str(ROOT / "lab" / "node" / name))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return module


@pytest.fixture
def tool(monkeypatch, tmp_path, capsys):
    """Call a stand-in with a state: (exit status, what it printed on standard output)."""
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    (tmp_path / "version.info").write_text("Version=24.1.rc3.7\n")
    (tmp_path / "hccn.conf").write_text("address_3=29.1.1.13\nnetmask_3=255.255.0.0\ngateway_3=29.1.0.1\n")

    def call(name, words, hardware="a2", **faults):
        module = load(name)
        chips = {"a2": 8, "a3": 16}[hardware]
        named = {fault.replace("_", "-"): values for fault, values in faults.items()}
        (tmp_path / "state.json").write_text(json.dumps({"hardware": hardware, "chips": chips, "faults": named}))
        files = {"STATE_FILE": "state.json", "VERSION_FILE": "version.info", "CONF_FILE": "hccn.conf"}
        for constant, file in files.items():
            monkeypatch.setattr(module, constant, str(tmp_path / file), raising=False)
        monkeypatch.setattr(module, "vllm_processes", lambda: call.processes, raising=False)
        try:
            status = module.main(words.split())
        except SystemExit as left:
            status = left.code
        return status, capsys.readouterr().out

    call.processes = []
    return call


def skeleton(text):
    """The rules and the places of the cell borders; the values blanked."""
    return [re.sub(r"[^|+=-]|(?<=[\w ])-", " ", line) for line in text.splitlines()]


@pytest.mark.parametrize(
    "hardware, capture", [("a2", "info-910B3-8npu-24.1.rc1.b030.txt"), ("a3", "info-A3-8npu16die-24.1.rc3.7-idle.txt")]
)
def test_table_has_the_borders_of_a_real_one(tool, hardware, capture):
    real = skeleton((CAPTURES / capture).read_text())
    ours = skeleton(tool("npu-smi", "info", hardware)[1])
    assert ours[: len(real)] == real


@pytest.mark.parametrize("hardware, name, count", [("a2", "910B3", 8), ("a3", "Ascend910", 16)])
def test_idle_node(tool, hardware, name, count):
    devices = smi.parse_info(tool("npu-smi", "info", hardware)[1])["devices"]
    assert [device["name"] for device in devices] == [name] * count
    assert {device["health"] for device in devices} == {"OK"}
    assert not any(device["processes"] for device in devices)
    assert [device["phy_id"] for device in devices] == (list(range(16)) if hardware == "a3" else [None] * 8)
    assert max(device["hbm_used_mb"] for device in devices) < 4000


def test_what_is_broken_is_read(tool):
    tool.processes = [(4711, "VLLM::EngineCor", 51200)]
    text = tool("npu-smi", "info", missing_chip=["2"], unhealthy_chip=["3:Critical", "4"], busy_chip=["0"])[1]
    devices = {device["npu_id"]: device for device in smi.parse_info(text)["devices"]}
    assert sorted(devices) == [0, 1, 3, 4, 5, 6, 7]
    assert (devices[3]["health"], devices[4]["health"], devices[5]["health"]) == ("Critical", "Alarm", "OK")
    assert [process["name"] for process in devices[0]["processes"]] == ["VLLM::EngineCor", "python3.10"]
    assert devices[7]["processes"] == [{"pid": 4711, "name": "VLLM::EngineCor", "memory_mb": 51200}]
    assert devices[7]["hbm_used_mb"] > 51200


@pytest.mark.parametrize(
    "fault, capture, status",
    [("driver_down", "fail-8005-g_conLogLevel.txt", 187), ("device_used", "fail-8020-ret4.txt", 172)],
)
def test_failures_are_the_real_ones(tool, fault, capture, status):
    assert tool("npu-smi", "info", **{fault: [""]}) == (status, (CAPTURES / capture).read_text())


def test_mapping_and_topology_are_read(tool):
    chips = [row for row in details.parse_mapping(tool("npu-smi", "info -m", "a3")[1]) if "Mcu" not in str(row)]
    assert len(chips) == 16
    real = (CAPTURES / "topo-910B3-8npu-HCCS-24.1.rc1.b030.txt").read_text()
    assert details.parse_topo(tool("npu-smi", "info -t topo")[1]) == details.parse_topo(real)


def test_hccn_tool_is_read(tool):
    def ask(what, **faults):
        return tool("hccn_tool", f"-i 3 -{what} -g", **faults)[1]

    assert hccn.parse_link(ask("link")) == "UP"
    assert hccn.parse_link(ask("link", link_down=["3"])) == "DOWN"
    assert hccn.parse_link(ask("link", link_down=["4"])) == "UP"
    assert hccn.parse_link(ask("link", hccn_fails=[""])) is None
    assert hccn.parse_tls(ask("tls")) is False
    assert hccn.parse_tls(ask("tls", tls_differs=["3"])) is True
    assert hccn.parse_ip(ask("ip"))["address"] == "29.1.1.13"
    assert hccn.parse_lldp(ask("lldp"))
    assert hccn.parse_lldp(ask("lldp", no_switch=[""]))["peer"] is False
    assert hccn.parse_optical(ask("optical")) != hccn.parse_optical(ask("optical", optics_missing=["3"]))


def test_faults_of_the_fabric_are_read(tool):
    def ask(what, hardware="a2", **faults):
        return tool("hccn_tool", f"-i 3 -{what} -g", hardware, **faults)[1]

    assert hccn.parse_ip(ask("ip", hccn_conf_differs=["3"]))["address"] == "29.1.1.113"
    assert hccn.parse_net_health(ask("net_health")) == "Success"
    assert hccn.parse_net_health(ask("net_health", net_unhealthy=["3"])) == "Socket failed"
    assert hccn.parse_ping(ask("ping", ping_fails=["3"]) + ask("ping")) is None
    assert "0 received" in tool("hccn_tool", "-i 3 -ping -g address 29.1.1.13", ping_fails=["3"])[1]


def test_super_pod_of_an_a3_is_read(tool):
    assert fabric.parse_vnic(tool("hccn_tool", "-i 3 -vnic -g", "a3")[1]) == {
        "address": "172.29.1.13",
        "link": "UP",
    }
    assert fabric.parse_vnic(tool("hccn_tool", "-i 3 -vnic -g", "a2")[1]) is None
    told = fabric.parse_spod_info(tool("npu-smi", "info -t spod-info -i 7 -c 1", "a3")[1])
    assert (told["superpod"], told["size"]) == (0, 384)
    other = tool("npu-smi", "info -t spod-info -i 7 -c 1", "a3", superpod_differs=[""])[1]
    assert fabric.parse_spod_info(other)["superpod"] == 1
    assert fabric.parse_spod_info(tool("npu-smi", "info -t spod-info -i 7 -c 0", "a2")[1]) is None
