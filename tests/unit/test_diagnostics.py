"""The archive of all nodes: what is in it, what is not, what stands out, and that it can be judged again."""

import io
import json
import os
import stat
import tarfile

import pytest
from ansible_collections.ascend_ops.vllm.plugins.action.diagnostics_archive import collection_version
from ansible_collections.ascend_ops.vllm.plugins.filter.diagnostics import (
    FilterModule,
    here,
    known_secrets,
    log_files,
)
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.redact import MARK, Redactor
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.model import processes
from ansible_collections.ascend_ops.vllm.plugins.module_utils._support import archive as diagnostics
from ansible_collections.ascend_ops.vllm.plugins.module_utils._support import text as screen
from ansible_collections.ascend_ops.vllm.plugins.plugin_utils._plan import plan
from ansible_collections.ascend_ops.vllm.plugins.plugin_utils._preflight import evaluate as preflight
from ansible_collections.ascend_ops.vllm.plugins.plugin_utils._preflight import saved_facts
from test_plan import a2
from test_preflight import facts_of

CANARY = "c4nary-Sw0rdfish"
CAUSE = {
    "id": "port-in-use",
    "line": "Address already in use",
    "meaning": "A port is taken.",
    "advice": "Stop it.",
    "consequence": False,
    "time": "",
}
RUNNING = {"status": "running", "exit_code": 0, "oom_killed": False, "restart_count": 0}


@pytest.fixture
def planned():
    return plan(a2())


@pytest.fixture
def facts(planned):
    return facts_of(processes(planned))


def bundle(folder, host, files, **index):
    """What the module node_bundle returned for a node, with its tar.gz."""
    path = folder / (host + ".tar.gz")
    with tarfile.open(path, "w:gz") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
        link = tarfile.TarInfo("container/link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    entries = [
        {"path": name, "what": "a | b", "problems": ["x: exit status 1"], "cut": 7, "bytes": 3} for name in files
    ]
    entries.append({"path": "npu/info.txt", "what": "npu-smi's table", "missing": "there is no command npu-smi"})
    told = {"container": RUNNING, "causes": [], "notes": [], "entries": entries, "redactions": 1, "seconds": 2.0}
    return {"bundle": str(path), "index": dict(told, **index)}


@pytest.fixture
def made(planned, facts, tmp_path):
    """Both nodes told all."""
    return {
        host: bundle(tmp_path, host, {"facts.json": json.dumps(facts[host]), "container/log.txt": "log of " + host})
        for host in facts
    }


def built(planned, told, raw=None, secrets=()):
    judge = lambda facts: preflight(processes(planned), facts, "", "2.19.0")  # noqa: E731
    versions = {"ansible-core": "2.19.0"}
    return diagnostics.build(planned, told, raw or {}, judge, versions, Redactor(secrets), now=1795572132)


def test_the_archive_is_private_and_judges_the_same_again(planned, facts, made, tmp_path):
    stamp, index, files = built(planned, made)
    path = diagnostics.write(
        str(tmp_path / "new" / "out"), stamp, files, {h: told["bundle"] for h, told in made.items()}
    )
    assert path.endswith("/out/ascend-vllm-20261125T020212Z.tar.gz")
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert stat.S_IMODE(os.stat(os.path.dirname(path)).st_mode) == 0o700
    assert os.listdir(os.path.dirname(path)) == [os.path.basename(path)]
    with tarfile.open(path) as archive:
        names = {member.name.partition("/")[2] for member in archive if member.isfile()}
        assert not [member for member in archive if not (member.isfile() or member.isdir())]
        archive.extractall(tmp_path / "unpacked")
    assert names == {"INDEX.md", "index.json", "plan.json", "preflight.json"} | {
        name.format(host) for host in facts for name in ("facts/{0}.json", "nodes/{0}/container/log.txt")
    }
    folder = tmp_path / "unpacked" / "ascend-vllm-20261125T020212Z"
    again = preflight(processes(planned), {host: saved_facts(folder / "facts", host) for host in facts}, "", "2.19.0")
    assert again == json.loads((folder / "preflight.json").read_text())
    assert again == preflight(processes(planned), facts, "", "2.19.0"), "redaction changes no verdict"
    assert json.loads((folder / "index.json").read_text()) == index


