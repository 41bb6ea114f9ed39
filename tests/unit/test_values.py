"""Values that a release does not take are refused before a node is touched, with the input and the way out."""

import json
import re
import subprocess

import pytest
import yaml
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan import files, render
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.environment import known_forms
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.errors import typo_of
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.model import processes
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.option_values import option_forms
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.plan import plan as planner
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.recipe import recipe_errors
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.values import form
from ansible_collections.ascend_ops.vllm.plugins.plugin_utils._plan import plan
from test_plan import a2, a3
from test_render import launch

RELEASES = files.releases()
NAMES = [release["name"] for release in RELEASES["vllm_releases"]]

# (vllm_recipe_args, what the error says of it, after "release v0.20.2rc1 takes" where it is a value)
ARGS = [
    ({"gpu-memory-utilization": 1.2}, "--gpu-memory-utilization is 1.2;", "a number above 0 to 1."),
    ({"gpu_memory_utilization": 0}, "--gpu-memory-utilization is 0;", "a number above 0 to 1."),
    ({"gpu-memory-utilization": "90%"}, '--gpu-memory-utilization is "90%";', "a number above 0 to 1."),
    (
        {"max-model-len": "8kk"},
        '--max-model-len is "8kk";',
        "a whole number, or one such as 8k or 8K, from -1 or auto.",
    ),
    (
        {"max-model-len": "1.5K"},
        '--max-model-len is "1.5K";',
        "a whole number, or one such as 8k or 8K, from -1 or auto.",
    ),
    ({"max-model-len": -5}, "--max-model-len is -5;", "a whole number, or one such as 8k or 8K, from -1 or auto."),
    ({"max-num-seqs": 0}, "--max-num-seqs is 0;", "a whole number from 1."),
    ({"max-num-seqs": "many"}, '--max-num-seqs is "many";', "a whole number from 1."),
    ({"max-num-seqs": [1, 2]}, "--max-num-seqs is [1, 2];", "a whole number from 1."),
    (
        {"max-num-batched-tokens": 0},
        "--max-num-batched-tokens is 0;",
        "a whole number, or one such as 8k or 8K, from 1.",
    ),
    ({"decode-context-parallel-size": -1}, "--decode-context-parallel-size is -1;", "a whole number from 1."),
    ({"seed": 1.5}, "--seed is 1.5;", "a whole number."),
    ({"tool-call-parser": "minmax_m2"}, '--tool-call-parser is "minmax_m2";', "Did you mean 'minimax_m2'?"),
    (
        {"reasoning-parser": "minimax_m2_apend_think"},
        "--reasoning-parser is",
        "Did you mean 'minimax_m2_append_think'?",
    ),
    ({"kv-cache-dtype": "fp88"}, '--kv-cache-dtype is "fp88";', "Did you mean 'fp8'?"),
    ({"dtype": "bf16"}, '--dtype is "bf16";', "Did you mean 'bfloat16'?"),
    ({"quantization": "awq"}, '--quantization is "awq";', "one of ascend, compressed-tensors."),
    ({"quantization": "ascnd"}, '--quantization is "ascnd";', "Did you mean 'ascend'?"),
    ({"block-size": 16}, "--block-size is 16;", "a whole number above 0 that is a multiple of 128."),
    ({"load-format": "dumy"}, '--load-format is "dumy";', "Did you mean 'dummy'?"),
    ({"distributed-executor-backend": "rayy"}, "--distributed-executor-backend is", "Did you mean 'ray'?"),
    ({"scheduling-policy": "fifo"}, '--scheduling-policy is "fifo";', "one of fcfs, priority."),
    ({"allowed-origins": ["*"]}, '--allowed-origins is ["*"];', "JSON in one text, such as '[\"a\"]'."),
    ({"compilation-config": 3}, "--compilation-config is 3;", "a mapping, or one text with a mapping as JSON."),
    (
        {"speculative_config": "{oops"},
        '--speculative-config is "{oops";',
        "a mapping, or one text with a mapping as JSON.",
    ),
    ({"hf-overrides": "{rope"}, '--hf-overrides is "{rope";', "a mapping, one text with a mapping as JSON, or a text."),
    ({"kv-transfer-config": [1]}, "--kv-transfer-config is [1];", "a mapping, or one text with a mapping as JSON."),
    ({"additional-config": "on"}, '--additional-config is "on";', "a mapping, or one text with a mapping as JSON."),
    (
        {"speculative_config": {"num_speculativ_tokens": 3}},
        "--speculative_config contains 'num_speculativ_tokens'",
        "Did you mean 'num_speculative_tokens'?",
    ),
    (
        {"speculative_config": {"num_speculative_tokens": -1}},
        "--speculative_config.num_speculative_tokens is -1;",
        "a whole number above 0.",
    ),
    ({"speculative_config": {"method": "eagle33"}}, "--speculative_config.method is", "Did you mean 'eagle3'?"),
    (
        {"compilation-config": '{"cudagraph_mod": "FULL"}'},
        "--compilation-config contains 'cudagraph_mod'",
        "Did you mean 'cudagraph_mode'?",
    ),
    (
        {"compilation-config": {"cudagraph_mode": "FULL_DECODE"}},
        "--compilation-config.cudagraph_mode is",
        "Did you mean 'FULL_DECODE_ONLY'?",
    ),
    ({"kv-transfer-config": {"kv_role": "producer"}}, "--kv-transfer-config.kv_role is", "Did you mean 'kv_producer'?"),
    (
        {"additional-config": {"enable_cpu_bindng": True}},
        "--additional-config contains 'enable_cpu_bindng'",
        "Did you mean 'enable_cpu_binding'?",
    ),
    (
        {"additional-config": {"enable_cpu_binding": "false"}},
        "--additional-config.enable_cpu_binding is",
        "true or false, without quotes.",
    ),
    (
        {"additional-config": {"weight_prefetch_config": {"enable": True}}},
        "--additional-config.weight_prefetch_config contains 'enable'",
        "Did you mean 'enabled'?",
    ),
    (
        {"data-parallel-address": "127.0.0.1"},
        "vllm_recipe_args contains 'data-parallel-address'",
        "vllm_recipe_address of the primary.",
    ),
    (
        {"data_parallel_rank": 1},
        "vllm_recipe_args contains 'data_parallel_rank'",
        "the order of the nodes in the inventory gives the ranks.",
    ),
    ({"nnodes": 2}, "vllm_recipe_args contains 'nnodes'", "the groups of the inventory say which nodes a replica has."),
    (
        {"model": "/models/x"},
        "vllm_recipe_args contains 'model'",
        "vllm_recipe_checkpoint and vllm_recipe_weights_dir choose it.",
    ),
]
# (vllm_recipe_env, the beginning of the error, more of it)
ENV = [
    ({"HCCL_INTTRA_ROCE_ENABLE": "1"}, "HCCL_INTTRA_ROCE_ENABLE is no", "Did you mean 'HCCL_INTRA_ROCE_ENABLE'?"),
    ({"HCLL_BUFFSIZE": "2048"}, "HCLL_BUFFSIZE is no", "Did you mean 'HCCL_BUFFSIZE'?"),
    ({"HCCL_BUFSIZE": "2048"}, "HCCL_BUFSIZE is no", "Did you mean 'HCCL_BUFFSIZE'?"),
    ({"hccl_buffsize": "2048"}, "hccl_buffsize is no", "Did you mean 'HCCL_BUFFSIZE'?"),
    ({"VLLM_ENGINE_READY_TIMEOUT": "9"}, "VLLM_ENGINE_READY_TIMEOUT is no", "Did you mean 'VLLM_ENGINE_READY_TIMEOUT_S'?"),
    ({"VLLM_APIKEY": "canary"}, "node a3-node1: vllm_recipe_env contains VLLM_APIKEY", "Did you mean 'VLLM_API_KEY'?"),
    ({"HCCL_BUFFSIZE": "1g"}, "HCCL_BUFFSIZE is '1g';", "a whole number from 1."),
    ({"HCCL_BUFFSIZE": 200}, "HCCL_BUFFSIZE is '200'; the recipe needs 1024.", "Remove it from vllm_recipe_env"),
    ({"HCCL_OP_EXPANSION_MODE": "AICPU"}, "HCCL_OP_EXPANSION_MODE is 'AICPU';", "Did you mean 'AI_CPU'?"),
    ({"HCCL_CONNECT_TIMEOUT": 60}, "HCCL_CONNECT_TIMEOUT is '60';", "a whole number from 120 to 7200."),
    ({"HCCL_RDMA_TC": 133}, "HCCL_RDMA_TC is '133';", "a whole number from 0 to 255 that is a multiple of 4."),
    ({"HCCL_HOST_SOCKET_PORT_RANGE": "60100-60000"}, "HCCL_HOST_SOCKET_PORT_RANGE is", "ranges of ports such as"),
    ({"VLLM_PORT": 99999}, "VLLM_PORT is '99999';", "a port from 1 to 65535."),
    ({"VLLM_USE_MODELSCOPE": "1"}, "VLLM_USE_MODELSCOPE is '1';", "one of false, true."),
    ({"VLLM_NO_USAGE_STATS": True}, "VLLM_NO_USAGE_STATS is 'True';", "one of 0, 1."),
    ({"VLLM_ENGINE_READY_TIMEOUT_S": "1h"}, "VLLM_ENGINE_READY_TIMEOUT_S is '1h';", "a whole number from 1."),
    ({"TASK_QUEUE_ENABLE": 3}, "TASK_QUEUE_ENABLE is '3';", "one of 0, 1, 2."),
    ({"PYTORCH_NPU_ALLOC_CONF": "expandable_segment:True"}, "PYTORCH_NPU_ALLOC_CONF is", "keys are max_split_size_mb,"),
    ({"OMP_NUM_THREADS": 0}, "OMP_NUM_THREADS is '0';", "a whole number from 1."),
    ({"LD_LIBRARY_PATH": "/x:$LD_LIBRARY_PATH"}, "LD_LIBRARY_PATH is '/x:$LD_LIBRARY_PATH';", "vllm_recipe_env_prepend"),
    ({"LD_LIBRARY_PATH": "/x"}, "LD_LIBRARY_PATH is '/x',", "vllm_recipe_env_prepend"),
    ({"OWN": "${HOME}/x"}, "OWN is '${HOME}/x';", "add OWN to vllm_recipe_env_known."),
    ({"OWN": "$(hostname)"}, "OWN is '$(hostname)';", "no shell replaces what stands after '$'."),
    ({"RANK_TABLE_FILE": "/x"}, "node a3-node1: RANK_TABLE_FILE is '/x';", "vllm_recipe_address of the primary."),
    ({"VLLM_HOST_IP": "10.9.9.9"}, "node a3-node1: VLLM_HOST_IP is '10.9.9.9';", "vllm_recipe_address says which"),
    ({"HCCL_SOCKET_IFNAME": "eth9"}, "node a3-node1: HCCL_SOCKET_IFNAME is 'eth9';", "vllm_recipe_address says by which"),
    ({"ASCEND_RT_VISIBLE_DEVICES": "0,1,2,3"}, "node a3-node1: ASCEND_RT_VISIBLE_DEVICES is '0,1,2,3';", "vllm_recipe_devices says"),
    ({"VLLM_DP_RANK": 0}, "node a3-node1: VLLM_DP_RANK is '0';", "the order of the nodes"),
]  # fmt: skip


