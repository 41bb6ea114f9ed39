"""vllm_files and vllm_probe, run as real modules; the model is a real HTTP server, the engine a stand-in."""

import json
import os
import socket
import subprocess
import time

import pytest
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan import render
from ansible_collections.ascend_ops.vllm.plugins.modules.vllm_probe import holder, is_dead
from test_engine_modules import STARTED, Docker, run_module
from test_openai import call, completion, serving

NAME = "vllm-ascend"
FATAL = "INFO start\nOSError: [Errno 98] Address already in use\n"


@pytest.fixture
def docker(tmp_path):
    """A stand-in whose container runs."""
    made = Docker(tmp_path).put("labels", '"ascend_ops.vllm.service": "vllm-ascend"').put("log", "first\nlast\n")
    return made.put("container.json", (tmp_path / "running").read_text().replace('"LABELS"', "{}"))


def exited(docker):
    data = (docker.folder / "exited").read_text().replace('"LABELS"', "{}")
    return docker.put("container.json", data).put("log", FATAL)


# -- vllm_probe -----------------------------------------------------------------------------------------------------


def lively(path, body):
    if path == "/v1/models":
        return 200, {"data": [{"id": "m"}]}
    return 200, call() if "tools" in body else completion("I am MiniMax.")


def probe(**arguments):
    result = run_module("vllm_probe", **arguments)
    if not result.get("failed"):
        assert result.pop("changed") is False
        assert set(result) == {
            "state",
            "verdicts",
            "answer",
            "container",
            "log",
            "causes",
            "telling",
            "taken",
            "stage",
            "last_start",
        }
    return result


def test_a_model_that_answers_is_ready(docker):
    with serving(lively) as (url, asked):
        seen = probe(
            name=NAME,
            started_at=STARTED,
            url=url,
            model="m",
            engine=docker.path,
            checks=["models", "chat", "tool_call"],
        )
    assert (seen["state"], seen["answer"]) == ("ready", "I am MiniMax.")
    assert [(verdict["id"], verdict["verdict"]) for verdict in seen["verdicts"]] == [
        ("service.models", "pass"),
        ("service.chat", "pass"),
        ("service.tool_call", "pass"),
    ]
    assert seen["container"]["running"] and len(asked) == 3


def test_the_first_failed_proof_ends_the_asking():
    with serving(lambda path, body: (200, {"data": [{"id": "other"}]})) as (url, asked):
        seen = probe(url=url, model="m")
    assert (seen["state"], len(seen["verdicts"]), len(asked)) == ("waiting", 1, 1)


def test_a_service_that_wants_another_key_is_not_asked_again():
    begin = time.monotonic()
    with serving(lambda path, body: (401, {"error": "Unauthorized"})) as (url, asked):
        seen = probe(url=url, model="m", api_key="canary", seconds=20)
    assert time.monotonic() - begin < 10 and len(asked) == 1
    assert (seen["state"], seen["verdicts"][0]["seen"]) == (
        "refused",
        "HTTP 401: the service wants another API key",
    )
    assert "canary" not in json.dumps(seen)


def test_health_alone_is_not_ready(docker):
    def orphan(path, body):
        return (200, {"data": [{"id": "m"}]}) if path in ("/v1/models", "/health") else (500, b"EngineDeadError")

    with serving(orphan) as (url, _asked):
        seen = probe(name=NAME, url=url, model="m", engine=docker.path)
    assert (seen["state"], seen["verdicts"][-1]["seen"]) == ("waiting", "HTTP 500: EngineDeadError")
    assert seen["log"] == "last"


def test_it_asks_again_until_the_model_answers():
    begin = time.monotonic()
    times = []

    def slow(path, body):  # for two seconds from the first request on: a busy machine may take long to ask it
        times.append(time.monotonic())
        return lively(path, body) if times[-1] - times[0] > 2 else (503, b"starting")

    with serving(slow) as (url, asked):
        seen = probe(url=url, model="m", seconds=20)
    assert seen["state"] == "ready" and len(asked) > 3 and time.monotonic() - begin < 10


