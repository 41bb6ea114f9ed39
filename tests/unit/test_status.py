"""What differs between a node and its plan: each drift is named by what it is, and a healthy node shows none."""

import copy
import json
import os
from pathlib import Path
from types import SimpleNamespace

import pytest
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common import layout
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.engine import (
    Engine,
    mounts_here,
    spec_digest,
)
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan import render
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.model import processes
from ansible_collections.ascend_ops.vllm.plugins.module_utils._state import drift, memory, records, schema, status
from ansible_collections.ascend_ops.vllm.plugins.module_utils._state.report import report
from ansible_collections.ascend_ops.vllm.plugins.module_utils._state.text import duration, text
from ansible_collections.ascend_ops.vllm.plugins.plugin_utils._plan import plan
from test_engine_modules import Docker
from test_plan import a2, a3
from test_supervise import SETTINGS

NODES = processes(plan(a2()))
NOW = 1800000000
FOLDER = "/etc/ascend-vllm/minimax2_5/"
BUFFERS = ("environment", "HCCL_BUFFSIZE", "7", "1024", FOLDER + "service.env")


def differs(*items, changes=None, **more):
    """A change that puts items of drift, each (section, path, was, wanted, file, origin), and changes of files in place."""

    def change(facts):
        for section, path, was, wanted, *rest in items:
            one = drift.item(section, path, was, wanted, **dict(zip(("file", "origin"), rest)))
            facts["drift"].append(dict(one, text=drift.line(one)))
        for number, origin in (changes or {}).items():
            facts["files"][number]["changes"].append({"origin": origin, "lines": 2})
        facts.update(more)

    return change


def a_file(name, mode):
    return {
        "path": FOLDER + name,
        "missing": False,
        "changes": [],
        "mode": mode,
        "wanted_mode": mode,
        "mtime": NOW - 4000.5,
    }


def healthy(node=NODES[0]):
    """What a node tells whose service is just as planned."""
    primary = node["role"] != "secondary"
    verdict = {"id": "service.chat", "verdict": "pass", "seen": "16 tokens", "remedy": "", "seconds": 0.4}
    return copy.deepcopy(
        {
            "time": NOW,
            "engine_error": "",
            "container": {
                "id": "4f5a",
                "name": "minimax2_5",
                "image": node["container"]["image"],
                "image_id": "sha256:0f1e2d3c4b5a69788796",
                "foreign": False,
                "restart_policy": "unless-stopped",
                "status": "running",
                "running": True,
                "exit_code": 0,
                "oom_killed": False,
                "error": "",
                "started_at": NOW - 4000,
                "age": 4000,
                "restart_count": 0,
            },
            "image": {"id": "sha256:0f1e2d3c4b5a69788796", "digests": ["quay.io/ascend/vllm-ascend@sha256:77aa"]},
            "others": [],
            "causes": [],
            "drift": [],
            "running": {"pid": 77, "error": ""},
            "missing_mounts": [],
            "files": [a_file("launch.sh", "0755"), a_file("service.env", "0600")],
            "files_error": "",
            "secrets": {
                "path": FOLDER + "secrets.env",
                "missing": True,
                "mode": None,
                "mtime": None,
                "names": [],
                "wanted": [],
            },
            "deployed": {
                "current": {"id": "g2", "group": "run1", "proven_at": NOW - 3900, "recipe": node["recipe"]},
                "previous": None,
            },
            "supervisor": {
                "wanted": True,
                "loaded": True,
                "active": True,
                "enabled": True,
                "for": 3900.0,
                "error": "",
                "state": {
                    "state": "serving" if primary else "joined",
                    "reason": "",
                    "checked_at": NOW - 9,
                    "last_good": NOW - 9,
                    "restarts": 0,
                    "last_restart": None,
                },
            },
            "tuning": {"error": ""},
            "probe": {"state": "ready", "verdicts": [verdict]} if primary else None,
        }
    )


def judged(change=lambda facts: None, both=lambda facts: None, nodes=NODES):
    """The report on a replica whose first node, or all, differ from a healthy one."""
    told = {node["host"]: healthy(node) for node in nodes}
    for facts in told.values():
        both(facts)
    change(told[nodes[0]["host"]])
    return report(nodes, told)


