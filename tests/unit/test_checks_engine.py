"""Verdicts on the engine, the image and the containers; and what is read of an engine, from a stand-in for docker."""

import json
import stat
import time
from pathlib import Path

import pytest
from ansible_collections.ascend_ops.vllm.plugins.module_utils._checks import engine
from ansible_collections.ascend_ops.vllm.plugins.module_utils._checks.engine import evaluate_replica, key
from ansible_collections.ascend_ops.vllm.plugins.module_utils._facts.engine import (
    first_json,
    gather,
    info,
    numbers,
)
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.model import processes
from ansible_collections.ascend_ops.vllm.plugins.plugin_utils._plan import plan
from healthy import EMPTY, GB, catalogue, evaluated, own_facts, put, whole
from hypothesis import given, settings
from hypothesis import strategies as st
from test_plan import a2, a3

NODES = processes(plan(a2()))
A3 = processes(plan(a3()))[0]
HERE = Path(__file__).parent


def other(**changes):
    """A container beside the plan's."""
    known = {
        "name": "mindie",
        "id": "c0ffee000000",
        "image": "mindie:2.0",
        "running": True,
        "ours": False,
        "privileged": False,
        "devices": ["/dev/davinci0", "/dev/davinci1", "/dev/davinci2", "/dev/davinci3"],
    }
    return dict(known, **changes)


def absent(archive, free=500 * GB, size=None, mirrors=()):
    """A change: the image is not on the node yet."""

    def change(facts):
        facts["archive"] = archive
        facts["engine"].update(image=None, free_bytes=free, archive_bytes=size, mirrors=list(mirrors))

    return change


def image(**changes):
    return lambda facts: facts["engine"]["image"].update(changes)


@pytest.mark.parametrize("node", [NODES[0], NODES[1], A3], ids=["primary", "secondary", "a3"])
def test_a_healthy_node_passes_everything(node):
    verdicts = evaluated(engine, node)
    assert {check["verdict"] for check in verdicts.values()} == {"pass"}, verdicts
    assert list(verdicts) == [name for name in engine.CHECKS if name != "image.same"]


def test_the_catalogue_is_whole():
    catalogue(engine)


# change, check, verdict, what is seen, what remedy or wanted name
BROKEN = [
    (put("engine", "error", "Cannot connect"), "engine.running", "fail", "Cannot connect", "systemctl status docker"),
    (put("engine", "error", "Cannot connect"), "image.available", "unknown", "did not respond", "engine.running"),
    (put("engine", "error", "Cannot connect"), "container.name", "unknown", "did not respond", "engine.running"),
    (put("engine", "version", None), "engine.running", "unknown", "version not reported", "docker"),
    (put("engine", "version", "18.09.0"), "engine.version", "warn", "docker 18.09.0", "20.10.10"),
    (put("engine", "version", "20.10.9"), "engine.version", "warn", "20.10.9", "not permitted"),
    (put("engine", "version", "17.03.2-ce"), "engine.version", "fail", "17.03.2-ce", "20.10.10"),
    (put("engine", "version", None), "engine.version", "unknown", "unknown version", "docker version"),
    (put("engine", "kind", "podman"), "engine.version", "skipped", "podman 24.0.7", ""),
    (put("engine", "cgroup_driver", "none"), "engine.cgroup", "fail", "none", "root"),
    (put("engine", "cgroup_driver", None), "engine.cgroup", "unknown", "did not report", "docker info"),
    (
        put("engine", "free_bytes", 10**8),
        "engine.storage",
        "fail",
        "0.1 GB free in /var/lib/docker",
        "docker system df",
    ),
    (
        absent(None, 20 * GB),
        "engine.storage",
        "fail",
        "20.0 GB free in /var/lib/docker (overlay2); required 30",
        "prune",
    ),
    (
        absent(True, 30 * GB, 16 * GB),
        "engine.storage",
        "fail",
        "required 32.0 GB, twice the size of the archive",
        "data-root",
    ),
    (absent(True, None, 16 * GB), "engine.storage", "unknown", "cannot be read", "df -h"),
    (absent(None), "image.available", "warn", "it will be pulled", "npu_container_image_archive"),
    (absent(None, mirrors=["https://m.daocloud.io/"]), "image.available", "warn", "through https://m.daocloud", "save"),
    (absent(False), "image.available", "fail", "neither the image nor the archive", "Copy the archive"),
    (absent(True), "image.architecture", "skipped", "not on the node yet", ""),
    (image(architecture="amd64"), "image.architecture", "fail", "image amd64, machine aarch64", "--platform"),
    (image(architecture=None), "image.architecture", "unknown", "image not reported", "uname -m"),
    (image(os="windows"), "image.architecture", "fail", "system windows", "--platform"),
    (put("host", "machine", "riscv64"), "image.architecture", "unknown", "machine riscv64", "not known"),
    (put("host", None), "image.architecture", "unknown", "machine not reported", "uname -m"),
    (image(soc="ascend910_9391"), "image.hardware", "fail", "SOC_VERSION ascend910_9391: for a3", "suffix"),
    (image(soc="ascend310p3"), "image.hardware", "fail", "for 310p", "suffix"),
    (put("engine", "foreign", True), "container.name", "fail", "did not create", "docker rm -f minimax2_5"),
    (
        lambda facts: (put("engine", "foreign", True)(facts), facts.update(adopt=True)),
        "container.name",
        "warn",
        "a deploy replaces it",
        "npu_container_adopt",
    ),
    (
        put("engine", "others", [other()]),
        "container.holds_device",
        "fail",
        "mindie (mindie:2.0) uses /dev/davinci0",
        "stop",
    ),
    (put("engine", "others", None), "container.holds_device", "unknown", "does not list", "docker ps"),
]