@pytest.mark.parametrize(
    "settings, begin, more",
    [(dict(args=args), *said) for args, *said in ARGS] + [(dict(env=env), *said) for env, *said in ENV],
    ids=lambda value: json.dumps(value)[:60] if isinstance(value, dict) else "",
)
def test_a_mistaken_override_is_refused(settings, begin, more):
    result = plan(a3(**settings))
    assert processes(result) == []
    (error,) = result["errors"]
    assert error.startswith("replica default: " + begin) and more in error, error
    assert "vllm_recipe_" in error and "canary" not in error


def test_a_chip_too_few_for_the_ranks_names_the_input():
    given = dict(
        env={"ASCEND_RT_VISIBLE_DEVICES": "0,1,2,3"}, args={"tensor-parallel-size": 8, "data-parallel-size": 2}
    )
    assert "vllm_recipe_devices says which /dev/davinciN a node uses." in plan(a3(**given))["errors"][0]


def test_one_address_for_two_nodes_is_refused_on_each_and_with_all_else():
    result = plan(
        a2(
            env={"HCCL_IF_IP": "10.0.0.11", "GLOO_SOCKET_IFNAME": "eth9", "HCCL_BUFFSIZE": "x"},
            args={"data-parallel-address": "127.0.0.1", "max-num-seqs": 0},
        )
    )
    said = [re.sub(r";.*| contains ('[\w-]+').*", r" \1", text) for text in result["errors"]]
    assert said == [
        "replica default: vllm_recipe_args 'data-parallel-address'",
        "replica default: HCCL_BUFFSIZE is 'x' ",
        "replica default: node a2-node1: GLOO_SOCKET_IFNAME is 'eth9' ",
        "replica default: node a2-node2: HCCL_IF_IP is '10.0.0.11' ",
        "replica default: node a2-node2: GLOO_SOCKET_IFNAME is 'eth9' ",
        "replica default: --max-num-seqs is 0 ",
    ]