def test_a_supervisor_that_was_just_turned_on_may_take_a_moment_for_its_first_look():
    def problems(seconds):
        seen = judged(lambda facts: facts["supervisor"].update({"state": None, "for": seconds}))
        return [problem["id"] for problem in seen["replicas"][0]["problems"]]

    assert problems(5.0) == []
    assert problems(31.0) == problems(None) == ["supervisor.silent"]


def test_a_healthy_replica_has_no_problem():
    seen = judged()
    assert seen["ok"] is True and seen["replicas"][0]["problems"] == [] and seen["replicas"][0]["serving"]
    assert seen["summary"] == "1 replica: 1 serving without drift, 0 with problems"
    shown = text(seen)
    assert "replica default: serving, no drift" in shown and "problem " not in shown
    assert "a2-node1  primary    running    66 min  0 + 0" in shown
    assert "serving     9 s ago    0f1e2d3c4b5a" in shown and "(digest sha256:77aa)" in shown
    assert "deployed  as planned, verified 65 min ago" in shown and shown.endswith("Next: nothing to do.")


def silent(facts):
    verdict = {"id": "service.chat", "verdict": "fail", "seen": "refused", "remedy": "Look at the log."}
    facts["probe"] = {"state": "silent", "verdicts": [verdict]}


def has(path, value):
    """A change that puts a value at a place."""

    def change(facts):
        *way, last = path.split(".")
        for word in way:
            facts = facts[int(word) if word.isdigit() else word]
        facts[last] = value

    return change


def state(**changes):
    return lambda facts: facts["supervisor"]["state"].update(changes)


def bare(facts):
    facts["container"] = None
    for item in facts["files"]:
        item.update(missing=True, mode=None, mtime=None)


def stopped(facts):
    facts["container"].update(running=False, status="exited", exit_code=137)
    silent(facts)


def unknown_engine(facts):
    facts.update(engine_error="The engine is not running", container=None, image=None)


