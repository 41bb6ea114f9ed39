"""Verdicts on checkpoints; and what is read of them, from real files."""

import json
import os
import re
import struct
import time

import pytest
from ansible_collections.ascend_ops.vllm.plugins.module_utils._checks import weights as checks_weights
from ansible_collections.ascend_ops.vllm.plugins.module_utils._checks.weights import evaluate_replica, flag
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.parallel import bounded
from ansible_collections.ascend_ops.vllm.plugins.module_utils._facts import weights as facts_weights
from ansible_collections.ascend_ops.vllm.plugins.module_utils._facts.weights import (
    filesystem,
    gather,
    kinds,
    place,
    read_speed,
    shard,
    weights,
)
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.model import processes
from ansible_collections.ascend_ops.vllm.plugins.plugin_utils._plan import plan
from healthy import EMPTY, GB, catalogue, evaluated, own_facts, put, whole
from hypothesis import given, settings
from hypothesis import strategies as st
from test_plan import a2, a3

NODES = processes(plan(a2()))
A3 = processes(plan(a3()))[0]
POLICY = {"architecture": "MiniMaxM2ForCausalLM"}
PATH = NODES[0]["weights"][0]["path"]


def verdicts_on(change=None, node=NODES[0], policy=None):
    return evaluated(checks_weights, node, change, POLICY if policy is None else policy)


def speed(megabytes, node=0):
    return put("weights", node, "read", {"bytes": 64 * 10**6, "seconds": 64 / megabytes})


@pytest.mark.parametrize("node", [NODES[0], NODES[1], A3], ids=["primary", "secondary", "a3"])
def test_a_healthy_node_passes_everything(node):
    verdicts = verdicts_on(node=node)
    assert {name: check["verdict"] for name, check in verdicts.items() if check["verdict"] != "pass"} == (
        {} if node is A3 else {"weights.draft": "skipped"}
    )
    assert set(verdicts) == set(checks_weights.CHECKS) - {"weights.same"}


def test_the_catalogue_is_whole():
    catalogue(checks_weights)


# node, change, check, verdict, what is seen, what remedy or wanted name
N = NODES[0]
BROKEN = [
    (
        N,
        put("weights", 0, "exists", False),
        "weights.served",
        "fail",
        "no directory " + PATH,
        "vllm_recipe_weights_dir",
    ),
    (N, put("weights", 0, "problems", ["a", "b", "c", "d"]), "weights.served", "fail", "a; b; c", "incomplete"),
    (N, put("weights", []), "weights.served", "unknown", "did not report", "MiniMax-M2.5"),
    (N, put("weights", 0, "problems", None), "weights.served", "unknown", "did not report", "MiniMax-M2.5"),
    (N, put("weights", 0, "index_bytes", 231 * GB), "weights.served", "warn", "the index says 231.0 GB", "revision"),
    (A3, put("weights", 1, "exists", False), "weights.draft", "fail", "no directory /mnt/sfs_turbo", "Eagle3"),
    (N, put("weights", 0, "architecture", "Qwen3ForCausalLM"), "weights.architecture", "fail", "Qwen3", "recipe"),
    (N, put("weights", 0, "architecture", None), "weights.architecture", "unknown", "names none", "config.json"),
    (N, put("weights", 0, "exists", False), "weights.architecture", "unknown", "no checkpoint", "weights.served"),
    (N, put("weights", 0, "quantization", "awq"), "weights.quantization", "fail", "quant_method awq", "checkpoint"),
    (N, put("weights", 0, "description", {"W8A8": 3}), "weights.quantization", "warn", "3 W8A8", "ascend"),
    (N, put("weights", []), "weights.quantization", "unknown", "no checkpoint", "weights.served"),
    (A3, put("weights", 0, "description", None), "weights.quantization", "fail", "no quant_model_description", "names"),
    (
        A3,
        put("weights", 0, "description", {"FLOAT": 9}),
        "weights.quantization",
        "fail",
        "no quantized weights",
        "names",
    ),
    (A3, put("weights", 0, "quantization", "fp8"), "weights.quantization", "fail", "quant_method fp8", "ascend"),
    (N, speed(20), "weights.load_time", "fail", "230.0 GB at 20 MB/s from xfs: 11500 s", "VLLM_ENGINE_READY_TIMEOUT_S"),
    (N, speed(100), "weights.load_time", "warn", "2300 s", "HCCL_CONNECT_TIMEOUT"),
    (N, put("weights", 0, "read", None), "weights.load_time", "unknown", "not be measured", "dd"),
    (
        N,
        put("weights", 0, "read", {"bytes": 0, "seconds": 3.0}),
        "weights.load_time",
        "unknown",
        "not be measured",
        "dd",
    ),
    (A3, put("weights", 1, "exists", False), "weights.load_time", "unknown", "not all checkpoints", "weights.served"),
]


