"""Diagnostics and logs of the lab's nodes: whole, private, without a secret, and good enough to judge them again."""

import base64
import json
import os
import stat
import subprocess
import tarfile
from urllib.parse import quote

import pytest

from .conftest import INVENTORY, ROOT, playbook

CANARY = "c4nary/Sw0rd+fish=9"
# One secret per place: the file of secrets, a name in service.env's way, and a user's own line in the log.
TOKEN = "hf_c4naryc4naryc4naryc4nary"
SPELLED = [
    CANARY,
    quote(CANARY, safe=""),
    quote(CANARY),
    json.dumps(CANARY)[1:-1],
    CANARY.encode().hex(),
    base64.b64encode(CANARY.encode()).decode(),
    base64.b64encode(("user:" + CANARY).encode()).decode(),
    TOKEN,
]
# What every encoding of the canary would show: enough of each to tell it.
TRACES = [
    "c4nary",
    "Sw0rd",
    CANARY.encode().hex()[:12],
    *(base64.b64encode(b"\0" * skip + CANARY.encode()).decode()[4:16] for skip in range(3)),
]
PLANT = """
set -eu
umask 077
printf "VLLM_API_KEY='%s'\\n" {canary} > /etc/ascend-vllm/minimax2_5/secrets.env
log=/proc/$(docker inspect minimax2_5 | sed -n 's/.*"Pid": \\([0-9]*\\).*/\\1/p')/fd/1
printf '%s\\n' {spelled} 'num_tokens: 5' 'VLLM_API_KEY={canary}' 'Authorization: Bearer {canary}' > $log
touch -d 2001-01-01 /etc/ascend-vllm/minimax2_5/secrets.env
"""
REMOVE = "rm -f /etc/ascend-vllm/minimax2_5/secrets.env"


def on_nodes(script):
    completed = subprocess.run(
        ["ansible", "all", "-i", str(INVENTORY), "-m", "ansible.builtin.shell", "-a", script],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=dict(os.environ, ANSIBLE_CONFIG=str(ROOT / "ansible.cfg"), ANSIBLE_NO_TARGET_SYSLOG="1"),
    )
    assert completed.returncode == 0, completed.stdout + completed.stderr
    return completed.stdout


@pytest.fixture(scope="module", autouse=True)
def canary():
    """Both nodes have a secret in its file, and have told it in the container's log."""
    on_nodes(PLANT.format(canary=CANARY, spelled=" ".join("'" + text + "'" for text in SPELLED)))
    yield
    on_nodes(REMOVE)


def leaks(text):
    return [trace for trace in TRACES if trace in text]


class Archive:
    """An archive of diagnostics, unpacked."""

    def __init__(self, run, folder):
        self.run = run
        (self.path,) = (folder / "out").glob("*.tar.gz")
        with tarfile.open(self.path) as opened:
            self.names = [member.name for member in opened if member.isfile()]
            opened.extractall(folder)
        self.folder = folder / self.path.name[: -len(".tar.gz")]
        self.index = json.loads((self.folder / "index.json").read_text())

    def node(self, host):
        (entry,) = [entry for entry in self.index["nodes"] if entry["host"] == host]
        return entry


@pytest.fixture(scope="module")
def archive(canary, tmp_path_factory):
    """What diagnostics.yml wrote, in check mode, which is to be no different."""
    folder = tmp_path_factory.mktemp("diagnostics")
    run = playbook("diagnostics.yml", "--check", "--diff", "-e", f"vllm_diagnostics_dir={folder}/out")
    assert run.rc == 0, run.output
    return Archive(run, folder)