@pytest.mark.parametrize("change, check, word, seen, named", BROKEN)
def test_broken(change, check, word, seen, named):
    found = evaluated(engine, NODES[0], change)[check]
    assert (found["verdict"], seen in found["seen"]) == (word, True), found
    assert named in found["remedy"] or named in found["wanted"], found


def test_what_is_as_good_as_healthy():
    def verdicts_on(change, node=NODES[0]):
        return evaluated(engine, node, change)

    assert verdicts_on(absent(True, 33 * GB, 16 * GB))["engine.storage"]["verdict"] == "pass"
    assert verdicts_on(absent(True))["image.available"]["verdict"] == "pass"
    # The tag decides if the image's environment does not, and a name without a hint is not evaluated.
    assert verdicts_on(image(soc=None))["image.hardware"]["seen"] == "tag v0.20.2rc1: for a2"
    assert verdicts_on(absent(True), A3)["image.hardware"]["seen"] == "tag v0.20.2rc1-a3: for a3"
    own = dict(NODES[0], container=dict(NODES[0]["container"], image="registry.example/llm@sha256:77"))
    assert verdicts_on(absent(True), own)["image.hardware"]["verdict"] == "skipped"
    # Old engines are known to be right for a container without the seccomp profile.
    free = dict(NODES[0], container=dict(NODES[0]["container"], privileged=True))
    assert verdicts_on(put("engine", "version", "18.09.0"), free)["engine.version"]["verdict"] == "pass"
    for harmless in (other(running=False), other(devices=["/dev/davinci8"]), other(devices=[], privileged=True)):
        found = verdicts_on(put("engine", "others", [harmless]))["container.holds_device"]
        assert found["verdict"] == "pass"
    assert found["seen"] == "none; privileged: mindie"


def test_a_wrong_tag_is_seen_before_the_image_is_there():
    node = dict(
        NODES[0], container=dict(NODES[0]["container"], image="quay.io/ascend/vllm-ascend:v0.20.2rc1-a3-openeuler")
    )
    assert evaluated(engine, node, absent(True))["image.hardware"]["verdict"] == "fail"


def replica(change=None):
    facts = {node["host"]: own_facts(node) for node in NODES}
    if change:
        change(facts)
    reported = evaluate_replica(NODES, facts, {})
    assert set(reported) == {node["host"] for node in NODES}
    return whole(reported[NODES[1]["host"]], engine)["image.same"]