TAKEN = [
    dict(args={"max-model-len": "8k"}),
    dict(args={"max-model-len": "auto", "max-num-batched-tokens": "16K", "max-num-seqs": "64"}),
    dict(args={"gpu-memory-utilization": "0.9", "block-size": 128, "kv-cache-dtype": "fp8"}),
    dict(
        args={
            "tool-call-parser": "own",
            "tool-parser-plugin": "/mnt/sfs_turbo/.cache/own.py",
            "enable-auto-tool-choice": True,
        }
    ),
    dict(args={"reasoning-parser": "own", "reasoning_parser_plugin": "/mnt/sfs_turbo/.cache/own.py"}),
    dict(args={"compilation-config": '{"cudagraph_mode": "full_decode_only"}'}),
    dict(args={"kv-transfer-config": '{"kv_connector": "X", "kv_buffer_size": 80m}'}),
    dict(args={"chat-template": "{{ messages }}", "hf-overrides": {"a": 1}, "load-format": "own_loader"}),
    dict(args={"speculative_config": {"model": "{WeightsDir}/other"}, "quantization": "ascend"}),
    dict(args={"additional-config": '{"enable_cpu_binding": false}', "api-server-count": 4}),
    dict(env={"HCCL_BUFFSIZE": 2048, "HCCL_IF_BASE_PORT": 50000, "HCCL_NPU_SOCKET_PORT_RANGE": "16666,17000-17100"}),
    dict(env={"HCCL_IF_IP": "10.0.0.21", "GLOO_SOCKET_IFNAME": "{NIC}", "VLLM_HOST_IP": "{NodeIP}"}),
    dict(env={"ASCEND_RT_VISIBLE_DEVICES": ", ".join(map(str, range(16)))}),
    dict(env={"PYTORCH_NPU_ALLOC_CONF": "expandable_segments:True,roundup_power2_divisions:[256:1,512:2]"}),
    dict(env={"VLLM_LOGGING_LEVEL": "debug", "VLLM_USE_MODELSCOPE": "true", "OWN": "costs 5$", "HCCL_IF_IP": None}),
    dict(env={"HCCL_INTTRA_ROCE_ENABLE": "1", "OWN": "$x"}, env_known=["HCCL_INTTRA_ROCE_ENABLE", "OWN"]),
]


