"""The modules that deal with the engine, run as real modules in processes of their own, with a stand-in for docker."""

import calendar
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.engine import (
    Engine,
    EngineError,
    epoch,
    explain,
)
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.model import processes
from ansible_collections.ascend_ops.vllm.plugins.plugin_utils._plan import plan
from test_plan import a3

HERE = Path(__file__).parent
RUNNER = (
    "import runpy, sys; from ansible.module_utils import basic; basic._ANSIBLE_ARGS = sys.stdin.buffer.read(); "
    "basic._ANSIBLE_PROFILE = 'legacy'; "
    "runpy.run_module('ansible_collections.ascend_ops.vllm.plugins.modules.' + sys.argv[1], run_name='__main__')"
)
# A node's Python, and the folder with an ansible-core that knows it: tests/versions.py says which.
TARGET_PYTHON = os.environ.get("TEST_TARGET_PYTHON", sys.executable)
TARGET_PATH = os.pathsep.join(
    [str(HERE.parents[1] / "playbooks" / "collections"), *filter(None, [os.environ.get("TEST_TARGET_PATH")])]
)
IMAGE = "quay.io/ascend/vllm-ascend:v0.20.2rc1-a3"
IMAGE_ID = json.loads((HERE / "fixtures/docker/image.json").read_text())[0]["Id"]
STARTED = calendar.timegm((2026, 11, 25, 0, 22, 21)) + 0.800158
DOWN = "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?"


def run_module(module_, check=False, diff=False, **arguments):
    """What a module returned; it must say it as JSON, whatever happens."""
    given = dict(arguments, _ansible_check_mode=check, _ansible_diff=diff, _ansible_remote_tmp="/tmp")
    ran = subprocess.run(
        [TARGET_PYTHON, "-c", RUNNER, module_],
        input=json.dumps({"ANSIBLE_MODULE_ARGS": given}),
        capture_output=True,
        text=True,
        timeout=40,
        env=dict(os.environ, PYTHONPATH=TARGET_PATH),
    )
    assert "Traceback" not in ran.stderr + ran.stdout, ran.stderr
    result = json.loads(ran.stdout)
    result.pop("invocation", None)
    assert bool(result.get("failed")) == (ran.returncode != 0)
    return result


class Docker:
    """The stand-in in a folder of its own."""

    def __init__(self, folder):
        self.folder = folder
        self.path = str(folder / "docker")
        shutil.copy(HERE / "fake_docker.sh", self.path)
        os.chmod(self.path, 0o755)
        for name in ("created", "running", "exited"):
            data = json.loads((HERE / "fixtures/docker" / (name + ".json")).read_text())
            data[0]["Config"]["Labels"] = "LABELS"
            self.put(name, json.dumps(data))
        shutil.copy(HERE / "fixtures/docker/image.json", folder / "image")

    def put(self, name, text=""):
        (self.folder / name).write_text(text)
        return self

    def have_image(self):
        return self.put("image.json", (self.folder / "image").read_text())

    def calls(self):
        """The calls since the last time, without those that only ask."""
        noted = self.folder / "calls"
        lines = noted.read_text().splitlines() if noted.exists() else []
        noted.write_text("")
        return [line for line in lines if line.split()[0] not in ("image", "container", "version")]


@pytest.fixture
def docker(tmp_path):
    return Docker(tmp_path)


@pytest.fixture
def spec(tmp_path):
    """A container's spec whose mounts are all in a folder of the test."""
    made = processes(plan(a3()))[0]["container"]
    (tmp_path / "models").mkdir()
    (tmp_path / "dcmi").mkdir()
    made["mounts"] = [
        {"source": str(tmp_path / "dcmi"), "target": "/usr/local/dcmi", "read_only": True, "optional": True},
        {"source": "/nowhere/hccn.conf", "target": "/etc/hccn.conf", "read_only": True, "optional": True},
        {"source": str(tmp_path / "models"), "target": "/models", "read_only": True, "optional": False},
        {
            "source": str(tmp_path / "etc"),
            "target": "/etc/ascend-vllm",
            "read_only": True,
            "optional": False,
            "create": True,
        },
    ]
    return made


# -- vllm_container -------------------------------------------------------------------------------------------------


def container(docker, spec, state="present", **options):
    return run_module("vllm_container", spec=spec, state=state, engine=docker.path, **options)


