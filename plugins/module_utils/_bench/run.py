# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run ``vllm bench serve`` in the container of a service and read what it measured. Runs on the node.

A scenario is what ``scenario.choose`` returns. Times are milliseconds unless a name says otherwise.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
import time

# The service's own environment (CANN, secrets), as its launch script sets it up; the key goes from file to environment and is
# in no argument. Then the words that follow, under a time limit that holds when this program is gone, too.
PROLOGUE = """\
launch=$(sed '/^exec /,$d' /etc/ascend-vllm/launch.sh) || exit 2
eval "$launch"
if [ -n "${VLLM_API_KEY-}" ]; then export OPENAI_API_KEY="$VLLM_API_KEY"; fi
if [ -s "$1/ca.pem" ]; then export SSL_CERT_FILE="$1/ca.pem"; fi
shift
exec timeout -k 10 "$@"
"""
# Sums over all engines of a replica. The counters of newer releases end with _total.
COUNTERS = {
    "prefix_queries": "vllm:prefix_cache_queries",
    "prefix_hits": "vllm:prefix_cache_hits",
    "preemptions": "vllm:num_preemptions",
    "requests": "vllm:request_success",
    "generated": "vllm:generation_tokens",
    "draft_tokens": "vllm:spec_decode_num_draft_tokens",
    "accepted_tokens": "vllm:spec_decode_num_accepted_tokens",
}
GAUGES = {"running": "vllm:num_requests_running", "waiting": "vllm:num_requests_waiting"}
FIGURES = {
    "completed": "completed",
    "failed": "failed",
    "duration_s": "duration",
    "requests_per_s": "request_throughput",
    "output_tokens_per_s": "output_throughput",
    "total_tokens_per_s": "total_token_throughput",
    "input_tokens": "total_input_tokens",
    "output_tokens": "total_output_tokens",
}
LATENCIES = ("ttft", "tpot", "itl")
STATISTICS = ("mean", "median", "p90", "p99")
_SAMPLE = re.compile(r"^(vllm:[a-z0-9_]+?)(?:_total)?(?:\{[^}]*\})? ([0-9.eE+-]+|NaN)$", re.M)


class BenchError(Exception):
    """A benchmark cannot be run or read; the text says what to do."""


def tokens_of(scenario):
    """Tokens of one request of a scenario, input and output."""
    return sum(scenario[key] or 0 for key in ("input_tokens", "prefix_tokens", "suffix_tokens", "output_tokens"))


def command(scenario, service, seed, folder, prompts=None, concurrency=None):
    """The words of ``vllm bench serve`` for a scenario.

    :param service: ``{"url", "model", "tokenizer", "trust_remote_code"}``.
    :param seed: chooses the random prompts.
    :param folder: in the container, for ``result.json``.
    :param prompts, concurrency: instead of the scenario's.
    """
    words = ["vllm", "bench", "serve", "--backend", "vllm", "--endpoint", "/v1/completions"]
    words += ["--base-url", service["url"], "--model", service["model"], "--tokenizer", service["tokenizer"]]
    if service["trust_remote_code"]:
        words.append("--trust-remote-code")
    words += ["--dataset-name", scenario["dataset"]]
    if scenario["dataset"] == "prefix_repetition":
        for name in ("prefix_tokens", "suffix_tokens", "output_tokens"):
            words += ["--prefix-repetition-{0}-len".format(name.partition("_")[0]), str(scenario[name])]
        words += ["--prefix-repetition-num-prefixes", str(scenario["prefixes"])]
    else:
        words += ["--random-input-len", str(scenario["input_tokens"])]
        words += ["--random-output-len", str(scenario["output_tokens"])]
    words += ["--num-prompts", str(prompts or scenario["prompts"])]
    concurrency = concurrency or scenario["concurrency"]
    if concurrency:
        words += ["--max-concurrency", str(concurrency)]
    words += ["--request-rate", str(scenario["request_rate"] or "inf"), "--ignore-eos", "--seed", str(seed)]
    words += ["--percentile-metrics", ",".join(LATENCIES), "--metric-percentiles", "90,99"]
    words += scenario["extra_args"]
    return (
        words
        + ["--disable-tqdm", "--save-result", "--save-detailed", "--result-dir", folder]
        + [
            "--result-filename",
            "result.json",
        ]
    )


# -- reading ----------------------------------------------------------------------------------------------------------