DRIFTS = [
    (has("container", None), "container.missing", "the container minimax2_5 is missing", "Run deploy_a2.yml"),
    (bare, "node.bare", "neither container minimax2_5 nor its files", "Run deploy_a2.yml"),
    (stopped, "container.stopped", "does not run: exited, exit code 137", "start.yml"),
    (has("container.foreign", True), "container.foreign", "somebody else created", "npu_container_adopt=true"),
    (
        has("image", None),
        "image.missing",
        "is not on the node; the container was created from quay",
        "deploy_a2.yml brings it",
    ),
    (
        differs(("container", "device /dev/davinci0", None, "present"), ("container", "shm_size", "1g", "1200g")),
        "container.differs",
        "differs from the plan: device /dev/davinci0: none -> present, shm_size: 1g -> 1200g",
        "--check --diff",
    ),
    (
        differs(("container", "image " + NODES[0]["container"]["image"], "0f1e2d3c4b5a", "beef")),
        "container.differs",
        "image quay.io/ascend/vllm-ascend:v0.20.2rc1: 0f1e2d3c4b5a -> beef",
        "deploy_a2.yml",
    ),
    (
        differs(("container", "image", "mine:1", NODES[0]["container"]["image"])),
        "container.differs",
        "image: mine:1 -> quay.io/ascend/vllm-ascend:v0.20.2rc1",
        "deploy_a2.yml",
    ),
    (
        differs(("container", "restart", "no", "unless-stopped", "", "edited")),
        "container.restart_policy",
        "was changed by hand: no -> unless-stopped",
        "docker update --restart unless-stopped minimax2_5",
    ),
    (
        differs(("container", "restart", "no", "unless-stopped")),  # by a variable
        "container.differs",
        "restart: no -> unless-stopped",
        "deploy_a2.yml",
    ),
    (has("missing_mounts", ["/opt/models"]), "container.mounts", "the node lacks /opt/models", "Provide it"),
    (has("files.0.missing", True), "files.missing", FOLDER + "launch.sh", "deploy_a2.yml"),
    (differs(changes={0: "edited"}), "files.edited", "launch.sh was edited by hand since", "into a variable"),
    (
        differs((*BUFFERS, "edited"), ("environment", "A", "1", "2", FOLDER + "launch.sh"), changes={1: "edited"}),
        "files.edited",
        "deployed: 2 lines; a deploy changes HCCL_BUFFSIZE: 7 -> 1024",
        "into a variable",
    ),
    (
        differs((*BUFFERS, "variable"), changes={1: "variable"}),
        "files.variable",
        "2 lines; a deploy changes HCCL_BUFFSIZE: 7 -> 1024",
        "reset the variable",
    ),
    (
        differs((*BUFFERS, ""), changes={1: ""}),
        "files.differ",
        "2 lines; a deploy changes HCCL_BUFFSIZE: 7 -> 1024. It was edited by hand, or a variable or this",
        "--check --diff",
    ),
    (
        differs(("process", "max-num-seqs", "32", "64")),
        "process.differs",
        "the running process differs from the plan and its files: running max-num-seqs: 32 -> 64",
        "restart.yml",
    ),
    (
        differs(
            ("process", "launch.sh", "written after the start", "read at the start", FOLDER + "launch.sh"),
            ("process", "max-num-seqs", "32", "64"),
        ),
        "process.differs",
        "running max-num-seqs: 32 -> 64; written after the container was started: " + FOLDER + "launch.sh",
        "restart.yml",
    ),
    (has("files.1.mode", "0644"), "files.mode", "service.env has mode 0644 and not 0600", "chmod 0600 "),
    (
        differs(("process", "service.env", "written after the start", "read", FOLDER + "service.env")),
        "files.newer",
        "runs something older: " + FOLDER + "service.env",
        "restart",
    ),
    (has("files_error", "no interface"), "files.unknown", "no interface", "inventory"),
    (
        lambda facts: facts["secrets"].update(missing=False, mode="0644", mtime=NOW - 5000),
        "secrets.mode",
        "has mode 0644",
        "chmod 0600",
    ),
    (has("deployed", None), "deployed.missing", "no verified deploy is recorded", "to its end"),
    (
        has("deployed.current.recipe", dict(NODES[0]["recipe"], release="v0.18.0", scenarios=["long_context"])),
        "deployed.differs",
        "release: v0.18.0 -> v0.20.2rc1, scenarios: long_context -> none",
        "deploy_a2.yml",
    ),
    (
        differs(("tuning", "vm.swappiness", "60", "0")),
        "tuning.differs",
        "vm.swappiness: 60 -> 0",
        "deploy_a2.yml sets it again",
    ),
    (has("tuning.error", "the record cannot be read"), "tuning.unknown", "cannot be read", "npu_host_tuning"),
    (
        has("supervisor.active", False),
        "supervisor.off",
        "ascend-vllm@minimax2_5.timer is not active",
        "systemctl enable --now ascend-vllm@minimax2_5.timer",
    ),
    (has("supervisor.enabled", False), "supervisor.off", "does not start after a reboot", "systemctl enable"),
    (
        lambda facts: facts["supervisor"].update(loaded=False, active=False, enabled=False),
        "supervisor.off",
        "is not installed",
        "Run deploy_a2.yml",
    ),
    (has("supervisor.wanted", False), "supervisor.on", "though supervision is turned off", "deploy_a2.yml"),
    (has("supervisor.state", None), "supervisor.silent", "has reported nothing", "journalctl"),
    (state(checked_at=NOW - 301), "supervisor.stale", "the last check of the supervisor was 5 min ago", "journalctl"),
    (
        lambda facts: facts["supervisor"].update(
            state=None, trouble=["cannot write its state: no space left on /run; nothing is remembered"]
        ),
        "supervisor.silent",
        "has reported nothing; cannot write its state: no space left on /run",
        "Take that away",
    ),
    (
        lambda facts: (state(checked_at=NOW - 999)(facts), has("supervisor.trouble", ["its last check ended"])(facts)),
        "supervisor.stale",
        "was 16 min ago; its last check ended",
        "Take that away",
    ),
    (
        state(memory="cannot write its state: no space left on /run; it is in /var/lib/x"),
        "supervisor.memory",
        "the supervisor cannot write its state: no space left on /run; it is in /var/lib/x",
        "Make room there",
    ),
    (state(state="gave-up", reason="5 restarts"), "supervisor.gave_up", "gave-up: 5 restarts", "fix the cause"),
    (state(state="failing", reason="no token"), "supervisor.failing", "failing: no token", "docker logs"),
    (silent, "service.silent", "no tokens: refused", "Look at the log."),
    (
        lambda facts: (silent(facts), facts["probe"]["verdicts"][0].update(remedy="Compare served-model-name")),
        "service.silent",
        "no tokens: refused",
        "docker logs minimax2_5",
    ),
    (
        lambda facts: (silent(facts), state(state="starting")(facts)),
        "service.silent",
        "no tokens: refused",
        "may still load its weights",
    ),
]