@pytest.mark.parametrize("node, change, check, word, seen, named", BROKEN)
def test_broken(node, change, check, word, seen, named):
    found = verdicts_on(change, node)[check]
    assert (found["verdict"], seen in found["seen"]) == (word, True), found
    assert named in found["remedy"] or named in found["wanted"], found


def test_a_directory_that_hangs_is_unknown():
    def hang(facts):
        facts["weights"][0].update(exists=None, problems=["the directory did not respond within 5 s"])

    verdicts = verdicts_on(hang)
    assert {check["verdict"] for check in verdicts.values()} == {"unknown", "skipped"}
    assert "did not respond within 5 s" in verdicts["weights.served"]["seen"]


def test_the_ready_timeout_of_the_plan_counts():
    node = dict(N, env={key: value for key, value in N["env"].items() if key != "VLLM_ENGINE_READY_TIMEOUT_S"})
    assert verdicts_on(speed(1000))["weights.load_time"]["verdict"] == "pass"
    found = verdicts_on(speed(100), node)["weights.load_time"]
    assert found["verdict"] == "fail" and "600 s" in found["wanted"] and "default" in found["wanted"]
    # A small one is read in time from any disk, and cannot be read.
    found = verdicts_on(lambda facts: facts["weights"][0].update(bytes=1500000, read=None), node)["weights.load_time"]
    assert found["verdict"] == "pass"


def test_the_architecture_is_the_recipes():
    node = dict(N, recipe=dict(N["recipe"], architecture="MiniMaxM2ForCausalLM"))
    other = put("weights", 0, "architecture", "Qwen3ForCausalLM")
    assert verdicts_on(other, node, {})["weights.architecture"]["verdict"] == "fail"
    plain = dict(N, recipe={key: value for key, value in N["recipe"].items() if key != "architecture"})
    assert verdicts_on(other, plain, {})["weights.architecture"]["verdict"] == "skipped"


def test_weights_of_another_kind_than_the_flag():
    other = dict(N, argv=N["argv"] + ["--quantization=compressed-tensors"])
    assert verdicts_on(node=other)["weights.quantization"]["verdict"] == "fail"
    right = put("weights", 0, "quantization", "compressed-tensors")
    assert verdicts_on(right, other)["weights.quantization"]["verdict"] == "pass"
    assert flag(["--a", "b"], "--a") == flag(["--a=b"], "--a") == "b"
    assert flag(["--a"], "--a") is flag(["--ab=c"], "--a") is None


def replica(change=None):
    facts = {node["host"]: own_facts(node) for node in NODES}
    if change:
        change(facts[NODES[1]["host"]])
    reported = evaluate_replica(NODES, facts, {})
    assert set(reported) == set(facts)
    return whole(reported[NODES[0]["host"]], checks_weights)["weights.same"]


def test_one_checkpoint_on_all_nodes():
    assert replica()["verdict"] == "pass"
    found = replica(put("weights", 0, "fingerprint", "0" * 64))
    assert found["verdict"] == "fail" and NODES[1]["host"] + ": 000000000000" in found["seen"]
    assert "rsync" in found["remedy"]
    assert replica(put("weights", 0, "fingerprint", None))["verdict"] == "unknown"
    assert replica(lambda facts: facts.clear())["verdict"] == "unknown"
    assert evaluate_replica([A3], {}, {}) == {A3["host"]: []}


@pytest.mark.parametrize("facts", EMPTY)
def test_a_node_that_tells_nothing_passes_nothing(facts):
    checks = whole(checks_weights.evaluate(A3, facts, POLICY), checks_weights)
    assert set(checks) == set(checks_weights.CHECKS) - {"weights.same"}
    assert {check["verdict"] for check in checks.values()} == {"unknown"}


# -- what is read ---------------------------------------------------------------------------------------------------


