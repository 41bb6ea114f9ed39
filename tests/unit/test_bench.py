"""Benchmarks: what is run, how a result is read, judged and shown, and which results may be compared."""

import copy
import json
import xml.etree.ElementTree

import pytest
from ansible_collections.ascend_ops.vllm.plugins.filter.benchmark import (
    benchmark_compare,
    benchmark_report,
    benchmark_scenarios,
    benchmark_service,
)
from ansible_collections.ascend_ops.vllm.plugins.module_utils._bench import run as bench
from ansible_collections.ascend_ops.vllm.plugins.module_utils._bench.pages import ticks
from ansible_collections.ascend_ops.vllm.plugins.module_utils._bench.run import (
    command,
    counters,
    growth,
    missed,
    quantiles,
    read,
    search,
    why,
)
from ansible_collections.ascend_ops.vllm.plugins.module_utils._bench.scenario import option, topology_of
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.model import processes
from ansible_collections.ascend_ops.vllm.plugins.plugin_utils._plan import plan
from test_plan import a2, a3

SETTINGS = {"name": "minimax_m2_5"}
OWN = {"name": "tiny", "input_tokens": 48, "output_tokens": 32, "prompts": 8}
SERVICE = {"url": "http://10.0.0.11:20004", "model": "minimax25", "tokenizer": "/models/M", "trust_remote_code": True}


def scenarios(hardware="a2", **wanted):
    chosen = benchmark_scenarios(SETTINGS, hardware, **wanted)
    assert chosen["errors"] == []
    return chosen["scenarios"]


# -- what is run ------------------------------------------------------------------------------------------------------


def test_the_guide_s_command_with_the_corrected_length():
    (scenario,) = scenarios()
    words = command(scenario, SERVICE, 1000, "/tmp/x")
    given = dict(zip(words, words[1:]))
    assert words[:3] == ["vllm", "bench", "serve"] and "--ignore-eos" in words and "--trust-remote-code" in words
    assert {
        name: given[name] for name in given if name.startswith("--prefix") or name in ("--seed", "--request-rate")
    } == {
        "--prefix-repetition-prefix-len": "175104",
        "--prefix-repetition-suffix-len": "19456",
        "--prefix-repetition-output-len": "1024",
        "--prefix-repetition-num-prefixes": "1",
        "--seed": "1000",
        "--request-rate": "inf",
    }
    assert (given["--num-prompts"], given["--max-concurrency"]) == ("16", "4")
    assert (given["--backend"], given["--endpoint"], given["--dataset-name"]) == (
        "vllm",
        "/v1/completions",
        "prefix_repetition",
    )
    assert (given["--base-url"], given["--model"], given["--tokenizer"]) == (SERVICE["url"], "minimax25", "/models/M")


def test_a3_s_published_scenarios():
    short, long = scenarios("a3")
    assert (short["name"], short["input_tokens"], short["output_tokens"], short["prompts"]) == (
        "3.5k-1.5k",
        3500,
        1500,
        217,
    )
    assert short["concurrency"] is None and "--max-concurrency" not in command(short, SERVICE, 1, "/tmp")
    assert short["warmup_prompts"] == 217 and long["warmup_prompts"] == 4  # as many as run at once
    assert short["published"]["output_tokens_per_s"] == 4803.81 and long["published"]["output_tokens_per_s"] == 37.12
    assert "MiniMax-M2.5.html" in short["source"] and short["topology"] == {
        "tensor-parallel-size": 4,
        "data-parallel-size": 4,
    }


def test_own_scenarios_come_in_addition_or_instead():
    both = scenarios(own=[OWN])
    assert [entry["name"] for entry in both] == ["190k-1k", "tiny"] and not any(entry["named"] for entry in both)
    (mine,) = scenarios(own=[dict(OWN, name="190k-1k")])
    assert (mine["origin"], mine["prompts"]) == ("own", 8)
    (one,) = scenarios(own=[OWN], names=["tiny"])
    assert one["named"] and one["dataset"] == "random"
    # ansible-core 2.16 hands numbers of -e as text
    (texts,) = scenarios(own=[dict(OWN, prompts="8", published={"output_tokens_per_s": "20.5"})], names=["tiny"])
    assert texts["prompts"] == 8 and texts["published"]["output_tokens_per_s"] == 20.5


