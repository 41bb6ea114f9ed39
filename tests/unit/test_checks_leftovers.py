"""What other tools and earlier jobs left: open chips, rank tables, Ascend's runtime, other containers, parts of a server."""

import copy
import os
import subprocess
import sys

import pytest
from ansible_collections.ascend_ops.vllm.plugins.module_utils._checks import fabric, leftovers, server
from ansible_collections.ascend_ops.vllm.plugins.module_utils._checks import node as checks_node
from ansible_collections.ascend_ops.vllm.plugins.module_utils._facts import host
from ansible_collections.ascend_ops.vllm.plugins.module_utils._facts import node as facts_node
from ansible_collections.ascend_ops.vllm.plugins.module_utils._facts.engine import _container
from ansible_collections.ascend_ops.vllm.plugins.module_utils._facts.processes import holders
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.model import processes
from ansible_collections.ascend_ops.vllm.plugins.plugin_utils._plan import plan
from healthy import catalogue, evaluated, machine_facts, own_facts, put
from test_checks_node import healthy
from test_plan import a2, a3

A2, A3 = processes(plan(a2()))[0], processes(plan(a3()))[0]


def verdict(check, change=None, node=A2, module=leftovers):
    found = evaluated(module, node, change)[check]
    return found["verdict"], found["seen"]


def test_the_catalogues_are_whole():
    catalogue(leftovers)
    catalogue(server)


def test_a_healthy_node_passes():
    for module in (leftovers, server):
        assert {found["verdict"] for found in evaluated(module, A2).values()} == {"pass"}


# -- processes that hold a chip -------------------------------------------------------------------------------------


def held(name="hccp_service.bin", container="", pid=4711, **changes):
    def change(facts):
        facts["holders"] = [
            {"pid": pid, "name": name, "container": container, "devices": ["/dev/davinci0", "/dev/davinci1"]}
        ]
        for key, value in changes.items():
            facts[key] = value

    return change


@pytest.mark.parametrize(
    "change, word, seen",
    [
        (held(), "fail", "pid 4711 (hccp_service.bin) has /dev/davinci0 and 1 more open"),
        (held("VLLM::EngineCor"), "fail", "VLLM::EngineCor"),
        (held("npu-exporter"), "warn", "npu-exporter"),
        (held(container="f00d" * 16), "fail", "4711"),
        (held(service_pids=[4711]), "pass", "none"),
        (put("holders", None), "unknown", "did not report"),
        # The engine is silent: whose a process in a container is, is not known; one outside is nobody's of ours.
        (held(container="f00d" * 16, engine={"error": "no answer"}), "unknown", "not known whose"),
        (held(container=None, engine={"error": "no answer"}), "unknown", "not known whose"),
        (held(engine={"error": "no answer"}), "fail", "hccp"),
    ],
)
def test_holders(change, word, seen):
    found = verdict("process.holds_device", change)
    assert found[0] == word and seen in found[1], found