def test_the_life_of_a_container(docker, spec, tmp_path):
    docker.have_image()
    first = container(docker, spec)
    assert (first["changed"], first["actions"], first["container"]["status"]) == (True, ["created"], "created")
    (call,) = docker.calls()
    words = call.split()
    assert words[:3] == ["create", "--name", "vllm-ascend"] and words[-1] == "/etc/ascend-vllm/launch.sh"
    assert words.count("--device") == 19 and "--privileged" not in words
    assert f"type=bind,source={tmp_path}/models,target=/models,readonly" in words
    assert "hccn.conf" not in call and (tmp_path / "etc").is_dir()
    assert first["container"]["labels"]["ascend_ops.vllm.service"] == "vllm-ascend"

    again = container(docker, spec)
    assert (again["changed"], again["actions"], docker.calls()) == (False, [], [])

    started = container(docker, spec, "started")
    assert (started["actions"], started["container"]["started_at"]) == (["started"], STARTED)
    assert started["container"]["running"] and docker.calls() == ["start vllm-ascend"]
    assert container(docker, spec, "started")["changed"] is False and docker.calls() == []

    stopped = container(docker, spec, "stopped", stop_timeout=7)
    assert (stopped["actions"], stopped["container"]["status"]) == (["stopped"], "exited")
    assert docker.calls() == ["stop --time 7 vllm-ascend"]
    assert container(docker, spec, "stopped")["changed"] is False and docker.calls() == []

    removed = container(docker, spec, "absent")
    assert (removed["actions"], removed["container"]) == (["removed"], None)
    assert container(docker, spec, "absent")["changed"] is False
    assert docker.calls() == ["rm --force vllm-ascend"]


@pytest.mark.parametrize(
    "change",
    [
        lambda spec, docker: spec.update(shm_size="2g"),
        lambda spec, docker: spec["devices"].pop(),
        lambda spec, docker: spec.update(image=IMAGE.replace("rc1", "rc2")),
        lambda spec, docker: os.rmdir(spec["mounts"][0]["source"]),  # an optional mount that is no more
        lambda spec, docker: docker.put(
            "image.json", (docker.folder / "image").read_text().replace("262a41", "362a41")
        ),
    ],
)
def test_a_running_container_of_another_spec_is_made_anew(change, docker, spec):
    docker.have_image()
    container(docker, spec)
    container(docker, spec, "started")
    docker.calls()
    change(spec, docker)
    seen = container(docker, spec)
    assert (seen["changed"], seen["actions"]) == (True, ["stopped", "removed", "created"])
    assert [call.split()[0] for call in docker.calls()] == ["stop", "rm", "create"]


@pytest.mark.parametrize("state", ["present", "started", "stopped", "absent"])
def test_a_container_that_others_made_is_left_alone(state, docker, spec):
    docker.have_image().put("container.json", (docker.folder / "running").read_text().replace('"LABELS"', "null"))
    seen = container(docker, spec, state)
    assert seen["msg"] == (
        "there is a container 'vllm-ascend' that this collection did not make (image " + IMAGE_ID[:19] + "). Remove or "
        "rename it, choose another name with vllm_recipe_container.name, or have a deploy replace it with "
        "npu_container_adopt: true."
    )
    assert docker.calls() == []


@pytest.mark.parametrize("state", ["present", "started", "stopped", "absent"])
def test_only_a_deploy_adopts_a_container_that_others_made(state, docker, spec):
    docker.have_image().put("container.json", (docker.folder / "running").read_text().replace('"LABELS"', "null"))
    seen = container(docker, spec, state, adopt=True)
    if state == "present":
        assert (seen["actions"], "spec" in str(seen["container"]["labels"])) == (
            ["stopped", "removed", "created"],
            True,
        )
    else:
        assert "did not make" in seen["msg"] and docker.calls() == []


def test_a_missing_mount(docker, spec):
    os.rmdir(spec["mounts"][2]["source"])
    for check in (False, True):
        assert container(docker.have_image(), spec, check=check)["msg"] == (
            "the node lacks {0}, which the container mounts. Provide it, or correct vllm_recipe_weights_dir and "
            "vllm_recipe_container.mounts.".format(spec["mounts"][2]["source"])
        )
    assert docker.calls() == []


def test_check_mode_does_nothing_and_shows_the_command(docker, spec, tmp_path):
    seen = container(docker, spec, check=True, diff=True)  # the image would come in the task before
    assert (seen["changed"], seen["actions"], seen["container"]) == (True, ["created"], None)
    assert seen["diff"]["after"].startswith("docker create\n  --name vllm-ascend\n")
    docker.have_image()
    container(docker, spec)
    container(docker, spec, "started")
    docker.calls()
    assert container(docker, spec, check=True)["changed"] is False
    spec["shm_size"] = "3g"
    seen = container(docker, spec, check=True)
    assert (seen["actions"], seen["container"]["status"]) == (["stopped", "removed", "created"], "running")
    for state, actions in (("started", []), ("stopped", ["stopped"]), ("absent", ["stopped", "removed"])):
        assert container(docker, spec, state, check=True)["actions"] == actions
    assert docker.calls() == []
    assert container(Docker(tmp_path / "models"), spec, "started", check=True)["actions"] == ["started"]