@pytest.mark.parametrize("settings", TAKEN)
def test_what_is_meant_is_taken(settings):
    assert plan(a3(**settings))["errors"] == []


TOLD = [
    (dict(env={"VLLM_USE_V1": 1}), "VLLM_USE_V1 is no environment variable that release v0.20.2rc1 knows."),
    (dict(env={"HCCL_SOMETHING_NEW": 1}), "HCCL_SOMETHING_NEW is no environment variable"),
    (dict(env={"VLLM_ASCEND_ENABLE_FLASHCOMM": 1}), "it belongs to v0.18.0rc1 to v0.19.1rc1. Did you mean"),
    (
        dict(args={"additional-config": {"own": 1}}),
        "--additional-config contains 'own'; release v0.20.2rc1 has no such key",
    ),
]


@pytest.mark.parametrize("settings, told", TOLD)
def test_what_may_be_meant_is_told(settings, told):
    result = plan(a3(**settings))
    assert result["errors"] == [] and [text for text in result["warnings"] if told in text]


def test_a_name_outside_the_known_families_is_nobodys_business():
    before = plan(a3())["warnings"]
    assert plan(a3(env={"MY_TOOL": 1, "X": "", "PROXY_LIST": "a"}))["warnings"] == before


@pytest.mark.parametrize(
    "word, known, likely",
    [
        ("VLLM_APIKEY", ["VLLM_API_KEY"], "VLLM_API_KEY"),
        ("VLLM_ASCEND_ENABLE_FLASHCOMM2", ["VLLM_ASCEND_ENABLE_FLASHCOMM1"], None),
        ("VLLM_ASCEND_ENABLE_FLASHCOM1", ["VLLM_ASCEND_ENABLE_FLASHCOMM1"], "VLLM_ASCEND_ENABLE_FLASHCOMM1"),
        ("HCCL_RDMA_SL", ["HCCL_RDMA_TC"], None),
        ("enable-cpu-binding", ["enable_cpu_binding"], "enable_cpu_binding"),
        ("x", ["y"], None),
        ("", ["y"], None),
    ],
)
def test_what_counts_as_a_misspelling(word, known, likely):
    assert typo_of(word, known) == likely


