"""The steps that a node takes with its replica: when they are skipped or refused, what they hand on to the next one."""

from types import SimpleNamespace

import pytest
from ansible_collections.ascend_ops.vllm.plugins.plugin_utils import _steps
from ansible_collections.ascend_ops.vllm.plugins.plugin_utils._step import Failed
from ansible_collections.ascend_ops.vllm.plugins.plugin_utils._steps import STEPS

CONTAINER = {"id": "c", "running": True, "started_at": 50.0, "age": 9, "restart_count": 0, "image_id": "sha256:1"}
SETTINGS = {
    "engine": "docker",
    "stop_timeout": 5,
    "request_timeout": 9,
    "ready_timeout": 99,
    "secrets": {},
    "api_key": "k",
    "restart": False,
}


def process(host="n1", role="primary"):
    return {
        "host": host,
        "role": role,
        "replica": "r1",
        "hardware": "a2",
        "container": {"name": "c"},
        "ports": {"api": 1, "hccl": [60000, 60001]},
        "service": {"url": "http://n1:1", "model": "m", "tool_calls": False},
    }


def member(host="n1", role="primary", **more):
    state = {"host": host, "process": process(host, role), "container": dict(CONTAINER), "changed": []}
    return {"state": dict(state, **more), "changed": False}


def members(*results, absent=()):
    return {"hosts": [f"n{at + 1}" for at in range(len(results))], "absent": list(absent), "results": list(results)}


def take(name, own, others=(), check_mode=False, settings=None, absent=(), answers=None):
    """Take a step on n1; its result, and the modules that it ran with their arguments."""
    ran = []

    def execute(module, module_args, **_unused):
        short = module.rpartition(".")[2]
        ran.append((short, module_args))
        return dict((answers or {}).get(short, {}))

    action = SimpleNamespace(_task=SimpleNamespace(check_mode=check_mode, _uuid="u"), _execute_module=execute)
    group = members(own, *others, absent=absent)
    step = STEPS[name](action, {"inventory_hostname": "n1"}, own["state"], group, dict(SETTINGS, **(settings or {})))
    return step.run(), ran


FAILED_BEFORE = {
    "failed": {"failed": True, "msg": "no"},
    "unreachable": {"unreachable": True},
    "one of several": ({"changed": True}, {"failed": True}),
}


@pytest.mark.parametrize("case", FAILED_BEFORE)
@pytest.mark.parametrize(
    "name", ["container", "files", "decide", "stop", "start", "wait", "record_revision", "supervise"]
)
def test_nothing_is_changed_after_a_member_failed(name, case):
    with pytest.raises(Failed) as caught:
        take(name, member(), [FAILED_BEFORE[case]])
    assert "n1: replica r1 lost n2 earlier in this run; a replica is changed and started as a whole" in str(
        caught.value
    )


def test_a_member_that_left_the_play_is_lost():
    with pytest.raises(Failed) as caught:
        take("start", member(), [member("n2", "secondary")], absent=["n2"])
    assert "lost n2" in str(caught.value)


@pytest.mark.parametrize("name", ["probe", "verify", "find", "load_revision"])
def test_what_only_reads_goes_on_after_a_member_failed(name):
    target = {"errors": [], "ids": {"n1": "i1"}}
    answers = {
        "vllm_probe": {"state": "ready", "verdicts": [], "answer": "", "container": CONTAINER, "taken": []},
        "vllm_revision": {"process": process(), "revision": {"id": "i1"}, "written": [], "mtime": 1.0},
    }
    result, ran = take(name, member(), [{"failed": True}], answers=answers, settings={"target": target})
    assert ran and not result.get("skipped")


@pytest.mark.parametrize(
    "role, running, changed, asked",
    [
        ("primary", True, [], True),
        ("secondary", True, [], False),
        ("primary", False, [], False),
        ("primary", True, ["launch.sh"], False),
    ],
)
def test_a_running_service_is_asked_where_it_serves_and_nothing_changed(role, running, changed, asked):
    own = member(role=role, container=dict(CONTAINER, running=running), changed=changed)
    result, ran = take("probe", own, answers={"vllm_probe": {"state": "ready"}})
    assert bool(ran) == asked and bool(result.get("skipped")) != asked
    assert result["state"].get("ready") == (True if asked else None)


def test_a_key_of_the_inventory_is_sent_but_that_of_a_restored_revision_is_read_on_the_node():
    _result, ran = take("verify", member(), answers={"vllm_probe": {"state": "ready", "verdicts": [], "answer": ""}})
    assert (ran[0][1]["api_key"], ran[0][1]["key_of"]) == ("k", "")
    own = member(restored={"id": "i1"})
    _result, ran = take("verify", own, answers={"vllm_probe": {"state": "ready", "verdicts": [], "answer": ""}})
    assert (ran[0][1]["api_key"], ran[0][1]["key_of"]) == ("", "c")


DECISIONS = {
    "keep": ({"ready": True}, {}, {}, "keep"),
    "another member changed": ({"ready": True}, {"changed": ["launch.sh"]}, {}, "restart"),
    "a restart is asked for": ({"ready": True, "restart": True}, {"restart": True}, {}, "restart"),
    "a restart of what does not run": (
        {"container": None, "restart": True},
        {"container": None, "restart": True},
        {},
        "start",
    ),
    "nothing runs": ({"container": None}, {"container": None}, {}, "start"),
}


