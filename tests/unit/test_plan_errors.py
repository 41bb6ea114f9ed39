"""What the plan refuses, each with its whole message; a refusal names the value, what is wanted and the way out."""

import pytest
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.model import processes
from ansible_collections.ascend_ops.vllm.plugins.plugin_utils._plan import plan
from test_plan import a2, a3, node

WAY_OUT = (
    " Set vllm_recipe_replica on the nodes of each replica, or correct the groups; --limit must name all nodes of a "
    "replica."
)
RANKS = (
    ". Add or remove nodes in a2_secondary (--limit must name all nodes of a replica), or set "
    "data-parallel-size and data-parallel-size-local in vllm_recipe_args."
)
LOWER = ". Lower the sizes in vllm_recipe_args, or correct vllm_recipe_chips or vllm_recipe_devices."
ARGS = " Set it in vllm_recipe_args."
IMAGE_A3 = "Wanted a tag with -a3; set vllm_recipe_image, or leave it empty to have it chosen."
IMAGE_A2 = "Wanted a tag without -a3 and -310p; set vllm_recipe_image, or leave it empty to have it chosen."
RELEASES = (
    "v0.18.0rc1, v0.18.0, v0.19.1rc1, v0.20.2rc1, v0.21.0rc1, v0.22.1rc1, v0.23.0rc1, v0.23.0, v0.24.0rc1, "
    "v0.25.1rc1, v0.26.0rc1"
)
UPSTREAM = "quay.io/ascend/vllm-ascend"
PRIVATE = "registry.example.com:5000/ascend/vllm-ascend"


def errors_of(nodes):
    """The errors, and with any of them a replica without nodes."""
    result = plan(nodes)
    assert processes(result) == [] or not result["errors"]
    return result["errors"]


def test_tensor_parallel_times_local_ranks_exceeds_the_chips():
    said = (
        "needs 16 chips (tensor parallel 16 x pipeline 1 x prefill context 1 x 1 local data parallel rank(s)); it has 8"
    )
    assert errors_of(a2(args={"tensor-parallel-size": 16})) == [
        "replica default: node a2-node1: " + said + LOWER,
        "replica default: node a2-node2: " + said + LOWER,
    ]


def test_all_sizes_count_against_the_chips():
    assert errors_of(a3(args={"tensor_parallel_size": "4", "pipeline-parallel-size": 2, "data-parallel-size": 3})) == [
        "replica default: node a3-node1: needs 24 chips (tensor parallel 4 x pipeline 2 x prefill context 1 x 3 local "
        "data parallel rank(s)); it has 16" + LOWER
    ]


LAYOUTS = {
    "ranks do not cover dp": (
        a2(args={"data-parallel-size": 3}),
        [
            "replica default: data-parallel-size is 3 with 1 rank(s) per node, which takes 3 node(s); the replica has 2: "
            "a2-node1, a2-node2" + RANKS
        ],
    ),
    "more nodes than ranks": (
        a2() + [node("a2-node3", "a2_secondary", "10.0.0.13")],
        [
            "replica default: data-parallel-size is 2 with 1 rank(s) per node, which takes 2 node(s); the replica has 3: "
            "a2-node1, a2-node2, a2-node3" + RANKS
        ],
    ),
    "more local ranks than dp": (
        a2(args={"data-parallel-size-local": 4, "tensor-parallel-size": 1}),
        [
            "replica default: data-parallel-size is 2 with 4 rank(s) per node, which takes 0.5 node(s); the replica has 2: "
            "a2-node1, a2-node2" + RANKS
        ],
    ),
    "primary without secondary": (
        a2()[:1],
        [
            "replica default: data-parallel-size is 2 with 1 rank(s) per node, which takes 2 node(s); the replica has 1: "
            "a2-node1" + RANKS
        ],
    ),
    "secondary without primary": (
        a2()[1:],
        ["replica default: has the secondary a2-node2 and no primary; wanted one node in a2_primary." + WAY_OUT],
    ),
    "two primaries": (
        a2() + [node("a2-node3", "a2_primary", "10.0.0.13")],
        ["replica default: has 2 primaries: a2-node1, a2-node3; wanted one node in a2_primary." + WAY_OUT],
    ),
    "two A3": (
        a3() + [node("a3-node2", "a3", "10.0.0.22")],
        ["replica default: has 2 A3 nodes: a3-node1, a3-node2; wanted one." + WAY_OUT],
    ),
    "mixed hardware": (
        a2() + a3(),
        [
            "replica default: has nodes of a2 and a3: a2-node1 (a2), a2-node2 (a2), a3-node1 (a3); wanted one kind of "
            "hardware in a replica. Set vllm_recipe_replica to a name of its own for each kind."
        ],
    ),
    "node in two groups": (
        [dict(a3()[0], groups=["a3", "a2_primary"])],
        [
            "node a3-node1: is in the groups a3, a2_primary; wanted exactly one of a3, a2_primary, a2_secondary. Put the "
            "node in one group of the inventory."
        ],
    ),
    "node in none": (
        [dict(a3()[0], groups=["db"])],
        [
            "node a3-node1: is in no group of this collection; wanted exactly one of a3, a2_primary, a2_secondary. Put the node in one "
            "group of the inventory."
        ],
    ),
    "no IP address": (
        [a2()[0], node("a2-node2", "a2_secondary", "node2.example.com")],
        [
            "replica default: node a2-node2: its address is 'node2.example.com'; wanted an IP address that an interface of "
            "the node carries. Set ansible_host or vllm_recipe_address to it."
        ],
    ),
    "settings differ": (
        [a2()[0], node("a2-node2", "a2_secondary", "10.0.0.12", args={"max-num-seqs": 4})],
        [
            'replica default: vllm_recipe_args is null on node a2-node1 and {"max-num-seqs": 4} on node a2-node2; wanted '
            "the same on all nodes of a replica. Set it for all nodes of the replica, not for one of them."
        ],
    ),
}


