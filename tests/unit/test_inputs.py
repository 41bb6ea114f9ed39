"""What an inventory says wrongly, in exact sentences."""

import pytest
from ansible.errors import AnsibleActionFail
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from ansible_collections.ascend_ops.vllm.plugins.action import vllm_inputs
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan import inventory
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.files import known_inputs
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.inventory import (
    layout_errors,
    target_groups,
    unknown_inputs,
)

KNOWN = ("vllm_recipe_scenarios", "vllm_recipe_args", "npu_container_engine", "npu_host_tuning_governor")
NO_INPUT = "the variable {0} is not an input of this collection."

# (names of variables, what is said of the first of them after NO_INPUT, or None)
UNKNOWN = [
    (["vllm_recipe_sceanrios"], " Did you mean 'vllm_recipe_scenarios'?"),
    (["npu_container_image_engine"], " Did you mean 'npu_container_engine'?"),
    (["npu_host_tuning_govenor", *KNOWN], " Did you mean 'npu_host_tuning_governor'?"),
    (["vllm_plan_fil", "ansible_host"], " Did you mean 'vllm_plan_file'?"),
    (["vllm_recpie_args"], " Did you mean 'vllm_recipe_args'?"),
    (["vlm_recipe_args"], " Did you mean 'vllm_recipe_args'?"),
    (["npu_preflight_zzzzzzzzzzzzzzzzzzzzzzzzzzz"], ""),
    (KNOWN, None),
    (["vllm_plan_file", "vllm_hardware"], None),
    (["ansible_host", "vllm_cluster_owner", "npu_count", "chips", "vllm"], None),
    (["my_vllm_recipe_args", "__vllm_recipe_plan", "__vllm_recipe_args"], None),
    ([], None),
]


@pytest.mark.parametrize("variables, said", UNKNOWN)
def test_unknown_inputs(variables, said):
    wanted = [] if said is None else [NO_INPUT.format(variables[0]) + said]
    assert unknown_inputs(dict.fromkeys(variables), KNOWN) == wanted


def test_unknown_inputs_come_in_the_order_of_the_alphabet():
    names = ["vllm_service_zzzzzzzzzzzzzzzzzzzz", "npu_preflight_qqqqqqqqqqqqqqqqqqqqqqq"]
    assert unknown_inputs(names, KNOWN) == [NO_INPUT.format(name) for name in sorted(names)]


def test_the_filter_knows_the_inputs_of_all_roles():
    assert unknown_inputs(known_inputs(), known_inputs()) == []
    assert unknown_inputs(["vllm_recipe_chip"], known_inputs()) == [
        "the variable vllm_recipe_chip is not an input of this collection. Did you mean 'vllm_recipe_chips'?"
    ]
    assert {
        "vllm_recipe_name",
        "npu_preflight_fail_on",
        "npu_host_tuning_sysctl",
        "npu_container_engine",
        "vllm_service_ready_timeout",
    } <= set(known_inputs())


A2 = {"a2_primary": ["n1"], "a2_secondary": ["n2"]}
BOTH = dict(A2, a3=["n3"])
WAY_OUT = " Put the nodes into the group that says what they are; inventories/ has examples."
LAYOUTS = [
    (A2, "a2", []),
    (BOTH, "a2", []),
    (BOTH, "a3", []),
    (BOTH, None, []),
    ({"a3": ["n3"]}, None, []),
    (
        {"a3": ["n3"]},
        "a2",
        [
            "the inventory has no host in a2_primary; its groups are a3." + WAY_OUT,
            "the inventory has no host in a2_secondary; its groups are a3." + WAY_OUT,
        ],
    ),
    (
        dict(A2, a2_secondary=[]),
        "a2",
        ["the inventory has no host in a2_secondary; its groups are a2_primary, a2_secondary." + WAY_OUT],
    ),
    (
        {"a2_primary": ["n1"], "a2_secondery": ["n2"]},
        "a2",
        [
            "the inventory has no host in a2_secondary; its groups are a2_primary, a2_secondery. Did you mean "
            "'a2_secondery'?" + WAY_OUT
        ],
    ),
    (A2, "a3", ["the inventory has no host in a3; its groups are a2_primary, a2_secondary." + WAY_OUT]),
    (
        {"all": ["x"], "ungrouped": ["x"]},
        None,
        ["the inventory has no host in a3 or a2_primary or a2_secondary; its groups are none." + WAY_OUT],
    ),
    ({"all": ["x"], "A3": ["x"]}, "a3", ["the inventory has no host in a3; its groups are A3." + WAY_OUT]),
    ({}, "a3", ["the inventory has no host in a3; its groups are none." + WAY_OUT]),
]