def write_shard(path, tensors, size=None, header=None):
    """A real safetensors file; *size* cuts it off or draws it out."""
    offset, entries = 0, {"__metadata__": {"format": "pt"}}
    for name, count in tensors.items():
        entries[name] = {"dtype": "F32", "shape": [count], "data_offsets": [offset, offset + 4 * count]}
        offset += 4 * count
    text = json.dumps(entries).encode() if header is None else header
    content = struct.pack("<Q", len(text)) + text + b"\0" * offset
    path.write_bytes(content if size is None else content[:size].ljust(size, b"\0"))
    return len(content)


FIRST, SECOND = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
INDEX = "model.safetensors.index.json"


def lay(folder):
    """A complete checkpoint of two shards."""
    folder.mkdir()
    (folder / "config.json").write_text(
        json.dumps({"architectures": ["MiniMaxM2ForCausalLM"], "quantization_config": {"quant_method": "fp8"}})
    )
    for name in (FIRST, SECOND):
        write_shard(folder / name, {"a" + name: 10, "b" + name: 7})
    weight_map = {letter + name: name for name in (FIRST, SECOND) for letter in "ab"}
    (folder / INDEX).write_text(json.dumps({"metadata": {"total_size": 136}, "weight_map": weight_map}))
    return folder


@pytest.fixture
def checkpoint(tmp_path):
    return lay(tmp_path / "MiniMax-M2.5")


def test_a_complete_checkpoint(checkpoint):
    facts = weights(str(checkpoint))
    assert re.fullmatch("[0-9a-f]{64}", facts.pop("fingerprint"))
    assert facts == {
        "path": str(checkpoint),
        "exists": True,
        "architecture": "MiniMaxM2ForCausalLM",
        "quantization": "fp8",
        "description": None,
        "shards": 2,
        "bytes": sum(path.stat().st_size for path in checkpoint.glob("*.safetensors")),
        "tensors": 4,
        "index_tensors": 4,
        "data_bytes": 136,
        "index_bytes": 136,
        "problems": [],
        "filesystem": None,
        "free_bytes": None,
        "read": None,
        "names": [FIRST, SECOND],
    }


def rewrite(name, content):
    return lambda folder: (folder / name).write_bytes(content)