@pytest.mark.parametrize(
    "wanted, said",
    [
        ({"own": [dict(OWN, promts=3)]}, "'tiny' has 'promts', which is not known; did you mean 'prompts'?"),
        ({"own": [dict(OWN, prompts=0)]}, "'tiny' has prompts 0; wanted a whole number from 1 on."),
        ({"own": [dict(OWN, input_tokens=None)]}, "'tiny' has input_tokens None; wanted a whole number from 1 on."),
        ({"own": [dict(OWN, name="a/b")]}, "has the name 'a/b'; wanted letters, digits"),
        ({"own": [dict(OWN, dataset="sharegpt")]}, "has the dataset 'sharegpt'; wanted prefix_repetition or random."),
        ({"own": [dict(OWN, prefix_tokens=5)]}, "has prefix_tokens, which the dataset random does not take."),
        ({"own": [dict(OWN, concurrency=-1)]}, "has concurrency -1; wanted a whole number from 1 on, or null."),
        ({"own": [dict(OWN, published={"speed": 3})]}, "has the published figure speed 3; wanted a positive number"),
        (
            {"own": [dict(OWN, topology={"tp": 8})]},
            "has topology tp 8; wanted a whole number for one of tensor-parallel-size",
        ),
        ({"own": ["tiny"]}, "is 'tiny'; wanted a mapping"),
        ({"names": ["190k1k"]}, "names '190k1k'; there is 190k-1k. Did you mean '190k-1k'?"),
        ({"sweep": {"scenario": "x", "ttft_ms": 1}}, "has the scenario 'x'; wanted one that is run: 190k-1k."),
        ({"sweep": {"scenario": "190k-1k"}}, "has neither ttft_ms nor tpot_ms"),
        ({"sweep": {"scenario": "190k-1k", "ttft_ms": "soon"}}, "has ttft_ms 'soon'; wanted milliseconds."),
        (
            {"sweep": {"scenario": "190k-1k", "ttft_ms": 5, "first": 9, "last": 3}},
            "has first 9 and last 3; wanted a rising range.",
        ),
        (
            {"sweep": {"scenario": "190k-1k", "ttft_ms": 5, "statistic": "p50"}},
            "has the statistic 'p50'; wanted mean or",
        ),
        ({"sweep": {"scenario": "190k-1k", "ttft": 5}}, "has 'ttft', which is not known"),
    ],
)
def test_a_wrong_scenario_is_named(wanted, said):
    chosen = benchmark_scenarios(SETTINGS, "a2", **wanted)
    assert said in "\n".join(chosen["errors"])


def test_the_service_as_the_plan_has_it():
    service = benchmark_service(processes(plan(a2()))[0])
    assert service == {
        "url": "http://10.0.0.11:20004",
        "model": "minimax25",
        "tokenizer": "/opt/data/verification/models/MiniMax-M2.5",
        "trust_remote_code": True,
        "ca_file": "",
    }


def test_options_of_a_command():
    words = ["vllm", "serve", "m", "--a-b=3", "--c_d", "4", "--flag"]
    assert (option(words, "a-b"), option(words, "c-d"), option(words, "none", 1)) == ("3", "4", 1)
    assert topology_of(processes(plan(a2()))[0]["argv"])["tensor-parallel-size"] == 8


# -- how it is read ---------------------------------------------------------------------------------------------------

METRICS = """\
# HELP vllm:prefix_cache_queries_total ...
vllm:prefix_cache_queries_total{engine="0",model_name="m"} 1000.0
vllm:prefix_cache_queries_total{engine="1",model_name="m"} 500.0
vllm:prefix_cache_queries_created{engine="0",model_name="m"} 1.79e+09
vllm:prefix_cache_hits_total{engine="0",model_name="m"} 900.0
vllm:prefix_cache_hits_total{engine="1",model_name="m"} 300.0
vllm:num_requests_running{engine="0",model_name="m"} 2.0
vllm:num_requests_waiting{engine="0",model_name="m"} 0.0
vllm:request_success_total{engine="0",finished_reason="stop",model_name="m"} 3.0
vllm:request_success_total{engine="0",finished_reason="length",model_name="m"} 4.0
"""


