"""benchmark.yml on an A3 node: real `vllm bench serve` against real vLLM on CPU, with lengths that a tiny model takes.

The gate is tried both ways. The figures say nothing of an NPU.
"""

import json
import threading
import urllib.request

import pytest

from .conftest import ROOT, lab, playbook

NODE, URL = "a3-node1", "http://10.213.0.51:8000"
INVENTORY = ROOT / "lab" / "inventories" / "a3"

TINY = {"name": "tiny", "input_tokens": 48, "output_tokens": 32, "prompts": 8, "concurrency": 4}
COLD = dict(TINY, warmup_prompts=0)  # one start of `vllm bench serve` less
PREFIX = {
    "name": "tiny-prefix",
    "dataset": "prefix_repetition",
    "prefix_tokens": 180,
    "suffix_tokens": 20,
    "output_tokens": 16,
    "prompts": 8,
    "concurrency": 2,
}
STATE = "docker inspect -f '{{.Id}} {{.State.StartedAt}}' vllm-ascend; docker exec vllm-ascend ls /tmp | grep ascend-vllm-bench"


@pytest.fixture(scope="session")
def deployed():
    """Instead of the A2 nodes' own: nothing here needs them."""


@pytest.fixture(scope="module", autouse=True)
def service():
    """An A3 node that serves; it is removed afterwards where it was not there before."""
    was_there = NODE in lab("status")
    lab("up", "--hardware", "a3")
    lab("mend", NODE)
    run = playbook("deploy_a3.yml", inventory=INVENTORY)
    assert run.rc == 0, run.output
    yield
    if not was_there:
        lab("down", "--hardware", "a3")


def measure(folder, *own, **variables):
    """Run benchmark.yml on scenarios: the run, and the path of the result that was written, if one was."""
    before = lab("ssh", NODE, STATE + "; true")
    given = dict(vllm_benchmark_own=list(own), vllm_benchmark_dir=str(folder), **variables)
    run = playbook("benchmark.yml", "-e", json.dumps(given), inventory=INVENTORY)
    assert lab("ssh", NODE, STATE + "; true") == before, "the container is another, or something was left in it"
    assert set(run.changed.values()) == {0} and "Traceback" not in run.output, run.output
    return run, next(folder.glob("*.json"), None)


def swept(folder, scenario, **target):
    """A sweep up to a concurrency of 4."""
    sweep = dict({"scenario": "tiny", "ttft_ms": 600000, "tpot_ms": 600000, "last": 4, "rounds": 2}, **target)
    return measure(folder, scenario, vllm_benchmark_scenarios=["tiny"], vllm_benchmark_sweep=sweep)


@pytest.fixture(scope="module")
def missed(tmp_path_factory):
    """A figure that is not reached."""
    scenario = dict(COLD, published={"output_tokens_per_s": 1e6})
    return measure(tmp_path_factory.mktemp("missed"), scenario, vllm_benchmark_scenarios=["tiny"])


@pytest.fixture(scope="module")
def met(tmp_path_factory):
    """A sweep that every level meets, warmed up."""
    return swept(tmp_path_factory.mktemp("met"), TINY)


@pytest.fixture(scope="module")
def unmet(tmp_path_factory):
    """A sweep that no level meets, of requests with other lengths."""
    return swept(tmp_path_factory.mktemp("unmet"), dict(COLD, output_tokens=16), ttft_ms=0.001)


