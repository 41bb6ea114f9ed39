"""The supervisor tells how a node differs from what was deployed there, and never acts on it."""

import json
import os

import pytest
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common import layout
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.engine import Engine, spec_digest
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.model import processes
from ansible_collections.ascend_ops.vllm.plugins.module_utils._service import look, supervise
from ansible_collections.ascend_ops.vllm.plugins.module_utils._state import arguments, desired
from ansible_collections.ascend_ops.vllm.plugins.plugin_utils._plan import plan
from test_engine_modules import STARTED, Docker
from test_plan import a2
from test_supervise import SECONDARY


@pytest.fixture
def deployed(tmp_path, monkeypatch):
    """A node with what was deployed, its container from a stand-in engine, and a running process; with its settings."""
    monkeypatch.setattr(layout, "SERVICE_DIR", str(tmp_path / "etc"))
    monkeypatch.setattr(layout, "RECORDS_DIR", str(tmp_path / "var"))
    docker = Docker(tmp_path).have_image()
    process = processes(plan(a2()))[1]
    process["env"]["MY_TOKEN"] = "canary"
    spec = process["container"]
    folder = tmp_path / "etc" / spec["name"]
    folder.mkdir(parents=True)
    spec["mounts"] = [{"source": str(folder), "target": "/etc/ascend-vllm", "read_only": True, "optional": False}]
    for item in [*desired.service_files(process, "eth0", {"KEY": "canary"}), desired.process_file(process, "eth0")]:
        if item["content"] is not None:
            (folder / item["name"]).write_text(item["content"])
            os.chmod(folder / item["name"], int(item["mode"], 8))
            os.utime(folder / item["name"], (STARTED - 9, STARTED - 9))
    digest = spec_digest(spec, spec["mounts"], Engine(docker.path).image(spec["image"])["id"])
    labels = json.dumps({"ascend_ops.vllm.service": spec["name"], "ascend_ops.vllm.spec": digest})
    docker.put("container.json", (tmp_path / "running").read_text().replace('"LABELS"', labels))
    place = tmp_path / "proc" / "6725"
    place.mkdir(parents=True)
    (place / "stat").write_text("6725 (docker-init) S 1 1")
    (place / "cmdline").write_bytes(b"\0".join(word.encode() for word in process["argv"]) + b"\0")
    running = arguments.running
    monkeypatch.setattr(arguments, "running", lambda pid, proc: running(pid, str(tmp_path / "proc")))
    return {"name": spec["name"], "folder": folder, "process": process, "docker": docker, "proc": place}


def lines(deployed):
    return look.look_drift({"name": deployed["name"]}, Engine(deployed["docker"].path))


def test_a_node_is_as_it_was_deployed(deployed):
    assert lines(deployed) == []
    assert "canary" in (deployed["folder"] / "service.env").read_text()
    assert "canary" not in (deployed["folder"] / "process.json").read_text()


def test_the_supervisor_tells_what_differs_from_what_was_deployed(deployed):
    path = deployed["folder"] / "service.env"
    path.write_text(path.read_text().replace("HCCL_BUFFSIZE=1024", "HCCL_BUFFSIZE=7"))
    os.utime(path, (STARTED - 9, STARTED - 9))
    words = deployed["proc"] / "cmdline"
    words.write_bytes(words.read_bytes().replace(b"max-num-seqs\x00128", b"max-num-seqs\x0032"))
    assert lines(deployed) == ["HCCL_BUFFSIZE: 7 -> 1024", "running max-num-seqs: 32 -> 128"]


@pytest.mark.parametrize("broken", ["missing", "{}", '{"interface": "", "process": {"env": {}, "argv": 1}}', "engine"])
def test_where_it_is_not_known_what_was_deployed_nothing_is_told(broken, deployed):
    path = deployed["folder"] / "process.json"
    if broken == "missing":
        path.unlink()
    elif broken == "engine":
        deployed["docker"].put("down", "Cannot connect to the Docker daemon")
    else:
        path.write_text(broken)
    assert lines(deployed) is None


def test_a_node_that_0_1_0_deployed_is_compared_with_its_revision(deployed, tmp_path):
    (deployed["folder"] / "process.json").unlink()
    place = tmp_path / "var" / deployed["name"]
    old = place / "generations" / "g1"
    old.mkdir(parents=True)
    current = {"id": "g1", "group": "g", "proven_at": 1, "recipe": deployed["process"]["recipe"]}
    (place / "deployed.json").write_text(json.dumps({"current": current}))
    (old / "generation.json").write_text(json.dumps({"node": deployed["process"]}))
    assert lines(deployed) == []
    words = deployed["proc"] / "cmdline"
    words.write_bytes(words.read_bytes().replace(b"max-num-seqs\x00128", b"max-num-seqs\x0032"))
    assert lines(deployed) == ["running max-num-seqs: 32 -> 128"]


def test_drift_is_told_in_the_state_and_never_acted_on(deployed, tmp_path, monkeypatch):
    monkeypatch.setattr(layout, "STATE_DIR", str(tmp_path / "run"))
    monkeypatch.setattr(look, "look_secondary", lambda *_: {"links": 5, "rpc_links": 0, "primary": "serves"})
    (deployed["folder"] / "launch.sh").write_text("exec vllm serve other")
    settings = dict(SECONDARY, name=deployed["name"], engine=deployed["docker"].path)
    (deployed["folder"] / "supervise.json").write_text(json.dumps(settings))
    deployed["docker"].calls()
    assert supervise.main(deployed["name"]) == 0
    state = json.loads((tmp_path / "run" / deployed["name"] / "state.json").read_text())
    assert any(line.startswith("max-num-seqs: none -> ") for line in state["drift"]), state["drift"]
    assert (state["state"], deployed["docker"].calls()) == ("joined", [])
    assert "canary" not in json.dumps(state)
