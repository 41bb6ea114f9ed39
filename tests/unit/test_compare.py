"""Whether there is anything for a deploy to do on a node: a settled one, and one thing after the other that is not."""

# ruff: noqa: F811

import copy
import json
import os

import pytest
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common import engine, files, layout
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.model import processes
from ansible_collections.ascend_ops.vllm.plugins.module_utils._state import compare, desired, revisions, supervision
from ansible_collections.ascend_ops.vllm.plugins.module_utils._tuning.host import Host
from ansible_collections.ascend_ops.vllm.plugins.module_utils._tuning.settings import parse_settings
from ansible_collections.ascend_ops.vllm.plugins.module_utils._tuning.tune import tune
from ansible_collections.ascend_ops.vllm.plugins.plugin_utils._plan import plan
from test_engine_modules import IMAGE_ID, STARTED, docker, spec  # noqa: F401
from test_openai import serving
from test_plan import a3
from test_service_modules import lively

TUNING = [{"kind": "sysctl", "name": "vm.swappiness", "value": "0"}]


@pytest.fixture
def node(docker, spec, tmp_path, monkeypatch):
    """The plan of a node, and the node as a deploy left it."""
    made = dict(processes(plan(a3()))[0], container=spec)
    monkeypatch.setattr(layout, "RECORDS_DIR", str(tmp_path / "records"))
    monkeypatch.setattr(supervision, "timer_is", lambda name: (False, False))
    (tmp_path / "proc/sys/vm").mkdir(parents=True)
    (tmp_path / "proc/sys/vm/swappiness").write_text("0\n")
    monkeypatch.setattr(compare, "Host", lambda: Host(str(tmp_path)))
    tune(Host(str(tmp_path)), parse_settings(TUNING), dry_run=False)
    labels = {
        "ascend_ops.vllm.service": spec["name"],
        "ascend_ops.vllm.spec": engine.spec_digest(spec, engine.mounts_here(spec)[0], IMAGE_ID),
    }
    running = json.loads(docker.have_image().folder.joinpath("running").read_text().replace('"LABELS"', "{}"))
    running[0]["Config"]["Labels"] = labels
    running[0]["Image"] = IMAGE_ID
    docker.put("container.json", json.dumps(running))
    settle(made, docker)
    return made


def settle(node, docker):
    """Files and record of a node."""
    spec = node["container"]
    wanted = [*desired.service_files(node, "eth0"), desired.process_file(node, "eth0")]
    files.put(layout.service_directory(spec), wanted, False)
    for item in wanted:
        os.utime(os.path.join(layout.service_directory(spec), item["name"]), (STARTED - 9, STARTED - 9))
    revisions.Revisions(engine.Engine(docker.path), spec["name"]).record(node, "g1", ["n1"])


def look(node, docker, answer=lively, **options):
    given = {
        "interface": "eth0",
        "tuning": TUNING,
        "secrets": {},
        "supervision": {},
        "members": ["n1"],
        "proc": str(docker.folder / "processes"),
        "checks": ["models", "chat", "tool_call"],
        "api_key": "",
        "request_timeout": 5,
        "engine": docker.path,
    }
    with serving(answer) as (url, asked):
        node = dict(node, service=dict(node["service"], url=url, model="m"))
        if not options.get("other_plan"):
            files.put(layout.service_directory(node["container"]), [desired.process_file(node, "eth0")], False)
        # The records have the plan's own words; the test's server is found elsewhere.
        found = compare.compare(node, dict(given, **options))
    return found, asked


@pytest.fixture(autouse=True)
def _any_address(monkeypatch):
    monkeypatch.setattr(revisions, "PARTS", ("container", "recipe"))


def test_nothing_is_to_be_done(node, docker):
    docker.calls()
    found, asked = look(node, docker)
    assert (found["settled"], found["drift"], found["group"]) == (True, [], "g1")
    assert [verdict["verdict"] for verdict in found["verdicts"]] == ["pass"] * 3
    assert found["answer"] == "I am MiniMax." and len(asked) == 3
    assert docker.calls() == [], "it only asks"


def test_a_secondary_is_not_asked(node, docker):
    node = dict(node, role="secondary")
    settle(node, docker)
    found, asked = look(node, docker)
    assert found["settled"] and not asked


def edit(name, text):
    def change(node, docker):
        path = os.path.join(layout.service_directory(node["container"]), name)
        with open(path, "a") as stream:
            stream.write(text)

    return change


def touch(node, docker):
    os.utime(os.path.join(layout.service_directory(node["container"]), "launch.sh"), (STARTED + 9, STARTED + 9))


def drop_record(node, docker):
    os.unlink(os.path.join(layout.RECORDS_DIR, node["container"]["name"], "deployed.json"))


def untuned(node, docker):
    (docker.folder / "proc/sys/vm/swappiness").write_text("60\n")