@pytest.mark.parametrize("change, name, seen, do", DRIFTS)
def test_each_drift_is_one_problem_with_its_way_out(change, name, seen, do):
    found = judged(change)
    (replica,) = found["replicas"]
    (problem,) = replica["problems"]
    assert (problem["id"], problem["host"]) == (name, "a2-node1")
    assert seen in problem["seen"] and do in problem["do"]
    assert not found["ok"] and not replica["ok"]
    assert [row["ok"] for row in replica["nodes"]] == [False, True]
    assert f"problem   a2-node1: {name}: " in text(found)


@pytest.mark.parametrize(
    "change",
    [
        state(state="starting"),  # the probe tells whether that is a problem
        state(checked_at=NOW - 299),
        has("tuning", None),
        has("running", {"pid": None, "error": "no process"}),  # what is not known is no drift
        differs(("record", "process.json", None, "of this plan")),  # of no matter to what runs
        lambda facts: facts["supervisor"].update(wanted=False, active=False, enabled=False, loaded=False),
        lambda facts: facts["secrets"].update(
            missing=False, mode="0600", mtime=1, names=["HF_TOKEN"], wanted=["HF_TOKEN"]
        ),
    ],
)
def test_no_drift(change):
    assert judged(change)["ok"]


def test_names_of_secrets_are_compared():
    def there(facts):
        names = ["HF_TOKEN", "VLLM_API_KEY"]
        facts["secrets"].update(missing=False, mode="0600", mtime=NOW - 5000, names=names, wanted=names)

    assert judged(both=there)["ok"]
    (problem,) = judged(has("secrets.names", ["HF_TOKEN", "OTHER"]), there)["replicas"][0]["problems"]
    assert problem["id"] == "secrets.names"
    assert "lacks VLLM_API_KEY and has OTHER, which vllm_service_secrets" in problem["seen"]


@pytest.mark.parametrize("told", [{"error": "timed out"}, {}])
def test_an_unreachable_node_is_a_row(told):
    seen = report(NODES, {"a2-node1": healthy(), "a2-node2": told})
    (problem,) = seen["replicas"][0]["problems"]
    assert (problem["id"], problem["host"]) == ("node.unreachable", "a2-node2") and "ssh 10.0.0.12" in problem["do"]
    assert "a2-node2  secondary  unreachable" in text(seen) and "repair the node" in text(seen)
    assert seen["replicas"][0]["serving"] is True
    seen = report(NODES, {"a2-node1": told, "a2-node2": healthy(NODES[1])})
    assert seen["replicas"][0]["serving"] is None and seen["ok"] is False
    assert "replica default: not known whether it serves, 1 problem\n" in text(seen)


def test_a_dead_engine_leaves_what_else_is_known():
    seen = judged(lambda facts: (unknown_engine(facts), differs(changes={0: "edited"})(facts)))
    assert [problem["id"] for problem in seen["replicas"][0]["problems"]] == ["engine.down", "files.edited"]
    assert "a2-node1  primary    no engine" in text(seen)


def test_what_runs_and_cannot_be_read_is_told_as_unknown():
    shown = text(judged(has("running", {"pid": None, "error": "no process"})))
    assert "  unknown   a2-node1: the arguments of what runs: no process" in shown and "no drift" in shown
    assert "unknown" not in text(judged())


