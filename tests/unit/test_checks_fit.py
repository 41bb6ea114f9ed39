"""Does the model fit: the estimate from real headers and figures, and its verdicts on chips of 32 and 64 GB."""

import copy
import json
import struct

import pytest
from ansible_collections.ascend_ops.vllm.plugins.module_utils._checks import fit
from ansible_collections.ascend_ops.vllm.plugins.module_utils._checks.fit import Sizes
from ansible_collections.ascend_ops.vllm.plugins.module_utils._facts.size import dimensions
from ansible_collections.ascend_ops.vllm.plugins.module_utils._facts.weights import weights
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.model import processes
from ansible_collections.ascend_ops.vllm.plugins.plugin_utils._plan import plan
from healthy import GB, catalogue, devices, own_facts, whole
from test_plan import a2, a3

A2 = processes(plan(a2()))[0]
A3 = processes(plan(a3()))[0]
MIB = 1 << 20


def verdict(node=A2, hbm=65536, change=None):
    facts = own_facts(node)
    facts["npu"]["devices"] = devices(node, hbm)
    if change:
        change(facts)
    (found,) = whole(fit.evaluate(node, facts, {}), fit).values()
    return found


def args(node=A2, env=(), **changed):
    """The node with other options: keys with underscores, as vLLM takes them as well."""
    node = copy.deepcopy(node)
    node["args"].update(changed)
    node["env"].update(env)
    return node


def test_the_catalogue_is_whole():
    catalogue(fit)


def test_the_recipes_fit_their_hardware():
    assert verdict()["verdict"] == "pass"
    assert verdict(A3)["verdict"] == "pass"


def test_an_fp8_checkpoint_does_not_fit_chips_of_32_gb_and_it_says_by_how_much():
    found = verdict(hbm=32768)
    assert found["verdict"] == "fail"
    # 225 GB of experts in BF16 over 16 chips, 8 GB of the rest over 8; two communicators of 2 x 1024 MB; 30268 MB x 0.92
    needed = 2 * 225 * GB / 16 + (2 * 3 + 2) * GB / 8 + 4 * 1024 * MIB
    budget = (32768 - 2500) * MIB * 0.92
    assert f"at least {needed / GB:.1f} GB" in found["seen"]
    assert f"{(needed - budget) / GB:.1f} GB too little" in found["seen"]
    for word in ("vllm_recipe_checkpoint", "HCCL_BUFFSIZE", "tensor-parallel-size", "or use chips with 37 GB or more"):
        assert word in found["remedy"], found


def test_a_quantized_checkpoint_fits_where_the_fp8_one_does_not():
    def quantized(facts):
        facts["weights"][0].update(quantization=None, memory=own_facts(A3)["weights"][0]["memory"])

    found = verdict(hbm=32768, change=quantized)
    assert found["verdict"] == "pass" and "left" in found["seen"]


def test_one_small_chip_decides():
    def mixed(facts):
        facts["npu"]["devices"][5]["hbm_total_mb"] = 32768

    assert verdict(change=mixed)["verdict"] == "fail"


def test_facts_without_types_count_fp8_twice_as_well():
    def old(facts):
        facts["weights"][0]["memory"] = None

    assert verdict(change=old)["verdict"] == "pass"
    node = args(tensor_parallel_size=8)
    facts = own_facts(node)
    facts["weights"][0]["memory"] = None
    (found,) = fit.evaluate(node, dict(facts, npu={"devices": devices(node, 24576)}), {})
    assert f"{230 * 2 / 16:.1f} GB of weights" in found["seen"] and found["verdict"] == "fail"


def test_more_utilization_is_advised_where_that_is_enough():
    low = verdict(args(**{"gpu-memory-utilization": 0.4}))
    assert low["verdict"] == "fail"
    assert "Set gpu-memory-utilization to 0.51 or more" in low["remedy"], low


@pytest.mark.parametrize(
    "change, verdict_is",
    [
        ({"gpu-memory-utilization": 0.52}, "warn"),  # fits, but not a sequence of 196608 tokens
        ({"gpu-memory-utilization": 0.56, "max-model-len": 32768}, "pass"),
        ({"gpu-memory-utilization": 0.52, "max-model-len": 4096}, "warn"),  # hardly anything for activations
        ({"data-parallel-size": 2, "tensor-parallel-size": 4}, "fail"),
        ({"cpu-offload-gb": 20, "gpu-memory-utilization": 0.4}, "pass"),
        ({"kv-cache-memory-bytes": 20 * GB}, "pass"),
        ({"kv-cache-memory-bytes": 50 * GB}, "warn"),
    ],
)
def test_options_count(change, verdict_is):
    found = verdict(args(**change))
    assert found["verdict"] == verdict_is, found