def test_counters_are_summed_over_engines():
    told = counters(METRICS)
    assert (told["prefix_queries"], told["prefix_hits"], told["requests"], told["running"]) == (1500, 1200, 7, 2)
    assert told["preemptions"] is None
    assert counters("")["running"] is None
    later = dict(told, prefix_hits=1300, requests=2)
    grown = growth(told, later)
    assert (grown["prefix_hits"], grown["requests"], grown["preemptions"]) == (
        100,
        None,
        None,
    )  # requests: started anew


class Service:
    """A client of a service whose /metrics tell these numbers of running requests and of tokens, one after the other."""

    def __init__(self, *told):
        self.told = list(told)

    def text(self, path, _timeout):
        running, tokens = self.told.pop(0) if len(self.told) > 1 else self.told[0]
        return (
            f'vllm:num_requests_running{{engine="0"}} {running}\nvllm:generation_tokens_total{{engine="0"}} {tokens}\n'
        )


def test_a_service_is_idle_when_two_looks_agree(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(bench.time, "sleep", lambda seconds: clock.__setitem__(0, clock[0] + seconds))
    monkeypatch.setattr(bench.time, "time", lambda: clock[0])
    idle = bench.Bench(None, "c", Service((0, 5), (0, 5)), SERVICE, 10).idle()
    assert idle["generated"] == 5
    # between requests none runs, and yet it puts out tokens
    bench.Bench(None, "c", Service((0, 5), (1, 9), (0, 20), (0, 20)), SERVICE, 10).idle()
    with pytest.raises(bench.BenchError, match="0 requests run or wait, and 7 tokens were generated within a second"):
        bench.Bench(None, "c", Service(*[(0, 7 * number) for number in range(40)]), SERVICE, 10).idle()
    with pytest.raises(bench.BenchError, match="the service is busy: 3 requests run"):
        bench.Bench(None, "c", Service((3, 5)), SERVICE, 10).idle()


def test_quantiles():
    assert quantiles([]) == []
    assert quantiles([3, 1, 2])[0::50] == [1, 2, 3]
    assert len(quantiles([5])) == 101 and set(quantiles([5])) == {5}
    assert quantiles(range(101)) == list(range(101))


def result_of(prompts=8, output=32, failed=0, throughput=20.0, **more):
    """As ``vllm bench serve --save-detailed`` writes it, as far as it is read."""
    done = prompts - failed
    result = {
        "duration": 12.8,
        "completed": done,
        "failed": failed,
        "total_input_tokens": 48 * done,
        "total_output_tokens": output * done,
        "request_throughput": 0.6,
        "output_throughput": throughput,
        "total_token_throughput": 2.5 * throughput,
        "ttfts": [0.1] * done + [0.0] * failed,
        "itls": [[0.02] * (output - 1)] * done + [[]] * failed,
        "output_lens": [output] * done + [0] * failed,
        "errors": [""] * done + ["ServerDisconnected"] * failed,
        "generated_texts": ["x"] * prompts,
    }
    for name, value in (("ttft", 100.0), ("tpot", 20.0), ("itl", 20.0)):
        for statistic in ("mean", "median", "p90", "p99"):
            result[f"{statistic}_{name}_ms"] = value
    return dict(result, **more)


def test_a_result_is_read():
    seen = read(result_of())
    assert seen["figures"]["output_tokens_per_s"] == 20.0 and seen["figures"]["p99_ttft_ms"] == 100.0
    assert seen["quantiles"]["ttft"][50] == 100.0 and seen["quantiles"]["tpot"][50] == 20.0
    # what failed has no latency, and counts as failed where an older vLLM does not count it
    broken = result_of(failed=3)
    del broken["failed"]
    seen = read(broken)
    assert seen["figures"]["failed"] == 3 and seen["quantiles"]["ttft"][0] == 100.0
    assert read({})["figures"]["output_tokens_per_s"] is None


def test_why_a_run_ended():
    assert why("", 124) == "it did not finish in time"
    assert why("a\nvllm: error: unrecognized arguments: --x\nbye\n", 2) == "vllm: error: unrecognized arguments: --x"
    assert why("", 1) == "it printed nothing"


# -- how it is judged -------------------------------------------------------------------------------------------------

NODE = {
    "image": "quay.io/ascend/vllm-ascend:v0.20.2rc1",
    "image_id": "sha256:0f1e",
    "image_digests": [],
    "container_started_at": 1800000000.5,
    "vllm": "0.20.2",
    "driver": "25.2.0",
    "npus": ["910B3"],
    "kernel": "5.10",
    "machine": "aarch64",
    "cpus": 192,
}
COUNTERS = {
    "prefix_queries": 400.0,
    "prefix_hits": 100.0,
    "preemptions": 0.0,
    "requests": 8.0,
    "generated": 256.0,
    "draft_tokens": None,
    "accepted_tokens": None,
}


def told(scenario="tiny", counted=(), **result):
    run = dict(read(result_of(**result)), scenario=scenario, command=["vllm", "bench", "serve"], seed=7)
    run.update(started_at=1800000100.0, seconds=20.0, counters=dict(COUNTERS, **dict(counted)))
    return {"runs": [run], "skipped": [], "sweep": None, "node": dict(NODE)}


def reported(published=20.0, gate=0.97, own=(), status=None, sweep=None, measured=None, **result):
    chosen = benchmark_scenarios(
        SETTINGS,
        "a2",
        [dict(OWN, published={"output_tokens_per_s": published} if published else {}, **dict(own))],
        ["tiny"],
    )
    assert chosen["errors"] == []
    chosen["sweep"] = sweep or {}
    made = benchmark_report(processes(plan(a2())), measured or told(**result), chosen, gate, status)
    (data,) = [json.loads(content) for name, content in made["files"].items() if name.endswith(".json")]
    return made, data


@pytest.mark.parametrize(
    "throughput, verdict", [(20.0, "pass"), (19.41, "pass"), (19.4, "pass"), (19.39, "fail"), (1.0, "fail")]
)
def test_the_gate(throughput, verdict):
    made, data = reported(throughput=throughput)
    assert data["runs"][0]["gate"]["verdict"] == verdict
    assert made["ok"] is data["ok"] is (verdict == "pass") and made["failed"] == ([] if made["ok"] else ["tiny"])


def test_a_failed_gate_says_by_how_much_and_what_to_look_at():
    status = {"problems": [{"host": "a2-node2", "seen": "the CPU governor is powersave", "id": "x", "do": ""}]}
    made, data = reported(throughput=10.0, counted={"preemptions": 4.0}, status=status)
    assert "10.00 output tokens/s are 50.0 % of the published 20.00; wanted 97.0 %" in made["text"]
    assert "look at: Status: a2-node2: the CPU governor is powersave" in made["text"]
    assert "preempted 4 times, as the KV cache was full" in made["text"]
    assert data["provenance"]["problems"] == ["a2-node2: the CPU governor is powersave"]


def test_work_that_was_not_done_fails_whatever_the_figures():
    made, data = reported(failed=2, throughput=99.0)
    assert data["runs"][0]["gate"]["verdict"] == "fail" and "6 of 8 requests were answered, 2 failed" in made["text"]
    made, data = reported(output=20, throughput=99.0)
    assert "160 tokens were generated; wanted 256" in made["text"] and not made["ok"]
    assert not reported(gate=0, failed=1)[0]["ok"] and reported(gate=0, throughput=1.0)[0]["ok"]


def test_figures_of_another_topology_are_not_judged():
    made, data = reported(own={"topology": {"tensor-parallel-size": 4, "data-parallel-size": 4}}, throughput=1.0)
    gate = data["runs"][0]["gate"]
    assert gate["verdict"] == "not judged" and made["ok"]
    assert "data-parallel-size 2 (published with 4), tensor-parallel-size 8 (published with 4)" in gate["reasons"][0]
    same = {"topology": {"tensor-parallel-size": 8, "data-parallel-size": 2}}
    assert reported(own=same, throughput=1.0)[1]["runs"][0]["gate"]["verdict"] == "fail"


def test_without_a_figure_nothing_is_judged():
    made, data = reported(published=None, throughput=1.0)
    assert data["runs"][0]["gate"]["verdict"] == "not judged" and "no published figure to compare with" in made["text"]


def test_other_requests_are_reported():
    assert "other requests" not in reported(counted={"requests": 10.0})[0]["text"]
    assert "22 other requests were served at the same time" in reported(counted={"requests": 30.0})[0]["text"]


@pytest.mark.parametrize("gate", ["much", -1, 97, True])
def test_a_gate_that_is_no_share(gate):
    with pytest.raises(Exception, match="vllm_benchmark_gate is .*; wanted a share such as 0.97"):
        reported(gate=gate)


def test_where_figures_come_from():
    made, data = reported()
    provenance = data["provenance"]
    assert provenance["time"] == "2027-01-15T08:01:40Z" and provenance["hosts"] == ["a2-node1", "a2-node2"]
    assert (provenance["driver"], provenance["npus"], provenance["image_id"]) == ("25.2.0", ["910B3"], "sha256:0f1e")
    assert len(provenance["plan_sha256"]) == 64 and provenance["topology"]["data-parallel-size"] == 2
    assert sorted(made["files"]) == ["default-20270115T080140Z" + end for end in (".html", ".json", ".md")]
    assert data["runs"][0]["command"] == "vllm bench serve" and data["runs"][0]["seed"] == 7


# -- pages ------------------------------------------------------------------------------------------------------------


def page_of(made, end):
    (content,) = [content for name, content in made["files"].items() if name.endswith(end)]
    return content


def test_the_page_has_its_plots_in_it_and_fetches_nothing():
    sweep = {"scenario": "tiny", "statistic": "p99", "ttft_ms": 150, "tpot_ms": 0}
    measured = told()
    point = dict(measured["runs"][0], concurrency=4, missed=[])
    measured["sweep"] = {"points": [point, dict(point, concurrency=8, missed=["p99_ttft_ms"])], "best": 4}
    measured["skipped"] = [{"name": "<big>", "reason": "too long"}]
    made, data = reported(sweep=sweep, measured=measured)
    page = page_of(made, ".html")
    body = page[page.index("<body>") : page.index("</body>") + 7]
    tree = xml.etree.ElementTree.fromstring(body)  # well-formed, and nothing escapes
    assert len(tree.findall(".//svg")) == 4 + 3  # throughput and three distributions; three of the sweep
    assert all(svg.find("polyline") is not None for svg in tree.findall(".//svg")[1:])
    for word in ("src=", "@import", "<script", "url("):
        assert word not in page
    assert "&lt;big&gt;" in page and "best 4" in page and data["sweep"]["target"]["ttft_ms"] == 150
    assert "p99_ttft_ms" in made["text"] and "the highest concurrency that meets it: 4" in made["text"]
    assert "| output tokens/s | 20 | 20 | 100.0 % (better) |" in page_of(made, ".md")


@pytest.mark.parametrize("low, high", [(0, 1), (0, 0.003), (0, 4803), (0, 7)])
def test_ticks(low, high):
    values = ticks(low, high)
    assert 1 <= len(values) <= 6 and all(low <= value <= high + 1e-9 for value in values)


# -- sweep ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "first, last, limit, best", [(1, 64, 23, 22), (1, 64, 0, 0), (1, 16, 99, 16), (4, 100, 100, 100), (3, 3, 2, 0)]
)
def test_the_search_finds_the_highest_level_to_within_a_tenth(first, last, limit, best):
    asked = []

    def measure(level):
        asked.append(level)
        return {"concurrency": level, "missed": [] if level <= limit else ["p99_ttft_ms"]}

    found = search(measure, first, last)
    assert best <= found["best"] <= limit and (found["best"] or not best)
    assert len(asked) == len(set(asked)) <= 14 and max(asked) <= last
    assert [point["concurrency"] for point in found["points"]] == sorted(asked)