def second(change):
    return lambda facts: change(facts[NODES[1]["host"]])


def test_one_image_on_all_nodes():
    assert replica()["verdict"] == "pass"
    found = replica(second(image(id="sha256:ffff", digests=[])))
    assert found["verdict"] == "fail" and "sha256:0f1e2d3c4b5a" in found["seen"] and "sha256:ffff" in found["seen"]
    assert "docker rmi" in found["remedy"]
    # Engines with another image store give one image another id; the digest in the registry is the same.
    assert replica(second(image(id="sha256:ffff")))["verdict"] == "pass"
    assert replica(second(put("engine", "image", None)))["verdict"] == "skipped"
    assert replica(second(put("engine", "error", "down")))["verdict"] == "unknown"
    assert replica(lambda facts: facts.clear())["verdict"] == "unknown"
    assert evaluate_replica([A3], {}, {}) == {A3["host"]: []}


@pytest.mark.parametrize("facts", EMPTY)
def test_a_node_that_tells_nothing_passes_nothing(facts):
    checks = whole(engine.evaluate(NODES[0], facts, {}), engine)
    assert list(checks) == [name for name in engine.CHECKS if name != "image.same"]
    assert {check["verdict"] for check in checks.values()} <= {"unknown", "fail"}


def test_versions_are_compared_by_number():
    assert key("20.10.24+dfsg1") == (20, 10, 24) and key("27.0") == (27, 0, 0)
    assert key("20.10.9") < key("20.10.10") < key("20.10.24+dfsg1")
    assert key(None) is key("dev") is None


# -- what is read ---------------------------------------------------------------------------------------------------

INFO = {
    "CgroupDriver": "cgroupfs",
    "CgroupVersion": "1",
    "Driver": "overlay2",
    "DockerRootDir": "/",
    "LoggingDriver": "json-file",
    "LiveRestoreEnabled": True,
    "SecurityOptions": ["name=seccomp,profile=default"],
    "RegistryConfig": {
        "InsecureRegistryCIDRs": ["127.0.0.0/8", "10.0.0.0/8"],
        "IndexConfigs": {"docker.io": {"Secure": True}, "reg.example:5000": {"Secure": False}},
        "Mirrors": ["https://mirror.example/"],
    },
}


def container(name, running=True, devices=(), env=(), labels=None, number="a"):
    return {
        "Id": number * 64,
        "Name": "/" + name,
        "State": {"Running": running},
        "Config": {"Image": "i", "Labels": labels, "Env": list(env)},
        "HostConfig": {"Privileged": False, "Devices": [{"PathOnHost": path} for path in devices]},
    }


@pytest.fixture
def docker(tmp_path):
    """A stand-in that answers from files: version, info.json, image.json, container.json, ps, all, inspect.json."""
    path = tmp_path / "docker"
    path.write_text(
        f"""#!/bin/sh
here={tmp_path}
echo "$*" >> $here/calls
[ ! -e $here/slow ] || exec sleep 60
case "$1 $*" in
version*) cat $here/version ;;
info*) echo 'WARNING: No swap limit support' >&2; cat $here/info.json ;;
image*) cat $here/image.json ;;
container*) echo '[]'; echo 'Error: No such container: x' >&2; exit 1 ;;
ps*--all*) cat $here/all ;;
ps*) cat $here/ps ;;
inspect*) cat $here/inspect.json ;;
esac
"""
    )
    path.chmod(path.stat().st_mode | stat.S_IEXEC)
    (tmp_path / "version").write_text("20.10.24+dfsg1\n")
    (tmp_path / "info.json").write_text(json.dumps(INFO))
    entry = json.loads((HERE / "fixtures/docker/image.json").read_text())
    entry[0]["Config"]["Env"] = ["PATH=/usr/bin", "SOC_VERSION=ascend910b1"]
    (tmp_path / "image.json").write_text(json.dumps(entry))
    (tmp_path / "ps").write_text("a" * 64 + "\n" + "b" * 64 + "\n")
    (tmp_path / "all").write_text("c" * 64 + "\n")
    (tmp_path / "inspect.json").write_text(
        json.dumps(
            [
                container("mindie", devices=["/dev/davinci10", "/dev/davinci2", "/dev/davinci_manager"]),
                container("pod", env=["ASCEND_VISIBLE_DEVICES=0-1,3"], number="b"),
                container("old", False, labels={"ascend_ops.vllm.service": "x"}, number="c"),
                container("minimax2_5", devices=["/dev/davinci0"], number="d"),
            ]
        )
    )
    return path


