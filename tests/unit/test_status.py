"""What differs between a node and its plan: each drift is named by what it is, and a healthy node shows none."""

import copy
import json
import os
from pathlib import Path

import pytest
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.engine import (
    Engine,
    mounts_here,
    spec_digest,
)
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan import render
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.model import processes
from ansible_collections.ascend_ops.vllm.plugins.module_utils._state import observed
from ansible_collections.ascend_ops.vllm.plugins.module_utils._state.report import (
    changed_lines,
    compare_file,
    differing_parts,
    duration,
    report,
    size,
    text,
)
from ansible_collections.ascend_ops.vllm.plugins.plugin_utils._plan import plan
from test_engine_modules import Docker
from test_plan import a2, a3

NODES = processes(plan(a2()))
NOW = 1800000000
FOLDER = "/etc/ascend-vllm/minimax2_5/"
CHANGE = {"lines": 2, "names": ["HCCL_BUFFSIZE"]}


def a_file(name, mode):
    return {
        "path": FOLDER + name,
        "missing": False,
        "edited": None,
        "variable": None,
        "differs": None,
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
            "same_spec": True,
            "parts": [],
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
            "tuning": {"compliant": True, "differs": [], "error": ""},
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
    assert "deployed  as planned, proven 65 min ago" in shown and shown.endswith("Next: nothing to do.")


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
    (has("container.foreign", True), "container.foreign", "somebody else made", "npu_container_adopt=true"),
    (
        has("image", None),
        "image.missing",
        "is not on the node; the container was made of quay",
        "deploy_a2.yml brings it",
    ),
    (
        lambda facts: facts.update(same_spec=False, parts=["devices", "mounts"]),
        "container.differs",
        "not what the plan makes: devices, mounts",
        "--check --diff",
    ),
    (
        lambda facts: facts.update(same_spec=False, parts=["image"], image={"id": "sha256:beef", "digests": []}),
        "container.differs",
        "image 0f1e2d3c4b5a, while quay.io/ascend/vllm-ascend:v0.20.2rc1 is beef now",
        "deploy_a2.yml",
    ),
    (
        lambda facts: (facts.update(same_spec=False, parts=["image"]), facts["container"].update(image="mine:1")),
        "container.differs",
        "image mine:1, wanted quay.io/ascend/vllm-ascend:v0.20.2rc1",
        "deploy_a2.yml",
    ),
    (
        lambda facts: (facts.update(parts=["restart"]), facts["container"].update(restart_policy="no")),
        "container.restart_policy",
        "is no and not unless-stopped",
        "docker update --restart unless-stopped minimax2_5",
    ),
    (has("missing_mounts", ["/opt/models"]), "container.mounts", "the node lacks /opt/models", "Provide it"),
    (has("files.0.missing", True), "files.missing", FOLDER + "launch.sh", "deploy_a2.yml"),
    (has("files.0.edited", CHANGE), "files.edited", "launch.sh was edited by hand since", "into a variable"),
    (has("files.1.variable", CHANGE), "files.variable", "2 lines (HCCL_BUFFSIZE)", "put the variable back"),
    (has("files.1.differs", CHANGE), "files.differ", "edited by hand, or a variable or this", "--check --diff"),
    (has("files.1.mode", "0644"), "files.mode", "service.env has mode 0644 and not 0600", "chmod 0600 "),
    (has("files.1.mtime", NOW - 3998.2), "files.newer", "runs something older: " + FOLDER + "service.env", "restart"),
    (has("files_error", "no interface"), "files.untold", "no interface", "inventory"),
    (
        lambda facts: facts["secrets"].update(missing=False, mode="0644", mtime=NOW - 5000),
        "secrets.mode",
        "has mode 0644",
        "chmod 0600",
    ),
    (has("deployed", None), "deployed.missing", "no deploy is recorded", "to its end"),
    (
        has("deployed.current.recipe", dict(NODES[0]["recipe"], release="v0.18.0", scenarios=["long_context"])),
        "deployed.differs",
        "release v0.18.0 (plan: v0.20.2rc1), scenarios long_context (plan: none)",
        "deploy_a2.yml",
    ),
    (
        lambda facts: facts["tuning"].update(compliant=False, differs=["vm.swappiness: differs, 60 (wanted 0)"]),
        "tuning.differs",
        "vm.swappiness: differs, 60",
        "deploy_a2.yml sets it again",
    ),
    (has("tuning.error", "the record cannot be read"), "tuning.untold", "cannot be read", "npu_host_tuning"),
    (
        has("supervisor.active", False),
        "supervisor.off",
        "ascend-vllm@minimax2_5.timer is not active",
        "systemctl enable --now ascend-vllm@minimax2_5.timer",
    ),
    (has("supervisor.enabled", False), "supervisor.off", "does not come back after a boot", "systemctl enable"),
    (
        lambda facts: facts["supervisor"].update(loaded=False, active=False, enabled=False),
        "supervisor.off",
        "is not there",
        "Run deploy_a2.yml",
    ),
    (has("supervisor.wanted", False), "supervisor.on", "though supervision is turned off", "deploy_a2.yml"),
    (has("supervisor.state", None), "supervisor.silent", "has told nothing", "journalctl"),
    (state(checked_at=NOW - 301), "supervisor.stale", "it looked last 5 min ago", "journalctl"),
    (state(state="gave-up", reason="5 restarts"), "supervisor.gave_up", "gave-up: 5 restarts", "mend the cause"),
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
        has("files.1.mtime", NOW - 4000),  # at the moment at which the container was started
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
    assert "a2-node2  secondary  unreachable" in text(seen) and "mend the node" in text(seen)
    assert seen["replicas"][0]["serving"] is True
    seen = report(NODES, {"a2-node1": told, "a2-node2": healthy(NODES[1])})
    assert seen["replicas"][0]["serving"] is None and seen["ok"] is False
    assert "replica default: not known whether it serves, 1 problem\n" in text(seen)


def test_a_dead_engine_leaves_what_else_is_known():
    seen = judged(lambda facts: (unknown_engine(facts), has("files.0.edited", CHANGE)(facts)))
    assert [problem["id"] for problem in seen["replicas"][0]["problems"]] == ["engine.down", "files.edited"]
    assert "a2-node1  primary    no engine" in text(seen)


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


# -- comparing ------------------------------------------------------------------------------------------------------


def test_changed_lines_tell_names_and_no_values():
    before = "A_KEY='secret1'\nB=2\n    --max-num-seqs 128 \\\nexec\n"
    after = "A_KEY='secret2'\nB=2\n    --max-num-seqs 64 \\\n    --new\necho hidden\nexec\n"
    seen = changed_lines(before, after)
    assert seen == {"lines": 4, "names": ["A_KEY", "--max-num-seqs", "--new"]}
    assert changed_lines(before, before) == {"lines": 0, "names": []}


@pytest.mark.parametrize(
    "wanted, found, deployed, kinds",
    [
        ("A=1\n", "A=1\n", "A=1\n", []),
        ("A=1\n", "A=1\n", None, []),
        ("A=1\n", "A=1\n", "A=0\n", []),
        ("A=1\n", None, "A=1\n", ["missing"]),
        ("A=1\n", "A=2\n", None, ["differs"]),
        ("A=1\n", "A=2\n", "A=1\n", ["edited"]),
        ("A=1\n", "A=2\n", "A=2\n", ["variable"]),
        ("A=1\n", "A=2\n", "A=0\n", ["edited", "variable"]),
    ],
)
def test_by_hand_or_by_a_variable(wanted, found, deployed, kinds):
    assert [kind for kind, seen in compare_file(wanted, found, deployed).items() if seen] == kinds


def test_size_and_duration():
    assert [size(word) for word in ("1200g", "64M", "1gb", "5", "much", 7)] == [
        1200 << 30,
        64 << 20,
        1 << 30,
        5,
        None,
        7,
    ]
    assert [duration(seconds) for seconds in (-3, 119, 120, 7200, 200000, None)] == [
        "0 s",
        "119 s",
        "2 min",
        "2 h 0 min",
        "2 d 7 h",
        "-",
    ]


SPEC = NODES[0]["container"]


def inspected(spec=SPEC):
    """What an engine says of a container that was made of *spec*."""
    return {
        "Image": "sha256:1",
        "Config": {
            "Image": spec["image"],
            "User": spec["user"],
            "Entrypoint": spec["command"][:1],
            "Cmd": spec["command"][1:],
        },
        "HostConfig": {
            "NetworkMode": "host",
            "ShmSize": 1200 << 30,
            "RestartPolicy": {"Name": "unless-stopped"},
            "LogConfig": {"Type": "json-file", "Config": {"max-file": "5", "max-size": "100m"}},
            "Init": True,
            "Privileged": False,
            "Devices": [{"PathOnHost": path} for path in spec["devices"]],
        },
        "Mounts": [
            {
                "Type": "bind",
                "Source": mount["source"],
                "Destination": mount["target"],
                "RW": not mount["read_only"],
            }
            for mount in spec["mounts"]
        ],
    }


@pytest.mark.parametrize(
    "change, parts",
    [
        ({}, []),
        ({"image": "other:1"}, ["image"]),
        ({"shm_size": "1g"}, ["shm_size"]),
        ({"devices": SPEC["devices"][1:]}, ["devices"]),
        ({"mounts": SPEC["mounts"][:-1]}, ["mounts"]),
        ({"privileged": True, "init": False}, ["init", "privileged"]),
        ({"restart": "no", "network": "bridge", "user": "1000"}, ["user", "network", "restart"]),
        ({"log": dict(SPEC["log"], **{"max-file": "9"})}, ["log"]),
        ({"command": ["/bin/bash", "x"]}, ["command"]),
    ],
)
def test_differing_parts(change, parts):
    spec = dict(SPEC, **change)
    assert differing_parts(spec, spec["mounts"], "sha256:1", inspected()) == parts
    assert differing_parts(SPEC, SPEC["mounts"], "sha256:2", inspected()) == ["image"]


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
    state = {"state": "serving", "checked_at": NOW, "last_restart": None}
    generation = tmp_path / "var" / "vllm-ascend" / "generations" / "g1"
    for place in (folder, generation, tmp_path / "run" / "vllm-ascend", tmp_path / "bin"):
        place.mkdir(parents=True)
    for item in render.node_files(made, "eth7"):
        for place in (folder, generation):
            (place / item["name"]).write_text(item["content"])
            os.chmod(place / item["name"], int(item["mode"], 8))
    (folder / "secrets.env").write_text("VLLM_API_KEY='k 1'\nHF_TOKEN=t\n")
    (generation.parent.parent / "deployed.json").write_text(json.dumps({"current": record}))
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
    monkeypatch.setattr(observed, "RECORDS", str(tmp_path / "var"))
    monkeypatch.setattr(observed, "STATE", str(tmp_path / "run"))
    monkeypatch.setattr(observed, "network", lambda address: {"interface": "eth7"})
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
    return observed.gather(node, dict(given, **options))


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
    assert (seen["engine_error"], seen["same_spec"], seen["container"]["foreign"]) == ("", True, False)
    assert [(item["missing"], item["edited"], item["variable"], item["differs"]) for item in seen["files"]] == [
        (False, None, None, None)
    ] * 2
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
    seen = gathered(node, docker)
    assert seen["files"][0]["edited"] == {"lines": 1, "names": ["--max-num-seqs", "--max-num-sequences"]}
    assert seen["files"][1]["variable"] == {"lines": 1, "names": ["HCCL_BUFFSIZE"]}
    assert not seen["files"][1]["edited"] and not seen["same_spec"] and "shm_size" in seen["parts"]


@pytest.mark.parametrize("written", ["", "[]", '{"state": 5}', '{"current": {"id": "g1"}}', "\0", '{"current": 1}'])
def test_records_that_are_not_understood_count_as_none(written, node, tmp_path):
    (tmp_path / "var" / "vllm-ascend" / "deployed.json").write_text(written)
    (tmp_path / "run" / "vllm-ascend" / "state.json").write_text(written)
    seen = gathered(node, Docker(tmp_path))
    assert seen["deployed"] is None and seen["supervisor"]["state"] is None
    text(report([node], {node["host"]: seen}))


def test_a_container_of_others_and_an_engine_that_is_down(node, tmp_path):
    docker = Docker(tmp_path)
    docker.put("container.json", (docker.folder / "running").read_text().replace('"LABELS"', "null"))
    seen = gathered(node, docker)
    assert seen["container"]["foreign"] and seen["image"] is None and not seen["same_spec"]
    docker.put("down", "Cannot connect to the Docker daemon at unix:///var/run/docker.sock.")
    seen = gathered(node, docker)
    assert seen["container"] is None and "systemctl start docker" in seen["engine_error"]
    assert not seen["files"][0]["missing"]


def test_an_interface_that_is_not_there(node, tmp_path, monkeypatch):
    monkeypatch.setattr(observed, "network", lambda address: {"interface": None})
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

    monkeypatch.setattr(observed, "Client", Client)
    gathered(node, Docker(tmp_path))
    node["service"]["ca_file"] = "/etc/ca.pem"
    gathered(node, Docker(tmp_path), api_key="given")
    assert asked == [("k 1", {}), ("given", {"ca_file": "/etc/ca.pem"})]


def test_secrets_that_no_shell_reads_are_told_by_name(tmp_path):
    path = tmp_path / "secrets.env"
    path.write_text("A='x\nB=2\n")
    seen, values = observed.secrets_file(str(path))
    assert (seen["names"], values) == (["A", "B"], {})