def test_facts_that_are_not_understood_are_a_problem():
    (problem,) = judged(lambda facts: facts.pop("files"))["replicas"][0]["problems"]
    assert problem["id"] == "node.facts" and "KeyError" in problem["seen"]


def test_nodes_started_apart_matter_only_when_they_do_not_serve():
    late = has("container.age", 3000)
    assert judged(late)["ok"]
    ids = [problem["id"] for problem in judged(lambda facts: (late(facts), silent(facts)))["replicas"][0]["problems"]]
    assert ids == ["service.silent", "replica.apart"]
    assert "replica.apart" not in str(judged(silent))


def test_nodes_of_different_images_or_deploys():
    seen = judged(lambda facts: facts["container"].update(image_id="sha256:beef"))
    assert [problem["id"] for problem in seen["replicas"][0]["problems"]] == ["replica.image"]
    seen = judged(has("deployed.current.group", "run0"))
    assert [problem["id"] for problem in seen["replicas"][0]["problems"]] == ["replica.group"]


def test_the_same_on_all_nodes_is_told_once():
    seen = judged(both=has("deployed", None))
    assert len(seen["replicas"][0]["problems"]) == 2
    shown = text(seen)
    assert "serving, 1 problem\n" in shown and "problem   a2-node1, a2-node2: deployed.missing" in shown


def test_several_replicas_are_counted():
    nodes = processes(plan(a2(replica="x") + a3(replica="y")))
    told = {node["host"]: healthy(node) for node in nodes}
    stopped(told["a2-node1"])
    seen = report(nodes, told)
    assert seen["summary"] == "2 replicas: 1 serving without drift, 1 with problems"
    assert [(replica["name"], replica["ok"]) for replica in seen["replicas"]] == [("x", False), ("y", True)]
    assert "deploy_a2.yml" in seen["next"] and "a3" not in seen["next"] and "NOT SERVING" in text(seen)


def test_duration():
    assert [duration(seconds) for seconds in (-3, 119, 120, 7200, 200000, None)] == [
        "0 s",
        "119 s",
        "2 min",
        "2 h 0 min",
        "2 d 7 h",
        "-",
    ]


# -- reading --------------------------------------------------------------------------------------------------------


@pytest.fixture
def node(tmp_path, monkeypatch):
    """A node of the plan whose folders, engine and systemd are all in a folder of the test; as just deployed."""
    made = copy.deepcopy(processes(plan(a3()))[0])
    folder = tmp_path / "etc"
    made["container"]["mounts"] = [
        {"source": str(folder), "target": "/etc/ascend-vllm", "read_only": True, "optional": False, "create": True}
    ]
    made["service"]["url"] = "http://127.0.0.1:1"
    record = {"id": "g1", "group": "r", "proven_at": NOW, "recipe": made["recipe"]}
    clock = memory.clock()
    state = dict(memory.fresh(clock["wall"]), state="serving", schema=schema.VERSION, clock=clock)
    revision = tmp_path / "var" / "vllm-ascend" / "revisions" / "g1"
    for place in (folder, revision, tmp_path / "run" / "vllm-ascend", tmp_path / "bin"):
        place.mkdir(parents=True)
    for item in render.node_files(made, "eth7"):
        for place in (folder, revision):
            (place / item["name"]).write_text(item["content"])
            os.chmod(place / item["name"], int(item["mode"], 8))
    (folder / "secrets.env").write_text("VLLM_API_KEY='k 1'\nHF_TOKEN=t\n")
    (revision.parent.parent / "deployed.json").write_text(json.dumps({"current": record}))
    (tmp_path / "run" / "vllm-ascend" / "state.json").write_text(json.dumps(state))
    systemctl = tmp_path / "bin" / "systemctl"
    values = (
        "LoadState=loaded",
        "ActiveState=active",
        "UnitFileState=enabled",
        "ActiveEnterTimestampMonotonic=1000000",
    )
    systemctl.write_text("#!/bin/sh\n" + "".join(f"echo {value}\n" for value in values))
    systemctl.chmod(0o755)
    monkeypatch.setenv("PATH", "{0}:{1}".format(systemctl.parent, os.environ["PATH"]))
    (folder / "process.json").write_text(records.process_text(made, "eth7"))
    monkeypatch.setattr(layout, "RECORDS_DIR", str(tmp_path / "var"))
    monkeypatch.setattr(layout, "STATE_DIR", str(tmp_path / "run"))
    monkeypatch.setattr(layout, "SERVICE_DIR", str(tmp_path / "services"))
    monkeypatch.setattr(status, "network", lambda address: {"interface": "eth7"})
    return made