@pytest.mark.parametrize("case", LAYOUTS)
def test_layout(case):
    nodes, wanted = LAYOUTS[case]
    assert errors_of(nodes) == wanted


def test_duplicate_address_is_an_error_of_the_inventory():
    result = plan([a2()[0], node("a2-node2", "a2_secondary", "10.0.0.11")])
    assert result["errors"] == [
        "node a2-node2: its address is 10.0.0.11, which is also that of node a2-node1; wanted an address of its own for "
        "each node. Set ansible_host or vllm_recipe_address."
    ]


# (settings, error without the replica's name); on A3
ON_A3 = [
    (
        dict(image=UPSTREAM + ":v0.20.2rc1"),
        "the image " + UPSTREAM + ":v0.20.2rc1 is made for a2; these nodes are a3. " + IMAGE_A3,
    ),
    (
        dict(image=PRIVATE + ":v0.20.2rc1-openeuler"),
        "the image " + PRIVATE + ":v0.20.2rc1-openeuler is made for a2; these nodes are a3. " + IMAGE_A3,
    ),
    (dict(image=PRIVATE), "the image " + PRIVATE + " is made for a2; these nodes are a3. " + IMAGE_A3),
    (
        dict(image=UPSTREAM + ":v0.20.2rc1@sha256:0f1e"),
        "the image " + UPSTREAM + ":v0.20.2rc1@sha256:0f1e is made for a2; these nodes are a3. " + IMAGE_A3,
    ),
    (
        dict(args={"max-num-sqs": 1}),
        "vllm_recipe_args contains 'max-num-sqs'; vllm serve of release v0.20.2rc1 has no option --max-num-sqs. Did you mean "
        "'max-num-seqs'?",
    ),
    (
        dict(args={"no-port": True}),
        "vllm_recipe_args contains 'no-port'; vllm serve of release v0.20.2rc1 has no option --no-port. Did you mean "
        "'port'?",
    ),
    (
        dict(args={"enable-expert-parallel": "yes"}),
        '--enable-expert-parallel is "yes"; it takes no value: wanted true or false.' + ARGS,
    ),
    (dict(args={"port": True}), "--port is true; wanted a value." + ARGS[:-1] + "; null removes it."),
    (
        dict(args={"aggregate-engine-logging": False}),
        "--aggregate-engine-logging is false, and vllm serve has no --no-aggregate-engine-logging; wanted null, which "
        "removes it." + ARGS,
    ),
    (
        dict(args={"headless": True}),
        "vllm_recipe_args contains 'headless', which the plan sets on the nodes that need it. Remove it.",
    ),
    (
        dict(args={"data_parallel_start_rank": 0}),
        "vllm_recipe_args contains 'data_parallel_start_rank', which the plan sets on the nodes that need it. Remove it.",
    ),
    (
        dict(args={"tensor-parallel-size": "four"}),
        "--tensor-parallel-size is 'four'; wanted a whole number from 1." + ARGS,
    ),
    (dict(args={"tensor-parallel-size": 0}), "--tensor-parallel-size is '0'; wanted a whole number from 1." + ARGS),
    (dict(args={"data-parallel-size": -1}), "--data-parallel-size is '-1'; wanted a whole number from 1." + ARGS),
    (
        dict(args={"tensor-parallel-size": True}),
        "--tensor-parallel-size is true; wanted a value." + ARGS[:-1] + "; null removes it.",
    ),
    (dict(args={"port": 65536}), "node a3-node1: --port is '65536'; wanted a port from 1 to 65535." + ARGS),
    (
        dict(scenarios=["long_context"], release="v0.25.1rc1"),
        "--prefill-context-parallel-size is 2; release v0.25.1rc1 takes at most 1: vllm-ascend took prefill context "
        "parallelism out of its default model runner. Choose an earlier release with vllm_recipe_release, or remove "
        "what sets it.",
    ),
    (
        dict(args={"prefill-context-parallel-size": "2", "data-parallel-size": "2"}, release="v0.22.1rc1"),
        "--prefill-context-parallel-size is 2 and --data-parallel-size is 2; release v0.22.1rc1 refuses that: Prefill "
        "context parallelism and data parallelism cannot be used together. Set one of them to 1 in vllm_recipe_args.",
    ),
    (
        dict(release="v0.20.2rc2"),
        "vllm_recipe_release is 'v0.20.2rc2'; known vllm-ascend releases are "
        + RELEASES
        + ". Did you mean 'v0.20.2rc1'?",
    ),
    (
        dict(release="v0.18.0rc1"),
        "vllm_recipe_release is 'v0.18.0rc1'; the recipe MiniMax-M2.5 is for the vllm-ascend releases v0.18.0 to "
        "v0.26.0rc1. Choose one of them, or write a recipe for v0.18.0rc1.",
    ),
    (
        dict(scenarios=["long_contxt"]),
        "vllm_recipe_scenarios contains 'long_contxt'; the recipe MiniMax-M2.5 has long_context, low_latency, tool_calling, "
        "reasoning, profiling. Did you mean 'long_context'?",
    ),
    (
        dict(scenarios=["tool_calling", "reasoning"]),
        "the scenarios 'tool_calling' and 'reasoning' conflict: they set reasoning-parser to "
        '"minimax_m2_append_think" and "minimax_m2". Choose one of them.',
    ),
    (
        dict(checkpoint="fp9"),
        "vllm_recipe_checkpoint is 'fp9'; the recipe MiniMax-M2.5 serves fp8, w8a8_quarot. Did you mean 'fp8'?",
    ),
    (dict(checkpoint="eagle3"), "vllm_recipe_checkpoint is 'eagle3'; the recipe MiniMax-M2.5 serves fp8, w8a8_quarot."),
    (dict(weights_dir="models"), "vllm_recipe_weights_dir is 'models'; wanted an absolute path on the nodes."),
    (dict(weights_dir="/"), "vllm_recipe_weights_dir is '/'; wanted an absolute path on the nodes."),
    (
        dict(env={"9LIVES": 1}),
        "node a3-node1: '9LIVES' cannot be the name of an environment variable; wanted letters, digits and '_', not "
        "starting with a digit. Correct it in vllm_recipe_env.",
    ),
    (
        dict(env={"A\n": 1}),
        "node a3-node1: 'A\n' cannot be the name of an environment variable; wanted letters, digits and '_', not starting "
        "with a digit. Correct it in vllm_recipe_env.",
    ),
    (
        dict(env={"LIST": [1]}),
        "node a3-node1: the environment variable LIST is [1]; wanted one string or number. Correct it in vllm_recipe_env.",
    ),
    (
        dict(env={"VLLM_ASCEND_ENABLE_FLASHCOMM1": "on"}, release="v0.26.0rc1"),
        "VLLM_ASCEND_ENABLE_FLASHCOMM1 is 'on'; release v0.26.0rc1 reads it from additional_config.enable_flashcomm1, "
        "whose values are 0, 1. Correct it in vllm_recipe_env.",
    ),
    (
        dict(env={"HCCL_IF_BASE_PORT": 65521}),
        "node a3-node1: HCCL_IF_BASE_PORT is '65521'; wanted 1024 to 65520, since each of 16 chips takes one port from "
        "there on. Set it in vllm_recipe_env.",
    ),
    (
        dict(env={"HCCL_IF_BASE_PORT": "high"}),
        "node a3-node1: HCCL_IF_BASE_PORT is 'high'; wanted 1024 to 65520, since each of 16 chips takes one port from "
        "there on. Set it in vllm_recipe_env.",
    ),
    (
        dict(args={"port": 60015}),
        "node a3-node1: port is 60015, inside the HCCL ports 60000 to 60015. Give it another port in vllm_recipe_args, or "
        "move HCCL with HCCL_IF_BASE_PORT.",
    ),
]