# -- releases ------------------------------------------------------------------------------------------------------


def test_the_values_of_every_release_were_read():
    assert NAMES == RELEASES["ascend_values_read"]
    assert {release["vllm"] for release in RELEASES["vllm_releases"]} == set(RELEASES["vllm_values_read"])


@pytest.mark.parametrize("release", NAMES)
def test_each_release_has_its_own_values(release):
    forms = option_forms(release, RELEASES)
    names = known_forms(release, RELEASES)
    assert (
        "minimax_m2" in form(forms["tool-call-parser"][0]).choices
        and "ascend" in form(forms["quantization"][0]).choices
    )
    assert {"VLLM_ENGINE_READY_TIMEOUT_S", "HCCL_BUFFSIZE", "VLLM_ASCEND_ENABLE_FLASHCOMM1"} <= set(names)
    for texts in [*forms.values(), *names.values()]:
        assert all(form(text).wanted for text in texts)


def test_a_parser_belongs_to_releases():
    old, new = (
        plan(a3(args={"tool-call-parser": "deepseek_v4"}, release=name))["errors"] for name in ("v0.18.0", "v0.20.2rc1")
    )
    assert new == [] and "release v0.18.0 takes one of" in old[0]
    own = plan(a3(args={"tool-call-parser": "kimi_k3"}, release="v0.26.0rc1"))["errors"]
    assert own == [], "registered by vllm-ascend itself"


def test_quantization_belongs_to_releases():
    assert plan(a3(args={"quantization": "fp8"}, release="v0.23.0"))["errors"] == []
    assert "--quantization is" in plan(a3(args={"quantization": "fp8"}, release="v0.19.1rc1"))["errors"][0]


def test_every_recipe_passes_in_every_release_that_it_is_for():
    for path in files.RECIPES.glob("*.yml"):
        recipe = yaml.safe_load(path.read_text())
        first, last = (NAMES.index(recipe["releases"][key]) for key in ("first", "last"))
        for release in NAMES[first : last + 1]:
            for scenario in [None, *recipe["scenarios"]]:
                for nodes, hardware in ((a3, "a3"), (a2, "a2")):
                    if scenario and hardware not in recipe["scenarios"][scenario]["hardware"]:
                        continue
                    chosen = [scenario] if scenario else []
                    result = plan(nodes(name=str(path), release=release, scenarios=chosen))
                    said = [text for text in result["errors"] if "prefill-context-parallel-size" not in text]
                    assert said == [], (release, scenario)
                    assert not [text for text in result["warnings"] if " knows" in text or "such key" in text]


