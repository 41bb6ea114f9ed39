"""What the waiting of a run does to containers when the run itself was killed."""

from types import SimpleNamespace

import pytest
from ansible.plugins.action import ActionBase
from ansible_collections.ascend_ops.vllm.plugins.action import vllm_wait

DEAD = {
    "state": "dead",
    "log": "",
    "causes": [],
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

    monkeypatch.setattr(ActionBase, "run", lambda *_unused: {})
    asked = iter(parents)
    monkeypatch.setattr(vllm_wait.os, "getppid", lambda: next(asked))
    monkeypatch.setattr(vllm_wait.C, "DEFAULT_LOCAL_TMP", str(tmp_path), raising=False)
    action = object.__new__(vllm_wait.ActionModule)
    action._task = SimpleNamespace(_uuid="u")
    action._execute_module = execute
    given = {
        "replica": "r",
        "timeout": 9,
        "spec": {"name": "c"},
        "started_at": 1.5,
        "url": "",
        "model": "",
        "api_key": "",
        "key_of": "",
        "ca_file": "",
        "engine": "docker",
    }
    action.validate_argument_spec = lambda argument_spec: (None, dict(given))
    result = action.run(task_vars={"inventory_hostname": "n1"})
    assert result["failed"] and ran == modules
    assert ("the run was broken off" in result["msg"]) == (parents[0] != parents[1])


@pytest.mark.parametrize("waited, seconds", [(0, 1), (19, 1), (55, 5), (99, 9), (100, 10), (4000, 10)])
def test_who_waits_for_word_of_the_others_looks_up_in_time(waited, seconds):
    assert vllm_wait.slice_after(waited) == seconds
