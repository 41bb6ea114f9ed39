"""What an operator lays over a recipe, and layouts other than the guide's."""

import json

import pytest
from ansible_collections.ascend_ops.vllm.plugins.filter.plan import plan
from test_plan import a2, a3, node


def planned(nodes):
    result = plan(nodes)
    assert result["errors"] == []
    return result["nodes"]


def options(argv):
    """{option: its value, True when it has none, or a list of several}"""
    found = {}
    for word in argv[3:]:
        if word.startswith("--"):
            name = word
            found[name] = True
        else:
            found[name] = word if found[name] is True else [found[name], word]
    return found


# (vllm_recipe_args, option, its value or None where it is not there)
ARGS = [
    ({"max-num-seqs": 7}, "--max-num-seqs", "7"),
    ({"max_num_seqs": 7}, "--max-num-seqs", "7"),
    ({"max_num_seqs": 7}, "--max_num_seqs", None),
    ({"speculative-config": {"num_speculative_tokens": 1}}, "--speculative-config", None),
    ({"speculative-config": None}, "--speculative_config", None),
    ({"compilation-config": None}, "--compilation-config", None),
    ({"enable-expert-parallel": False}, "--no-enable-expert-parallel", True),
    ({"enable-expert-parallel": False}, "--enable-expert-parallel", None),
    ({"enable-prefix-caching": False}, "--no-enable-prefix-caching", True),
    ({"no-enable-prefix-caching": True}, "--no-enable-prefix-caching", True),
    ({"seed": 0}, "--seed", "0"),
    ({"enforce-eager": True}, "--enforce-eager", True),
    ({"served-model-name": ["a", "b"]}, "--served-model-name", ["a", "b"]),
]


@pytest.mark.parametrize("args, option, wanted", ARGS)
def test_args(args, option, wanted):
    assert options(planned(a3(args=args))[0]["argv"]).get(option) == wanted


def test_a_mapping_is_merged_and_the_recipes_spelling_and_place_stay():
    over = {"speculative-config": {"num_speculative_tokens": 1, "enforce_eager": None}, "additional_config": {"x": [1]}}
    before, after = (options(planned(a3(args=args))[0]["argv"]) for args in ({}, over))
    assert list(before) == list(after)
    assert json.loads(after["--speculative_config"]) == {
        "method": "eagle3",
        "model": "/mnt/sfs_turbo/.cache/Eagle3",
        "num_speculative_tokens": 1,
    }
    assert json.loads(after["--additional-config"]) == {"enable_cpu_binding": True, "x": [1]}


def test_environment_is_replaced_added_and_taken_away():
    seen = planned(a3(env={"HCCL_BUFFSIZE": 2048, "OMP_NUM_THREADS": None, "NEW": "it's", "FLAG": True}))[0]["env"]
    assert (seen["HCCL_BUFFSIZE"], seen["NEW"], seen["FLAG"]) == ("2048", "it's", "True")
    assert "OMP_NUM_THREADS" not in seen


def test_an_old_name_given_by_the_operator_is_rendered_as_the_release_reads_it():
    seen = planned(a3(env={"VLLM_ASCEND_ENABLE_NZ": "2"}, release="v0.26.0rc1"))[0]
    assert "VLLM_ASCEND_ENABLE_NZ" not in seen["env"]
    assert json.loads(options(seen["argv"])["--additional-config"])["weight_nz_mode"] == 2


def test_without_speculation_the_draft_model_need_not_be_there():
    with_draft, without = (planned(a3(args=args))[0]["weights"] for args in ({}, {"speculative_config": None}))
    assert [item["draft"] for item in with_draft] == [False, True]
    assert [item["path"] for item in without] == ["/mnt/sfs_turbo/.cache/MiniMax-M2.5-w8a8-QuaRot"]


def test_checkpoint_and_weights_dir():
    seen = planned(a3(checkpoint="fp8", weights_dir="/data/models/"))[0]
    assert seen["argv"][2] == "/data/models/MiniMax-M2.5"
    assert "--quantization" not in options(seen["argv"])
    assert {"source": "/data/models", "target": "/data/models", "read_only": True, "optional": False} in (
        seen["container"]["mounts"]
    )