def test_nothing_changes_and_the_archive_is_private(archive):
    assert set(archive.run.changed.values()) == {0}
    assert stat.S_IMODE(archive.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(archive.path.parent.stat().st_mode) == 0o700
    assert str(archive.path) in archive.run.output
    assert not [name for name in os.listdir(archive.path.parent) if name != archive.path.name]
    assert "ansible" not in on_nodes("ls -A /dev/shm")


def test_no_secret_is_in_it(archive):
    files = [path for path in archive.folder.rglob("*") if path.is_file()]
    assert len(files) > 100
    for path in files:
        assert not leaks(str(path) + path.read_text(errors="replace")), path
    assert not leaks(archive.run.output)
    for host in ("a2-node1", "a2-node2"):
        log = (archive.folder / "nodes" / host / "container" / "log.txt").read_text()
        assert log.count("[redacted]") >= len(SPELLED) + 2, log[-3000:]
        assert "num_tokens: 5\n" in log
        secrets = archive.folder / "nodes" / host / "service" / "config" / "secrets.env"
        assert secrets.read_text() == "VLLM_API_KEY=[redacted]\n"


def test_the_index_names_every_file_and_every_absence(archive):
    for entry in archive.index["nodes"]:
        folder = archive.folder / "nodes" / entry["host"]
        there = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
        assert there == {item["path"] for item in entry["entries"] if "missing" not in item}
        absent = {item["path"]: item["missing"] for item in entry["entries"] if "missing" in item}
        assert all(absent.values())
        # No CANN runs on the lab.
        assert absent.pop("container/cann-logs.txt") == "CANN wrote no /root/ascend/log in the container"
        assert set(absent) <= {"supervisor/state.json", "service/deployed.json"}, absent
        assert entry["container"]["status"] == "running"
        text = (archive.folder / "INDEX.md").read_text()
        assert all(item["path"] in text for item in entry["entries"])
        assert "Version: " in (folder / "npu" / "info.txt").read_text()
        assert "link status: UP" in (folder / "fabric" / "chip-7.txt").read_text()
        assert "dockerd" in (folder / "engine" / "journal.txt").read_text()


def test_its_facts_are_judged_without_the_nodes(archive, tmp_path):
    report = tmp_path / "again.json"
    run = playbook(
        "preflight.yml", "-e", f"npu_preflight_facts_dir={archive.folder}/facts", "-e", f"npu_preflight_report={report}"
    )
    assert run.rc == 0, run.output
    again = json.loads(report.read_text())
    assert again == json.loads((archive.folder / "preflight.json").read_text())
    assert again[0]["summary"]["pass"] > 100


def test_a_node_out_of_reach_is_listed_and_the_other_is_collected(canary, tmp_path):
    (tmp_path / "away.yml").write_text("all: {hosts: {a2-node2: {ansible_host: 10.213.0.99}}}\n")
    run = playbook(
        "diagnostics.yml",
        *("-i", str(tmp_path / "away.yml"), "-e", f"vllm_diagnostics_dir={tmp_path}/out"),
        *("-e", "ansible_ssh_timeout=3", "-e", "vllm_diagnostics_log_lines=20"),
    )
    assert run.rc == 0, run.output
    found = Archive(run, tmp_path)
    assert found.node("a2-node1")["collected"] and not found.node("a2-node2")["collected"]
    assert "nothing was collected: " in run.output
    assert "node.reachable" in (found.folder / "preflight.json").read_text()
    log = (found.folder / "nodes" / "a2-node1" / "container" / "log.txt").read_text()
    assert len(log.splitlines()) == 22, "twenty lines between the command and its end"


@pytest.mark.parametrize("mode", [(), ("--check", "--diff")])
def test_logs_are_shown(mode):
    run = playbook("logs.yml", "-e", "vllm_logs_lines=100", "-e", "vllm_logs_since=60m", *mode)
    assert run.rc == 0, run.output
    assert set(run.changed.values()) == {0}
    assert not leaks(run.output)
    for host in ("a2-node1", "a2-node2"):
        assert f"=== {host}: container" in run.output and f"=== {host}: supervisor" in run.output
        assert f"{host}  container running; " in run.output
    assert "num_tokens: 5" in run.output and run.output.count("[redacted]") > 10


def test_logs_are_written_to_files(tmp_path):
    run = playbook("logs.yml", "-e", "vllm_logs_lines=100", "-e", f"vllm_logs_dir={tmp_path}/logs", "--diff")
    assert run.rc == 0, run.output
    assert sorted(os.listdir(tmp_path / "logs")) == [
        f"{host}-{kind}.log" for host in ("a2-node1", "a2-node2") for kind in ("container", "supervisor")
    ]
    text = (tmp_path / "logs" / "a2-node1-container.log").read_text()
    assert "num_tokens: 5" in text and not leaks(text + run.output) and "num_tokens" not in run.output
    assert {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "logs").iterdir()} == {0o600}


def test_a_time_that_is_none_is_refused():
    run = playbook("logs.yml", "-e", "vllm_logs_since=yesterday")
    assert "'yesterday' is not a length of time: wanted a number and s, m, h or d, such as 10m" in run.words


def test_logs_are_explained_without_nodes(tmp_path):
    (tmp_path / "n1.log").write_text(
        "(Worker_TP0 pid=7) ERROR 11-25 06:11:34 [m.py:8] RuntimeError: NPU out of memory.\n"
    )
    out = tmp_path / "out.json"
    run = playbook("explain.yml", "-e", f"vllm_explain_path={tmp_path}", "-e", f"vllm_explain_file={out}")
    assert run.rc == 0 and "npu-out-of-memory: " in run.output, run.output
    (log,) = json.loads(out.read_text())["logs"]
    assert log["path"] == str(tmp_path / "n1.log") and log["causes"][0]["id"] == "npu-out-of-memory"
    run = playbook("explain.yml", "-e", f"vllm_explain_path={tmp_path}/nowhere")
    assert run.rc != 0 and "there is no such file or folder" in run.words
