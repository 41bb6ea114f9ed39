"""Replicas one after the other: their order, and what is said of them at the end."""

import pytest
from ansible_collections.ascend_ops.vllm.plugins.module_utils._service import rollout


def service(name, *processes):
    """A service of one instance, as a plan has it."""
    return {"name": name, "instances": [{"name": "serve-0", "role": "serve", "processes": list(processes)}]}


PLAN = {
    "services": [
        service(
            "r1",
            {"host": "a1", "replica": "r1", "role": "primary", "service": {"url": "http://a1"}},
            {"host": "a2", "replica": "r1", "role": "secondary", "service": {"url": "http://a1"}},
        ),
        service("r2", {"host": "b1", "replica": "r2", "role": "primary", "service": {"url": "http://b1"}}),
        service("r3", {"host": "c1", "replica": "r3", "role": "single", "service": {"url": "http://c1"}}),
    ],
    "warnings": [],
}
RECIPE = {"name": "m", "release": "v1", "checkpoint": "fp8", "scenarios": []}


def test_nodes_of_a_replica_are_one_batch():
    assert rollout.order(PLAN) == "a1,a2,b1,c1"
    assert rollout.batches(PLAN) == [2, 1, 1]
    assert (rollout.order({"services": []}), rollout.batches({"services": []})) == ("all:!all", [1])


def test_the_summary():
    states = {
        "a1": {
            "decision": {"action": "restart", "reason": "changed: created on a1"},
            "verdicts": [{"id": "service.models", "verdict": "pass"}, {"id": "service.chat", "verdict": "pass"}],
            "restored": {"id": "i1", "group": "g1", "recipe": RECIPE},
        },
        "b1": {"decision": {"action": "keep", "reason": "it answers"}},
    }
    assert rollout.text(PLAN, states, "rollback").splitlines()[:6] == [
        "replica r1  a1, a2",
        "  rollback restarted: changed: created on a1",
        "  now      m v1, fp8, scenarios none; revision i1 of group g1",
        "  verified http://a1: service.models pass; service.chat pass",
        "replica r2  b1",
        "  rollback unchanged: it answers",
    ]


WHY = {"task": "start | Wait", "msg": "b1: the container died\n(exit code 1)."}
DONE = {"state": "done", "task": "", "msg": ""}
FAILURES = {
    "rolled back": (
        "r2",
        {"b1": WHY},
        {"b1": DONE},
        [],
        [
            "replica r2 did not take the new plan.",
            "why       b1: the container died (exit code 1). (task: start | Wait)",
            "rolled back to the revision that ran before, and it answers again",
            "on the new plan: r1; not touched: r3",
        ],
    ),
    "the rollback failed": (
        "r1",
        {"a1": WHY, "a2": WHY},
        {"a1": {"state": "failed", "task": "T", "msg": "no"}, "a2": DONE},
        [],
        [
            "the rollback FAILED as well: a1: no (task: T)",
            "run rollback.yml",
            "on the new plan: none; not touched: r2, r3",
        ],
    ),
    "a node is gone": (
        "r1",
        {"a1": WHY},
        {"a1": DONE},
        ["a2"],
        [
            "lost      a2 cannot be reached",
            "files of a1 are restored, and were not started without a2",
            "bring a2 back",
        ],
    ),
    "nothing before": (
        "r3",
        {"c1": WHY},
        {"c1": {"state": "none", "task": "T", "msg": "no deploy was proven"}},
        [],
        ["NOT rolled back: no deploy was proven", "on the new plan: r1, r2; not touched: none"],
    ),
}


@pytest.mark.parametrize("case", FAILURES)
def test_what_is_said_of_a_replica_that_failed(case):
    replica, failed, back, gone, wanted = FAILURES[case]
    said = rollout.failure(PLAN, replica, failed, back, gone)
    for text in wanted:
        assert text in said
    assert ("answers again" in said) == (case == "rolled back")


def test_the_cause_is_not_what_only_followed_from_it():
    failed = {
        "a1": {"task": "wait", "msg": "a1: stopped waiting, since a2 will not come up; see there."},
        "a2": {"task": "wait", "msg": "the container died"},
    }
    assert rollout.cause(failed) == "a2: the container died (task: wait)"
    assert rollout.cause({"a1": failed["a1"]}).startswith("a1: stopped waiting")
    assert rollout.cause({"a1": {}}) == ""