def test_what_of_a_latency_was_missed():
    figures = read(result_of())["figures"]
    assert missed(figures, {"statistic": "p99", "ttft_ms": 100, "tpot_ms": 20}) == []
    assert missed(figures, {"statistic": "mean", "ttft_ms": 99, "tpot_ms": 0}) == ["mean_ttft_ms"]
    assert missed(read(result_of(failed=1))["figures"], {"statistic": "p99", "ttft_ms": 0, "tpot_ms": 50}) == ["failed"]


# -- comparing --------------------------------------------------------------------------------------------------------


def compared(tmp_path, *changes):
    """The comparison of a result with others, each changed by a function."""
    paths = []
    for index, change in enumerate((lambda data: None, *changes)):
        data = copy.deepcopy(reported()[1])
        change(data)
        path = tmp_path / f"{index}.json"
        path.write_text(json.dumps(data))
        paths.append(str(path))
    return benchmark_compare(paths)


def faster(data):
    data["runs"][0]["figures"]["output_tokens_per_s"] = 25.0
    data["provenance"].update(driver="25.3.0", arguments="--max-num-seqs 256")


def test_results_side_by_side(tmp_path):
    seen = compared(tmp_path, faster)
    assert seen["errors"] == []
    assert "25 (+25.0 %)" in seen["text"] and "20" in seen["text"]
    assert "B: 25.3.0" in seen["text"] and "--max-num-seqs 256" in seen["text"]
    assert "| output tokens/s | 20 | 25 (+25.0 %) |" in seen["markdown"]