def test_a_container_that_died_ends_the_waiting_at_once(docker):
    begin = time.monotonic()
    engine = exited(docker).path
    seen = probe(name=NAME, started_at=STARTED, url="http://127.0.0.1:9", model="m", seconds=30, engine=engine)
    assert time.monotonic() - begin < 5
    assert (seen["state"], seen["container"]["exit_code"], seen["verdicts"]) == ("dead", 3, [])
    assert seen["log"] == FATAL.strip() and [cause["id"] for cause in seen["causes"]] == ["port-in-use"]


def test_a_container_that_was_started_anew_died(docker):
    seen = probe(name=NAME, started_at=STARTED - 60, engine=docker.path)
    assert (seen["state"], seen["container"]["exit_code"]) == ("dead", 3)  # from the engine's events
    assert probe(name=NAME, started_at=STARTED, engine=docker.path)["state"] == "ready"


def test_a_container_that_is_gone(docker):
    os.unlink(str(docker.folder / "container.json"))
    seen = probe(name=NAME, engine=docker.path)
    assert (seen["state"], seen["container"], seen["log"]) == ("dead", None, "")


def test_a_secondary_waits_until_it_is_told(docker):
    seen = probe(name=NAME, started_at=STARTED, seconds=1, engine=docker.path)
    assert (seen["state"], seen["log"]) == ("waiting", "last")


def test_without_an_engine(docker):
    assert probe(name=NAME, engine="/nowhere/docker")["msg"].startswith("there is no command '/nowhere/docker'")
    assert probe(url="http://127.0.0.1:9")["msg"] == (
        "url is 'http://127.0.0.1:9' and model is ''; wanted both, or neither."
    )


@pytest.mark.parametrize(
    "status, dead",
    [
        ("running", False),
        ("paused", False),
        ("created", True),
        ("exited", True),
        ("dead", True),
        ("restarting", True),
        ("removing", True),
    ],
)
def test_is_dead(status, dead):
    assert is_dead({"status": status, "started_at": 100}, 100) is dead
    assert is_dead({"status": status, "started_at": None}, 0) is dead
    assert is_dead(None, 0) is True


# -- vllm_files -----------------------------------------------------------------------------------------------------


def process(path, env=None, sequences="größe", **more):
    """A process plan whose files are in a folder."""
    spec = {"name": path.name, "command": ["/bin/bash", "/etc/ascend-vllm/launch.sh"]}
    for key in ("image", "user", "network", "shm_size", "restart", "init", "privileged"):
        spec[key] = "1"
    spec.update(devices=[], log={"driver": "json-file", "max-size": "1", "max-file": "1"})
    spec["mounts"] = [{"source": str(path), "target": "/etc/ascend-vllm", "read_only": True, "optional": False}]
    plan = {"host": "n1", "role": "single", "replica": "r1", "address": "192.0.2.1", "env": env or {"A": "1"}}
    return dict(plan, container=spec, argv=["vllm", "serve", "M", "--max-num-seqs", sequences], **more)


def files(path, plan=None, **options):
    return run_module("vllm_files", process=plan or process(path), **options)


def script(path):
    return render.launch_script(process(path))


def test_files_are_written_once(tmp_path):
    folder = tmp_path / "a" / "b"
    first = files(folder)
    assert (first["changed"], first["written"]) == (True, ["launch.sh", "service.env"])
    found = {path.name: (path.read_text(), path.stat().st_mode & 0o777) for path in folder.iterdir()}
    deployed, mode = found.pop("process.json")
    assert found == {"launch.sh": (script(folder), 0o755), "service.env": ("A=1\n", 0o600)}
    assert "--max-num-seqs 'größe'" in script(folder)
    assert (json.loads(deployed), mode) == ({"interface": "", "process": process(folder)}, 0o600)
    again = files(folder)
    assert (again["changed"], again["written"]) == (False, [])