def test_the_first_of_several_served_names_is_asked():
    assert planned(a3(args={"served-model-name": ["a", "b"]}))[0]["service"]["model"] == "a"


# (what is laid over the container, key, value)
CONTAINER = [
    ({"privileged": True}, "privileged", True),
    ({"privileged": "false"}, "privileged", False),
    ({"privileged": "True"}, "privileged", True),
    ({"privileged": None}, "privileged", False),
    ({"shm_size": "16g"}, "shm_size", "16g"),
    ({"user": 1000}, "user", "1000"),
    ({"restart": "on-failure:3"}, "restart", "on-failure:3"),
    ({"name": "mine.2"}, "name", "mine.2"),
    ({"name": 5}, "name", "5"),
    ({"log_max_file": 2}, "log", {"driver": "json-file", "max-size": "100m", "max-file": "2"}),
]


@pytest.mark.parametrize("over, key, wanted", CONTAINER)
def test_container(over, key, wanted):
    assert planned(a3(container=over))[0]["container"][key] == wanted


MOUNT = (
    "node a3-node1: vllm_recipe_container.mounts holds {0}; wanted {{source: /path, target: /path, read_only: "
    "true|false}}."
)
BAD_CONTAINER = [
    (
        {"nam": "x"},
        "vllm_recipe_container holds 'nam'; known are name, shm_size, privileged, restart, user, "
        "log_max_size, log_max_file, init, mounts. Did you mean 'name'?",
    ),
    ({"name": "a b"}, "vllm_recipe_container.name is 'a b'; wanted letters, digits, '_', '.' and '-'."),
    ({"name": "ab\n"}, "vllm_recipe_container.name is 'ab\n'; wanted letters, digits, '_', '.' and '-'."),
    ({"name": None}, "vllm_recipe_container.name is null; wanted letters, digits, '_', '.' and '-'."),
    ({"shm_size": "lots"}, "vllm_recipe_container.shm_size is 'lots'; wanted a size such as 16g."),
    (
        {"restart": False},
        "vllm_recipe_container.restart is false; wanted 'no', always, unless-stopped or on-failure:N.",
    ),
    ({"privileged": "maybe"}, 'vllm_recipe_container.privileged is "maybe"; wanted true or false.'),
    ({"user": "a b"}, "vllm_recipe_container.user is 'a b'; wanted a user or user:group."),
    ({"log_max_file": 0}, "vllm_recipe_container.log_max_file is 0; wanted a whole number from 1."),
    ({"mounts": "/x"}, 'vllm_recipe_container.mounts is "/x"; wanted a list of mounts.'),
    ({"mounts": ["/x"]}, MOUNT.format('"/x"')),
    ({"mounts": [{"source": "x"}]}, MOUNT.format('{"source": "x"}')),
    ({"mounts": [{"source": "/x", "target": "y"}]}, MOUNT.format('{"source": "/x", "target": "y"}')),
    ({"mounts": [{"source": "/a,b"}]}, MOUNT.format('{"source": "/a,b"}')),
    ({"mounts": [{"source": "/x", "readonly": True}]}, MOUNT.format('{"readonly": true, "source": "/x"}')),
    (
        {"mounts": [{"source": "/x", "target": "/etc/hccn.conf"}]},
        "node a3-node1: two mounts have the target /etc/hccn.conf; wanted one. Correct vllm_recipe_container.mounts.",
    ),
]


@pytest.mark.parametrize("over, wanted", BAD_CONTAINER)
def test_bad_container(over, wanted):
    assert plan(a3(container=over)) == {"nodes": [], "errors": ["replica default: " + wanted], "warnings": []}


def test_mounts_are_added_and_may_be_written():
    given = [{"source": "/in"}, {"source": "/out", "target": "/o", "read_only": "no", "create": True}]
    mounts = planned(a3(container={"mounts": given}))[0]["container"]["mounts"]
    assert mounts[-3:-1] == [
        {"source": "/in", "target": "/in", "read_only": True, "optional": False},
        {"source": "/out", "target": "/o", "read_only": False, "optional": False, "create": True},
    ]
    assert [mount["target"] for mount in mounts if mount["target"] == "/etc/hccn.conf"] == ["/etc/hccn.conf"]