@pytest.mark.parametrize("groups, hardware, wanted", LAYOUTS)
def test_layout_errors(groups, hardware, wanted):
    assert layout_errors(groups, hardware) == wanted


@pytest.mark.parametrize(
    "groups, hardware, pattern",
    [
        (BOTH, "a2", "a2_primary:a2_secondary"),
        (BOTH, "a3", "a3"),
        (BOTH, None, "a3:a2_primary:a2_secondary"),
        (dict(A2, a2_secondary=[]), "a2", "a2_primary"),
        (A2, "a3", "all:!all"),
        ({}, None, "all:!all"),
    ],
)
def test_target_groups(groups, hardware, pattern):
    assert target_groups(groups, hardware) == pattern


# -- the action ----------------------------------------------------------------------------------------------------


@pytest.fixture
def collect(monkeypatch):
    """Run the action vllm_inputs for a node with some variables and secrets."""
    monkeypatch.setattr(vllm_inputs.ActionBase, "run", lambda *_unused: {})

    def run(variables, secrets=None):
        action = object.__new__(vllm_inputs.ActionModule)
        action._templar = Templar(DataLoader())
        given = {"settings": ["vllm_recipe_name"], "role": "vllm_recipe"}
        action.validate_argument_spec = lambda argument_spec: (None, given)
        known = {"vllm_recipe_name": "x", "vllm_service_secrets": secrets or {}}
        return action.run(None, {"inventory_hostname": "n1", "group_names": ["a3"], **known, **variables})

    return run


def test_what_the_plan_gets_of_a_node(collect):
    assert collect({"vllm_recipe_chips": 8}, {"HF_TOKEN": "canary"}) == {
        "changed": False,
        "host": "n1",
        "groups": ["a3"],
        "settings": {"name": "x"},
        "secrets": ["HF_TOKEN"],
    }


def test_misspelt_variables_are_errors_of_their_node(collect):
    with pytest.raises(AnsibleActionFail) as caught:
        collect({"vllm_recipe_sceanrios": [], "ansible_host": "x"})
    assert caught.value.message == (
        "node n1: the variable vllm_recipe_sceanrios is not an input of this collection. Did you mean "
        "'vllm_recipe_scenarios'?"
    )


def test_bad_secrets_are_errors_of_their_node(collect):
    with pytest.raises(AnsibleActionFail) as caught:
        collect({}, {"A": ["canary"]})
    assert caught.value.message == (
        "node n1: vllm_service_secrets.A is of the type list; wanted a text: put it in quotes."
    )


TAGS = ["preflight", "tuning", "verify"]


@pytest.mark.parametrize(
    "run, skip, known, wanted",
    [
        (["all"], [], TAGS, None),
        (["tuning", "verify"], ["always"], TAGS, None),
        (
            ["tunin"],
            [],
            TAGS,
            "there is no tag 'tunin'; the tags are preflight, tuning, verify. Did you mean 'tuning'?",
        ),
        (["xyz"], [], TAGS, "there is no tag 'xyz'; the tags are preflight, tuning, verify."),
        (["tuning"], [], [], "there is no tag 'tuning'; this playbook has no tags; leave --tags out."),
        (["all"], ["molecule-notest", "notest"], TAGS, None),
        (
            ["all"],
            ["tunin"],
            TAGS,
            "there is no tag 'tunin'; the tags are preflight, tuning, verify. Did you mean 'tuning'?",
        ),
    ],
)
def test_tags_that_do_not_exist(run, skip, known, wanted):
    assert inventory.tag_errors(run, skip, known) == ([wanted] if wanted else [])