def put(*path, value):
    def change(data):
        for key in path[:-1]:
            data = data[key]
        data[path[-1]] = value

    return change


@pytest.mark.parametrize(
    "change, said",
    [
        (put("provenance", "topology", "tensor-parallel-size", value=4), "tensor-parallel-size 8 and 4"),
        (put("provenance", "nodes", value=1), "nodes 2 and 1"),
        (put("provenance", "hardware", value="a3"), "hardware a2 and a3"),
        (put("provenance", "npus", value=["910B1"]), "npus 910B3 and 910B1"),
        (put("provenance", "model", value="M3"), "model MiniMax-M2.5 and M3"),
        (put("runs", 0, "scenario", "output_tokens", value=64), "output_tokens of tiny: 32 and 64"),
        (put("runs", 0, "scenario", "concurrency", value=2), "concurrency of tiny: not set and 2"),
        (put("runs", 0, "scenario", "name", value="other"), "the scenario tiny is in the first alone"),
        (put("runs", 0, "figures", "failed", value=1), "the work of tiny was not done"),
        (put("schema_version", value=99), "is no result of benchmark.yml"),
    ],
)
def test_what_must_not_be_compared_is_refused(tmp_path, change, said):
    seen = compared(tmp_path, change)
    assert said in "\n".join(seen["errors"]) and seen["text"] == ""


def test_files_that_are_not_there(tmp_path):
    assert "/nowhere/x.json: cannot be read" in benchmark_compare(["/nowhere/x.json"])["errors"][0]
    assert "vllm_benchmark_files names 0 file(s)" in benchmark_compare([])["errors"][0]
    (tmp_path / "list.json").write_text("[]")
    assert "is no result of benchmark.yml" in benchmark_compare([str(tmp_path / "list.json")])["errors"][0]


def test_a3_is_measured_on_one_node():
    chosen = benchmark_scenarios(SETTINGS, "a3", names=["3.5k-1.5k"])
    measured = told("3.5k-1.5k", prompts=217, output=1500, throughput=4700.0, counted={"requests": 217.0})
    made = benchmark_report(processes(plan(a3())), measured, chosen, 0.97)
    assert made["ok"] and "97.8 % of the published 4803.81 (wanted 97 %)" in made["text"]
