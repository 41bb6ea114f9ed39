"""What is read of a container that died: its whole log since the start, and CANN's logs of this start alone."""

import os
from types import SimpleNamespace

import pytest
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.engine import Engine
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.run import run_tail
from ansible_collections.ascend_ops.vllm.plugins.module_utils._failure import evidence

CONTAINER = {"name": "c", "error": "", "exit_code": 1}
OOM = "RuntimeError: NPU out of memory. Tried to allocate 2 GiB"


@pytest.fixture
def docker(tmp_path):
    """A function that makes an engine: a log to print, seconds to take for all of it, and the folder of the container's files."""

    def make(log, seconds=0, upper=""):
        (tmp_path / "log").write_text(log)
        path = tmp_path / "docker"
        path.write_text(
            f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\ncase "$*" in\n*inspect*) echo \'[{{"State": {{"Pid": 0}}, "GraphDriver": '
            f'{{"Data": {{"UpperDir": "{upper}"}}}}, "Config": {{"Env": []}}}}]\' ;;\n'
            f"*--tail*) tail -n 5 {tmp_path}/log ;;\n*) head -n 5 {tmp_path}/log; sleep {seconds}; tail -n +6 {tmp_path}/log ;;\nesac\n"
        )
        path.chmod(0o755)
        return Engine(str(path), 5)

    return make


def test_the_cause_is_found_however_much_is_printed_after_it(docker):
    stamp = "2026-11-25T06:11:34.123456789Z "
    log = stamp + OOM + "\n" + f"{stamp}INFO 11-25 06:00:00 [a.py:1] on and on\n" * 60000
    found = evidence.death(docker(log), CONTAINER)
    assert found["causes"][0]["id"] == "npu-out-of-memory"
    assert found["causes"][0]["time"] == "11-25 06:11:34.123456" and found["causes"][0]["line"] == OOM
    assert (
        found["log"].splitlines()[-1] == "INFO 11-25 06:00:00 [a.py:1] on and on"
        and len(found["log"].splitlines()) == 40
    )


def test_a_log_that_takes_too_long_is_read_from_its_end(docker, monkeypatch):
    engine = docker("first\n" * 10 + OOM + "\n", seconds=30)
    assert evidence.log_since(engine, "c", 0, timeout=1).endswith(OOM + "\n")


def test_the_engine_s_own_word_counts(docker):
    said = 'error gathering device information while adding custom device "/dev/davinci8": no such file or directory'
    (cause, *_) = evidence.death(docker(""), dict(CONTAINER, error=said))["causes"]
    assert cause["id"] == "device-missing" and "/dev/davinci8" in cause["meaning"]


def test_telling_lines_where_no_cause_is_known(docker):
    found = evidence.death(docker("all is well\nit cannot go on\n"), CONTAINER)
    assert (found["causes"], found["telling"]) == ([], ["it cannot go on"])


def test_cann_s_logs_of_this_start_alone_in_the_order_of_time(docker, tmp_path):
    folder = tmp_path / "upper" / "root" / "ascend" / "log" / "debug" / "plog"
    folder.mkdir(parents=True)
    line = "[ERROR] HCCL({0},python3):2026-11-25-06:11:3{0}.000.000 [x.cc:1] number {0}\n"
    for number in (3, 1, 2):
        (folder / f"plog-{number}.log").write_text("[INFO] x\n" + line.format(number))
        os.utime(folder / f"plog-{number}.log", (1000 + number, 1000 + number))
    engine = docker("", upper=tmp_path / "upper")
    errors = evidence.cann_errors(engine, "c", 1002)
    assert [text[-8:] for text in errors.splitlines()] == ["number 2", "number 3"]
    assert evidence.cann_errors(engine, "c", 0).count("number") == 3
    assert [text[-8:] for text in evidence.cann_errors(engine, "c", 1002, 1003).splitlines()] == ["number 2"]
    assert evidence.cann_errors(docker(""), "c", 0) == ""


def test_both_ends_of_a_long_output():
    script = "for n in $(seq 1000); do echo line $n; done"
    rc, text, late, cut = run_tail(["sh", "-c", script], 10, 100, head=50)
    assert (rc, late) == (0, False)
    assert text.startswith("line 1\nline 2\n") and text.endswith("line 999\nline 1000\n")
    assert all(line.startswith("line ") for line in text.splitlines()) and len(text) <= 150
    assert cut == sum(len(f"line {n}\n") for n in range(1, 1001)) - len(text)
    assert run_tail(["sh", "-c", "echo a; echo b"], 10, 100, head=50)[1:] == ("a\nb\n", False, 0)
    assert run_tail(["sh", "-c", "echo aaaa; echo bbbb"], 10, 100, head=3)[1:] == ("aaaa\nbbbb\n", False, 0)


@pytest.mark.parametrize(
    "last, found",
    [
        ("INFO it begins\n", ["npu-out-of-memory"]),
        ("INFO: Application startup complete.\n", []),
        ("MemoryError\n", ["host-out-of-memory"]),
    ],
)
def test_a_start_that_was_cut_short_is_explained_by_the_latest_before_it(monkeypatch, last, found):
    """The engine started the dead container again, and then it was stopped."""
    stopped = dict(CONTAINER, started_at=5000.5, running=False, exit_code=143)
    engine = SimpleNamespace(
        container=lambda name: stopped,
        inspect=lambda kind, name: None,
        starts=lambda name, since: [4000.1, 4500.2, 4990.3, 5000.4999],
    )
    logs = {(4500.2, 4990.3): OOM, (4000.1, 4500.2): "OSError: [Errno 24] Too many open files", (5000.5, None): last}
    monkeypatch.setattr(evidence, "log_since", lambda engine, name, since, until: logs.get((since, until), "nothing\n"))
    assert [cause["id"] for cause in evidence.causes_of(engine, "c")] == found


def test_cann_s_logs_in_a_mount_are_there_after_the_container_ended(docker, tmp_path):
    (tmp_path / "logs" / "plog").mkdir(parents=True)
    (tmp_path / "logs" / "plog" / "plog-1.log").write_text("[ERROR] HCCP(8): EJ0002: The network port is down.\n")
    found = {
        "State": {"Pid": 0},
        "Config": {"Env": ["ASCEND_PROCESS_LOG_PATH=/var/cann/plog"]},
        "Mounts": [{"Source": "/logs", "Destination": "/var/cann"}],
    }
    engine = SimpleNamespace(inspect=lambda kind, name: found)
    assert "EJ0002" in evidence.cann_errors(engine, "c", 0, root=str(tmp_path))
