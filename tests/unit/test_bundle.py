"""What a node shows to whoever looks for a fault: bounded, complete or with a reason, and without its secrets."""

import base64
import io
import json
import os
import tarfile
import time
from pathlib import Path
from urllib.parse import quote

import pytest
from ansible_collections.ascend_ops.vllm.plugins.action.node_bundle import aligned
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.redact import MARK
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.run import last_lines, run_tail
from ansible_collections.ascend_ops.vllm.plugins.module_utils._support import bundle, container, logs, parts, sources
from ansible_collections.ascend_ops.vllm.plugins.modules.node_bundle import chunks
from test_engine_modules import Docker, run_module

NAME = "vllm-ascend"
TABLE = Path(__file__).parent / "fixtures" / "npu-smi" / "info-910B3-8npu-24.1.rc1.b030.txt"
CANARY = "c4nary/Sw0rd+fish 9"
OPTION = "option-c4nary-77"
ENVIRONMENT = "environment-c4nary-55"
SPELLED = [CANARY, quote(CANARY, safe=""), base64.b64encode(CANARY.encode()).decode(), OPTION, ENVIRONMENT]


@pytest.fixture
def docker(tmp_path):
    """An engine with a container that runs, whose log tells all secrets."""
    made = Docker(tmp_path)
    running = (tmp_path / "running").read_text().replace('"LABELS"', "{}")
    env = json.dumps(["VLLM_API_KEY=" + ENVIRONMENT, "HCCL_BUFFSIZE=1024"])
    made.put("container.json", running.replace('"Env": null', '"Env": ' + env))
    return made.put("log", "start\nnum_tokens: 5\n" + "\n".join(SPELLED) + "\nlast line\n")


@pytest.fixture
def node(tmp_path):
    """The root of a node's files."""
    root = tmp_path / "root"
    config = root / "etc/ascend-vllm" / NAME
    config.mkdir(parents=True)
    (config / "launch.sh").write_text("exec vllm serve /models/x --port 8000\n")
    (config / "service.env").write_text("HCCL_BUFFSIZE=1024\n")
    (config / "secrets.env").write_text("VLLM_API_KEY='" + CANARY + "'\nPIN='abc'\n")
    (config / ("backup-" + OPTION)).write_text("x\n")
    # Of revisions, where this version and where 0.1.0 has them.
    for place, secret in (("revisions/2", "newer-c4nary-44"), ("generations/1", "older-c4nary-33")):
        older = root / "var/lib/ascend-vllm" / NAME / place
        older.mkdir(parents=True)
        (older / "secrets.env").write_text(f"OLD='{secret}'\n")
    (root / "etc/os-release").write_text("ID=openEuler\n")
    (root / "proc/sys/vm").mkdir(parents=True)
    (root / "proc/sys/vm/swappiness").write_text("0\n")
    governor = root / "sys/devices/system/cpu/cpu0/cpufreq"
    governor.mkdir(parents=True)
    (governor / "scaling_governor").write_text("performance\n")
    return root


def tool(folder, name, text):
    path = folder / name
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)
    return str(path)


def unpacked(archive):
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        assert {member.mode for member in opened} == {0o600}
        return {member.name: opened.extractfile(member).read().decode() for member in opened}


def collected(docker, node, **options):
    given = dict(engine=docker.path, root=str(node), secrets=[OPTION], timeout=5)
    archive, index = bundle.collect(NAME, **dict(given, **options))
    return unpacked(archive), index, {entry["path"]: entry for entry in index["entries"]}


def test_no_secret_is_in_it(docker, node):
    told = {
        "facts.json": {
            "command": "x --y " + CANARY,
            OPTION: [ENVIRONMENT, "older-c4nary-33", "newer-c4nary-44"],
            "num_tokens": 5,
        }
    }
    files, index, entries = collected(docker, node, data=told)
    everything = json.dumps([files, index])
    for secret in [*SPELLED, base64.b64encode(CANARY.encode()).decode()[:16], "older-c4nary-33", "newer-c4nary-44"]:
        assert secret not in everything, secret
    log = files["container/log.txt"]
    assert "num_tokens: 5\n" in log and "last line\n" in log and log.count(MARK) == len(SPELLED)
    assert files["service/config/secrets.env"] == "VLLM_API_KEY=[redacted]\nPIN=[redacted]\n"
    assert json.loads(files["container/inspect.json"])[0]["Config"]["Env"][0] == "VLLM_API_KEY=" + MARK
    assert json.loads(files["facts.json"]) == {"command": "x --y " + MARK, MARK: [MARK, MARK, MARK], "num_tokens": 5}
    assert "service/config/backup-" + MARK in files and "service/config/backup-" + MARK in entries
    assert index["redactions"] > 8
    assert any("shorter than 6" in note for note in index["notes"])