def test_the_drift_of_a_container_is_told_and_shown(docker, spec):
    docker.have_image()
    container(docker, spec)
    assert container(docker, spec)["drift"][0]["path"] == "container", "it does not run yet"
    container(docker, spec, "started")
    assert container(docker, spec)["drift"] == []
    spec["shm_size"] = "3g"
    seen = container(docker, spec, check=True, diff=True)
    lines = seen["diff"]["prepared"].splitlines()
    assert "shm_size: 1g -> 3g" in lines and len(lines) == len(seen["drift"])
    assert seen["diff"]["after"].startswith("docker create\n  --name vllm-ascend\n")


def test_a_restart_policy_that_was_changed_by_hand_is_corrected_without_a_restart(docker, spec):
    docker.have_image()
    container(docker, spec)
    container(docker, spec, "started")
    found = docker.folder / "container.json"
    found.write_text(found.read_text().replace('"unless-stopped"', '"no"'))
    docker.calls()
    for check in (True, False):
        seen = container(docker, spec, check=check, diff=True)
        assert (seen["changed"], seen["actions"], seen["adjusted"]) == (True, [], ["restart"])
        assert seen["diff"] == {"prepared": "restart: no -> unless-stopped\n"}
    assert docker.calls() == ["update --restart unless-stopped vllm-ascend"]


def test_what_a_container_cannot_do_without(docker, spec):
    assert container(docker, spec)["msg"] == (
        f"the image {IMAGE} is not on the node; the task before this one brings it."
    )
    assert container(docker, spec, "started")["msg"] == ("there is no container 'vllm-ascend' to start; run a deploy.")
    docker.put("down", DOWN)
    assert container(docker, spec)["msg"].startswith("The engine is not running: 'systemctl start docker' on the node.")
    assert run_module("vllm_container", spec=spec, engine="/nowhere/docker")["msg"] == (
        "there is no command '/nowhere/docker' on the node; install the Docker engine, or set npu_container_engine to "
        "its path."
    )


def test_a_docker_that_hangs_is_left_in_time(docker):
    start = time.monotonic()
    with pytest.raises(EngineError) as caught:
        Engine(docker.put("hangs", "container").path, timeout=0.5).container("x")
    assert str(caught.value) == (
        f"'{docker.path} container' gave no answer within 0.5 s; see 'systemctl status docker' on the node."
    )
    assert image(docker.put("hangs", "pull"), timeout=1)["msg"].startswith(
        f"'{docker.path} pull' gave no answer within 1 s;"
    )
    assert time.monotonic() - start < 10


# -- vllm_image -----------------------------------------------------------------------------------------------------


def image(docker, **options):
    return run_module("vllm_image", name=IMAGE, engine=docker.path, **options)


def test_an_image_that_is_there_is_neither_loaded_nor_pulled(docker):
    seen = image(docker.have_image(), archive="/nowhere.tar")
    assert (seen["changed"], seen["source"], seen["image"]["id"]) == (False, "present", IMAGE_ID)
    assert docker.calls() == []


LOGIN = {"registry": "quay.io", "username": "robot", "password": "right-canary"}


def test_an_image_is_pulled_with_a_login_of_which_nothing_stays(docker):
    docker.put("registry").put("private")
    assert "set npu_container_registry_login" in image(docker)["msg"]
    seen = image(docker, login=LOGIN)
    assert (seen["changed"], seen["source"]) == (True, "registry")
    listed, folder = (docker.folder / "config").read_text().splitlines()
    assert listed.startswith("drwx------") and not os.path.exists(folder)
    calls = docker.calls()
    assert "login --username robot --password-stdin quay.io" in calls
    assert "canary" not in json.dumps(seen) + "".join(calls)


def test_a_wrong_password_is_named_and_not_shown(docker):
    seen = image(docker.put("registry").put("private"), login=dict(LOGIN, password="wrong-canary"))
    assert seen["msg"] == (
        "the registry quay.io refuses the user 'robot': user name or password is wrong. Correct "
        "npu_container_registry_login."
    )
    assert "canary" not in json.dumps(seen) + "".join(docker.calls())
    assert not os.path.exists((docker.folder / "config").read_text().splitlines()[1])


def test_a_login_for_another_registry_is_refused(docker):
    seen = image(docker.put("registry"), login=dict(LOGIN, registry="https://registry.example.com:5000/v2/"))
    assert seen["msg"].startswith(
        "npu_container_registry_login is for registry.example.com:5000; the image " + IMAGE + " comes from quay.io."
    )
    assert docker.calls() == []


def test_a_login_that_lacks_something(docker):
    seen = image(docker, login={"registry": "quay.io", "password": "right-canary"})
    assert "username" in seen["msg"] and "canary" not in json.dumps(seen)


