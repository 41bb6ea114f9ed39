# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a benchmark measured, compared with published figures: data in, data out. Runs on the controller.

A gate is ``pass``, ``fail``, or ``not judged`` where there is nothing to compare with.
"""

from __future__ import annotations

import hashlib
import json
import shlex
import time

from ansible_collections.ascend_ops.vllm.plugins.module_utils._bench.scenario import (
    WORK,
    as_number,
    other_topology,
    topology_of,
)

SCHEMA_VERSION = 1
GATED = "output_tokens_per_s"


def gate_of(value):
    """The gate as a share; raises ValueError with what was wanted."""
    value = as_number(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 2:
        raise ValueError(f"vllm_benchmark_gate is {value!r}; wanted a share such as 0.97, 0 for no gate.")
    return float(value)


def report(member, measured, scenarios, gate, status=None):
    """The whole result of one replica, as benchmark.yml writes it to its JSON file.

    :param member: the replica's processes of the plan, the one that serves the API first.
    :param measured: what the module vllm_bench returned.
    :param scenarios: the scenarios that were run, as :func:`scenario.choose` returns them.
    :param gate: the least share of the published output throughput, such as 0.97.
    :param status: the replica as ``status_report`` has it.
    """
    first = member[0]
    known = {scenario["name"]: scenario for scenario in scenarios}
    actual = topology_of(first["argv"])
    runs = [_run(run, known[run["scenario"]], actual, float(gate)) for run in measured["runs"]]
    problems = ["{host}: {seen}".format(**problem) for problem in (status or {}).get("problems", [])]
    for run in runs:
        run["look_at"] = look_at(run, problems) if run["gate"]["verdict"] == "fail" else []
    sweep = measured.get("sweep")
    return {
        "schema_version": SCHEMA_VERSION,
        "replica": first["replica"],
        "ok": all(run["gate"]["verdict"] != "fail" for run in runs),
        "runs": runs,
        "skipped": measured.get("skipped") or [],
        "sweep": sweep and dict(sweep, points=[dict(point, figures=_figures(point)) for point in sweep["points"]]),
        "provenance": _provenance(member, measured["node"], actual, runs, problems),
    }


def _figures(run):
    figures = dict(run["figures"])
    counters = run["counters"]
    figures["prefix_hit_rate"] = _share(counters["prefix_hits"], counters["prefix_queries"])
    figures["accepted_drafts"] = _share(counters["accepted_tokens"], counters["draft_tokens"])
    return figures


def _share(part, whole):
    return round(part / whole, 4) if part is not None and whole else None


def _run(run, scenario, actual, least):
    figures = _figures(run)
    result = {
        "scenario": {key: scenario[key] for key in ("name", "origin", "source", "note", "topology") + WORK},
        "warmup_prompts": scenario["warmup_prompts"],
        "published": scenario["published"],
        "figures": figures,
        "quantiles": run["quantiles"],
        "counters": run["counters"],
        "command": " ".join(shlex.quote(word) for word in run["command"]),
        "seed": run["seed"],
        "started_at": _utc(run["started_at"]),
    }
    result["gate"] = judge(scenario, figures, run["counters"], actual, least)
    return result


def judge(scenario, figures, counters, actual, least):
    """The gate of a run: ``{"verdict", "least", "published", "wanted", "seen", "share", "reasons"}``, throughput in tokens/s."""
    published = scenario["published"].get(GATED)
    seen = figures[GATED]
    gate = {
        "verdict": "pass",
        "least": least,
        "published": published,
        "wanted": round(published * least, 2) if published else None,
        "seen": seen,
        "share": round(seen / published, 4) if published and seen else None,
        "reasons": [],
    }
    work = undone(scenario, figures)
    if work:
        gate.update(verdict="fail", reasons=work)
        return gate
    others = None if counters["requests"] is None else int(counters["requests"] - scenario["prompts"])
    # Some releases of vLLM send the first prompt once more before they begin; the supervisor probes now and then.
    if others is not None and others > max(2, scenario["prompts"] // 20):
        gate["reasons"].append(f"{others} other requests were served at the same time")
    different = other_topology(scenario, actual)
    if not published:
        gate.update(verdict="not judged", reasons=gate["reasons"] + ["there is no published figure to compare with"])
    elif different:
        gate.update(verdict="not judged", reasons=gate["reasons"] + ["another topology: " + ", ".join(different)])
    elif seen < published * least:
        gate["verdict"] = "fail"
        gate["reasons"].insert(
            0,
            f"{seen:.2f} output tokens/s are {100 * seen / published:.1f} % of the published {published:.2f}; wanted {100 * least:.1f} %",
        )
    return gate


def undone(scenario, figures):
    """What of the work was not done, as texts: then no figure counts."""
    reasons = []
    if figures["failed"] or figures["completed"] != scenario["prompts"]:
        reasons.append(
            f"{figures['completed']} of {scenario['prompts']} requests were answered, {figures['failed'] or 0} failed"
        )
    wanted = scenario["prompts"] * scenario["output_tokens"]
    if not reasons and figures["output_tokens"] is not None and figures["output_tokens"] < 0.99 * wanted:
        reasons.append(f"{figures['output_tokens']} tokens were generated; wanted {wanted}")
    return reasons


def look_at(run, problems):
    """Where to look after a failed gate, as texts, what was observed first."""
    figures, published, counters = run["figures"], run["published"], run["counters"]
    hints = ["Status: " + problem for problem in problems]
    if figures["failed"]:
        hints.append("Requests failed: read the container's log ('logs.yml').")
    for reason in run["gate"]["reasons"]:
        if "other requests" in reason:
            hints.append(f"Other clients used the service: {reason}. Measure again without them.")
    if counters["preemptions"]:
        hints.append(
            f"Requests were preempted {counters['preemptions']:.0f} times, as the KV cache was full: raise "
            "gpu-memory-utilization, or lower max-num-seqs."
        )
    hit, wanted = figures["prefix_hit_rate"], published.get("prefix_hit_rate")
    if wanted and hit is not None and hit < 0.97 * wanted:
        hints.append(
            f"Prefix hit rate {hit:.2f} (published {wanted:.2f}): is prefix caching on, and the KV cache large enough?"
        )
    slower = [
        name
        for name in ("mean_ttft_ms", "mean_tpot_ms")
        if published.get(name) and figures[name] and figures[name] > published[name]
    ]
    if slower == ["mean_ttft_ms"]:
        hints.append("Only TTFT is slower: the prefill or the queue; max-num-batched-tokens, max-num-seqs.")
    elif slower == ["mean_tpot_ms"]:
        hints.append("Only TPOT is slower: the decode; CPU governor and binding, graph mode, speculation, fabric.")
    hints.append(
        "Host and NPUs: 'verify.yml' (governor, sysctls), 'preflight.yml' (health, HBM, fabric), 'npu-smi info' (clock)."
    )
    return hints


def _provenance(member, node, actual, runs, problems):
    first = member[0]
    recipe = first["recipe"]
    plan = [{key: one[key] for key in ("host", "role", "argv", "env", "container", "ranks")} for one in member]
    result = {
        "time": runs[0]["started_at"] if runs else _utc(time.time()),
        "hardware": first["hardware"],
        "nodes": len(member),
        "hosts": [one["host"] for one in member],
        "topology": actual,
        "model": recipe["name"],
        "checkpoint": recipe["checkpoint"],
        "release": recipe["release"],
        "scenarios": recipe["scenarios"],
        "plan_sha256": hashlib.sha256(json.dumps(plan, sort_keys=True).encode("utf-8")).hexdigest(),
        "plan": plan,
        "arguments": " ".join(shlex.quote(word) for word in first["argv"][3:]),
        "problems": problems,
    }
    result.update(node)
    result["container_started_at"] = _utc(node["container_started_at"])
    return result


def _utc(seconds):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(float(seconds)))


def stem(result):
    """The name of a result's files without its suffix: replica and time."""
    when = result["provenance"]["time"].replace("-", "").replace(":", "")
    return f"{_file_name(result['replica'])}-{when}"


def _file_name(text):
    return "".join(letter if letter.isalnum() or letter in "._-" else "-" for letter in str(text))