def test_every_file_is_in_the_index_and_every_absence_has_its_reason(docker, node):
    files, index, entries = collected(docker, node, chips=[0], npu_smi="/nowhere/npu-smi", hccn_tool="/nowhere/hccn")
    assert {path for path, entry in entries.items() if "missing" not in entry} == set(files)
    assert all(entry["bytes"] == len(files[path].encode()) for path, entry in entries.items() if path in files)
    assert entries["npu/info.txt"]["missing"] == "there is no command /nowhere/npu-smi"
    assert "hccn_tool" in entries["fabric/chip-0.txt"]["missing"]
    assert entries["fabric/hccn.conf"]["missing"].endswith("/etc/hccn.conf: No such file or directory")
    assert entries["supervisor/state.json"]["missing"].endswith("state.json: No such file or directory")
    assert files["system/os-release.txt"] == "ID=openEuler\n"
    assert "vm.swappiness = 0\n" in files["host-tuning/sysctls.txt"]
    assert "vm.max_map_count: No such file" in files["host-tuning/sysctls.txt"]
    assert files["host-tuning/governors.txt"] == "performance: 1 CPUs\n"
    assert index["container"]["status"] == "running"


def test_a_supervisors_state_is_found_where_it_is(docker, node):
    place = node / "run/ascend-vllm" / NAME
    place.mkdir(parents=True)
    (place / "state.json").write_text('{"state": "old"}')
    assert "old" in collected(docker, node)[0]["supervisor/state.json"]
    (node / "var/lib/ascend-vllm" / NAME / "supervisor.json").write_text('{"state": "new"}')
    assert "new" in collected(docker, node)[0]["supervisor/state.json"]


def test_npus_and_chips_are_asked_one_by_one(docker, node, tmp_path):
    smi = tool(tmp_path, "npu-smi", f'case "$*" in info) cat {TABLE} ;; *-i*) echo "asked $*"; exit 193 ;; esac\n')
    hccn = tool(tmp_path, "hccn_tool", 'echo "chip $2 $3"\n')
    files, _index, entries = collected(docker, node, chips=[0, 3], npu_smi=smi, hccn_tool=hccn)
    asked = sorted(path for path in files if path.startswith("npu/npu-"))
    assert len(asked) == 8
    assert "asked info -t health -i" in files[asked[0]] and "[exit status 193" in files[asked[0]]
    assert "npu-smi info -t board -i 0: exit status 193" in entries["npu/npu-0.txt"]["problems"]
    assert (
        "chip 3 -link\n[exit status 0" in files["fabric/chip-3.txt"] and "chip 3 -optical" in files["fabric/chip-3.txt"]
    )


def test_what_hangs_costs_its_time_once(docker, node, tmp_path):
    docker.put("hangs", "version")
    smi = tool(tmp_path, "npu-smi", "exec sleep 60\n")
    started = time.monotonic()
    _files, _index, entries = collected(docker, node, npu_smi=smi, timeout=1)
    assert time.monotonic() - started < 15
    assert entries["engine/version.txt"]["problems"] == ["docker version: no answer in 1 s"]
    assert entries["engine/disk.txt"]["missing"] == "skipped: docker version: no answer in 1 s"
    assert "missing" not in entries["container/log.txt"]
    assert entries["npu/lists.txt"]["missing"] == "skipped: npu-smi info: no answer in 1 s"


def test_a_chip_that_hangs_is_asked_no_more(docker, node, tmp_path):
    hccn = tool(tmp_path, "hccn_tool", '[ "$2" = 1 ] || exec sleep 60\necho "chip $2"\n')
    files, _index, entries = collected(docker, node, chips=[0, 1], hccn_tool=hccn, timeout=1)
    problems = entries["fabric/chip-0.txt"]["problems"]
    assert problems[0] == "hccn_tool -i 0 -link -g: no answer in 1 s"
    assert problems[1] == "hccn_tool -i 0 -net_health -g: skipped after the timeout"
    assert files["fabric/chip-1.txt"].count("chip 1\n[exit status 0") == len(sources.HCCN_QUESTIONS)