def gathered(node, docker, **options):
    given = dict(
        engine=docker.path,
        timeout=5,
        request_timeout=2,
        api_key="",
        secret_names=["B", "A"],
        supervised=True,
        tuning=[],
    )
    return status.gather(node, dict(given, **options))


def deployed_container(docker, node):
    """The stand-in's container, with the labels of the plan."""
    docker.have_image()
    spec = node["container"]
    digest = spec_digest(spec, mounts_here(spec)[0], Engine(docker.path).image(spec["image"])["id"])
    labels = {"ascend_ops.vllm.service": spec["name"], "ascend_ops.vllm.spec": digest}
    running = (docker.folder / "running").read_text().replace('"LABELS"', json.dumps(labels))
    docker.put("container.json", running)


def test_a_node_tells_that_all_is_as_planned(node, tmp_path):
    docker = Docker(tmp_path)
    deployed_container(docker, node)
    seen = gathered(node, docker)
    newer = {"launch.sh", "service.env", "secrets.env"}  # the stand-in's container was started before this test
    assert {item["path"] for item in seen["drift"]} == newer, seen["drift"]
    assert (seen["engine_error"], seen["container"]["foreign"]) == ("", False)
    assert [(item["missing"], item["changes"]) for item in seen["files"]] == [(False, [])] * 2
    assert [item["mode"] for item in seen["files"]] == ["0755", "0600"]
    assert (seen["secrets"]["names"], seen["secrets"]["wanted"]) == (["HF_TOKEN", "VLLM_API_KEY"], ["A", "B"])
    assert "k 1" not in json.dumps(seen)
    assert seen["supervisor"]["for"] > 0  # this machine's uptime, but for a second
    assert seen["supervisor"]["active"] and seen["supervisor"]["enabled"] and seen["supervisor"]["loaded"]
    assert (
        seen["supervisor"]["state"]["state"] == "serving"
        and seen["deployed"]["current"]["id"] == "g1"
        and seen["tuning"] is None
    )
    assert seen["probe"]["state"] == "silent"  # nobody listens on port 1


def test_a_node_tells_what_differs(node, tmp_path):
    docker = Docker(tmp_path)
    deployed_container(docker, node)
    launch = Path(node["container"]["mounts"][-1]["source"]) / "launch.sh"
    launch.write_text(launch.read_text().replace("--max-num-seqs", "--max-num-sequences"))
    node["env"]["HCCL_BUFFSIZE"] = "7"
    node["container"]["shm_size"] = "7g"
    node["env"]["HF_TOKEN"] = "canary"
    seen = gathered(node, docker)
    assert seen["files"][0]["changes"] == [{"origin": "edited", "lines": 1}]
    assert seen["files"][1]["changes"] == [{"origin": "variable", "lines": 2}]
    found = {item["text"]: item["origin"] for item in seen["drift"] if item["section"] not in ("process", "container")}
    sequences = node["argv"][node["argv"].index("--max-num-seqs") + 1]
    assert found == {
        f"max-num-seqs: none -> {sequences}": "edited",
        f"max-num-sequences: {sequences} -> none": "edited",
        "HCCL_BUFFSIZE: 1024 -> 7": "variable",
        "HF_TOKEN: none -> ********": "variable",
        "record process.json: of another plan -> of this plan": "",
    }
    assert "shm_size: 1g -> 7g" in [item["text"] for item in seen["drift"]]
    assert "canary" not in json.dumps(seen)