def test_a_changed_file_or_mode_is_put_right_and_others_are_left_alone(tmp_path):
    files(tmp_path)
    (tmp_path / "other").write_text("mine")
    (tmp_path / "launch.sh").write_text("rm -rf")
    count = len(script(tmp_path).splitlines())
    assert files(tmp_path, diff=True)["diff"] == [
        {
            "before": "rm -rf",
            "after": script(tmp_path),
            "before_header": str(tmp_path / "launch.sh"),
            "after_header": str(tmp_path / "launch.sh"),
            "prepared": f"{tmp_path}/launch.sh: {count} lines changed -> as planned\n",
        }
    ]
    (tmp_path / "service.env").chmod(0o644)
    assert files(tmp_path)["written"] == ["service.env"]
    assert (tmp_path / "service.env").stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["launch.sh", "other", "process.json", "service.env"]


def test_check_mode_writes_nothing(tmp_path):
    seen = files(tmp_path / "new", check=True, diff=True)
    assert (seen["changed"], seen["written"]) == (True, ["launch.sh", "service.env"])
    assert not (tmp_path / "new").exists() and seen["diff"][0]["before"] == ""
    files(tmp_path / "new")
    assert files(tmp_path / "new", check=True)["changed"] is False


SECRETS = {"VLLM_API_KEY": 'it\'s $HOME `id` \\ "canary"', "HF_TOKEN": "hf_canary"}


def test_secrets_have_a_file_of_their_own(tmp_path):
    first = files(tmp_path, secrets=SECRETS, diff=True)
    assert first["written"] == ["launch.sh", "service.env", "secrets.env"]
    assert "canary" not in json.dumps(first)
    path = tmp_path / "secrets.env"
    assert path.stat().st_mode & 0o777 == 0o600
    shell = 'set -a; . "$0"; exec env --null'
    told = subprocess.run(["sh", "-c", shell, str(path)], capture_output=True, text=True, check=True).stdout.split("\0")
    assert all(f"{name}={value}" in told for name, value in SECRETS.items())
    assert files(tmp_path, secrets=SECRETS)["changed"] is False
    assert files(tmp_path)["changed"] is False  # not given: left alone
    path.chmod(0o640)
    assert files(tmp_path, secrets=SECRETS)["written"] == ["secrets.env"]
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_changed_secret_is_a_change_that_shows_no_value(tmp_path):
    files(tmp_path, secrets=SECRETS)
    seen = files(tmp_path, secrets={"VLLM_API_KEY": "other-cockatoo"}, diff=True, check=True)
    assert seen["written"] == ["secrets.env"]
    (change,) = seen["diff"]
    assert (change["before"], change["after"]) == (
        "HF_TOKEN=********\nVLLM_API_KEY=********\n",
        "VLLM_API_KEY=********\n",
    )
    assert "canary" not in json.dumps(seen) and "cockatoo" not in json.dumps(seen)
    assert "hf_canary" in (tmp_path / "secrets.env").read_text()


def test_without_secrets_their_file_is_removed(tmp_path):
    files(tmp_path, secrets=SECRETS)
    assert files(tmp_path, secrets={}, check=True)["written"] == ["secrets.env"]
    assert (tmp_path / "secrets.env").exists()
    gone = files(tmp_path, secrets={}, diff=True)
    assert gone["written"] == ["secrets.env"] and "canary" not in json.dumps(gone)
    assert not (tmp_path / "secrets.env").exists()
    assert files(tmp_path, secrets={})["changed"] is False


@pytest.mark.parametrize(
    "given, says",
    [
        ({"canary-1": "x"}, "a name that no environment variable can have"),
        ({"A": 12345678}, "vllm_service_secrets.A is of the type int; wanted a text"),
        ({"A": "canary\n"}, "vllm_service_secrets.A is empty or holds a line break"),
        ({"A": ""}, "vllm_service_secrets.A is empty or holds a line break"),
    ],
)
def test_bad_secrets_are_refused_without_their_values(given, says, tmp_path):
    said = files(tmp_path / "new", secrets=given)
    assert says in said["msg"]
    assert "canary" not in json.dumps(said) and "12345678" not in json.dumps(said)
    assert not (tmp_path / "new").exists()


def test_a_secret_by_its_name_is_not_in_a_diff_of_other_files(tmp_path):
    plan = process(tmp_path, {"A_TOKEN": "canary", "MAX_TOKENS": "7"})
    seen = files(tmp_path, plan, diff=True)
    assert seen["diff"][1]["after"] == "A_TOKEN=********\nMAX_TOKENS=7\n"
    assert "canary" not in json.dumps(seen) + (tmp_path / "process.json").read_text()