@pytest.mark.parametrize("settings, wanted", ON_A3)
def test_wrong_on_a3(settings, wanted):
    assert errors_of(a3(**settings)) == ["replica default: " + wanted]


ON_A2 = [
    (
        dict(image=PRIVATE + ":v0.20.2rc1-a3-openeuler"),
        "the image " + PRIVATE + ":v0.20.2rc1-a3-openeuler is made for a3; these nodes are a2. " + IMAGE_A2,
    ),
    (
        dict(image=UPSTREAM + ":v0.20.2rc1-310p"),
        "the image " + UPSTREAM + ":v0.20.2rc1-310p is made for 310p; these nodes are a2. " + IMAGE_A2,
    ),
    (
        dict(scenarios=["long_context"]),
        "vllm_recipe_scenarios contains 'long_context', which is for a3; these nodes are a2. Remove it.",
    ),
    (
        dict(args={"port": 2347}),
        "node a2-node1: port and data-parallel-rpc-port are both 2347. Give one of them another port in "
        "vllm_recipe_args.",
    ),
    (
        dict(args={"data_parallel_rpc_port": 60007}),
        "node a2-node1: data-parallel-rpc-port is 60007, inside the HCCL ports 60000 to 60007. Give it another port in "
        "vllm_recipe_args, or move HCCL with HCCL_IF_BASE_PORT.",
    ),
]