def test_no_engine_and_no_container(docker, node):
    os.remove(docker.folder / "container.json")
    _files, index, entries = collected(docker, node)
    assert index["container"] is None
    assert entries["container/inspect.json"]["problems"] == ["docker container inspect vllm-ascend: exit status 1"]
    _files, _index, entries = collected(docker, node, engine="/nowhere/docker")
    assert entries["container/log.txt"]["missing"] == "there is no command /nowhere/docker"


def test_too_large_is_cut_at_the_front_and_says_so(docker, node):
    noise = "".join(f"{number} {os.urandom(40).hex()}\n" for number in range(4000))
    docker.put("log", noise + "the end\n")
    archive, index = bundle.collect(NAME, engine=docker.path, root=str(node), limit=100_000)
    assert len(archive) <= 100_000
    (entry,) = [entry for entry in index["entries"] if entry["path"] == "container/log.txt"]
    log = unpacked(archive)["container/log.txt"]
    assert "\nthe end\n" in log and entry["bytes"] == len(log) and entry["cut"] > 100_000
    assert log.splitlines()[0] in noise.splitlines(), "it begins with a whole line"


def test_a_cut_log_holds_no_half_secret(docker, node, monkeypatch):
    monkeypatch.setattr(parts, "LOG", 100)
    docker.put("log", "x" * 70 + CANARY + "\n" + "y" * 60 + "\n")
    files, _index, entries = collected(docker, node)
    assert "fish" not in files["container/log.txt"] and "y" * 60 in files["container/log.txt"]
    assert entries["container/log.txt"]["cut"] > 0


def test_causes_are_told(docker, node):
    docker.put("log", "OSError: [Errno 98] Address already in use for " + CANARY + "\n")
    _files, index, _entries = collected(docker, node)
    assert [cause["id"] for cause in index["causes"]] == ["port-in-use"]
    assert CANARY not in json.dumps(index)


# -- bounds ---------------------------------------------------------------------------------------------------------


def test_the_end_of_a_long_output_is_kept():
    rc, text, late, cut = run_tail(["sh", "-c", "seq 1 100000"], 10, 1000)
    assert (rc, late) == (0, False)
    assert text.endswith("\n100000\n") and 980 < len(text) <= 1000 and cut == 588895 - len(text)
    assert text.split("\n")[0].isdigit() and len(text.split("\n")[0]) == 5


def test_an_output_without_end_is_ended():
    started = time.monotonic()
    rc, text, late, _cut = run_tail(["sh", "-c", "while :; do echo line; done"], 1, 1000)
    assert (rc, late) == (124, True) and text.endswith("line\n") and time.monotonic() - started < 5
    assert run_tail(["/nowhere/x"], 1, 10)[0] == 127


def test_last_lines():
    assert last_lines(b"one\ntwo\nthree\n", 8) == b"three\n"
    assert last_lines(b"one\ntwo\n", 8) == b"one\ntwo\n"
    assert last_lines(b"ne\ntwo\n", 8, True) == b"two\n"
    # One line without end: as much is left out as half a secret may be.
    assert last_lines(b"x" * 9000, 8000) == b"x" * (8000 - 4096)


@pytest.mark.parametrize("text, seconds", [("", 0), ("10m", 600), ("1h30m", 5400), ("1d", 86400), ("5s", 5)])
def test_times_to_look_back(text, seconds):
    assert logs.seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["10", "m", "10 m", "yesterday", "-5m", "5M"])
def test_times_that_are_none(text):
    with pytest.raises(ValueError, match="such as 10m"):
        logs.seconds_of(text)


# -- the modules ----------------------------------------------------------------------------------------------------


def test_node_bundle(docker):
    result = run_module("node_bundle", name=NAME, engine=docker.path, secrets=[CANARY, OPTION], chips=[0], timeout=5)
    assert result["changed"] is False and "invocation" not in result or result["invocation"] == {}
    archive = b"".join(base64.b64decode(part) for part in aligned(result["archive"]))
    files = unpacked(archive)
    assert "last line" in files["container/log.txt"]
    assert not [secret for secret in SPELLED if secret in json.dumps(files) + json.dumps(result["index"])]


@pytest.mark.parametrize(
    "given, says",
    [
        ({"secrets": ["abc"]}, "fewer than 6 characters"),
        ({"since": "soon"}, "such as 10m"),
        ({"lines": 0}, "must be more than 0"),
        ({"timeout": 0}, "must be more than 0"),
    ],
)
def test_node_bundle_refuses(docker, given, says):
    assert says in run_module("node_bundle", name=NAME, engine=docker.path, **given)["msg"]