NOT = {
    "another plan": (lambda node, docker: node["container"].update(shm_size="9g"), "shm_size: 1g -> 9g"),
    "stopped": (
        lambda node, docker: docker.put("container.json", (docker.folder / "exited").read_text()),
        "container: exited -> running",
    ),
    "no image": (lambda node, docker: os.unlink(str(docker.folder / "image.json")), "image: none -> quay.io"),
    "an edited file": (edit("service.env", "A=1\n"), "A: 1 -> none"),
    "secrets left over": (edit("secrets.env", "A='1'\n"), "secret A: present -> none"),
    "a file newer than what runs": (touch, "launch.sh: written after the start"),
    "nothing recorded": (drop_record, "revision: not the one that was verified last -> verified with n1"),
    "not tuned": (untuned, "vm.swappiness: 60 -> 0"),
    "no engine": (
        lambda node, docker: docker.put("down", "Cannot connect to the Docker daemon"),
        "not compared: The engine is not running",
    ),
}


@pytest.mark.parametrize("case", NOT)
def test_something_is_to_be_done(case, node, docker):
    change, says = NOT[case]
    node = copy.deepcopy(node)
    if case == "stopped":
        labels = '{"ascend_ops.vllm.service": "vllm-ascend"}'
        docker.put("exited", (docker.folder / "exited").read_text().replace('"LABELS"', labels))
    change(node, docker)
    found, asked = look(node, docker)
    assert not found["settled"] and says in " | ".join(found["drift_text"]) and not asked


@pytest.mark.parametrize(
    "options, says",
    [
        ({"members": ["n1", "n2"]}, "-> verified with n1, n2"),
        ({"secrets": {"VLLM_API_KEY": "k"}}, "secret VLLM_API_KEY: none -> present"),
        ({"other_plan": True}, "record process.json: of another plan -> of this plan"),
        ({"supervision": {"interval": 15}}, "ascend-vllm@vllm-ascend.timer: inactive, disabled -> active, enabled"),
        ({"tuning": [dict(TUNING[0], value="10")]}, "vm.swappiness: 0 -> 10"),
    ],
)
def test_other_inputs_are_something_to_do(options, says, node, docker):
    found, asked = look(node, docker, **options)
    assert not found["settled"]
    assert says in " | ".join(found["drift_text"])


def test_the_interface_matters_where_the_environment_names_it(node, docker):
    assert "{NIC}" not in json.dumps(node["env"]) and look(node, docker, interface="eth1")[0]["settled"]
    node = dict(node, env=dict(node["env"], HCCL_SOCKET_IFNAME="{NIC}"))
    settle(node, docker)
    assert look(node, docker)[0]["settled"]
    found = look(node, docker, interface="eth1")[0]
    assert found["drift_text"] == [
        "HCCL_SOCKET_IFNAME: eth0 -> eth1",
        "record process.json: of another plan -> of this plan",
    ]
    assert found["drift"][0]["origin"] == "variable"


def test_arguments_of_what_runs_are_compared(node, docker):
    """The stand-in's container has the process 6725."""
    place = docker.folder / "processes" / "6725"
    place.mkdir(parents=True)
    (place / "stat").write_text("6725 (vllm) S 1 1")
    (place / "cmdline").write_bytes(b"".join(word.encode() + b"\0" for word in node["argv"]))
    found, asked = look(node, docker)
    assert found["settled"] and found["unknown"] == [] and asked
    words = ["64" if before == "--max-num-seqs" else word for before, word in zip(["", *node["argv"]], node["argv"])]
    (place / "cmdline").write_bytes(b"".join(word.encode() + b"\0" for word in words))
    found, asked = look(node, docker)
    (line,) = found["drift_text"]
    assert line.startswith("running max-num-seqs: 64 -> ") and not found["settled"] and not asked


def test_arguments_that_cannot_be_read_are_unknown_and_no_drift(node, docker):
    (docker.folder / "processes").mkdir()
    found, _asked = look(node, docker)
    assert found["settled"] and "'vllm serve'" in found["unknown"][0]


def test_it_is_supervised_and_should_not_be(node, docker, monkeypatch):
    monkeypatch.setattr(supervision, "timer_is", lambda name: (True, True))
    assert " | ".join(look(node, docker)[0]["drift_text"]) == "ascend-vllm@vllm-ascend.timer: active, enabled -> off"


def test_it_is_supervised_as_wanted(node, docker, monkeypatch, tmp_path):
    settings = {"interval": 15}
    for name in ("CODE_DIR", "UNIT_DIR"):
        monkeypatch.setattr(supervision, name, str(tmp_path / name))
    monkeypatch.setattr(layout, "SERVICE_DIR", str(tmp_path / "SERVICE_DIR"))
    monkeypatch.setattr(supervision, "timer_is", lambda name: (True, True))
    name = node["container"]["name"]
    laid = dict(supervision.code(), **supervision.settings_file(name, settings))
    laid.update(supervision.units(name, settings, supervision.sys.executable))
    for path, content in laid.items():
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as stream:
            stream.write(content)
    assert look(node, docker, supervision=settings)[0]["settled"]
    assert look(node, docker, supervision={"interval": 16})[0]["drift_text"][0] == "interval: 15 -> 16"


def test_a_service_without_tokens_is_something_to_do(node, docker):
    found, asked = look(node, docker, lambda path, body: (200, {"data": [{"id": "m"}]}))
    assert not found["settled"] and found["drift_text"][0].startswith("service.chat: ") and len(asked) == 2
