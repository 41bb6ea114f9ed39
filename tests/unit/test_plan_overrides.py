"""What an operator lays over a recipe, and layouts other than the guide's."""

import copy
import json

import pytest
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.secrets import secrets_given
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan import text as shown
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.files import recipe_of, releases
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.model import processes
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.recipe import recipe_errors
from ansible_collections.ascend_ops.vllm.plugins.plugin_utils._plan import plan
from test_plan import a2, a3, node


def planned(nodes):
    result = plan(nodes)
    assert result["errors"] == []
    return processes(result)


def nothing(errors):
    """A plan that has errors alone."""
    return {"services": [], "errors": errors, "warnings": [], "index": {}}


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
    ({"user": "root:1000"}, "user", "root:1000"),
    ({"user": 0}, "user", "0"),
    ({"restart": "on-failure:3"}, "restart", "on-failure:3"),
    ({"name": "mine.2"}, "name", "mine.2"),
    ({"name": 5}, "name", "5"),
    ({"log_max_file": 2}, "log", {"driver": "json-file", "max-size": "100m", "max-file": "2"}),
]


@pytest.mark.parametrize("over, key, wanted", CONTAINER)
def test_container(over, key, wanted):
    assert planned(a3(container=over))[0]["container"][key] == wanted


MOUNT = (
    "node a3-node1: vllm_recipe_container.mounts contains {0}; wanted {{source: /path, target: /path, read_only: "
    "true|false}}."
)
BAD_CONTAINER = [
    (
        {"nam": "x"},
        "vllm_recipe_container contains 'nam'; known are name, shm_size, privileged, restart, user, "
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
    (
        {"user": "root b"},
        "vllm_recipe_container.user is 'root b'; wanted root, which alone can read the service's files, or root:group.",
    ),
    (
        {"user": 1000},
        "vllm_recipe_container.user is 1000; wanted root, which alone can read the service's files, or root:group.",
    ),
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
    assert plan(a3(container=over)) == nothing(["replica default: " + wanted])


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
        assert entry["container"]["devices"][:16] == [f"/dev/davinci{number}" for number in range(16)]
        assert entry["env"]["ASCEND_RT_VISIBLE_DEVICES"] == ",".join(map(str, range(16)))
        assert entry["ports"]["hccl"] == [60000, 60015]


def test_chips_that_are_left_over_are_a_warning():
    assert plan(a2(chips=16))["warnings"] == [
        f"replica default: node a2-node{number}: 8 of 16 chips are used." for number in (1, 2)
    ]


def test_explicit_devices_are_numbered_anew_inside_the_container():
    seen = planned(a2(devices=[8, 9, 10, 11, 12, 13, 14, "15"]))[0]
    assert seen["container"]["devices"][:8] == [f"/dev/davinci{number}" for number in range(8, 16)]
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


# -- secrets --------------------------------------------------------------------------------------------------------


def with_secrets(nodes, secrets):
    """The nodes as the role vllm_recipe hands them over: with what may be known of their secrets."""
    return [dict(entry, secrets=secrets_given(secrets)["names"]) for entry in nodes]


def test_of_secrets_a_plan_has_the_names():
    nodes = with_secrets(a2(), {"VLLM_API_KEY": "canary-1", "HF_TOKEN": "canary-2"})
    result = plan(nodes)
    assert [entry["secrets"] for entry in processes(result)] == [["HF_TOKEN", "VLLM_API_KEY"]] * 2
    text = shown.plan_text(result)
    assert text.count("\nsecrets: HF_TOKEN, VLLM_API_KEY (vllm_service_secrets)\n") == 2
    assert "canary" not in text + json.dumps([nodes, result, shown.plan_data(result)])
    assert planned(a2())[0]["secrets"] == [] and "secrets:" not in shown.plan_text(plan(a2()))


class EncryptedString:
    """As ansible-core hands over a value from a vault: no text by its class."""

    def __init__(self, text):
        self.text = text

    def __str__(self):
        return self.text


def test_a_value_from_a_vault_is_a_text():
    assert secrets_given({"HF_TOKEN": EncryptedString("x")}) == {"names": ["HF_TOKEN"], "errors": []}
    assert "line break" in secrets_given({"HF_TOKEN": EncryptedString("x\n")})["errors"][0]


@pytest.mark.parametrize(
    "secrets, says",
    [
        ({"A": None}, "vllm_service_secrets.A is of the type NoneType; wanted a text: put it in quotes."),
        ({"A": 12345678}, "vllm_service_secrets.A is of the type int; wanted a text: put it in quotes."),
        ({"A": ["canary"]}, "vllm_service_secrets.A is of the type list; wanted a text: put it in quotes."),
        ({"A": "canary\nB=1"}, "vllm_service_secrets.A is empty or holds a line break"),
        ({"A": ""}, "vllm_service_secrets.A is empty or holds a line break"),
        ({"canary.x": "1"}, "vllm_service_secrets holds a name that no environment variable can have"),
        ({7: "canary"}, "vllm_service_secrets holds a name that no environment variable can have"),
        ("canary", "vllm_service_secrets is no mapping; wanted names of environment variables and their values."),
        (["canary"], "vllm_service_secrets is no mapping"),
        (None, "vllm_service_secrets is no mapping"),
    ],
)
def test_bad_secrets_are_refused_without_their_values(secrets, says):
    given = secrets_given(secrets)
    assert given["names"] == [] and len(given["errors"]) == 1
    assert given["errors"][0].startswith(says), given["errors"]
    assert "canary" not in str(given) and "12345678" not in str(given)


IN_ENV = ", which is the name of a secret; wanted it in vllm_service_secrets, whose values appear in no plan, diff or output."
IN_ARGS = ", which every user of the node could read in the list of processes; wanted {0} in vllm_service_secrets."
PLAIN = [
    (dict(env={"VLLM_API_KEY": "canary"}), "vllm_recipe_env contains VLLM_API_KEY" + IN_ENV),
    (dict(env={"DB_PASSWORD": 7}), "vllm_recipe_env contains DB_PASSWORD" + IN_ENV),
    (dict(args={"api-key": "canary"}), "vllm_recipe_args contains 'api-key'" + IN_ARGS.format("VLLM_API_KEY")),
    (dict(args={"--api_key": ["canary"]}), "vllm_recipe_args contains '--api_key'" + IN_ARGS.format("VLLM_API_KEY")),
    (dict(args={"hf-token": "canary"}), "vllm_recipe_args contains 'hf-token'" + IN_ARGS.format("HF_TOKEN")),
]


@pytest.mark.parametrize("settings, says", PLAIN)
def test_secrets_in_plain_are_refused(settings, says):
    result = plan(a3(**settings))
    assert result == nothing(["replica default: node a3-node1: " + says])


@pytest.mark.parametrize(
    "settings",
    [
        dict(env={"TOKENIZERS_PARALLELISM": "false", "VLLM_MAX_TOKENS_PER_EXPERT_FP4_MOE": 1, "SSL_KEY_FILE": "/x"}),
        dict(env={"VLLM_API_KEY": None, "HF_TOKEN": ""}),
        dict(args={"api-key": None}),
        dict(args={"hf-token": True}),
        dict(args={"max-num-batched-tokens": 32768}),
    ],
)
def test_what_is_no_secret_is_taken(settings):
    assert planned(a3(**settings))


@pytest.mark.parametrize("kind, name", [("deployments", "a3"), ("scenarios", "low_latency")])
def test_secrets_in_a_recipe_are_refused(kind, name):
    recipe = copy.deepcopy(recipe_of("minimax_m2_5"))
    releases_known = [release["name"] for release in releases()["vllm_releases"]]
    assert recipe_errors(recipe, releases_known) == []
    recipe[kind][name].setdefault("env", {})["HF_TOKEN"] = "canary"
    recipe[kind][name].setdefault("args", {})["api_key"] = "canary"
    assert recipe_errors(recipe, releases_known) == [
        f"{kind}.{name}.env contains HF_TOKEN{IN_ENV}",
        "{0}.{1}.args contains 'api_key'{2}".format(kind, name, IN_ARGS.format("VLLM_API_KEY")),
    ]


# -- where and how the API is served --------------------------------------------------------------------------------

PEMS = {"certificate": "/etc/ssl/vllm.pem", "key": "/etc/ssl/private/vllm.key"}


def test_listen():
    single = planned(a3(listen="node"))[0]
    assert options(single["argv"])["--host"] == "10.0.0.21"
    assert (single["listen"], single["service"]["url"]) == ("10.0.0.21", "http://10.0.0.21:8000")
    single = planned(a3(listen="127.0.0.1"))[0]
    assert (single["listen"], single["service"]["url"]) == ("127.0.0.1", "http://127.0.0.1:8000")
    single = planned(a3(listen="::"))[0]
    assert (single["listen"], single["service"]["url"]) == ("::", "http://10.0.0.21:8000")
    primary, secondary = planned(a2(listen="0.0.0.0"))
    assert options(primary["argv"])["--host"] == "0.0.0.0" and "--host" not in secondary["argv"]
    assert (primary["listen"], secondary["listen"]) == ("0.0.0.0", "")
    assert secondary["service"] == primary["service"] and "--headless" in secondary["argv"]
    primary, _secondary = planned(a2(listen="node"))
    assert primary["listen"] == "10.0.0.11"
    assert planned(a3())[0]["listen"] == "0.0.0.0"  # the recipe's


@pytest.mark.parametrize(
    "pems, ca_file", [(PEMS, PEMS["certificate"]), (dict(PEMS, ca="/etc/ssl/ca.pem"), "/etc/ssl/ca.pem")]
)
def test_tls(pems, ca_file):
    primary, secondary = planned(a2(tls=pems))
    seen = options(primary["argv"])
    mounts = {mount["target"]: mount for mount in primary["container"]["mounts"]}
    for option, name in (("--ssl-certfile", "certificate"), ("--ssl-keyfile", "key")):
        assert mounts[seen[option]] == {
            "source": pems[name],
            "target": seen[option],
            "read_only": True,
            "optional": False,
        }
    assert primary["service"]["url"] == "https://10.0.0.11:20004" and primary["service"]["ca_file"] == ca_file
    assert primary["tls"] == pems and secondary["tls"] == {}
    assert "ssl" not in " ".join(secondary["argv"]) and "/etc/ssl" not in json.dumps(secondary["container"])
    assert planned(a2())[0]["service"]["ca_file"] == ""


@pytest.mark.parametrize("release", ["v0.18.0", "v0.20.2rc1", "v0.26.0rc1"])
def test_tls_in_each_release(release):
    assert planned(a3(tls=PEMS, release=release))


FORM = "; wanted {certificate: /path, key: /path} and optionally {ca: /path}, all on the node that serves the API."
WHERE = "; wanted 'node', an IP address of the node that serves the API, or an empty value for what the recipe says."
INSTEAD = (
    "; wanted vllm_recipe_tls instead: it also gives the files to the container, checks them, and lets the checks of the "
    "service connect over https."
)
AT_A3 = [
    (dict(tls={"certificate": "/a"}), 'node a3-node1: vllm_recipe_tls is {"certificate": "/a"}' + FORM),
    (
        dict(tls={"certificate": "/a", "key": "b"}),
        'node a3-node1: vllm_recipe_tls is {"certificate": "/a", "key": "b"}' + FORM,
    ),
    (
        dict(tls={"certificate": "/a", "key": "/b", "cert": "/c"}),
        'node a3-node1: vllm_recipe_tls is {"cert": "/c", "certificate": "/a", "key": "/b"}' + FORM,
    ),
    (dict(tls="/a"), 'node a3-node1: vllm_recipe_tls is "/a"' + FORM),
    (dict(listen="primary"), 'node a3-node1: vllm_recipe_listen is "primary"' + WHERE),
    (dict(listen="10.0.0"), 'node a3-node1: vllm_recipe_listen is "10.0.0"' + WHERE),
    (
        dict(listen="node", args={"host": "0.0.0.0"}),
        "vllm_recipe_args contains 'host', which vllm_recipe_listen sets. Remove one of them.",
    ),
    (dict(args={"ssl_certfile": "/a"}), "the arguments contain 'ssl-certfile'" + INSTEAD),
    (dict(args={"ssl-keyfile": "/a"}, tls=PEMS), "the arguments contain 'ssl-keyfile'" + INSTEAD),
]


@pytest.mark.parametrize("settings, says", AT_A3)
def test_wrong_ways_to_serve(settings, says):
    assert plan(a3(**settings))["errors"] == ["replica default: " + says]


@pytest.mark.parametrize("settings", [dict(tls=PEMS), dict(listen="node")])
def test_a_replica_is_served_in_one_way(settings):
    nodes = [a2(**settings)[0], a2()[1]]
    (error,) = plan(nodes)["errors"]
    assert "wanted the same on all nodes of a replica" in error