LACKS = SECOND + " lacks 2 tensors that the index lists for it, such as a" + SECOND
DAMAGE = {
    "a shard is missing": (
        lambda folder: (folder / SECOND).unlink(),
        ["1 of 2 shards of the index are missing, such as " + SECOND],
    ),
    "a link leads nowhere": (
        lambda folder: [(folder / SECOND).unlink(), (folder / SECOND).symlink_to("/nowhere")],
        [SECOND + ": No such file or directory"],
    ),
    "a shard is cut off": (
        lambda folder: os.truncate(str(folder / SECOND), (folder / SECOND).stat().st_size - 1),
        [SECOND + " has 299 bytes and its header says 300"],
    ),
    "a header is cut off": (
        lambda folder: os.truncate(str(folder / SECOND), 50),
        [SECOND + ": has 50 bytes and its header says 2"],
    ),
    "a shard is too long": (
        lambda folder: os.truncate(str(folder / SECOND), 5000),
        [SECOND + " has 5000 bytes and its header says 3"],
    ),
    "a shard of another model": (lambda folder: write_shard(folder / SECOND, {"z": 17}), [LACKS]),
    "an empty shard": (rewrite(SECOND, b""), [SECOND + ": its header is not a safetensors header"]),
    "a page of a hub instead": (
        rewrite(SECOND, b"version https://git-lfs.github.com/spec/v1\noid sha256:0"),
        [SECOND + ": its header is not a safetensors header"],
    ),
    "a header of another kind": (
        lambda folder: write_shard(folder / SECOND, {}, header=b'["a"]'),
        [SECOND + ": its header is not a safetensors header"],
    ),
    "a header that lies": (
        lambda folder: write_shard(folder / SECOND, {}, header=b'{"a": {"data_offsets": ["x", 3]}}'),
        [SECOND + ": its header is not a safetensors header"],
    ),
    "a header with a number that is none": (
        lambda folder: write_shard(folder / SECOND, {}, header=b'{"a": {"data_offsets": [0, NaN]}}'),
        [SECOND + ": its header is not a safetensors header"],
    ),
    "no config": (lambda folder: (folder / "config.json").unlink(), ["config.json: No such file or directory"]),
    "a broken config": (rewrite("config.json", b"{"), ["config.json: not JSON"]),
    "a config that is a list": (rewrite("config.json", b"[]"), ["config.json: not a JSON object"]),
    "a broken index": (rewrite(INDEX, b"{"), ["model.safetensors.index.json: not JSON"]),
    "an index without shards": (rewrite(INDEX, b'{"weight_map": {}}'), [INDEX + " names no shard"]),
    "an index of another kind": (rewrite(INDEX, b'{"weight_map": ["a"]}'), [INDEX + " names no shard"]),
    "only small files": (lambda folder: [path.unlink() for path in folder.glob("model*")], ["no *.safetensors file"]),
    "a broken description": (rewrite("quant_model_description.json", b"{"), ["quant_model_description.json: not JSON"]),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_a_damaged_checkpoint(case, checkpoint):
    whole_one = weights(str(checkpoint))["fingerprint"]
    damage, problems = DAMAGE[case]
    damage(checkpoint)
    seen = weights(str(checkpoint))
    assert len(seen["problems"]) == len(problems), seen["problems"]
    assert all(map(str.startswith, seen["problems"], problems)), seen["problems"]
    assert seen["fingerprint"] != whole_one
    json.dumps(seen)


@pytest.mark.parametrize(
    "config", [b'{"architectures": "x"}', b'{"architectures": []}', b'{"quantization_config": "fp8"}']
)
def test_an_odd_config_is_read_as_far_as_it_goes(config, checkpoint):
    (checkpoint / "config.json").write_bytes(config)
    seen = weights(str(checkpoint))
    assert (seen["architecture"], seen["quantization"], seen["problems"]) == (None, None, [])


def test_quantized_weights_have_another_index_and_a_description(checkpoint):
    (checkpoint / INDEX).rename(checkpoint / "quant_model_weights.safetensors.index.json")
    (checkpoint / SECOND).unlink()
    description = {
        "model_quant_type": "W8A8_DYNAMIC",
        "a.weight": "W8A8_DYNAMIC",
        "b.weight": "FLOAT",
        "c.weight": "FLOAT",
    }
    (checkpoint / "quant_model_description.json").write_text(json.dumps(description))
    seen = weights(str(checkpoint))
    assert seen["description"] == {"W8A8_DYNAMIC": 1, "FLOAT": 2}
    assert seen["problems"] == ["1 of 2 shards of the index are missing, such as " + SECOND]
    assert kinds(None) == kinds({"a.weight": 3}) == {}


def test_one_file_without_an_index(checkpoint):
    for path in checkpoint.glob("model*"):
        path.unlink()
    write_shard(checkpoint / "model.safetensors", {"a": 3})
    seen = weights(str(checkpoint))
    assert (seen["shards"], seen["problems"], seen["index_bytes"], seen["tensors"]) == (1, [], None, 1)


def test_no_checkpoint(tmp_path):
    seen = weights(str(tmp_path / "absent"))
    assert (seen["exists"], seen["shards"], seen["problems"], seen["fingerprint"]) == (False, 0, [], None)


def change_header(folder):
    """The same names and sizes, in another order."""
    write_shard(folder / SECOND, {"b" + SECOND: 10, "a" + SECOND: 7})


@pytest.mark.parametrize(
    "change",
    [
        change_header,
        rewrite("config.json", b'{"architectures": ["X"]}'),
        rewrite("tokenizer.json", b"{}"),
        rewrite("generation_config.json", b"{}"),
        lambda folder: os.truncate(str(folder / SECOND), 5000),
    ],
)
def test_the_fingerprint_tells_copies_from_others(change, checkpoint, tmp_path):
    copy = lay(tmp_path / "copy")
    (copy / "README.md").write_text("of no importance")
    assert weights(str(copy))["fingerprint"] == weights(str(checkpoint))["fingerprint"]
    change(copy)
    assert weights(str(copy))["fingerprint"] != weights(str(checkpoint))["fingerprint"]


def test_shard_reads_the_header_alone(tmp_path):
    size = write_shard(tmp_path / "x", {"a": 3})
    assert shard(str(tmp_path / "x"))[:4] == (size, size, "", {"a": 12})
    (tmp_path / "huge").write_bytes(struct.pack("<Q", 1 << 62) + b"{}")
    assert shard(str(tmp_path / "huge"))[:3] == (10, None, "its header is not a safetensors header")
    assert shard(str(tmp_path))[:3] == (0, None, "Is a directory")


@settings(deadline=None)
@given(st.binary(max_size=200), st.booleans())
def test_any_bytes_are_a_shard_with_a_problem_or_none(tmp_path_factory, content, framed):
    path = tmp_path_factory.getbasetemp() / "any.safetensors"
    path.write_bytes(struct.pack("<Q", len(content)) + content if framed else content)
    size, wanted, problem, tensors, digest = shard(str(path))
    assert problem or wanted is not None and digest


def test_the_speed_is_measured_in_little_time(tmp_path):
    for number in range(3):
        with open(str(tmp_path / f"s{number}"), "wb") as stream:
            stream.write(os.urandom(1 << 20) * 12)
    names = ["s0", "s1", "s2"]
    seen = read_speed(str(tmp_path), names)
    assert 30 << 20 < seen["bytes"] <= 64 << 20 and 0 < seen["seconds"] < 4
    assert read_speed(str(tmp_path), names[:2]) is None and read_speed(str(tmp_path), []) is None


def test_the_speed_of_a_slow_disk_is_known_after_the_time_is_up(tmp_path, monkeypatch):
    with open(str(tmp_path / "s"), "wb") as stream:
        stream.truncate(40 << 20)
    real = os.pread
    monkeypatch.setattr(facts_weights.os, "pread", lambda *args: time.sleep(0.1) or real(*args))
    started = time.monotonic()
    seen = read_speed(str(tmp_path), ["s"], seconds=0.5)
    assert 1 << 20 <= seen["bytes"] < 10 << 20 and time.monotonic() - started < 2


def test_gather_is_bounded_and_complete(checkpoint, monkeypatch):
    node = {"weights": [{"path": str(checkpoint)}, {"path": "/nowhere"}]}
    first, second = gather(node, {"timeout": 5})
    assert json.loads(json.dumps([first, second])) == [first, second]
    assert first["filesystem"] and first["free_bytes"] > 0 and first["read"] is None and "names" not in first
    assert (second["exists"], second["filesystem"]) == (False, None)
    monkeypatch.setattr(facts_weights, "weights", lambda path: time.sleep(30))
    started = time.monotonic()
    seen = gather(node, {"timeout": 0.2})
    assert time.monotonic() - started < 5
    assert [one["exists"] for one in seen] == [None, None]
    assert seen[0]["problems"] == ["the directory did not respond within 0.2 s"]


def test_bounded():
    assert bounded(lambda: 3, 1) == 3
    assert bounded(lambda: 1 / 0, 1) is None and bounded(lambda: time.sleep(9), 0.05) is None


MOUNTS = """\
/dev/sda1 / ext4 rw 0 0
10.0.0.1:/share /mnt/sfs_turbo nfs4 rw,vers=4.1 0 0
/dev/sdb1 /mnt/with\\040space xfs rw 0 0
tmpfs /mnt/sfs_turbo/cache tmpfs rw 0 0
none
"""


def test_filesystem():
    assert filesystem("/mnt/sfs_turbo/.cache/Eagle3", MOUNTS) == "nfs4"
    assert filesystem("/mnt/sfs_turbo/cache", MOUNTS) == "tmpfs"
    assert filesystem("/mnt/sfs_turbo2", MOUNTS) == "ext4"
    assert filesystem("/mnt/with space/x", MOUNTS) == "xfs"
    assert filesystem("/x", "") is None
    assert place("/proc")["filesystem"] == "proc"


def test_a_link_out_of_the_mounts_is_told(tmp_path):
    inside, outside = tmp_path / "models", tmp_path / "elsewhere"
    (inside / "m").mkdir(parents=True)
    outside.mkdir()
    (outside / "blob").write_bytes(b"x")
    (inside / "m" / "a.safetensors").symlink_to(outside / "blob")
    names, path = ["a.safetensors"], str(inside / "m")
    assert facts_weights.unseen(path, names, [{"source": str(inside)}]) == (
        path + "/a.safetensors",
        str(outside / "blob"),
    )
    assert facts_weights.unseen(path, names, [{"source": str(inside)}, {"source": str(outside)}]) is None
