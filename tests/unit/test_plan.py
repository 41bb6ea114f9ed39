"""The plan against golden files that were written by hand from the guide, not by the plan."""

import json
from pathlib import Path

import pytest
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan import model
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.model import processes
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.render import argv
from ansible_collections.ascend_ops.vllm.plugins.plugin_utils._plan import plan

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
    """What the action vllm_inputs returns for one node."""
    settings = dict({"name": "minimax_m2_5", "address": address, "replica": "default"}, **settings)
    return {"host": host, "groups": [group], "settings": settings, "secrets": []}


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
    assert [node["host"] for node in processes(result)] == [node["host"] for node in golden]
    for seen, wanted in zip(processes(result), golden):
        assert seen["argv"] == wanted["argv"]
        for key in ("role", "replica", "env", "container", "ports"):
            assert seen[key] == wanted[key], key


def test_every_case_has_a_golden_file_and_every_golden_file_a_case():
    assert sorted(CASES) == sorted(path.stem for path in GOLDEN.glob("*.json"))


def test_too_few_forks_are_a_warning():
    assert not [text for text in plan(a2(), 2)["warnings"] if "forks" in text]
    assert [text for text in plan(a2(), 1)["warnings"] if "1 forks for 2 nodes" in text]


EAST = [node("a3-node1", "a3", "10.0.0.21", replica="east")]


def test_each_host_finds_its_process_and_its_members():
    made = plan(a2() + EAST)
    both = ["a2-node1", "a2-node2"]
    hosts = {host: model.member_hosts(made, host) for host in made["index"]}
    assert hosts == {"a2-node1": both, "a2-node2": both, "a3-node1": ["a3-node1"]}
    assert all(model.of_host(made, host)["host"] == host for host in made["index"])
    assert all([one["host"] for one in model.members(made, host)] == hosts[host] for host in hosts)
    assert list(made["index"]) == [process["host"] for process in model.processes(made)]


@pytest.mark.parametrize("find", [model.of_host, model.members, model.member_hosts])
def test_a_host_without_a_process_is_named(find):
    with pytest.raises(ValueError, match="node b is not in the plan; the plan has a3-node1."):
        find(plan(EAST), "b")


def test_a_service_has_one_instance_and_each_of_its_nodes_one_process():
    made = json.loads(json.dumps(plan(a2() + EAST)))
    assert made == plan(a2() + EAST), "plain data"
    default, east = made["services"]
    assert (default["name"], default["hardware"], default["url"], default["model"], default["tool_calls"]) == (
        "default",
        "a2",
        "http://10.0.0.11:20004",
        "minimax25",
        True,
    )
    assert [(one["name"], one["role"], len(one["processes"])) for one in default["instances"]] == [
        ("serve-0", "serve", 2)
    ]
    for service in (default, east):
        for process in service["instances"][0]["processes"]:
            assert process["instance"] == "serve-0" and process["replica"] == service["name"]
            assert process["hardware"] == service["hardware"] and process["recipe"] == service["recipe"]
            assert process["service"] == {key: service[key] for key in ("url", "model", "tool_calls", "ca_file")}


@pytest.mark.parametrize("case", CASES)
def test_the_command_line_is_rendered_from_the_arguments(case):
    for process in processes(plan((a3 if case.startswith("a3") else a2)(**CASES[case]))):
        assert process["argv"] == process["argv"][:3] + argv(process["args"])
        assert "{WeightsDir}" not in json.dumps(process["args"]) and "{PrimaryNodeIP}" not in json.dumps(
            process["args"]
        )


def test_arguments_keep_their_types():
    args = processes(plan(a2(args={"max-num-seqs": 64, "enable-prefix-caching": False})))[1]["args"]
    assert (args["max-num-seqs"], args["enable-prefix-caching"], args["gpu-memory-utilization"]) == (64, False, 0.92)
    assert args["compilation-config"] == {"cudagraph_mode": "FULL_DECODE_ONLY"}
    assert (args["headless"], args["data-parallel-start-rank"]) == (True, 1)
    assert list(args)[:2] == ["served-model-name", "headless"], "in the order of the command line"