@pytest.mark.parametrize("case", DECISIONS)
def test_the_replica_decides_as_a_whole(case):
    own, other, settings, wanted = DECISIONS[case]
    results = [take("decide", member(**own), [member("n2", "secondary", **other)], settings=settings)[0]]
    assert [result["state"]["decision"]["action"] for result in results] == [wanted]


@pytest.mark.parametrize(
    "name, taken",
    [
        ("stop", {"restart"}),
        ("start", {"restart", "start", "wait"}),
        ("wait", {"restart", "start", "wait"}),
        ("verify", {"restart", "start", "wait", "keep"}),
    ],
)
@pytest.mark.parametrize("decided", ["keep", "start", "restart", "wait"])
def test_steps_that_a_decision_does_not_need_are_skipped(name, taken, decided, monkeypatch):
    monkeypatch.setattr(_steps, "Wait", lambda *_unused: SimpleNamespace(run=lambda: {"waited": 1}))
    own = member(decision={"action": decided, "reason": ""})
    answers = {
        "vllm_container": {"container": CONTAINER},
        "vllm_probe": {"state": "ready", "verdicts": [], "answer": ""},
    }
    result, _ran = take(name, own, answers=answers)
    assert bool(result.get("skipped")) == (decided not in taken)
    assert result["state"]["container"] == CONTAINER, "a skipped step hands the state on"


def test_in_check_mode_nothing_is_waited_for_and_only_what_is_kept_is_verified_and_recorded():
    for name in ("wait", "verify", "record_revision"):
        own = member(decision={"action": "restart", "reason": ""}, files_at=1.0)
        assert take(name, own, check_mode=True)[0]["skipped"]
    own = member(decision={"action": "keep", "reason": ""}, files_at=1.0, digest="d")
    _result, ran = take("record_revision", own, check_mode=True, answers={"vllm_revision": {"id": "i"}})
    assert ran


def test_nothing_is_recorded_for_files_that_this_run_did_not_render():
    assert take("record_revision", member(decision={"action": "start", "reason": ""}))[0]["skipped"]


def test_a_module_that_fails_fails_the_step_with_its_own_message():
    with pytest.raises(Failed) as caught:
        take("start", member(), answers={"vllm_container": {"failed": True, "msg": "no such device"}})
    assert caught.value.result["msg"] == "no such device"


def test_a_service_that_does_not_answer_is_named_with_the_way_out():
    bad = {"id": "service.chat", "verdict": "fail", "seen": "HTTP 500", "wanted": "tokens", "remedy": "Read the log."}
    with pytest.raises(Failed) as caught:
        take("verify", member(), answers={"vllm_probe": {"state": "waiting", "verdicts": [bad], "answer": ""}})
    assert str(caught.value) == "n1: service.chat failed: seen HTTP 500; wanted tokens. Read the log."


def test_a_restart_does_not_ask_a_service_that_may_hang():
    answers = {"vllm_probe": {"state": "ready", "container": CONTAINER, "taken": []}}
    result, ran = take("find", member(), answers=answers, settings={"restart": True})
    assert "url" not in ran[0][1] and result["state"]["ready"] is False
    own = {"state": result["state"]}
    assert take("probe", own)[0]["skipped"]


def test_a_container_that_is_not_there_cannot_be_started():
    with pytest.raises(Failed) as caught:
        take("find", member(), answers={"vllm_probe": {"state": "dead", "container": None}})
    assert "there is no container c to start; run deploy_a2.yml first" in str(caught.value)


def test_nothing_is_started_on_ports_that_something_else_listens_on():
    taken = [{"port": 1, "pid": 4711, "name": "nginx"}, {"port": 60000, "pid": None, "name": None}]
    answers = {"vllm_probe": {"state": "dead", "container": dict(CONTAINER, running=False), "taken": taken}}
    with pytest.raises(Failed) as caught:
        take("find", member(), answers=answers)
    assert "ports of the service are taken: 1 by pid 4711 (nginx), 60000 by a process that is not visible" in str(
        caught.value
    )


def test_a_restored_plan_takes_the_place_of_the_inventorys_and_keeps_the_replicas_name():
    old = dict(process(), replica="default", url="old")
    answers = {"vllm_revision": {"process": old, "revision": {"id": "i1"}, "written": ["launch.sh"], "changed": True}}
    result, _ran = take(
        "load_revision",
        member(changed=["x"]),
        answers=answers,
        settings={"target": {"errors": [], "ids": {"n1": "i1"}}},
    )
    assert result["state"] == {"host": "n1", "process": dict(old, replica="r1"), "restored": {"id": "i1"}}
    assert result["changed"] is False


def test_a_rollback_without_a_revision_says_why():
    with pytest.raises(Failed) as caught:
        take("load_revision", member(), settings={"target": {"errors": ["nothing was verified"], "ids": {}}})
    assert str(caught.value) == "nothing was verified"