@pytest.mark.parametrize("settings, wanted", ON_A2)
def test_wrong_on_a2(settings, wanted):
    assert errors_of(a2(**settings)) == ["replica default: " + wanted]


@pytest.mark.parametrize(
    "nodes",
    [
        a3(image=UPSTREAM + ":v0.20.2rc1-a3-openeuler"),
        a3(image=PRIVATE + ":nightly-a3"),
        a3(image=UPSTREAM + "@sha256:0f1e"),
        a3(image="registry.example.com:5000/own/server:7"),
        a2(image=PRIVATE),
        a2(image=UPSTREAM + ":v0.20.2rc1-openeuler"),
        a3(scenarios=["long_context"], release="v0.26.0rc1", env={"VLLM_USE_V2_MODEL_RUNNER": "1"}),
        a3(args={"prefill-context-parallel-size": 2, "data-parallel-size": 2}),
        a3(args={"port": 59999}),
        a3(args={"port": 60016}),
        a3(env={"HCCL_IF_BASE_PORT": 65520}),
        a3(scenarios=["low_latency", "tool_calling", "profiling"]),
    ],
)
def test_just_inside_the_limits(nodes):
    assert errors_of(nodes) == []


def test_scenarios_that_exclude_each_other_name_every_clash():
    assert errors_of(a3(scenarios=["long_context", "low_latency"])) == [
        "replica default: the scenarios 'long_context' and 'low_latency' conflict: they set "
        + what
        + ". Choose one of them."
        for what in ("tensor-parallel-size to 8 and 16", "max-model-len to 138000 and 32768")
    ]


def test_one_wrong_replica_leaves_the_others_planned():
    fleet = a2(replica="chat") + a3(replica="code", args={"tensor-parallel-size": 64, "data-parallel-size": 1})
    result = plan(fleet)
    assert [entry["host"] for entry in processes(result)] == ["a2-node1", "a2-node2"]
    assert result["errors"] == [
        "replica code: node a3-node1: needs 64 chips (tensor parallel 64 x pipeline 1 x prefill context 1 x 1 local "
        "data parallel rank(s)); it has 16" + LOWER
    ]
