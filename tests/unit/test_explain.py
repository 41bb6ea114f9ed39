"""explain.yml: logs without nodes."""

import gzip
import json

import pytest
from ansible.errors import AnsibleActionFail
from ansible_collections.ascend_ops.vllm.plugins.plugin_utils import _explain
from ansible_collections.ascend_ops.vllm.plugins.plugin_utils._explain import explain_path, text_of

OOM = "(Worker_TP0 pid=1) ERROR 11-25 06:11:40 [m.py:8] RuntimeError: NPU out of memory. Tried to allocate 2 GiB\n"
ECHO = "(Worker_TP1 pid=1) ERROR 11-25 06:11:30 [m.py:8] RuntimeError: SUSPECT REMOTE ERROR, error code is 507057\n"


def test_a_file_whatever_its_name(tmp_path):
    (tmp_path / "said").write_text(OOM)
    explained = explain_path(str(tmp_path / "said"))
    assert [(log["path"], log["causes"][0]["id"]) for log in explained["logs"]] == [
        (str(tmp_path / "said"), "npu-out-of-memory")
    ]
    text = text_of(explained)
    assert (
        "npu-out-of-memory: " in text and "do   Lower max-num-seqs" in text and "(Worker_TP0, 11-25 06:11:40)" in text
    )
    assert "failed first" not in text


def test_a_folder_tells_which_log_failed_first(tmp_path):
    (tmp_path / "n1.log").write_text(ECHO)
    (tmp_path / "deep").mkdir()
    with gzip.open(tmp_path / "deep" / "n2.log.gz", "wt") as stream:
        stream.write(OOM)
    (tmp_path / "n3.log").write_text("nothing to see\n")
    (tmp_path / "notes.txt").write_text(OOM)
    explained = explain_path(str(tmp_path))
    assert [log["path"] for log in explained["logs"]] == [
        str(tmp_path / name) for name in ("deep/n2.log.gz", "n1.log", "n3.log")
    ]
    assert explained["first"] == str(tmp_path / "deep" / "n2.log.gz")
    assert explained["logs"][2] == {"path": str(tmp_path / "n3.log"), "causes": [], "telling": ["nothing to see"]}
    text = text_of(explained)
    assert (
        "deep/n2.log.gz  (failed first)" in text
        and "no known cause; the most telling lines:\n    nothing to see" in text
    )


def test_a_support_bundle_has_cann_s_logs_and_the_exit_code(tmp_path):
    for node, said, cann, code in (
        ("n1", "", "[ERROR] HCCP(8): EJ0002: The network port is down.\n", 1),
        ("n2", "quiet\n", "", 139),
    ):
        folder = tmp_path / "nodes" / node / "container"
        folder.mkdir(parents=True)
        (folder / "log.txt").write_text(said)
        (folder / "cann-logs.txt").write_text("== /root/ascend/log/plog-8.log\n[INFO] all is well\n" + cann)
        (folder / "inspect.json").write_text(json.dumps([{"State": {"ExitCode": code}}]))
    assert [log["causes"][0]["id"] for log in explain_path(str(tmp_path))["logs"]] == ["link-down", "native-crash"]


def test_a_long_log_is_read_from_both_ends(tmp_path, monkeypatch):
    monkeypatch.setattr(_explain, "HEAD", 4096)
    monkeypatch.setattr(_explain, "TAIL", 4096)
    noise = "INFO 11-25 06:00:00 [a.py:1] nothing\n" * 20000
    for log in (OOM + noise, noise + OOM):
        (tmp_path / "x.log").write_text(log)
        assert explain_path(str(tmp_path))["logs"][0]["causes"][0]["id"] == "npu-out-of-memory"
        assert len(_explain._read(tmp_path / "x.log")) <= 4096 + 2 * 4096 + 65536
    (tmp_path / "x.log").write_text(noise + OOM + noise)
    assert explain_path(str(tmp_path))["logs"][0]["causes"] == []


@pytest.mark.parametrize(
    "content", [b"", b"\x00\xff\xfe" * 5000, b"\n" * 1000, "Ошибка\n".encode("utf-16"), b"x" * 3000000], ids=range(5)
)
def test_garbage_is_explained_as_nothing(tmp_path, content):
    (tmp_path / "x.log").write_bytes(content)
    explained = explain_path(str(tmp_path / "x.log"))
    assert explained["logs"][0]["causes"] == []
    json.dumps(explained)
    assert text_of(explained)


@pytest.mark.parametrize(
    "name, why",
    [
        ("nowhere", "there is no such file or folder"),
        ("empty", "no file below it ends with .log"),
        ("bad.gz", "it cannot be read"),
    ],
)
def test_what_cannot_be_read_is_refused_with_what_is_wanted(tmp_path, name, why):
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad.gz").write_bytes(b"no gzip")
    with pytest.raises(AnsibleActionFail) as raised:
        explain_path(str(tmp_path / name))
    assert f"vllm_explain_path is '{tmp_path / name}': {why}" in str(raised.value)
    assert "Wanted: a log, a folder" in str(raised.value)