def counters(text):
    """COUNTERS and GAUGES of a service, summed over its engines, from the text of ``/metrics``; None for one that is absent."""
    sums = {}
    for name, value in _SAMPLE.findall(text):
        sums[name] = sums.get(name, 0.0) + float(value)
    return {key: sums.get(name) for key, name in list(COUNTERS.items()) + list(GAUGES.items())}


def growth(before, after):
    """What the counters grew by; None where one is absent, or shrank since the service was restarted."""
    return {
        key: after[key] - before[key]
        if before[key] is not None and after[key] is not None and after[key] >= before[key]
        else None
        for key in COUNTERS
    }


def quantiles(values, digits=3):
    """101 numbers: the value that 0, 1, ... 100 % of *values* do not exceed; empty without values."""
    values = sorted(values)
    if not values:
        return []
    last = len(values) - 1
    result = []
    for percent in range(101):
        place = last * percent / 100.0
        low = int(place)
        high = min(low + 1, last)
        result.append(round(values[low] + (values[high] - values[low]) * (place - low), digits))
    return result


def read(result):
    """``{"figures", "quantiles"}`` of the JSON that ``vllm bench serve --save-detailed`` wrote."""
    figures = {name: _number(result.get(key)) for name, key in FIGURES.items()}
    if figures["failed"] is None:  # older releases do not count them
        figures["failed"] = sum(1 for error in result.get("errors") or () if error)
    for name in LATENCIES:
        for statistic in STATISTICS:
            figures[f"{statistic}_{name}_ms"] = _number(result.get(f"{statistic}_{name}_ms"))
    good = [not error for error in result.get("errors") or ()]
    ttfts, itls, lengths = (result.get(name) or [] for name in ("ttfts", "itls", "output_lens"))
    good += [True] * (len(ttfts) - len(good))
    values = {
        "ttft": [1000 * ttft for ttft, fine in zip(ttfts, good) if fine],
        # As vLLM has it: the time after the first token, over the tokens after it.
        "tpot": [
            1000 * sum(gaps) / (length - 1) for gaps, length, fine in zip(itls, lengths, good) if fine and length > 1
        ],
        "itl": [1000 * gap for gaps, fine in zip(itls, good) if fine for gap in gaps],
    }
    return {"figures": figures, "quantiles": {name: quantiles(values[name]) for name in LATENCIES}}


def _number(value):
    return round(value, 3) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def why(output, rc):
    """Why a run ended without a result, in one line, from its output and exit code."""
    if rc == 124:
        return "it did not finish in time"
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if re.search(r"error|refused|invalid|no such|not found", line, re.I)]
    return (errors or lines or ["it printed nothing"])[-1][:300]


# -- running ----------------------------------------------------------------------------------------------------------


