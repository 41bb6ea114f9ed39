"""What a deploy does with the containers of a replica: they live and die together."""

import pytest
from ansible_collections.ascend_ops.vllm.plugins.module_utils._service.replica import TOGETHER, group_action


def member(host, age=1000, running=True, restarts=0, changed=(), ready=False):
    """A node as vllm_service tells of it; age None: there is no container."""
    container = None if age is None else {"running": running, "age": age, "restart_count": restarts}
    return {"host": host, "container": container, "changed": list(changed), "ready": ready}


def pair(first=(), second=()):
    return [member("n1", **dict(first)), member("n2", **dict(second))]


UP = {"ready": True}
GONE = {"age": None}
DOWN = {"running": False}
CASES = {
    "nothing yet": (pair(GONE, GONE), "start", "nothing runs yet"),
    "nothing yet, and all was just made": (
        pair(dict(GONE, changed=["created"]), dict(GONE, changed=["created"])),
        "start",
        "nothing runs yet",
    ),
    "all stopped": (pair(DOWN, DOWN), "start", "nothing runs yet"),
    "all stopped, never started": (
        pair(dict(DOWN, age=0), dict(DOWN, age=0)),
        "start",
        "nothing runs yet",
    ),
    "it answers": (pair(UP), "keep", "it answers"),
    "it answers, after a restart of old": (pair(dict(UP, restarts=3), {"age": 9000}), "keep", "it answers"),
    "it answers, and files changed": (
        pair(UP, {"changed": ["launch.sh", "service.env"]}),
        "restart",
        "changed: launch.sh, service.env on n2",
    ),
    "both changed": (
        pair({"changed": ["created"]}, {"changed": ["created"]}),
        "restart",
        "changed: created on n1; created on n2",
    ),
    "secondary gone": (pair(UP, GONE), "restart", "not running on n2"),
    "secondary stopped": (pair(UP, DOWN), "restart", "not running on n2"),
    "primary stopped, stale secondary": (pair(DOWN), "restart", "not running on n1"),
    "still starting": (pair(), "wait", "it is still starting"),
    "still starting, a little apart": (pair({}, {"age": 1000 + TOGETHER}), "wait", "it is still starting"),
    "started too far apart": (
        pair({}, {"age": 1001 + TOGETHER}),
        "restart",
        "it does not answer, and its containers were not started together",
    ),
    "the engine restarted one": (
        pair({"restarts": 1}),
        "restart",
        "it does not answer, and its containers were not started together",
    ),
    "hung for longer than a start may take": (
        pair({"age": 3700}, {"age": 3701}),
        "restart",
        "it does not answer after 3701 s",
    ),
    "single node, still starting": ([member("a3")], "wait", "it is still starting"),
    "single node, answers": ([member("a3", ready=True)], "keep", "it answers"),
    "single node, restarted by the engine, dumb": (
        [member("a3", restarts=2)],
        "restart",
        "it does not answer, and its containers were not started together",
    ),
}


@pytest.mark.parametrize(
    "started_at, files_at, action",
    [
        (100.25, 100.5, "restart"),
        (100.5, 100.25, "keep"),
        (100.5, 100.5, "keep"),
        (100.5, None, "keep"),
        (None, 100.5, "keep"),
    ],
)
def test_files_that_were_written_after_the_start_are_not_what_runs(started_at, files_at, action):
    members = pair(UP)
    members[1]["container"]["started_at"] = started_at
    members[1]["files_at"] = files_at
    assert group_action(members, 3600)["action"] == action
    if action == "restart":
        assert group_action(members, 3600)["reason"] == "its files are newer than what runs on n2"


@pytest.mark.parametrize("case", CASES)
def test_group_action(case):
    members, action, reason = CASES[case]
    assert group_action(members, 3600) == {"action": action, "reason": reason}


@pytest.mark.parametrize("case", CASES)
def test_the_order_of_the_nodes_does_not_matter(case):
    members, action, _reason = CASES[case]
    assert group_action(members[::-1], 3600)["action"] == action
