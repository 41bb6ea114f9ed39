"""Whatever stands in settings or in a recipe of the user's own: a plan or sentences, never a traceback."""

import copy
import re

import pytest
import yaml
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan import files, plan
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.inputs import SETTINGS
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.model import processes
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.recipe import recipe_errors
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.text import plan_text
from ansible_collections.ascend_ops.vllm.plugins.plugin_utils import _plan as plans
from hypothesis import given, settings
from hypothesis import strategies as st
from test_plan import a2, a3

RECIPE = yaml.safe_load((files.RECIPES / "minimax_m2_5.yml").read_text())
RELEASES = [release["name"] for release in files.releases()["vllm_releases"]]

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.dates(),
    st.binary(max_size=4),
    st.sampled_from(["port", "tensor-parallel-size", "data_parallel_size", "HCCL_IF_BASE_PORT", "mounts", "²", "\0"]),
)
garbage = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.one_of(st.text(max_size=6), st.integers(), st.none(), scalars.filter(lambda one: one == one)),
            inner,
            max_size=3,
        ),
    ),
    max_leaves=6,
)
KEYS = {
    "args": [
        "port",
        "tensor-parallel-size",
        "data-parallel-size",
        "host",
        "served-model-name",
        "additional-config",
        "speculative_config",
        "prefill-context-parallel-size",
        "enable-expert-parallel",
        "hf-token",
    ],
    "env": ["HCCL_IF_BASE_PORT", "VLLM_ASCEND_ENABLE_FLASHCOMM1", "LD_PRELOAD", "X"],
    "container": ["name", "shm_size", "mounts", "privileged", "user", "init", "restart"],
}
# Keys that reach into the code, with garbage as their values.
deep = st.one_of(
    st.fixed_dictionaries(
        {}, optional={key: st.dictionaries(st.sampled_from(names), garbage, max_size=3) for key, names in KEYS.items()}
    ),
    st.fixed_dictionaries({}, optional={key: garbage for key in SETTINGS if key != "name"}),
)


def look(nodes):
    """A plan that can be shown, or sentences."""
    result = plans.plan(nodes)
    plan_text(result)
    for text in result["errors"]:
        # The name of an exception would be one of Python's; a value that reads 'Error' is the input's own.
        assert text.endswith((".", "?")) and not re.search("[a-z]Error", text), text
    assert processes(result) or result["errors"]


@settings(max_examples=400, deadline=None)
@given(deep, st.sampled_from(["", "v0.26.0rc1"]))
def test_garbage_in_settings(given_settings, release):
    for nodes in (a3(), a2()):
        for entry in nodes:
            entry["settings"].update({"release": release}, **given_settings)
        look(nodes)


@settings(max_examples=100, deadline=None)
@given(garbage)
def test_garbage_as_the_name_of_a_recipe(name):
    look(a3(name=name))


def places(data, path=()):
    """The path of everything that stands in a tree."""
    if isinstance(data, dict):
        for key, value in data.items():
            yield path + (key,)
            yield from places(value, path + (key,))


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_garbage_in_a_recipe(data):
    recipe = copy.deepcopy(RECIPE)
    path = data.draw(st.sampled_from(list(places(RECIPE))))
    inner = recipe
    for key in path[:-1]:
        inner = inner[key]
    if data.draw(st.booleans()):
        inner[path[-1]] = data.draw(garbage)
    else:
        del inner[path[-1]]
    errors = recipe_errors(recipe, RELEASES)
    if not errors:
        nodes = [
            dict(entry, settings=dict(entry["settings"], recipe=recipe))
            for entry in a3(scenarios=data.draw(st.sampled_from([[], ["profiling"], ["long_context"]])))
            + a2(replica="other")
        ]
        plan_text(plan.plan(nodes, files.releases()))