def test_a_process_with_an_open_chip_is_found_and_named(tmp_path, monkeypatch):
    """A file stands for the chip: what counts is the name that the kernel gives the open file."""
    chip = tmp_path / "davinci0"
    chip.write_text("")
    monkeypatch.setattr(
        "ansible_collections.ascend_ops.vllm.plugins.module_utils._facts.processes.CHIP", _Any(str(chip))
    )
    script = f"import os; os.open({str(chip)!r}, os.O_RDONLY); print(1, flush=True); input()"
    argv = ["hccp_service", "-c", script]
    with subprocess.Popen(argv, executable=sys.executable, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as job:
        job.stdout.readline()
        found = [one for one in holders([str(chip)]) if one["pid"] == job.pid]
        job.stdin.close()
    assert [(one["name"], one["devices"]) for one in found] == [("hccp_service", [str(chip)])]
    assert holders(["/dev/davinci_absent"]) == []
    assert holders([str(chip)], proc=str(tmp_path / "nothing")) is None


class _Any:
    """A pattern that matches one path."""

    def __init__(self, path):
        self.path = path

    def match(self, text):
        return text == self.path


# -- rank tables ----------------------------------------------------------------------------------------------------


def test_rank_tables():
    assert verdict("fabric.rank_table", put("rank_tables", ["/etc/hccl_rootinfo.json"])) == (
        "warn",
        "/etc/hccl_rootinfo.json is on the node; no mount shows it to the container",
    )
    mounted = processes(plan(a2(container={"mounts": [{"source": "/etc", "target": "/host/etc"}]})))[0]
    seen = verdict("fabric.rank_table", put("rank_tables", ["/etc/hccl_rootinfo.json"]), mounted)
    assert seen[0] == "warn" and "a mount shows it" in seen[1]
    of_image = verdict("fabric.rank_table", put("engine", "image", "env", {"RANK_TABLE_FILE": "/r.json"}))
    assert of_image == ("warn", "the image sets RANK_TABLE_FILE=/r.json")
    assert verdict("fabric.rank_table", put("rank_tables", None))[0] == "unknown"
    planned = copy.deepcopy(A2)
    planned["env"]["RANK_TABLE_FILE"] = "/user/hccl.json"
    assert verdict("fabric.rank_table", None, planned) == (
        "fail",
        "RANK_TABLE_FILE of the plan is /user/hccl.json, which is not on the node",
    )


def test_rank_tables_of_this_machine(tmp_path, monkeypatch):
    monkeypatch.setattr(facts_node, "ROOT_INFO", str(tmp_path / "rootinfo.json"))
    assert facts_node.rank_tables({}) == []
    (tmp_path / "rootinfo.json").write_text("{}")
    assert facts_node.rank_tables({"env": {"RANK_TABLE_FILE": "/nowhere"}}) == [str(tmp_path / "rootinfo.json")]


# -- the engine -----------------------------------------------------------------------------------------------------


def test_ascends_runtime_as_default():
    assert verdict("engine.runtime", put("engine", "default_runtime", "ascend")) == ("warn", "ascend")

    def with_devices(facts):
        facts["engine"].update(default_runtime="ascend")
        facts["engine"]["image"]["env"] = {"ASCEND_VISIBLE_DEVICES": "0-3"}

    assert "ASCEND_VISIBLE_DEVICES=0-3" in verdict("engine.runtime", with_devices)[1]
    assert verdict("engine.runtime", put("engine", "default_runtime", None))[0] == "unknown"
    assert verdict("engine.runtime", put("engine", "error", "x"))[0] == "unknown"


@pytest.mark.parametrize(
    "entry, devices",
    [
        ({"HostConfig": {"Devices": [{"PathOnHost": "/dev/davinci3"}]}}, [3]),
        ({"Mounts": [{"Source": "/dev/davinci2", "Destination": "/dev/davinci0"}, {"Source": "/data"}, None]}, [2]),
        (
            {
                "HostConfig": {
                    "DeviceRequests": [{"Driver": "cdi", "DeviceIDs": ["huawei.com/npu=5", "nvidia.com/gpu=1"]}]
                }
            },
            [5],
        ),
        ({"HostConfig": {"DeviceRequests": [{"DeviceIDs": ["Ascend910-12"]}, None, {"DeviceIDs": None}]}}, [12]),
        ({"Config": {"Env": ["ASCEND_VISIBLE_DEVICES=0-1"]}}, [0, 1]),
        ({}, []),
    ],
)
def test_the_chips_of_a_container_of_another_tool(entry, devices):
    assert _container(entry)["devices"] == [f"/dev/davinci{number}" for number in devices]


# -- the chips' ports within a node ---------------------------------------------------------------------------------


@pytest.mark.parametrize("node", [A2, A3], ids=["a2", "a3"])
@pytest.mark.parametrize("value, word", [("1", "fail"), ("0", "skipped"), (None, "skipped")])
def test_links_that_are_down_matter_within_a_node_if_the_plan_sends_chips_over_them(node, value, word):
    node = copy.deepcopy(node)
    node["ranks"] = [0, 0, 1]
    node["env"].pop("HCCL_INTRA_ROCE_ENABLE", None)
    if value is not None:
        node["env"]["HCCL_INTRA_ROCE_ENABLE"] = value
    chip = {"link": "UP", "net_health": "Success", "address": "192.0.2.1", "tls": False, "problems": {}}
    chips = {str(number): dict(chip, optical={"present": True}) for number in machine_facts(node)["chips"]}
    chips["3"]["link"] = "DOWN"
    facts = {"fabric": {"tool": "/x", "error": "", "chips": chips}}
    found = {check["id"]: check for check in fabric.evaluate(node, facts, {})}["fabric.link"]
    assert found["verdict"] == word, found


# -- a part of a server ---------------------------------------------------------------------------------------------


def part(product, chips):
    def change(facts):
        facts["host"]["virtual"] = product
        facts["chips"] = list(range(chips))

    return change


@pytest.mark.parametrize(
    "change, node, word, seen",
    [
        (
            part("QEMU KVM Virtual Machine", 4),
            A2,
            "warn",
            "a virtual machine (QEMU KVM Virtual Machine) with 4 of 8 chips",
        ),
        (part("OpenStack Nova", 8), A3, "warn", "with 8 of 16 chips"),
        (part("OpenStack Nova", 8), A2, "pass", "with 8 of 8 chips"),
        (part("", 4), A2, "pass", "a real machine"),
        (part(None, 4), A2, "skipped", "does not name"),
    ],
)
def test_a_virtual_machine_with_some_of_the_npus_says_so(change, node, word, seen):
    found = verdict("node.virtual", change, node, server)
    assert found[0] == word and seen in found[1], found


def test_missing_chips_of_a_virtual_machine_are_not_called_lost():
    facts = {**healthy(A2), **{key: own_facts(A2)[key] for key in ("host", "engine", "late", "owners")}}
    part("KVM", 4)(facts)
    del facts["npu"]["devices"][4:]
    found = {check["id"]: check for check in checks_node.evaluate(A2, facts, {})}["npu.count"]
    assert (
        found["verdict"] == "fail" and "given 4 chips" in found["remedy"] and "vllm_recipe_devices" in found["remedy"]
    )
    facts["host"]["virtual"] = ""
    found = {check["id"]: check for check in checks_node.evaluate(A2, facts, {})}["npu.count"]
    assert "lspci" in found["remedy"]


@pytest.mark.parametrize(
    "files, seen",
    [
        ({"sys/class/dmi/id/sys_vendor": "QEMU", "sys/class/dmi/id/product_name": "KVM"}, "QEMU KVM"),
        ({"sys/class/dmi/id/sys_vendor": "Huawei", "sys/class/dmi/id/product_name": "Atlas 800I A2"}, ""),
        ({"sys/class/dmi/id/sys_vendor": "X", "proc/cpuinfo": "flags\t: fpu hypervisor lm\n"}, "X"),
        ({"proc/cpuinfo": "flags\t: fpu hypervisor\n"}, "a hypervisor"),
        ({}, None),
    ],
)
def test_what_tells_a_virtual_machine(files, seen, tmp_path):
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    assert host.virtual(host.Reader(str(tmp_path))) == seen


def test_chips_here_are_those_of_dev():
    found = facts_node.chips_here()
    assert found == sorted(int(name[7:]) for name in os.listdir("/dev") if name[:7] == "davinci" and name[7:].isdigit())
