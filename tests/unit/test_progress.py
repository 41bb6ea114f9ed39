"""How far a starting service is, from lines that vLLM and vllm-ascend print."""

import json

import pytest
from ansible_collections.ascend_ops.vllm.plugins.module_utils._service.progress import last_start, stage

LINES = {
    "": "",
    "(EngineCore_DP0 pid=20) INFO [core.py:133] Initializing a V1 LLM engine": "",
    "(Worker pid=40) INFO [cpu_model_runner.py:68] Starting to load model /models/M...": "loading weights",
    "Loading safetensors checkpoint shards:  56% Completed | 5/9 [00:13<00:11,  2.87s/it]": "loading weights, 5 of 9 shards (56 %)",
    "(EngineCore_1 pid=3) INFO [default_loader.py:262] Loading weights took 9.93 seconds": "weights loaded",
    "(Worker pid=3) INFO [model_runner_v1.py:2705] Loading model weights took 15.2684 GB": "weights loaded",
    "Capturing CUDA graphs (decode, FULL):  40%|####      | 14/35 [00:02<00:03]": "capturing graphs (40 %)",
    "(EngineCore_DP0 pid=298) INFO [kv_cache_utils.py:1087] GPU KV cache size: 72,448 tokens": "KV cache allocated",
    "(ApiServer_0 pid=1) INFO Waiting for 1 local, 1 remote core engine proc(s) to start.": "waiting for the engines of all nodes",
    "(ApiServer_1 pid=22) INFO [entry.py:140] Starting vLLM server on http://192.0.2.1:1": "API server started",
}


@pytest.mark.parametrize("line", LINES)
def test_stages(line):
    assert stage(line) == LINES[line]


def test_the_last_stage_counts_whatever_order_they_are_known_in():
    lines = list(LINES)
    assert stage("\n".join(lines)) == "API server started"
    assert stage("\n".join(lines[:5])) == "weights loaded"
    shards = "Loading safetensors checkpoint shards: {}% Completed | {}/4 [x]"
    assert stage("\n".join(shards.format(25 * at, at) for at in range(4))) == "loading weights, 3 of 4 shards (75 %)"


@pytest.mark.parametrize(
    "text, seconds",
    [
        ({"current": {"ready_seconds": 41.5}}, 41.5),
        ({"current": {}}, None),
        ({"current": None}, None),
        ({"current": {"ready_seconds": "soon"}}, None),
        ([], None),
        ("no JSON", None),
        (None, None),
    ],
)
def test_how_long_the_last_start_took(text, seconds, tmp_path):
    if text is not None:
        (tmp_path / "c").mkdir()
        (tmp_path / "c" / "deployed.json").write_text(text if isinstance(text, str) else json.dumps(text))
    assert last_start("c", str(tmp_path)) == seconds