class Bench:
    """Measures the service of a container. A context: the files it puts into the container are removed at its end.

    :param engine: an ``Engine``.
    :param name: the container.
    :param client: a ``Client`` of the service.
    :param service: as :func:`command` wants it.
    :param timeout: seconds that one run may take.
    :param ca: text of the certificates to verify the service with; empty for the system's.
    """

    def __init__(self, engine, name, client, service, timeout, ca=""):
        self.engine = engine
        self.name = name
        self.client = client
        self.service = service
        self.timeout = timeout
        self.ca = ca
        self.folder = ""

    def __enter__(self):
        self.folder = self.engine.call(["exec", self.name, "mktemp", "-d", "/tmp/ascend-vllm-bench.XXXXXX"])[1].strip()
        if self.ca:
            words = ["exec", "--interactive", self.name, "sh", "-c", 'cat > "$1"/ca.pem', "sh", self.folder]
            self.engine.call(words, given=self.ca)
        return self

    def __exit__(self, *unused):
        self.engine.call(["exec", self.name, "rm", "-rf", self.folder], check=False)

    def idle(self, patience=15):
        """Wait until the service is idle, at most *patience* seconds, and return its counters. Raises BenchError.

        Tokens for other requests would be missing from the figures. Two looks must agree, since between short requests there is
        a moment without one.
        """
        end = time.time() + patience
        last = None
        while True:
            seen = counters(self.client.text("/metrics", 10))
            if seen == last and not any(seen[key] for key in GAUGES):
                return seen
            if time.time() > end:
                raise BenchError(
                    "the service is busy: {0:.0f} requests run or wait, and {1:.0f} tokens were generated within a second. They "
                    "would distort the figures. Keep clients away, or wait for the benchmark that still runs.".format(
                        sum(seen[key] or 0 for key in GAUGES),
                        (seen["generated"] or 0) - ((last or seen)["generated"] or 0),
                    )
                )
            last = seen
            time.sleep(1)

    def measure(self, scenario, seed, prompts=None, concurrency=None):
        """One run: ``{"command", "seed", "started_at", "seconds", "figures", "quantiles", "counters"}``. Raises BenchError."""
        words = command(scenario, self.service, seed, self.folder, prompts, concurrency)
        before = self.idle()
        started = time.time()
        rc, output = self.engine.call(
            ["exec", self.name, "/bin/bash", "-c", PROLOGUE, "bench", self.folder, str(self.timeout)] + words,
            timeout=self.timeout + 30,
            check=False,
        )
        seconds = time.time() - started
        after = counters(self.client.text("/metrics", 10))
        result = self._result() if rc == 0 else None
        if result is None:
            raise BenchError(
                "vllm bench serve of {0} ended with exit code {1} after {2:.0f} s: {3} See the log of the container "
                "{4}, and 'vllm_benchmark_timeout' ({5} s).".format(
                    scenario["name"], rc, seconds, why(output, rc), self.name, self.timeout
                )
            )
        return dict(
            read(result), command=words, seed=seed, started_at=started, seconds=seconds, counters=growth(before, after)
        )

    def _result(self):
        """The result that a run wrote, or None. It is copied, since it may exceed what is read of a command's output."""
        place = tempfile.mkdtemp(prefix="ascend-vllm-bench-")
        try:
            path = os.path.join(place, "result.json")
            inside = self.folder + "/result.json"
            rc, unused = self.engine.call(["cp", f"{self.name}:{inside}", path], check=False)
            self.engine.call(["exec", self.name, "rm", "-f", inside], check=False)
            if rc != 0:
                return None
            with open(path, encoding="utf-8") as stream:
                return json.load(stream)
        except ValueError:
            return None
        finally:
            shutil.rmtree(place, ignore_errors=True)

    def run(self, scenario, seed):
        """Warm up with prompts that differ from the measured ones, so that none is in the cache, then measure."""
        if scenario["warmup_prompts"]:
            self.measure(scenario, seed + 1, prompts=scenario["warmup_prompts"])
        return dict(self.measure(scenario, seed), scenario=scenario["name"])

    def sweep(self, scenario, seed, target):
        """Runs at rising concurrency, then between the last that met the *target* and the first that missed it: as :func:`search`."""

        def measure(concurrency):
            prompts = max(target["rounds"] * concurrency, target["rounds"])
            run = self.measure(scenario, seed + 2 + concurrency, prompts=prompts, concurrency=concurrency)
            return dict(run, concurrency=concurrency, missed=missed(run["figures"], target))

        if scenario["warmup_prompts"]:
            self.measure(scenario, seed + 1, prompts=scenario["warmup_prompts"])
        return search(measure, target["first"], target["last"])


def missed(figures, target):
    """What of a latency target a run missed, such as ``["p99_ttft_ms"]``; ``failed`` where requests failed."""
    result = []
    for name in ("ttft", "tpot"):
        limit = target.get(name + "_ms")
        key = "{0}_{1}_ms".format(target["statistic"], name)
        if limit and (figures[key] is None or figures[key] > limit):
            result.append(key)
    if figures["failed"] or not figures["completed"]:
        result.append("failed")
    return result


def search(measure, first, last):
    """Find the highest concurrency whose run misses nothing: ``{"points", "best"}``, *best* 0 for none.

    It is doubled from *first* until a run misses or *last* is reached, then bisected to within a tenth.

    :param measure: a function of a concurrency that returns a run with its ``missed``.
    """
    points = {}

    def good(level):
        if level not in points:
            points[level] = measure(level)
        return not points[level]["missed"]

    level, best, worst = first, 0, None
    while worst is None:
        if good(level):
            best = level
            if level >= last:
                break
            level = min(2 * level, last)
        else:
            worst = level
    while worst is not None and best and worst - best > max(1, best // 10):
        level = (best + worst) // 2
        if good(level):
            best = level
        else:
            worst = level
    return {"points": [points[level] for level in sorted(points)], "best": best}
