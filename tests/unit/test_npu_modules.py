"""npu_info and npu_check run for real by Ansible, on stand-ins for npu-smi that print a fixture; and _run below them.

All cases of the modules are tasks of one play. Another controller or target Python can be tried with the environment
variables TEST_ANSIBLE_PLAYBOOK and TEST_TARGET_PYTHON.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common import run as common_run
from ansible_collections.ascend_ops.vllm.plugins.module_utils._npu import read

ROOT = Path(__file__).resolve().parent.parent.parent
FIXTURES = Path(__file__).resolve().parent / "fixtures" / "npu-smi"
PLAYBOOK = os.environ.get("TEST_ANSIBLE_PLAYBOOK") or shutil.which(
    "ansible-playbook", path=os.path.dirname(sys.executable)
)

# name: (module, arguments, what the stand-in prints: a fixture or a text, its exit status)
A2 = "info-910B2C-npu12to15-23.0.3-busy.txt"
A3 = "info-A3-8npu16die-24.1.rc3.7-idle.txt"
CASES = {
    "good": ("npu_info", {}, A2, 0),
    "odd_status": ("npu_info", {}, A2, 3),
    "empty_table": ("npu_info", {}, "\n".join((FIXTURES / A2).read_text().split("\n")[:6]), 0),
    "no_driver": ("npu_info", {}, "fail-8005-g_conLogLevel.txt", 187),
    "held": ("npu_info", {}, "fail-8020-ret4.txt", 172),
    "loader": ("npu_info", {}, "fail-libc_sec.txt", 127),
    "no_table": ("npu_info", {}, "hello", 0),
    "hangs": ("npu_info", {"timeout": 0.5}, None, 0),
    "absent": ("npu_info", {"executable": "/nowhere/npu-smi"}, "", 0),
    "check_good": ("npu_check", {"chips": 16, "product": "a3", "min_driver": "24.1.rc3"}, A3, 0),
    "check_bad": ("npu_check", {"chips": 16, "product": "a3"}, A2, 0),
    "check_lenient": ("npu_check", {"chips": 16, "product": "a3", "fail_on": []}, A2, 0),
    "check_own": ("npu_check", {"own_pids": [78617, 79095, 79096, 79097]}, A2, 0),
    "check_unknown": (
        "npu_check",
        {"idle": False, "min_driver": "24.1.0", "fail_on": ["unknown"]},
        (FIXTURES / A2).read_text().replace("Version: 23.0.3", "Version:       "),
        0,
    ),
    "check_no_driver": ("npu_check", {"chips": 8}, "fail-8005-g_conLogLevel.txt", 187),
    "check_typo": ("npu_check", {"min_driver": "newest"}, A2, 0),
    "check_zero": ("npu_check", {"chips": 0}, A2, 0),
}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """{case: what Ansible registered}"""
    if not PLAYBOOK:
        pytest.skip("no ansible-playbook beside this Python")
    folder = tmp_path_factory.mktemp("npu")
    tasks = []
    for name, (module, arguments, output, status) in CASES.items():
        stand_in = folder / name
        text = (FIXTURES / output).read_text() if output in os.listdir(str(FIXTURES)) else output
        (folder / (name + ".out")).write_text(text or "")
        stand_in.write_text(
            '#!/bin/sh\n[ "$1" = info ] && [ "$LC_ALL" = C ] || exit 99\n%s\nexit %d\n'
            % ("sleep 60" if text is None else "cat %s.out" % stand_in, status)
        )
        stand_in.chmod(0o755)
        tasks.append(
            {
                "ascend_ops.vllm." + module: dict({"executable": str(stand_in)}, **arguments),
                "register": "case_" + name,
                "ignore_errors": True,
            }
        )
    tasks.append(
        {
            "ansible.builtin.copy": {
                "dest": str(folder / "results.json"),
                "content": "{{ {%s} | to_json }}" % ", ".join("'%s': case_%s" % (name, name) for name in CASES),
            },
            "check_mode": False,
        }
    )
    python = os.environ.get("TEST_TARGET_PYTHON", sys.executable)
    (folder / "play.yml").write_text(
        json.dumps(
            [
                {
                    "hosts": "localhost",
                    "connection": "local",
                    "gather_facts": False,
                    "check_mode": True,
                    "vars": {"ansible_python_interpreter": python},
                    "tasks": tasks,
                }
            ]
        )
    )
    run = subprocess.run(
        [PLAYBOOK, "-i", "localhost,", str(folder / "play.yml")],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=dict(
            os.environ,
            ANSIBLE_COLLECTIONS_PATH=str(ROOT / "playbooks" / "collections"),
            ANSIBLE_HOME=str(folder),
            ANSIBLE_LOCAL_TEMP=str(folder / "tmp"),
            ANSIBLE_REMOTE_TEMP=str(folder / "remote"),
        ),
        check=False,
    )
    assert run.returncode == 0, run.stdout.decode()
    return json.loads((folder / "results.json").read_text())


def verdicts(result):
    return {verdict["id"]: verdict["verdict"] for verdict in result["verdicts"]}


def test_nothing_ever_changes_and_nothing_breaks(results):
    for name, result in results.items():
        assert result["changed"] is False, name
        assert "Traceback (most" not in json.dumps(result) and "module_stderr" not in result, name


def test_info(results):
    result = results["good"]
    assert [device["npu_id"] for device in result["devices"]] == [12, 13, 14, 15]
    assert result["devices"][0]["processes"] == [{"pid": 78617, "name": "python", "memory_mb": 49385}]
    assert (result["tool_version"], result["driver_version"], result["problems"]) == ("23.0.3", "23.0.3", [])
    assert result["process_npus"] == [12, 13, 14, 15]
    assert "driver_package_version" in result


def test_info_with_a_table_and_an_odd_exit_status(results):
    assert results["odd_status"]["devices"] == results["good"]["devices"]
    assert results["odd_status"]["problems"] == ["npu-smi printed a table, but exited with status 3"]


def test_info_of_an_empty_table(results):
    assert results["empty_table"]["devices"] == []
    assert results["empty_table"]["problems"] == ["npu-smi printed a table without chips"]


@pytest.mark.parametrize(
    "name, code, rc, says",
    [
        ("no_driver", "-8005", 187, ["cannot reach the NPU driver", "become: true", "dcmi module initialize failed"]),
        ("held", "-8020", 172, ["another container", "docker ps"]),
        ("loader", "loader", 127, ["libc_sec.so", "LD_LIBRARY_PATH"]),
        ("no_table", "no-table", 0, ["no table", "It printed: hello"]),
        ("hangs", "timeout", 124, ["did not answer in time (0.5 s)", "dmesg"]),
        ("absent", "not-found", 127, ["There is no file /nowhere/npu-smi", "executable"]),
    ],
)
def test_info_fails_with_the_meaning_and_the_remedy(results, name, code, rc, says):
    result = results[name]
    assert (result["failed"], result["code"], result["rc"]) == (True, code, rc)
    for words in says:
        assert words in result["msg"]


def test_check_of_a_good_node(results):
    assert set(verdicts(results["check_good"]).values()) == {"pass"}
    assert results["check_good"]["ok"] is True
    assert results["check_good"]["failed"] is False


def test_check_fails_once_with_all_that_is_wrong(results):
    result = results["check_bad"]
    assert (result["failed"], result["ok"]) == (True, False)
    wrong = [name for name, verdict in verdicts(result).items() if verdict == "fail"]
    assert wrong == ["npu.count", "npu.product", "npu.idle.processes", "npu.idle.hbm"]
    for name in wrong:
        assert "\n%s fail: seen " % name in result["msg"]
    assert "npu.health" not in result["msg"]


def test_check_can_leave_the_decision_to_the_caller(results):
    result = results["check_lenient"]
    assert (result["failed"], result["ok"]) == (False, False)
    assert result["verdicts"] == results["check_bad"]["verdicts"]


def test_check_of_a_node_where_the_service_runs(results):
    assert results["check_own"]["failed"] is False
    assert verdicts(results["check_own"])["npu.idle.hbm"] == "pass"


def test_check_can_fail_on_unknown(results):
    result = results["check_unknown"]
    assert (result["failed"], result["ok"]) == (True, False)
    assert "npu.driver unknown: seen driver version not reported" in result["msg"]


def test_check_of_a_node_without_a_driver_still_gives_all_verdicts(results):
    result = results["check_no_driver"]
    assert verdicts(result)["npu.tool"] == "fail"
    assert len(result["verdicts"]) == 7
    assert "exit status 187" in result["msg"] and "become: true" in result["msg"]


def test_check_refuses_expectations_that_cannot_be_met(results):
    assert results["check_typo"]["msg"].startswith("min_driver is not a driver version: newest.")
    assert results["check_zero"]["msg"] == "chips must be 1 or more, not 0."


def script(tmp_path, body):
    path = tmp_path / "tool"
    path.write_text("#!/bin/sh\n" + body)
    path.chmod(0o755)
    return str(path)


def test_run_gives_both_streams_and_the_status(tmp_path):
    tool = script(tmp_path, 'echo "$1 $LC_ALL $EXTRA"; echo problem >&2; printf "\\377"; exit 187\n')
    assert common_run.run([tool, "info"], 5, {"EXTRA": "x"}) == (187, "info C x\nproblem\n\ufffd", False)


def test_run_kills_the_whole_group_when_the_time_is_up(tmp_path):
    tool = script(tmp_path, "sleep 300 & echo $! > %s/child; echo begun; wait\n" % tmp_path)
    start = time.monotonic()
    assert common_run.run([tool], 0.5) == (124, "begun\n", True)
    assert time.monotonic() - start < 3
    child = "/proc/%s/stat" % (tmp_path / "child").read_text().strip()
    time.sleep(0.1)
    assert not os.path.exists(child) or " Z " in Path(child).read_text()


def test_run_does_not_wait_for_what_a_tool_leaves_behind(tmp_path):
    start = time.monotonic()
    assert common_run.run([script(tmp_path, "sleep 2 & echo done\n")], 10) == (0, "done\n", False)
    assert time.monotonic() - start < 1.5


def test_run_bounds_the_time_of_a_tool_that_closes_its_output(tmp_path):
    assert common_run.run([script(tmp_path, "exec >&- 2>&-; sleep 60\n")], 0.3)[::2] == (124, True)


def test_run_bounds_the_output(tmp_path):
    rc, text, timed_out = common_run.run([script(tmp_path, "exec yes\n")], 20)
    assert (rc, len(text), timed_out) == (-9, common_run.MAX_OUTPUT, False)


def test_run_of_what_cannot_run(tmp_path):
    assert common_run.run([str(tmp_path / "absent")], 1)[::2] == (127, False)
    (tmp_path / "plain").write_text("no program")
    assert common_run.run([str(tmp_path / "plain")], 1)[::2] == (126, False)
    assert common_run.run([str(tmp_path)], 1)[::2] == (126, False)


def test_find_tool(tmp_path, monkeypatch):
    tool = script(tmp_path, "")
    assert common_run.find_tool("tool", tool) == tool
    assert common_run.find_tool("sh", str(tmp_path / "absent")) is None
    monkeypatch.setattr(common_run, "TOOL_FOLDERS", (str(tmp_path / "nowhere"), str(tmp_path)))
    assert common_run.find_tool("tool") == tool
    assert common_run.find_tool("no-such-tool-anywhere") is None


def test_driver_env_keeps_what_is_there(monkeypatch):
    monkeypatch.setenv("LD_LIBRARY_PATH", "/opt/lib")
    path = common_run.driver_env()["LD_LIBRARY_PATH"].split(":")
    assert path[:3] == ["/usr/local/Ascend/driver/lib64" + end for end in ("", "/common", "/driver")]
    assert path[3:] == ["/opt/lib"]


def test_driver_package_version(tmp_path):
    (tmp_path / "version.info").write_text("Version=24.1.rc1\nascendhal_version=7.35.19\n")
    assert read.driver_package_version(str(tmp_path / "version.info")) == "24.1.rc1"
    (tmp_path / "other").write_text("ascendhal_version=7.35.19\n")
    assert read.driver_package_version(str(tmp_path / "other")) is None
    assert read.driver_package_version(str(tmp_path / "absent")) is None