def gathered(docker, archive="", timeout=10):
    facts = gather(NODES[0], {"engine": str(docker), "timeout": timeout, "archive": archive})
    assert json.loads(json.dumps(facts)) == facts
    return facts


def test_what_an_engine_tells(docker):
    facts = gathered(docker, archive=str(docker))
    assert (facts["error"], facts["version"], facts["kind"]) == ("", "20.10.24+dfsg1", "docker")
    assert (facts["cgroup_driver"], facts["cgroup_version"], facts["storage_driver"]) == ("cgroupfs", "1", "overlay2")
    assert (facts["live_restore"], facts["logging_driver"], facts["data_root"]) == (True, "json-file", "/")
    assert facts["free_bytes"] > 0 and facts["archive_bytes"] == docker.stat().st_size
    assert facts["mirrors"] == ["https://mirror.example/"]
    assert facts["insecure"] == ["reg.example:5000", "10.0.0.0/8"]
    assert (facts["image"]["soc"], facts["image"]["os"], facts["container"]) == ("ascend910b1", "linux", None)
    assert [(one["name"], one["running"], one["ours"], one["devices"]) for one in facts["others"]] == [
        ("mindie", True, False, ["/dev/davinci2", "/dev/davinci10"]),
        ("old", False, True, []),
        ("pod", True, False, ["/dev/davinci0", "/dev/davinci1", "/dev/davinci3"]),
    ]


def test_an_engine_that_hangs_or_is_not_there(docker, tmp_path):
    (tmp_path / "slow").touch()
    started = time.monotonic()
    assert "no answer within 0.5 s" in gathered(docker, timeout=0.5)["error"]
    assert time.monotonic() - started < 5
    assert "no command '/nowhere/docker'" in gathered("/nowhere/docker")["error"]
    assert gathered("/nowhere/podman")["kind"] == "podman"


@pytest.mark.parametrize(
    "name, content",
    [
        ("info.json", "rubbish"),
        ("info.json", "[1]"),
        ("inspect.json", ""),
        ("inspect.json", '[{"Id": 3}]'),
        ("ps", "?"),
    ],
)
def test_an_engine_that_answers_otherwise(docker, tmp_path, name, content):
    (tmp_path / name).write_text(content)
    whole(engine.evaluate(NODES[0], dict(own_facts(NODES[0]), engine=gathered(docker)), {}), engine)


def test_an_image_that_is_reported_otherwise(docker, tmp_path):
    (tmp_path / "image.json").write_text('[{"Id": "sha256:1", "Config": null}]')
    assert gathered(docker)["image"]["soc"] is None
    (tmp_path / "image.json").write_text('[{"Config": 3}]')
    assert "could not be parsed" in gathered(docker)["error"]


def test_numbers_of_visible_devices():
    assert numbers("0,2-4") == [0, 2, 3, 4] and numbers("all") == numbers("") == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from([*INFO, "IndexConfigs", "Secure"]), inner),
    max_leaves=12,
)


@settings(deadline=None)
@given(st.text(), st.text())
def test_json_is_found_in_any_text(before, after):
    assert first_json(before.replace("{", "") + '{"a": 1}' + after, "{") == {"a": 1}
    first_json(before, "[")


@settings(deadline=None)
@given(JSON.map(json.dumps) | st.text())
def test_info_is_read_or_left(output):
    try:
        facts = info(output)
    except (TypeError, AttributeError, ValueError):  # gather makes it an error of the engine's
        return
    assert json.loads(json.dumps(facts)) == facts