def test_nothing_stands_out(planned, made):
    _stamp, index, files = diagnostics.build(planned, made, {}, lambda facts: [], {}, Redactor())
    assert index["first"] == [] and "Nothing stands out" in files["INDEX.md"]
    assert "nothing stands out" in screen.summary(index, "/x/y.tar.gz")


def test_redaction_leaves_the_facts_of_a_healthy_node_alone(facts):
    assert Redactor().data(facts) == json.loads(json.dumps(facts))


def test_a_node_that_was_not_reached_is_listed(planned, made):
    told = dict(made, **{"a2-node2": {"msg": "Failed to connect\nto the host", "unreachable": True}})
    _stamp, index, files = built(planned, told, {"a2-node2": {"error": "Failed to connect"}})
    assert index["first"][0]["host"] == "a2-node2" and "Failed to connect to the host" in index["first"][0]["text"]
    assert json.loads(files["facts/a2-node2.json"]) == {"error": "Failed to connect"}
    assert "Nothing was collected: Failed to connect to the host" in files["INDEX.md"]
    assert "a2-node2  nothing was collected: Failed to connect" in screen.summary(index, "/x/y.tar.gz")
    _stamp, index, files = built(planned, {"a2-node1": made["a2-node1"]})
    assert "failed earlier in this run" in index["first"][0]["text"]
    assert "failed earlier" in json.loads(files["facts/a2-node2.json"])["error"]


def test_what_stands_out_comes_first(planned, facts, tmp_path):
    facts["a2-node1"]["root"] = False
    state = json.dumps({"state": "gave-up", "reason": "restarted 5 times in vain"})
    told = {
        "a2-node1": bundle(
            tmp_path,
            "a2-node1",
            {"facts.json": json.dumps(facts["a2-node1"]), "supervisor/state.json": state},
            container=dict(RUNNING, status="exited", exit_code=137, oom_killed=True, restart_count=2),
            causes=[CAUSE],
        ),
        "a2-node2": bundle(tmp_path, "a2-node2", {"facts.json": json.dumps(facts["a2-node2"])}, container=None),
    }
    _stamp, index, files = built(planned, told)
    seen = [(look["host"], look["text"]) for look in index["first"]]
    assert seen[0] == ("a2-node1", "the container: exited, exit code 137, killed: out of memory, restarted 2 times")
    assert seen[1] == ("a2-node1", "the supervisor: gave-up, restarted 5 times in vain")
    assert seen[2] == ("a2-node2", "the container: no container")
    assert seen[3] == ("a2-node1", "the log shows port-in-use: Address already in use -- A port is taken. Stop it.")
    assert [text for host, text in seen if text.startswith("node.rights is fail: seen ") and host == "a2-node1"]
    text = files["INDEX.md"]
    assert "(`nodes/a2-node1/container/log.txt`)" in text and "(`preflight.json`)" in text
    assert "| npu/info.txt | npu-smi's table | there is no command npu-smi |" in text
    assert "| 3 | a \\| b | the first 7 bytes were dropped; x: exit status 1 |" in text
    shown = screen.summary(index, "/x/y.tar.gz")
    assert len(shown.splitlines()) < 24 and " fail" in shown and "port-in-use" in shown


def test_the_controller_adds_no_secret(made):
    planned = plan(a2(env={"SOME_SETTING": CANARY}))
    raw = {"a2-node2": {"error": "cannot log in with " + CANARY}}
    told = {"a2-node1": made["a2-node1"], "a2-node2": {"msg": "password " + CANARY}}
    _stamp, index, files = built(planned, told, raw, [CANARY, "10.0.0.12"])
    assert CANARY not in json.dumps([index, files])
    assert "10.0.0.12" not in files["preflight.json"] and "10.0.0.11" in files["plan.json"]
    assert MARK in files["facts/a2-node2.json"] and MARK in files["plan.json"] and MARK in files["INDEX.md"]


