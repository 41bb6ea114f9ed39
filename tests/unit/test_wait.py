"""What the waiting of a run does to containers when the run itself was killed."""

import json
from types import SimpleNamespace

import pytest
from ansible_collections.ascend_ops.vllm.plugins.plugin_utils import _wait

DEAD = {
    "state": "dead",
    "log": "",
    "causes": [],
    "telling": [],
    "verdicts": [],
    "container": {"exit_code": 1, "oom_killed": False, "error": ""},
}


@pytest.mark.parametrize("parents, modules", [([7, 7], ["vllm_probe", "vllm_container"]), ([7, 1], ["vllm_probe"])])
def test_a_container_is_not_stopped_for_a_run_that_was_killed(parents, modules, monkeypatch, tmp_path):
    """A worker outlives a killed run; by then another run may have started the container anew."""
    ran = []

    def execute(module, **_unused):
        ran.append(module.rpartition(".")[2])
        return dict(DEAD)

    asked = iter(parents)
    monkeypatch.setattr(_wait.os, "getppid", lambda: next(asked))
    monkeypatch.setattr(_wait.C, "DEFAULT_LOCAL_TMP", str(tmp_path), raising=False)
    action = SimpleNamespace(_task=SimpleNamespace(_uuid="u"), _execute_module=execute)
    process = {"replica": "r", "container": {"name": "c"}}
    settings = {"ready_timeout": 9, "engine": "docker"}
    wait = _wait.Wait(action, {"inventory_hostname": "n1"}, process, {"started_at": 1.5}, settings, {})
    result = wait.run()
    assert result["failed"] and ran == modules
    assert ("the run was interrupted" in result["msg"]) == (parents[0] != parents[1])


@pytest.mark.parametrize("waited, seconds", [(0, 1), (19, 1), (55, 5), (99, 9), (100, 10), (4000, 10)])
def test_who_waits_for_word_of_the_others_looks_up_in_time(waited, seconds):
    assert _wait.slice_after(waited) == seconds


def cause(name, consequence=False, line="said"):
    return {"id": name, "line": line, "meaning": f"{name} happened.", "advice": "Mend it.", "consequence": consequence}


def waiting(monkeypatch, tmp_path, seen, word=None):
    """The result of a node that waits and sees *seen*, after another node left *word*."""
    monkeypatch.setattr(_wait.C, "DEFAULT_LOCAL_TMP", str(tmp_path), raising=False)
    action = SimpleNamespace(_task=SimpleNamespace(_uuid="u"), _execute_module=lambda module, **_unused: dict(seen))
    wait = _wait.Wait(
        action,
        {"inventory_hostname": "n1"},
        {"replica": "r", "container": {"name": "c"}},
        {"started_at": 1.5},
        {"ready_timeout": 9, "engine": "docker"},
        {},
    )
    if word:
        wait.news.write_text(json.dumps(word))
    return wait.run()


def test_a_death_is_told_with_its_causes_or_the_most_telling_lines(monkeypatch, tmp_path):
    causes = [cause("kv-cache"), cause("peer-failed", True)]
    text = waiting(monkeypatch, tmp_path, dict(DEAD, causes=causes))["msg"]
    assert (
        "died (exit code 1) before the service answered. kv-cache happened. Mend it. [kv-cache] The log says: said"
        in text
    )
    assert text.endswith("Also: peer-failed happened. [peer-failed] said")
    (tmp_path / "other").mkdir()
    text = waiting(monkeypatch, tmp_path / "other", dict(DEAD, telling=["one", "two"]))["msg"]
    assert "No known cause in its log; see 'docker logs c' on the node. It says:\n  one\n  two" in text


@pytest.mark.parametrize(
    "found, told",
    [
        ([cause("npu-out-of-memory")], True),
        ([cause("peer-failed", True), cause("npu-out-of-memory")], True),
        ([cause("peer-failed", True)], False),
        ([cause("error")], False),
        ([cause("killed", line="exit code 137")], False),
        ([], False),
    ],
)
def test_a_node_that_another_one_took_along_tells_what_it_has_of_its_own(monkeypatch, tmp_path, found, told):
    word = {"host": "n2", "state": "dead", "text": "…"}
    text = waiting(monkeypatch, tmp_path, dict(DEAD, causes=found), word)["msg"]
    assert text.startswith("n1: stopped waiting, since n2 will not come up; see there.")
    assert ("own log has a cause: npu-out-of-memory happened." in text) == told
    assert ("own log" in text) == told