def test_little_is_left_names_the_length():
    found = verdict(args(**{"gpu-memory-utilization": 0.52}))
    assert "one sequence of 196608 tokens takes 6.2 GB" in found["seen"]
    assert found["remedy"].startswith("Lower max-model-len")


@pytest.mark.parametrize(
    "change, seen",
    [
        (lambda facts: facts.update(npu={"code": "timeout"}), "did not report the HBM"),
        (lambda facts: facts["npu"]["devices"][2].update(hbm_total_mb=None), "did not report the HBM"),
        (lambda facts: facts.update(weights=[]), "not all checkpoints"),
        (lambda facts: facts["weights"][0].update(exists=False), "not all checkpoints"),
        (lambda facts: facts["weights"][0].update(problems=["a shard is missing"]), "not all of the weights are there"),
    ],
)
def test_what_is_not_known_is_unknown(change, seen):
    found = verdict(change=change)
    assert found["verdict"] == "unknown" and seen in found["seen"], found


def test_an_incomplete_checkpoint_that_is_too_large_already_fails():
    assert verdict(hbm=32768, change=lambda facts: facts["weights"][0].update(problems=["x"]))["verdict"] == "fail"


def test_dense_models_and_single_chips_have_fewer_communicators():
    assert Sizes(A2).communicators(True) == 2 and Sizes(A2).communicators(False) == 1
    assert Sizes(args(**{"tensor-parallel-size": 1})).communicators(False) == 0
    assert Sizes(args(env={"HCCL_BUFFSIZE": "x"})).buffer == 200 * MIB


@pytest.mark.parametrize(
    "value, tokens",
    [
        (4096, 4096),
        ("32k", 32000),
        ("32K", 32768),
        ("1.5M", 1572864),
        ("auto", 0),
        (-1, 0),
        (None, 0),
        ([], 0),
        (True, 0),
    ],
)
def test_the_length_that_the_options_say(value, tokens):
    assert Sizes(args(**{"max-model-len": value})).length == tokens


# -- what the node reads --------------------------------------------------------------------------------------------


def write(folder, name, tensors):
    header, start = {}, 0
    for tensor, (kind, size) in tensors.items():
        header[tensor] = {"dtype": kind, "shape": [size], "data_offsets": [start, start + size]}
        start += size
    raw = json.dumps(header).encode()
    (folder / name).write_bytes(struct.pack("<Q", len(raw)) + raw + bytes(start))


def test_experts_are_told_from_the_rest_by_type_and_layers_on_demand_are_left_out(tmp_path):
    config = {"num_hidden_layers": 2, "num_attention_heads": 8, "hidden_size": 64, "max_position_embeddings": 4096}
    (tmp_path / "config.json").write_text(json.dumps(config))
    write(
        tmp_path,
        "model.safetensors",
        {
            "model.embed_tokens.weight": ("BF16", 100),
            "model.layers.0.mlp.experts.3.up_proj.weight": ("F8_E4M3", 1000),
            "model.layers.1.mlp.shared_experts.up_proj.weight": ("F8_E4M3", 30),
            "model.layers.2.mlp.experts.0.up_proj.weight": ("F8_E4M3", 7),
            "mtp.layers.0.x": ("BF16", 5),
        },
    )
    memory = {}
    weights(str(tmp_path), memory)
    assert memory == {
        "experts": {"F8_E4M3": 1000},
        "dense": {"BF16": 100, "F8_E4M3": 30},
        "model": {"layers": 2, "kv_heads": 8, "head_dim": 8, "latent": None, "max_len": 4096},
    }


@pytest.mark.parametrize("config", [None, {}, {"num_hidden_layers": "x", "head_dim": -1}, {"text_config": []}])
def test_dimensions_of_an_odd_config_are_not_known(config):
    assert set(dimensions(config).values()) == {None}


def test_dimensions_of_mla_and_of_a_model_in_a_model():
    found = dimensions({"text_config": {"kv_lora_rank": 512, "qk_rope_head_dim": 64, "num_hidden_layers": 61}})
    assert found["latent"] == 576 and found["layers"] == 61