def test_nothing_is_left_of_an_archive_that_failed(planned, made, tmp_path):
    stamp, _index, files = built(planned, made)
    with pytest.raises(OSError):
        diagnostics.write(str(tmp_path / "out"), stamp, files, {"a2-node1": str(tmp_path / "gone.tar.gz")})
    assert os.listdir(tmp_path / "out") == []


def test_names_of_a_node_lead_nowhere_else(tmp_path):
    told = bundle(tmp_path, "x", {"../../evil": "x", "/etc/evil": "x", "a/b": "x", "a//c": "x"})
    assert [name for name, _data in diagnostics.members(told["bundle"])] == ["a/b"]
    assert diagnostics.file_name("../x/y") == "_x_y" and diagnostics.file_name("a2-node1") == "a2-node1"


def test_the_version_of_the_collection_is_known():
    assert collection_version().count(".") == 2


# -- filters --------------------------------------------------------------------------------------------------------


def test_secrets_that_the_controller_knows():
    secrets = {"VLLM_API_KEY": CANARY, "PIN": "123"}
    login = {"username": "somebody", "password": "registry-pass"}
    environments = [
        {"MY_TOKEN": "from-the-environment", "HCCL_BUFFSIZE": "1024", "GONE": None},
        {"X_SECRET": "from-the-plan"},
    ]
    known = ["c4nary-Sw0rdfish", "from-the-environment", "from-the-plan", "registry-pass"]
    assert known_secrets([secrets], [login], environments) == known
    assert known_secrets([secrets, {}, None], [{}, login, None], [None, *environments]) == known
    assert known_secrets([]) == [] and known_secrets([None], [None], [None]) == []


def test_a_path_is_one_from_where_the_user_stands():
    assert here("") == "" and here("x") == os.path.abspath("x") and here("~") == os.path.expanduser("~")


# -- logs -----------------------------------------------------------------------------------------------------------

LOGS = {
    "a2-node1": {
        "container": dict(RUNNING, status="exited", exit_code=1),
        "log": "one\ntwo\n",
        "journal": "",
        "missing": {"journal": "no entries"},
        "causes": [CAUSE],
        "notes": ["5 bytes were left out"],
    },
    "a2-node2": {"msg": "Failed to connect", "unreachable": True},
    "a2-node3": {},
}


def test_logs_are_shown_under_their_nodes():
    text = FilterModule().filters()["logs_text"](LOGS)
    assert text.startswith("=== a2-node1: container\none\ntwo\n\n=== a2-node1: supervisor\n(no entries)\n")
    assert "=== a2-node2: container\n(Failed to connect)" in text and "(it failed earlier in this run)" in text


def test_the_summary_of_logs():
    lines = FilterModule().filters()["logs_summary"](LOGS, "/there").splitlines()
    assert lines[0] == "a2-node1  container exited, exit code 1; 2 lines, 0 of the supervisor"
    assert lines[1:6] == [
        "          failed first, as far as the logs tell",
        "          note: 5 bytes were left out",
        "          port-in-use: Address already in use",
        "          A port is taken.",
        "          do: Stop it.",
    ]
    assert lines[6:] == [
        "a2-node2  nothing was read: Failed to connect",
        "a2-node3  nothing was read: it failed earlier in this run",
        "written to /there",
    ]


def test_logs_as_files():
    assert log_files(LOGS["a2-node1"]) == [
        {"title": "container", "text": "one\ntwo\n"},
        {"title": "supervisor", "text": "(no entries)\n"},
    ]
    assert log_files({}) == [{"title": "container", "text": "(it failed earlier in this run)\n"}]
