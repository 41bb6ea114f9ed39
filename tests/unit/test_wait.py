"""What the waiting of a run does to containers when the run itself was killed."""

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
