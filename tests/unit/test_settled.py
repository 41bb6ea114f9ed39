"""Whether there is anything for a deploy to do on a node: a settled one, and one thing after the other that is not."""

# ruff: noqa: F811

import copy
import json
import os

import pytest
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common import engine, files, layout
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan import render
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.model import processes
from ansible_collections.ascend_ops.vllm.plugins.module_utils._state import revisions, settled, supervision
from ansible_collections.ascend_ops.vllm.plugins.module_utils._tuning import host as host_tuning
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
    monkeypatch.setattr(revisions, "RECORDS", str(tmp_path / "records"))
    monkeypatch.setattr(supervision, "timer_is", lambda name: (False, False))
    (tmp_path / "proc/sys/vm").mkdir(parents=True)
    (tmp_path / "proc/sys/vm/swappiness").write_text("0\n")
    monkeypatch.setattr(host_tuning, "Host", lambda host=host_tuning.Host: host(str(tmp_path)))
    host_tuning.tune(host_tuning.Host(), host_tuning.parse_settings(TUNING), dry_run=False)
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
    wanted = render.node_files(node, "eth0")
    files.put(layout.service_directory(spec), wanted, False)
    for item in wanted:
        os.utime(os.path.join(layout.service_directory(spec), item["name"]), (STARTED - 9, STARTED - 9))
    revisions.Generations(engine.Engine(docker.path), spec["name"]).record(node, "g1", ["n1"])


def look(node, docker, answer=lively, **options):
    given = {
        "interface": "eth0",
        "tuning": TUNING,
        "secrets": {},
        "supervision": {},
        "hosts": ["n1"],
        "checks": ["models", "chat", "tool_call"],
        "api_key": "",
        "request_timeout": 5,
        "engine": docker.path,
    }
    with serving(answer) as (url, asked):
        node = dict(node, service=dict(node["service"], url=url, model="m"))
        # The record holds the plan's own words; the test's server is found elsewhere.
        found = settled.look(node, dict(given, **options))
    return found, asked


@pytest.fixture(autouse=True)
def _any_address(monkeypatch):
    monkeypatch.setattr(revisions, "PARTS", ("container", "recipe"))


def test_nothing_is_to_be_done(node, docker):
    docker.calls()
    found, asked = look(node, docker)
    assert (found["settled"], found["differs"], found["group"]) == (True, "", "g1")
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
    os.unlink(os.path.join(revisions.RECORDS, node["container"]["name"], "deployed.json"))


def untuned(node, docker):
    (docker.folder / "proc/sys/vm/swappiness").write_text("60\n")


NOT = {
    "another plan": (lambda node, docker: node["container"].update(shm_size="9g"), "made otherwise"),
    "stopped": (lambda node, docker: docker.put("container.json", (docker.folder / "exited").read_text()), "not run"),
    "no image": (lambda node, docker: os.unlink(str(docker.folder / "image.json")), "not run"),
    "an edited file": (edit("service.env", "A=1\n"), "service.env would be written"),
    "secrets left over": (edit("secrets.env", "A='1'\n"), "secrets.env would be written"),
    "a file newer than what runs": (touch, "newer"),
    "nothing recorded": (drop_record, "not what was proven last"),
    "not tuned": (untuned, "not tuned"),
    "no engine": (lambda node, docker: docker.put("down", "Cannot connect to the Docker daemon"), "EngineError"),
}


@pytest.mark.parametrize("case", NOT)
def test_something_is_to_be_done(case, node, docker):
    change, says = NOT[case]
    node = copy.deepcopy(node)
    if case == "stopped":
        docker.put("exited", (docker.folder / "exited").read_text().replace('"LABELS"', "{}"))
    change(node, docker)
    found, asked = look(node, docker)
    assert not found["settled"] and says in found["differs"] and not asked


@pytest.mark.parametrize(
    "options, says",
    [
        ({"hosts": ["n1", "n2"]}, "not what was proven last"),
        ({"secrets": {"VLLM_API_KEY": "k"}}, "secrets.env would be written"),
        ({"interface": "eth1"}, None),
        ({"supervision": {"interval": 15}}, "not watched"),
        ({"tuning": [dict(TUNING[0], value="10")]}, "not tuned"),
    ],
)
def test_other_inputs_are_something_to_do(options, says, node, docker):
    found, asked = look(node, docker, **options)
    named = "{NIC}" in json.dumps(node["env"])
    assert found["settled"] == (says is None and not named)
    assert (says or "") in found["differs"]


def test_it_is_watched_and_is_not_to_be(node, docker, monkeypatch):
    monkeypatch.setattr(supervision, "timer_is", lambda name: (True, True))
    assert look(node, docker)[0]["differs"] == "it is watched"


def test_it_is_watched_as_wanted(node, docker, monkeypatch, tmp_path):
    settings = {"interval": 15}
    for name in ("CODE_DIR", "UNIT_DIR", "SERVICE_DIR"):
        monkeypatch.setattr(supervision, name, str(tmp_path / name))
    monkeypatch.setattr(supervision, "timer_is", lambda name: (True, True))
    name = node["container"]["name"]
    laid = dict(supervision.code(), **supervision.settings_file(name, settings))
    laid.update(supervision.units(name, settings, settled.sys.executable))
    for path, content in laid.items():
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as stream:
            stream.write(content)
    assert look(node, docker, supervision=settings)[0]["settled"]
    assert look(node, docker, supervision={"interval": 16})[0]["differs"] == "it is not watched as wanted"


def test_a_service_without_tokens_is_something_to_do(node, docker):
    found, asked = look(node, docker, lambda path, body: (200, {"data": [{"id": "m"}]}))
    assert not found["settled"] and found["differs"].startswith("service.chat: ") and len(asked) == 2