def test_the_drift_of_before_is_told_and_shown(tmp_path):
    files(tmp_path)
    launch = tmp_path / "launch.sh"
    launch.write_text(launch.read_text().replace("größe", "32"))
    plan = process(tmp_path, {"A": "1", "B": "2"}, "64")
    for check in (True, False):
        seen = files(tmp_path, plan, diff=True, check=check)
        assert seen["drift_text"] == ["max-num-seqs: 32 -> 64", "B: none -> 2"]
        assert [item["origin"] for item in seen["drift"]] == ["both", "variable"]
        assert [change["prepared"] for change in seen["diff"]] == ["max-num-seqs: 32 -> 64\n", "B: none -> 2\n"]
    assert files(tmp_path, plan)["drift"] == []


def test_another_plan_with_the_same_files_restarts_nothing(tmp_path):
    before = files(tmp_path)
    seen = files(tmp_path, process(tmp_path, ports={"api": 1}))
    assert (seen["changed"], seen["written"], seen["mtime"]) == (True, [], before["mtime"])
    assert files(tmp_path, process(tmp_path, ports={"api": 1}))["changed"] is False


def test_files_tell_when_the_newest_was_written_and_what_is_in_them(tmp_path):
    first = files(tmp_path)
    assert first["mtime"] == max(path.stat().st_mtime for path in tmp_path.iterdir() if path.name != "process.json")
    again = files(tmp_path)
    assert (again["mtime"], again["digest"]) == (first["mtime"], first["digest"])
    secret = files(tmp_path, secrets={"VLLM_API_KEY": "canary"})
    assert secret["digest"] != first["digest"] and secret["mtime"] > first["mtime"]
    assert files(tmp_path, secrets={"VLLM_API_KEY": "other"})["digest"] not in (secret["digest"], first["digest"])
    before = (tmp_path / "secrets.env").stat().st_mtime
    gone = files(tmp_path, secrets={})
    assert gone["digest"] == first["digest"] and gone["mtime"] > before  # also what was removed is seen by its time
    assert files(tmp_path, secrets={})["mtime"] == gone["mtime"]
    assert files(tmp_path / "none", check=True)["mtime"] is None


def test_another_content_of_a_watched_file_is_a_change(tmp_path):
    pem = tmp_path / "cert.pem"
    pem.write_text("one")
    folder = tmp_path / "folder"
    tls = {"secrets": {}, "plan": process(folder, tls={"certificate": str(pem)})}
    assert files(folder, **tls)["written"] == ["launch.sh", "service.env", "watched.sha256"]
    assert subprocess.run(["sha256sum", "--check", str(folder / "watched.sha256")], check=False).returncode == 0
    assert files(folder, **tls)["changed"] is False
    pem.write_text("two")
    assert files(folder, **tls, check=True)["written"] == ["watched.sha256"]
    assert files(folder, tls["plan"])["changed"] is False
    assert files(folder, **tls)["written"] == ["watched.sha256"]
    assert files(folder, secrets={})["written"] == ["watched.sha256"]
    assert not (folder / "watched.sha256").exists()
    pem.unlink()
    assert files(folder, **tls)["msg"] == (
        f"cannot read {pem}, which the service reads when it starts: No such file or directory."
    )


def test_where_nothing_can_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    said = files(tmp_path / "file" / "sub")["msg"]
    assert said.startswith("cannot write ") and said.endswith(". The role needs become, and room on the disk.")
    (tmp_path / "launch.sh").mkdir()
    assert "launch.sh: Is a directory" in files(tmp_path)["msg"]
    assert json.dumps(sorted(path.name for path in tmp_path.iterdir())) == '["file", "launch.sh", "process.json"]'


def test_a_port_that_is_taken_is_told_with_its_holder():
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        port = listening.getsockname()[1]
        cause = {"id": "port-in-use", "facts": {"port": str(port)}}
        assert holder(cause).startswith(f" It is held by pid {os.getpid()} (")
        assert holder(dict(cause, id="error")) == ""
    assert holder(cause) == holder({"id": "port-in-use", "facts": {}}) == ""