def test_a_service_is_measured_and_the_gate_passes(tmp_path):
    published = {"output_tokens_per_s": 0.5, "prefix_hit_rate": 0.5}
    # One's own comes in the place of the recipe's of the same name, which would take minutes.
    own = dict(TINY, name="3.5k-1.5k", published={"output_tokens_per_s": 0.5})
    run, path = measure(tmp_path, own, dict(PREFIX, published=published))
    assert run.rc == 0, run.output
    result = json.loads(path.read_text())
    assert [item["name"] for item in result["skipped"]] == ["190k-1k"]
    assert "195584 tokens and the service takes" in run.words
    tiny, prefix = result["runs"]
    for entry, output in ((tiny, 8 * 32), (prefix, 8 * 16)):
        figures = entry["figures"]
        assert entry["gate"]["verdict"] == "pass" and figures["completed"] == 8 and figures["output_tokens"] == output
        assert figures["output_tokens_per_s"] == pytest.approx(output / figures["duration_s"], rel=0.02)
        # The distributions are of the same answers as vLLM's own percentiles.
        for name in ("ttft", "tpot", "itl"):
            assert len(entry["quantiles"][name]) == 101
            assert entry["quantiles"][name][50] == pytest.approx(figures[f"median_{name}_ms"], rel=0.05)
        assert "vllm bench serve" in entry["command"] and f"--seed {entry['seed']}" in entry["command"]
    # What is measured is not in the cache of the warm-up; a common prefix is.
    assert tiny["figures"]["prefix_hit_rate"] < 0.2 < prefix["figures"]["prefix_hit_rate"]
    provenance = result["provenance"]
    assert provenance["hosts"] == [NODE] and provenance["topology"]["data-parallel-size"] == 1
    assert provenance["image_id"].startswith("sha256:") and provenance["vllm"].startswith("0.")
    assert provenance["driver"] and provenance["npus"] and provenance["problems"] == []
    (page,) = tmp_path.glob("*.html")
    assert page.read_text().count("<svg") == 8


def test_a_figure_that_is_not_reached_fails_after_it_is_written(missed):
    run, path = missed
    assert run.rc != 0 and "replica default: tiny missed the gate" in run.words
    assert "% of the published 1000000.00; wanted 97.0 %" in run.words and "look at: " in run.words
    result = json.loads(path.read_text())
    assert result["runs"][0]["gate"]["verdict"] == "fail" and result["ok"] is False


def test_a_scenario_that_the_service_cannot_take_is_refused_when_it_is_named(tmp_path):
    run, path = measure(tmp_path, vllm_benchmark_scenarios=["190k-1k"])
    assert run.rc != 0 and path is None
    assert "190k-1k: its requests have 195584 tokens and the service takes" in run.words
    assert "Deploy with a larger max-model-len in vllm_recipe_args" in run.words


def test_a_sweep_finds_what_meets_a_latency(met):
    run, path = met
    assert run.rc == 0, run.output
    sweep = json.loads(path.read_text())["sweep"]
    assert [point["concurrency"] for point in sweep["points"]] == [1, 2, 4] and sweep["best"] == 4
    assert "the highest concurrency that meets it: 4" in run.output


def test_a_sweep_that_nothing_meets_ends_after_one_level(unmet):
    run, path = unmet
    assert run.rc == 0, run.output
    sweep = json.loads(path.read_text())["sweep"]
    assert sweep["best"] == 0 and len(sweep["points"]) == 1
    assert "no concurrency meets it" in run.output


def test_two_results_are_compared_and_other_lengths_refused(missed, met, unmet, tmp_path):
    paths = [str(path) for unused, path in (missed, met, unmet)]
    page = tmp_path / "compared.md"
    run = playbook(
        "benchmark_compare.yml",
        "-e",
        json.dumps({"vllm_benchmark_files": paths[:2], "vllm_benchmark_compared": str(page)}),
    )
    assert run.rc == 0 and "output tokens/s" in run.output, run.output
    assert page.read_text().startswith("# Benchmarks compared")
    run = playbook("benchmark_compare.yml", "-e", json.dumps({"vllm_benchmark_files": paths[::2]}))
    assert run.rc != 0 and "output_tokens of tiny: 32 and 16" in run.words


def test_a_busy_service_is_not_measured(tmp_path):
    stop = threading.Event()
    body = json.dumps({"model": "MiniMax-M2.5", "prompt": "Hello", "max_tokens": 32, "ignore_eos": True}).encode()

    def ask():
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        while not stop.is_set():
            request = urllib.request.Request(URL + "/v1/completions", body, {"Content-Type": "application/json"})
            opener.open(request, timeout=60).read()
            stop.wait(0.3)  # more would take the two processors from the playbook, which then takes minutes

    client = threading.Thread(target=ask)
    client.start()
    try:
        run, path = measure(tmp_path, TINY, vllm_benchmark_scenarios=["tiny"])
    finally:
        stop.set()
        client.join()
    assert run.rc != 0 and path is None
    assert "the service is busy" in run.words and "Keep clients away" in run.words