def test_chunks_hold_no_secret_by_chance():
    archive = os.urandom(3_000_001)
    text = base64.b64encode(archive).decode()
    secrets = [text[100:106], text[1_048_570:1_048_580], text[-8:]]
    parts = chunks(archive, secrets)
    assert not [secret for secret in secrets for part in parts if secret in part]
    assert b"".join(base64.b64decode(part) for part in aligned(parts)) == archive


def test_node_logs(docker):
    result = run_module("node_logs", name=NAME, engine=docker.path, secrets=[CANARY, OPTION], lines=7, since="10m")
    assert result["changed"] is False
    assert result["container"]["status"] == "running"
    assert "last line" in result["log"] and "num_tokens: 5" in result["log"]
    assert not [secret for secret in SPELLED if secret in json.dumps(result)]
    (call,) = [call for call in docker.calls() if call.startswith("logs") and "--tail" in call]
    words = call.split()
    assert words[:4] == ["logs", "--timestamps", "--tail", "7"] and words[-1] == NAME
    assert abs(int(words[words.index("--since") + 1]) - (time.time() - 600)) < 60
    assert result["missing"]["journal"]


def test_node_logs_without_a_container(docker):
    os.remove(docker.folder / "container.json")
    result = run_module("node_logs", name=NAME, engine=docker.path)
    assert result["container"] is None and result["missing"]["log"] == "there is no container vllm-ascend"
    assert "such as 10m" in run_module("node_logs", name=NAME, engine=docker.path, since="x")["msg"]
    result = run_module("node_logs", name=NAME, engine="/nowhere/docker")
    assert "there is no command" in result["missing"]["log"]


# -- CANN's logs ------------------------------------------------------------------------------------------------------


def cann(tmp_path, upper, pid=0, variables=()):
    """What the part holds, for a container whose files are in *upper*."""
    docker = tmp_path / "docker"
    inspected = [
        {"State": {"Pid": pid}, "GraphDriver": {"Data": {"UpperDir": str(upper)}}, "Config": {"Env": list(variables)}}
    ]
    docker.write_text("#!/bin/sh\ncat <<'END'\n" + json.dumps(inspected) + "\nEND\n")
    docker.chmod(0o755)
    part = parts.Part("container/cann-logs.txt", "", container.cann_logs(str(docker), "c", 10, str(tmp_path)))
    part.run()
    return part


def test_the_ends_of_cann_s_newest_logs_of_an_ended_container(tmp_path):
    folder = tmp_path / "upper" / "root" / "ascend" / "log" / "debug" / "plog"
    folder.mkdir(parents=True)
    for number in range(30):
        (folder / f"plog-{number}.log").write_text(f"line of {number}\n")
        os.utime(folder / f"plog-{number}.log", (number, number))
    (folder / "plog-29.log").write_text("early\n" * 100000 + "EI0006 late\n")
    (folder / "lure.log").symlink_to("/etc/hostname")
    part = cann(tmp_path, tmp_path / "upper")
    assert part.text.index("== /root/ascend/log/debug/plog/plog-29.log") < part.text.index("plog-28.log")
    assert "EI0006 late" in part.text and len(part.text) < 200000 and part.cut > 400000
    assert "plog-0.log" not in part.text and "lure" not in part.text
    assert part.problems == ["the 24 newest of 30 files"]


def test_cann_s_logs_of_a_running_container_and_elsewhere(tmp_path):
    folder = tmp_path / "proc" / "77" / "root" / "var" / "cann"
    folder.mkdir(parents=True)
    (folder / "a.log").write_text("from the running one\n")
    part = cann(tmp_path, "", 77, ["ASCEND_PROCESS_LOG_PATH=/var/cann"])
    assert "from the running one" in part.text
    assert cann(tmp_path, "", 77).missing == "CANN wrote no /root/ascend/log in the container"


def test_a_link_does_not_lead_out_of_the_container(tmp_path):
    outside = tmp_path / "outside" / "ascend" / "log"
    outside.mkdir(parents=True)
    (outside / "secret.log").write_text("of the host\n")
    (tmp_path / "upper").mkdir()
    (tmp_path / "upper" / "root").symlink_to(tmp_path / "outside")
    assert cann(tmp_path, tmp_path / "upper").missing == "CANN wrote no /root/ascend/log in the container"