def without(path):
    """The recipe as YAML, without the key at a path."""
    recipe = copy.deepcopy(RECIPE)
    inner = recipe
    *keys, last = path.split(".")
    for key in keys:
        inner = inner[key]
    del inner[last]
    return yaml.safe_dump(recipe)


RECIPES = {
    "empty": ("", "it is empty; wanted a mapping."),
    "list": ("- a", "it is a list; wanted a mapping."),
    "not YAML": ("a: [", "it is not YAML: "),
    "not text": (b"\xff\xfe\x00", "it cannot be read: "),
    "no release": (without("release"), "release is missing; wanted a string."),
    "no first": (without("releases"), "releases.first is missing; wanted a string."),
    "no shm_size": (
        without("deployments.a3.container.shm_size"),
        "deployments.a3.container.shm_size is missing; wanted a string.",
    ),
    "no directory": (without("checkpoints.fp8.directory"), "checkpoints.fp8.directory is missing; wanted a string."),
    "no hardware": (
        without("scenarios.profiling.hardware"),
        "scenarios.profiling.hardware is missing; wanted a list of strings.",
    ),
    "no deployments": (without("deployments"), "deployments is missing; wanted a mapping with at least one entry."),
    "args a list": (
        yaml.safe_dump(dict(RECIPE, scenarios={"x": {"hardware": ["a3"], "args": ["y"]}})),
        'scenarios.x.args is ["y"]; wanted a mapping of names to values.',
    ),
    "chips a word": (
        yaml.safe_dump(dict(RECIPE, deployments={"a3": dict(RECIPE["deployments"]["a3"], chips="all")})),
        'deployments.a3.chips is "all"; wanted a whole number from 1.',
    ),
    "unheard-of release": (
        yaml.safe_dump(dict(RECIPE, releases={"first": "v0.1", "last": "v0.23.0"})),
        'releases.first is "v0.1"; known vllm-ascend releases are ' + ", ".join(RELEASES) + ".",
    ),
}


@pytest.mark.parametrize("case", RECIPES)
def test_a_bad_recipe_names_file_key_and_what_is_wanted(case, tmp_path):
    content, wanted = RECIPES[case]
    path = tmp_path / "own.yml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    errors = plans.plan(a3(name=str(path)))["errors"]
    assert errors[0].startswith(f"node a3-node1: the recipe {path}: {wanted}"), errors


def test_a_recipe_of_the_users_own_is_planned(tmp_path):
    path = tmp_path / "own.yml"
    path.write_text(yaml.safe_dump(dict(RECIPE, scenarios={}, name="Own"), sort_keys=False))
    result = plans.plan(a3(name=str(path)))
    assert result["errors"] == [] and processes(result)[0]["recipe"]["name"] == "Own"
    assert processes(result)[0]["argv"] == processes(plans.plan(a3()))[0]["argv"]


def test_a_recipe_for_other_hardware(tmp_path):
    path = tmp_path / "a3only.yml"
    path.write_text(yaml.safe_dump(dict(RECIPE, deployments={"a3": RECIPE["deployments"]["a3"]})))
    assert plans.plan(a2(name=str(path)))["errors"] == [
        "replica default: the recipe MiniMax-M2.5 has no deployment for a2; it has a3. Choose another recipe with "
        "vllm_recipe_name."
    ]


def test_every_recipe_of_the_collection_has_the_wanted_form():
    for path in files.RECIPES.glob("*.yml"):
        assert recipe_errors(yaml.safe_load(path.read_text()), RELEASES) == []


@pytest.mark.parametrize("name", ["x" * 300, "a\0b", "/etc", "minimax_m25"])
def test_a_recipe_that_is_not_there(name):
    errors = plans.plan(a3(name=name))["errors"]
    assert len(errors) == 1 and errors[0].startswith(
        "node a3-node1: vllm_recipe_name is '" + name + "'; wanted one of "
    )
    assert ("Did you mean 'minimax_m2_5'?" in errors[0]) == (name == "minimax_m25")