@pytest.mark.parametrize(
    "settings, image",
    [
        ({}, "quay.io/ascend/vllm-ascend:v0.20.2rc1-a3"),
        ({"image_os": "openeuler", "release": "v0.26.0rc1"}, "quay.io/ascend/vllm-ascend:v0.26.0rc1-a3-openeuler"),
        ({"image_prefix": "m.daocloud.io/"}, "m.daocloud.io/quay.io/ascend/vllm-ascend:v0.20.2rc1-a3"),
    ],
)
def test_image(settings, image):
    assert planned(a3(**settings))[0]["container"]["image"] == image


def test_a2_nodes_of_16_chips():
    seen = planned(a2(chips=16, args={"data-parallel-size": 4, "data-parallel-size-local": 2}))
    assert [entry["ranks"] for entry in seen] == [[0, 1, 4], [2, 3, 4]]
    assert options(seen[1]["argv"])["--data-parallel-start-rank"] == "2"
    for entry in seen:
        assert entry["container"]["devices"][:16] == ["/dev/davinci{0}".format(number) for number in range(16)]
        assert entry["env"]["ASCEND_RT_VISIBLE_DEVICES"] == ",".join(map(str, range(16)))
        assert entry["ports"]["hccl"] == [60000, 60015]


def test_chips_that_are_left_over_are_a_warning():
    assert plan(a2(chips=16))["warnings"] == [
        "replica default: node a2-node{0}: 8 of 16 chips are used.".format(number) for number in (1, 2)
    ]


def test_explicit_devices_are_numbered_anew_inside_the_container():
    seen = planned(a2(devices=[8, 9, 10, 11, 12, 13, 14, "15"]))[0]
    assert seen["container"]["devices"][:8] == ["/dev/davinci{0}".format(number) for number in range(8, 16)]
    assert seen["env"]["ASCEND_RT_VISIBLE_DEVICES"] == "0,1,2,3,4,5,6,7"


def test_three_a2_nodes_have_three_ranks():
    seen = planned(
        a2(args={"data-parallel-size": 3})
        + [node("a2-node3", "a2_secondary", "10.0.0.13", args={"data-parallel-size": 3})]
    )
    assert [(entry["host"], entry["ranks"]) for entry in seen] == [
        ("a2-node1", [0, 0, 3]),
        ("a2-node2", [1, 1, 3]),
        ("a2-node3", [2, 2, 3]),
    ]
    assert [options(entry["argv"]).get("--data-parallel-start-rank") for entry in seen] == [None, "1", "2"]
    assert ["--headless" in entry["argv"] for entry in seen] == [False, True, True]
    assert {options(entry["argv"])["--data-parallel-address"] for entry in seen} == {"10.0.0.11"}


def test_the_primary_comes_first_wherever_the_inventory_has_it():
    assert [entry["role"] for entry in planned(list(reversed(a2())))] == ["primary", "secondary"]


def test_a_fleet_of_three_replicas():
    fleet = (
        a2(replica="chat")
        + [
            node("a2-node3", "a2_primary", "10.0.0.13", replica="code"),
            node("a2-node4", "a2_secondary", "10.0.0.14", replica="code"),
        ]
        + a3(replica="long", scenarios=["long_context"])
    )
    seen = planned(fleet)
    assert [(entry["host"], entry["replica"], entry["role"]) for entry in seen] == [
        ("a2-node1", "chat", "primary"),
        ("a2-node2", "chat", "secondary"),
        ("a2-node3", "code", "primary"),
        ("a2-node4", "code", "secondary"),
        ("a3-node1", "long", "single"),
    ]
    assert seen[3]["service"]["url"] == "http://10.0.0.13:20004"


def test_an_ipv6_address():
    seen = planned([node("a3-node1", "a3", "fd00::21")])[0]
    assert seen["service"]["url"] == "http://[fd00::21]:8000"