def test_a_pull_that_is_broken_off_leaves_no_login(docker):
    """As the end of a connection does."""
    docker.put("registry").put("hangs", "pull")
    given = dict(name=IMAGE, engine=docker.path, login=LOGIN, _ansible_remote_tmp="/tmp")
    env = dict(os.environ, PYTHONPATH=TARGET_PATH)
    process = subprocess.Popen(
        [TARGET_PYTHON, "-c", RUNNER, "vllm_image"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env
    )
    process.stdin.write(json.dumps({"ANSIBLE_MODULE_ARGS": given}).encode())
    process.stdin.close()
    for _ in range(200):
        if any(call.startswith("pull") for call in docker.calls()):
            break
        time.sleep(0.1)
    folder = (docker.folder / "config").read_text().splitlines()[1]
    assert os.path.exists(folder)
    process.send_signal(signal.SIGHUP)
    process.wait(20)
    process.stdout.close()
    assert not os.path.exists(folder)


def test_an_image_is_loaded_from_its_archive(docker, tmp_path):
    archive = str(tmp_path / "image")
    docker.put("held", IMAGE)
    assert image(docker, archive=archive, check=True) == {"changed": True, "source": "archive", "image": None}
    assert docker.calls() == []
    seen = image(docker, archive=archive)
    assert (seen["changed"], seen["source"], seen["image"]["id"]) == (True, "archive", IMAGE_ID)
    assert docker.calls() == ["load --input " + archive]
    assert image(docker, archive=archive)["changed"] is False


def test_archives_that_do_not_help(docker, tmp_path):
    assert image(docker, archive="/nowhere.tar")["msg"] == (
        f"the image {IMAGE} is not on the node, and neither is the archive /nowhere.tar. Copy the archive there ('docker "
        "save -o' where the image is, then rsync), or set npu_container_image_archive to its path."
    )
    assert image(docker.put("held", "other:1"), archive=str(tmp_path / "image"))["msg"] == (
        "the archive {0} contains other:1 and not {1}. Set npu_container_image_archive to the right archive, or "
        "vllm_recipe_image to the image in it.".format(tmp_path / "image", IMAGE)
    )


def test_an_image_is_pulled(docker):
    assert image(docker)["msg"].startswith(
        "The registry cannot be reached from the node. Without internet, copy an archive made by 'docker save' to the "
        "node and set npu_container_image_archive to its path. (" + docker.path + " pull: "
    )
    seen = image(docker.put("registry"))
    assert (seen["changed"], seen["source"], seen["image"]["architecture"]) == (True, "registry", "amd64")
    assert docker.calls() == ["pull " + IMAGE] * 2


@pytest.mark.parametrize(
    "said",
    [
        DOWN,
        'error during connect: Get "http://host:1/v1.50/images/x/json": dial tcp: lookup host: no such host',
        "failed to connect to the docker API at unix:///var/run/docker.sock; check if the path is correct and if the "
        "daemon is running: dial unix /var/run/docker.sock: connect: no such file or directory",
    ],
)
def test_an_engine_that_cannot_be_asked_is_no_missing_image(said, docker):
    assert image(docker.put("down", said))["failed"] is True
    assert docker.calls() == []


@pytest.mark.parametrize(
    "said, advice",
    [
        (DOWN, "The engine is not running"),
        ("permission denied while trying to connect to the Docker daemon socket", "The user may not use the engine"),
        ("write /var/lib/docker/tmp/x: no space left on device", "The disk that holds the engine's data is full"),
        ("manifest unknown: manifest unknown", "The registry has no such image"),
        (
            "pull access denied for x, repository does not exist or may require 'docker login': denied: requested access",
            "The registry wants a login",
        ),
        (
            'error gathering device information while adding custom device "/dev/davinci99": no such file or directory',
            "A device of the plan is not on the node",
        ),
        ("something new", "'docker start c' failed: something new"),
    ],
)
def test_what_an_engine_says_is_explained(said, advice):
    assert explain(said, "docker", ["start", "c"]).startswith(advice)


@pytest.mark.parametrize(
    "text, seconds",
    [
        ("2026-11-25T00:22:21.5Z", 0.5),
        ("2026-11-25T00:22:21Z", 0),
        ("2026-11-25T02:22:21.25+02:00", 0.25),
        ("2026-11-24T23:52:21.25-00:30", 0.25),
        ("0001-01-01T00:00:00Z", None),
        ("", None),
        (None, None),
    ],
)
def test_times_of_the_engine_keep_their_fractions(text, seconds):
    base = calendar.timegm((2026, 11, 25, 0, 22, 21))
    assert epoch(text) == (None if seconds is None else base + seconds)
