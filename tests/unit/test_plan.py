"""The plan against golden files that were written by hand from the guide, not by the plan."""

import json
from pathlib import Path

import pytest
from ansible_collections.ascend_ops.vllm.plugins.filter.plan import plan

GOLDEN = Path(__file__).parent / "fixtures" / "plans"
CASES = {
    "a3": {},
    "a3_long_context": {"scenarios": ["long_context"]},
    "a3_low_latency": {"scenarios": ["low_latency"]},
    "a3_tool_calling": {"scenarios": ["tool_calling"]},
    "a3_reasoning": {"scenarios": ["reasoning"]},
    "a3_release_v0.26.0rc1": {"release": "v0.26.0rc1"},
    "a2": {},
    "a2_release_v0.26.0rc1": {"release": "v0.26.0rc1"},
}


def node(host, group, address, **settings):
    """What the role vllm_recipe collects of one node."""
    settings = dict({"name": "minimax_m2_5", "address": address, "replica": "default"}, **settings)
    return {"host": host, "groups": [group], "variables": [], "settings": settings}


def a3(**settings):
    return [node("a3-node1", "a3", "10.0.0.21", **settings)]


def a2(**settings):
    return [
        node("a2-node1", "a2_primary", "10.0.0.11", **settings),
        node("a2-node2", "a2_secondary", "10.0.0.12", **settings),
    ]


@pytest.mark.parametrize("case", CASES)
def test_plan_is_what_the_guide_says(case):
    golden = json.loads((GOLDEN / (case + ".json")).read_text())
    result = plan((a3 if case.startswith("a3") else a2)(**CASES[case]))
    assert result["errors"] == []
    assert [node["host"] for node in result["nodes"]] == [node["host"] for node in golden]
    for seen, wanted in zip(result["nodes"], golden):
        assert seen["argv"] == wanted["argv"]
        for key in ("role", "replica", "env", "container", "ports"):
            assert seen[key] == wanted[key], key


def test_every_case_has_a_golden_file_and_every_golden_file_a_case():
    assert sorted(CASES) == sorted(path.stem for path in GOLDEN.glob("*.json"))


def test_too_few_forks_are_a_warning():
    assert not [text for text in plan(a2(), 2)["warnings"] if "forks" in text]
    assert [text for text in plan(a2(), 1)["warnings"] if "1 forks for 2 nodes" in text]


def test_each_host_is_told_its_place_and_its_replica():
    told = plan(a2() + [node("a3-node1", "a3", "10.0.0.21", replica="east")])
    both = ["a2-node1", "a2-node2"]
    assert {host: place["mates"] for host, place in told["index"].items()} == {
        "a2-node1": both,
        "a2-node2": both,
        "a3-node1": ["a3-node1"],
    }
    assert all(told["nodes"][place["at"]]["host"] == host for host, place in told["index"].items())