@pytest.mark.parametrize("written", ["", "[]", '{"state": 5}', '{"current": {"id": "g1"}}', "\0", '{"current": 1}'])
def test_records_that_are_not_understood_count_as_none(written, node, tmp_path):
    (tmp_path / "var" / "vllm-ascend" / "deployed.json").write_text(written)
    (tmp_path / "run" / "vllm-ascend" / "state.json").write_text(written)
    seen = gathered(node, Docker(tmp_path))
    assert seen["deployed"] is None and seen["supervisor"]["state"] is None
    text(report([node], {node["host"]: seen}))


def test_a_node_tells_why_its_supervisor_reports_nothing(node, tmp_path, monkeypatch):
    def trouble(**changes):
        real = os.statvfs("/")
        fields = ("f_flag", "f_bavail", "f_files", "f_favail")
        seen = {
            **{field: getattr(real, field) for field in fields},
            "f_flag": 0,
            "f_bavail": 9,
            "f_favail": 9,
            **changes,
        }
        monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(**seen))
        return gathered(node, Docker(tmp_path))["supervisor"]["trouble"]

    settings = tmp_path / "services" / "vllm-ascend" / "supervise.json"
    settings.parent.mkdir(parents=True)
    settings.write_text("[1]")
    mount = memory.mount_of(str(tmp_path))
    assert trouble() == [f"its settings, {settings}: cannot be read"]
    settings.write_text(json.dumps(SETTINGS))
    assert trouble() == []
    (text,) = trouble(f_flag=os.ST_RDONLY)
    assert text.startswith(f"cannot write its state: {mount} is mounted read-only")
    for full in ({"f_bavail": 0}, {"f_files": 5, "f_favail": 0}):
        (text,) = trouble(**full)
        assert f"no space left on {mount}" in text and "nothing is remembered" in text
    settings.write_text(json.dumps(dict(SETTINGS, interval="x")))
    assert trouble() == [f"its settings, {settings}: interval is 'x', wanted a number from 0 on"]
    settings.write_text(json.dumps(SETTINGS))
    (tmp_path / "run" / "vllm-ascend" / "state.json").write_text("{}")
    (text,) = trouble()
    assert "state.json cannot be used: is of another version" in text
    (tmp_path / "bin" / "systemctl").write_text(
        "#!/bin/sh\necho ActiveState=active\necho Result=timeout\necho ExecMainStatus=9\n"
    )
    assert trouble()[-1] == "its last check ended with timeout, status 9"


def test_a_container_of_others_and_an_engine_that_is_down(node, tmp_path):
    docker = Docker(tmp_path)
    docker.put("container.json", (docker.folder / "running").read_text().replace('"LABELS"', "null"))
    seen = gathered(node, docker)
    assert seen["container"]["foreign"] and seen["image"] is None
    docker.put("down", "Cannot connect to the Docker daemon at unix:///var/run/docker.sock.")
    seen = gathered(node, docker)
    assert seen["container"] is None and "systemctl start docker" in seen["engine_error"]
    assert not seen["files"][0]["missing"]


def test_an_interface_that_is_not_there(node, tmp_path, monkeypatch):
    monkeypatch.setattr(status, "network", lambda address: {"interface": None})
    node["env"]["HCCL_SOCKET_IFNAME"] = "{NIC}"
    seen = gathered(node, Docker(tmp_path))
    assert seen["files"] == [] and "no interface is known" in seen["files_error"]


def test_the_key_for_the_probe_is_read_on_the_node(node, tmp_path, monkeypatch):
    asked = []

    class Client:
        def __init__(self, url, model, timeout, api_key, **more):
            asked.append((api_key, more))

        def models(self):
            return {"verdict": "fail"}

    monkeypatch.setattr(status, "Client", Client)
    gathered(node, Docker(tmp_path))
    node["service"]["ca_file"] = "/etc/ca.pem"
    gathered(node, Docker(tmp_path), api_key="given")
    assert asked == [("k 1", {}), ("given", {"ca_file": "/etc/ca.pem"})]


def test_secrets_that_no_shell_reads_are_told_by_name(tmp_path):
    path = tmp_path / "secrets.env"
    path.write_text("A='x\nB=2\n")
    seen, values = status.secrets_file(str(path))
    assert (seen["names"], values) == (["A", "B"], {})