DOCUMENTED = [
    dict(args={"max-num-seqs": 64}),
    dict(args={"additional-config": {"enable_balance_scheduling": True}}),
    dict(env={"HCCL_BUFFSIZE": "1024"}),
    dict(env={"VLLM_USE_MODELSCOPE": None, "HF_HUB_OFFLINE": "1"}),
    dict(args={"quantization": None, "speculative_config": None}),
    dict(args={"data-parallel-size": 1, "max-model-len": 99999999, "enforce-eager": True}),
]


@pytest.mark.parametrize("settings", DOCUMENTED)
def test_what_the_pages_tell_to_set_is_taken(settings):
    assert plan(a3(**settings))["errors"] == []


# -- secrets -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, own, said",
    [
        ("VLLM_APIKEY", [], "vllm_service_secrets contains VLLM_APIKEY, which release v0.20.2rc1 does not know. Did you mean 'VLLM_API_KEY'?"),
        ("VLLM_APIKEY", ["VLLM_APIKEY"], None),
        ("RANK_TABLE_FILE", [], "vllm_service_secrets contains RANK_TABLE_FILE, which the plan decides. Remove it: "),
        ("HF_TOKEN", [], None),
        ("VLLM_API_KEY", [], None),
        ("OWN_PASSWORD", [], None),
    ],
)  # fmt: skip
def test_names_of_secrets(name, own, said):
    (node,) = a3(env_known=own)
    errors = plan([dict(node, secrets=[name])])["errors"]
    assert (errors == []) if said is None else errors[0].startswith("replica default: " + said)


# -- what is added to a variable -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings, before, wanted",
    [
        (dict(env_prepend={"OWN_PATH": "/a"}), None, "/a"),
        (dict(env_prepend={"OWN_PATH": "/a"}), "/image", "/a:/image"),
        (dict(env_append={"OWN_PATH": "/b"}), None, "/b"),
        (dict(env_append={"OWN_PATH": "/b"}), "/image", "/image:/b"),
        (dict(env_prepend={"OWN_PATH": ["/a", "/it's"]}, env_append={"OWN_PATH": "/b c"}), "/i", "/a:/it's:/i:/b c"),
        (dict(env_prepend={"OWN_PATH": "/a"}, env_append={"OWN_PATH": "/b"}), None, "/a:/b"),
        (dict(env_prepend={"OWN_PATH": "/a"}, env_append={"OWN_PATH": "/b"}), "", "/a:/b"),
        (dict(env_prepend={"OWN_PATH": "/a`date`*"}), "/$HOME", "/a`date`*:/$HOME"),
    ],
)
def test_what_is_added_stands_around_what_the_image_sets(settings, before, wanted, tmp_path):
    (process,) = processes(plan(a3(**settings)))
    seen, _said = launch(process, tmp_path, **({} if before is None else {"OWN_PATH": before}))
    assert seen["env"]["OWN_PATH"] == wanted


def test_a_path_of_cann_is_kept(tmp_path):
    (process,) = processes(plan(a3(env_prepend={"LD_LIBRARY_PATH": "/mine"})))
    assert process["env"]["LD_LIBRARY_PATH"] == "/mine:{IMAGE}"
    seen, _said = launch(process, tmp_path, LD_LIBRARY_PATH="/usr/local/Ascend/lib64")
    assert seen["env"]["LD_LIBRARY_PATH"] == "/mine:/usr/local/Ascend/lib64"
    text = render.environment_file(process, "eth0")
    checked = subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr


@pytest.mark.parametrize("libraries, wanted", [([0], "/mine.so:{0}/0/libjemalloc.so.2"), ([], "/mine.so")])
def test_a_library_before_jemalloc(libraries, wanted, tmp_path):
    (process,) = processes(plan(a3(env_prepend={"LD_PRELOAD": "/mine.so"})))
    seen, _said = launch(process, tmp_path, libraries)
    assert seen["env"].get("LD_PRELOAD") == wanted.format(tmp_path)


def own_recipe(**added):
    recipe = yaml.safe_load((files.RECIPES / "minimax_m2_5.yml").read_text())
    recipe["deployments"]["a3"].update(added)
    recipe["scenarios"]["low_latency"]["env_prepend"] = {"OWN_PATH": "/scenario"}
    return recipe


