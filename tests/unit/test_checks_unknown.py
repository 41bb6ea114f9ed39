"""A fact that is missing or of another kind ends no check and turns no bad verdict into a pass."""

import copy

import pytest
from ansible_collections.ascend_ops.vllm.plugins.module_utils._checks import (
    engine,
    files,
    fit,
    host,
    image,
    leftovers,
    server,
    versions,
    weights,
)
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.model import processes
from ansible_collections.ascend_ops.vllm.plugins.plugin_utils._plan import plan
from healthy import own_facts, whole
from hypothesis import given, settings
from hypothesis import strategies as st
from test_plan import a2, a3

MODULES = [engine, files, fit, host, image, leftovers, server, versions, weights]
MEMBERS = processes(plan(a2()))
A3 = processes(plan(a3()))[0]
POLICY = {
    "driver_min": "25.0",
    "driver_paired": "26.0.RC1",
    "min_python": "3.8",
    "architecture": "MiniMaxM2ForCausalLM",
}
# What an evaluation may raise on facts of another shape: its caller turns that into "unknown".
CAUGHT = (KeyError, TypeError, ValueError, AttributeError, IndexError)


def paths(value, path=()):
    """The path of every named value in some facts."""
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        if isinstance(key, str):
            yield path + (key,)
        yield from paths(inner, path + (key,))


def without(facts, path):
    """The facts with a null at a path."""
    changed = inner = copy.deepcopy(facts)
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = None
    return changed


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__.rpartition("_")[2])
@pytest.mark.parametrize("node", [MEMBERS[0], A3], ids=["a2", "a3"])
def test_a_null_anywhere_ends_no_check(module, node):
    facts = own_facts(node)
    ids = list(whole(module.evaluate(node, facts, POLICY), module))
    for path in paths(facts):
        assert list(whole(module.evaluate(node, without(facts, path), POLICY), module)) == ids, path


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9) | st.floats(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@settings(deadline=None)  # a busy machine may take long
@given(st.data(), JSON)
def test_a_value_of_another_kind_is_evaluated_or_unknown(data, value):
    facts = own_facts(A3)
    path = data.draw(st.sampled_from(list(paths(facts))))
    inner = facts
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    for module in MODULES:
        try:
            checks = module.evaluate(A3, facts, POLICY)
        except CAUGHT:
            continue
        whole(checks, module)


@pytest.mark.parametrize("module", [module for module in MODULES if hasattr(module, "evaluate_replica")])
def test_a_null_anywhere_ends_no_comparison(module):
    facts = {node["host"]: own_facts(node) for node in MEMBERS}
    last = MEMBERS[-1]["host"]
    for path in paths(facts[last]):
        reported = module.evaluate_replica(MEMBERS, dict(facts, **{last: without(facts[last], path)}), POLICY)
        assert set(reported) == set(facts)