def test_a_recipe_adds_too_and_the_operator_stands_outside():
    recipe = own_recipe(env_prepend={"OWN_PATH": "/recipe"}, env_append={"OWN_PATH": "/last"})
    assert recipe_errors(recipe, NAMES) == []
    (node,) = a3(scenarios=["low_latency"], env_prepend={"OWN_PATH": "/operator"}, env_append={"OWN_PATH": "/end"})
    made = planner([dict(node, settings=dict(node["settings"], recipe=recipe))], RELEASES)
    assert processes(made)[0]["env"]["OWN_PATH"] == "/operator:/scenario:/recipe:{IMAGE}:/last:/end"


ADDED = [
    (
        dict(env_prepend={"A": 3}),
        "vllm_recipe_env_prepend.A is 3; wanted one text, or a list of texts, such as /opt/lib.",
    ),
    (
        dict(env_append={"A": []}),
        "vllm_recipe_env_append.A is []; wanted one text, or a list of texts, such as /opt/lib.",
    ),
    (dict(env_prepend={"9A": "/x"}), "vllm_recipe_env_prepend contains '9A', which cannot be the name"),
    (
        dict(env_prepend={"A": "/x:$A"}),
        "vllm_recipe_env_prepend.A is \"/x:$A\"; no shell replaces what stands after '$'.",
    ),
    (dict(env={"A": "1"}, env_append={"A": "/x"}), "A is both in vllm_recipe_env and in vllm_recipe_env_append;"),
    (
        dict(env_prepend={"HF_TOKEN": "canary"}),
        "vllm_recipe_env_prepend contains HF_TOKEN, which is the name of a secret;",
    ),
    (dict(env_prepend={"HCCL_IF_IP": "10.0.0.1"}), "HCCL_IF_IP is '10.0.0.1:{IMAGE}';"),
    (dict(env_known={"A": 1}), 'vllm_recipe_env_known is {"A": 1}; wanted a list of strings.'),
]


@pytest.mark.parametrize("settings, said", ADDED)
def test_what_cannot_be_added_is_refused(settings, said):
    (error,) = plan(a3(**settings))["errors"]
    assert error.startswith("replica default: node a3-node1: " + said) and "canary" not in error


def test_what_a_recipe_cannot_add_is_refused_by_its_place():
    (error,) = recipe_errors(own_recipe(env_prepend={"A": "$B"}), NAMES)
    assert error.startswith('deployments.a3.env_prepend.A is "$B"; no shell')


# -- forms ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text, fits, fails",
    [
        ("int >=1", [1, "7", " 7 "], [0, "", "1.0", 1.5, True, None, [], {}, "²", "1e3"]),
        ("float >0 <=1", [1, 0.5, "1e-3", ".5", "1."], [0, 1.01, "", "nan", "inf", float("nan"), float("inf"), True]),
        ("size >=1", ["8k", "25.6k", "8K", 8], ["2.5K", "k", "8kb", 0, -1]),
        ("a|b", ["a", "b"], ["A", "", None, ["a"]]),
        ("anycase true|false", ["True", "FALSE", False], ["1", "yes"]),
        ("likely dummy|auto", ["dummy", "own_loader", "x"], ["dumy", "Dummy", None, ["dummy"], {"a": 1}]),
        ("mapping", [{}, "{}", '{"a": 8k}'], ["[]", "", "a", 1, [], None]),
        ("json", ['["a"]', "1", {}], [["a"], "*", "", None]),
        ("flag", [True, False, 0, 1], ["true", "", None, 2]),
        ("port", [1, "65535"], [0, 65536, "http", -1, 1.5]),
        ("ports", ["auto", "1", "1,2-3"], ["", "3-2", "1,", "a-b", None]),
        ("pairs a|b", ["a:1", "a:1,b:2", "b:[x:1,y:2]"], ["c:1", "a", "a:", "", 1, None]),
        ("int or auto", [1, "auto", "AUTO"], ["automatic", 1.5]),
        ("text", ["", "x", 1], [True, None, [], {}]),
    ],
)
def test_forms(text, fits, fails):
    for value in fits:
        assert form(text).fits(value), value
    for value in fails:
        assert not form(text).fits(value), value
