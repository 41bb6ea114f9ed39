# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a benchmark measured, judged against published figures, as data and as text; and several of them compared.

Pure: dictionaries in, dictionaries and text out. A gate is ``pass``, ``fail``, or ``not judged`` where there is nothing
that the figures may be held against.
"""

from __future__ import annotations

import hashlib
import json
import shlex
import time

from ansible_collections.ascend_ops.vllm.plugins.module_utils._bench.scenario import (
    PUBLISHED,
    TOPOLOGY,
    WORK,
    as_number,
    other_topology,
    topology_of,
)

SCHEMA_VERSION = 1
GATED = "output_tokens_per_s"
# Figures of a table, with how they are called.
ROWS = (
    ("output_tokens_per_s", "output tokens/s"),
    ("total_tokens_per_s", "total tokens/s"),
    ("requests_per_s", "requests/s"),
    ("mean_ttft_ms", "mean TTFT ms"),
    ("p99_ttft_ms", "p99 TTFT ms"),
    ("mean_tpot_ms", "mean TPOT ms"),
    ("p99_tpot_ms", "p99 TPOT ms"),
    ("mean_itl_ms", "mean ITL ms"),
    ("p99_itl_ms", "p99 ITL ms"),
    ("prefix_hit_rate", "prefix hit rate"),
    ("accepted_drafts", "accepted draft tokens"),
    ("duration_s", "duration s"),
)
# What may not differ between results that are compared, beside the work itself.
SAME = ("hardware", "nodes", "npus", "model")
# What a comparison is for.
MAY_DIFFER = (
    "checkpoint",
    "release",
    "scenarios",
    "image",
    "image_id",
    "vllm",
    "driver",
    "kernel",
    "machine",
    "arguments",
)


def report(member, told, scenarios, gate, status=None):
    """The whole result of one replica.

    :param member: the replica's nodes of the plan, that with the API first.
    :param told: what the module vllm_bench returned.
    :param scenarios: as they were run.
    :param gate: the least share of the published output throughput.
    :param status: the replica as ``status_report`` has it.
    """
    first = member[0]
    known = {scenario["name"]: scenario for scenario in scenarios}
    actual = topology_of(first["argv"])
    runs = [_run(run, known[run["scenario"]], actual, float(gate)) for run in told["runs"]]
    problems = ["{host}: {seen}".format(**problem) for problem in (status or {}).get("problems", [])]
    for run in runs:
        run["look_at"] = look_at(run, problems) if run["gate"]["verdict"] == "fail" else []
    sweep = told.get("sweep")
    return {
        "schema_version": SCHEMA_VERSION,
        "replica": first["replica"],
        "ok": all(run["gate"]["verdict"] != "fail" for run in runs),
        "runs": runs,
        "skipped": told.get("skipped") or [],
        "sweep": sweep and dict(sweep, points=[dict(point, figures=_figures(point)) for point in sweep["points"]]),
        "provenance": _provenance(member, told["node"], actual, runs, problems),
    }


def _figures(run):
    figures = dict(run["figures"])
    counters = run["counters"]
    figures["prefix_hit_rate"] = _share(counters["prefix_hits"], counters["prefix_queries"])
    figures["accepted_drafts"] = _share(counters["accepted_tokens"], counters["draft_tokens"])
    return figures


def _share(part, whole):
    return round(part / float(whole), 4) if part is not None and whole else None


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
    """``{"verdict", "least", "wanted", "seen", "share", "reasons"}`` of a run."""
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
    # vLLM sends the first prompt once more before it begins, in some releases; the supervisor asks now and then.
    if others is not None and others > max(2, scenario["prompts"] // 20):
        gate["reasons"].append(f"{others} other requests were served meanwhile")
    different = other_topology(scenario, actual)
    if not published:
        gate.update(verdict="not judged", reasons=gate["reasons"] + ["there is no figure to hold it against"])
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
    """What of the work was not done: then no figure counts."""
    reasons = []
    if figures["failed"] or figures["completed"] != scenario["prompts"]:
        reasons.append(
            "{0} of {1} requests were answered, {2} failed".format(
                figures["completed"], scenario["prompts"], figures["failed"] or 0
            )
        )
    wanted = scenario["prompts"] * scenario["output_tokens"]
    if not reasons and figures["output_tokens"] is not None and figures["output_tokens"] < 0.99 * wanted:
        reasons.append("{0} tokens were put out; wanted {1}".format(figures["output_tokens"], wanted))
    return reasons


def look_at(run, problems):
    """What to look at after a failed gate, what was seen first."""
    figures, published, counters = run["figures"], run["published"], run["counters"]
    hints = ["Status: " + problem for problem in problems]
    if figures["failed"]:
        hints.append("Requests failed: see the log of the container ('logs.yml').")
    for reason in run["gate"]["reasons"]:
        if "other requests" in reason:
            hints.append(f"Others used the service: {reason}. Measure again without them.")
    if counters["preemptions"]:
        hints.append(
            "Requests were preempted {0:.0f} times for want of KV cache: raise gpu-memory-utilization, or lower "
            "max-num-seqs.".format(counters["preemptions"])
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
    """The name of a result's files, without what they end in."""
    when = result["provenance"]["time"].replace("-", "").replace(":", "")
    return "{0}-{1}".format(_file_name(result["replica"]), when)


def _file_name(text):
    return "".join(letter if letter.isalnum() or letter in "._-" else "-" for letter in str(text))


# -- text -------------------------------------------------------------------------------------------------------------


def shown(value):
    """A figure as it is printed."""
    if value is None:
        return "-"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    return f"{value:.0f}" if value == int(value) else f"{value:.3f}" if value < 1 else f"{value:.2f}"


def rows(run):
    """``[[label, measured, published, how it compares]]`` of a run; figures that nobody told are left out."""
    result = []
    for key, label in ROWS:
        seen, published = run["figures"].get(key), run["published"].get(key)
        if seen is None and published is None:
            continue
        ratio = ""
        if seen and published:
            better = seen >= published if PUBLISHED.get(key, True) else seen <= published
            ratio = "{0:.1f} % ({1})".format(100 * seen / published, "better" if better else "worse")
        result.append([label, shown(seen), shown(published), ratio])
    return result


def table(head, body):
    """Lines of a table in columns, the first to the left and the others to the right."""
    lines = [head] + body
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return [
        "  ".join(
            [line[0].ljust(widths[0])] + [cell.rjust(width) for cell, width in zip(line[1:], widths[1:])]
        ).rstrip()
        for line in lines
    ]


def lengths(scenario):
    """A scenario's work in words."""
    if scenario["dataset"] == "prefix_repetition":
        tokens = "{0} + {1} tokens in ({2} prefix{3} in common)".format(
            scenario["prefix_tokens"],
            scenario["suffix_tokens"],
            scenario["prefixes"],
            "es" if scenario["prefixes"] > 1 else "",
        )
    else:
        tokens = "{0} random tokens in".format(scenario["input_tokens"])
    at_once = scenario["concurrency"]
    return "{0}, {1} out, {2} prompts, {3}{4}".format(
        tokens,
        scenario["output_tokens"],
        scenario["prompts"],
        f"{at_once} at once" if at_once else "all at once",
        ", {0} requests/s".format(scenario["request_rate"]) if scenario["request_rate"] else "",
    )


def verdict_line(run):
    """A gate in one line."""
    gate = run["gate"]
    if gate["verdict"] == "pass":
        text = "{0} output tokens/s, {1:.1f} % of the published {2} (wanted {3:.0f} %)".format(
            shown(gate["seen"]), 100 * gate["share"], shown(gate["published"]), 100 * gate["least"]
        )
        return "pass        " + "; ".join([text] + gate["reasons"])
    return "{0:<12}{1}".format(gate["verdict"], "; ".join(gate["reasons"]))


def text(result):
    """A result for the screen."""
    provenance = result["provenance"]
    lines = [
        "replica {0}: {1} {2} on {3} ({4} x {5})".format(
            result["replica"],
            provenance["model"],
            provenance["checkpoint"],
            provenance["image"],
            provenance["nodes"],
            provenance["hardware"].upper(),
        )
    ]
    for run in result["runs"]:
        lines += ["", "{0}: {1}".format(run["scenario"]["name"], lengths(run["scenario"]))]
        lines += ["  " + line for line in table(["", "measured", "published", "of the published"], rows(run))]
        lines.append("  gate: " + verdict_line(run))
        lines += ["    look at: " + hint for hint in run["look_at"]]
    for entry in result["skipped"]:
        lines += ["", "{name}: not run: {reason}.".format(**entry)]
    if result["sweep"]:
        lines += [""] + sweep_lines(result["sweep"])
    return "\n".join(lines)


def sweep_lines(sweep):
    """A sweep for the screen."""
    body = [
        [
            str(point["concurrency"]),
            shown(point["figures"]["output_tokens_per_s"]),
            shown(point["figures"]["p99_ttft_ms"]),
            shown(point["figures"]["p99_tpot_ms"]),
            "missed " + ", ".join(point["missed"]) if point["missed"] else "met",
        ]
        for point in sweep["points"]
    ]
    found = (
        "the highest concurrency that meets it: {0}".format(sweep["best"])
        if sweep["best"]
        else "no concurrency meets it"
    )
    return ["sweep: " + found] + [
        "  " + line for line in table(["at once", "output tokens/s", "p99 TTFT ms", "p99 TPOT ms", ""], body)
    ]


def markdown(result):
    """A result as a page."""
    provenance = result["provenance"]
    lines = ["# Benchmark of replica {0}, {1}".format(result["replica"], provenance["time"]), ""]
    lines += ["The published figures were not measured here: each scenario names its source.", ""]
    for run in result["runs"]:
        scenario = run["scenario"]
        lines += ["## " + scenario["name"], "", lengths(scenario) + ".", ""]
        lines += _md_table(["", "measured", "published", "of the published"], rows(run))
        lines += [
            "",
            "Gate: **{0}**. {1}".format(run["gate"]["verdict"], "; ".join(run["gate"]["reasons"])).rstrip(),
            "",
        ]
        lines += ["- " + hint for hint in run["look_at"]] + ([""] if run["look_at"] else [])
        if scenario["source"]:
            lines += [
                "Published by: <{0}>.{1}".format(
                    scenario["source"], " " + scenario["note"] if scenario["note"] else ""
                ),
                "",
            ]
        lines += ["```", run["command"], "```", ""]
    for entry in result["skipped"]:
        lines += ["## {name}".format(**entry), "", "Not run: {reason}.".format(**entry), ""]
    if result["sweep"]:
        lines += ["## Sweep", "", "```"] + sweep_lines(result["sweep"]) + ["```", ""]
    lines += ["## What was measured", ""]
    lines += _md_table(["", ""], provenance_rows(provenance))
    return "\n".join(lines) + "\n"


def provenance_rows(provenance):
    """What a reader wants to know of where figures come from."""
    names = (
        "time",
        "hosts",
        "hardware",
        "npus",
        "driver",
        "topology",
        "model",
        "checkpoint",
        "release",
        "scenarios",
        "image",
    )
    names += (
        "image_id",
        "image_digests",
        "vllm",
        "container_started_at",
        "kernel",
        "machine",
        "plan_sha256",
        "problems",
    )
    return [[name.replace("_", " "), _words(provenance.get(name))] for name in names]


def _words(value):
    if isinstance(value, dict):
        return ", ".join(f"{key} {value[key]}" for key in sorted(value))
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return str(value) if value not in (None, "") else "not told"


def _md_table(head, body):
    cells = [head, ["---"] * len(head)] + body
    return ["| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in cells]


# -- comparing --------------------------------------------------------------------------------------------------------


def compare(results):
    """Several results side by side, the first as what the others are held against.

    :param results: ``[{"file": name, "result": what was read from it, or None}]``.
    :return: ``{"errors", "text", "markdown"}``; with errors the rest is empty.
    """
    errors = []
    for entry in results:
        if not isinstance(entry["result"], dict) or entry["result"].get("schema_version") != SCHEMA_VERSION:
            errors.append(
                "{0}: is no result of benchmark.yml; wanted its JSON, schema version {1}.".format(
                    entry["file"], SCHEMA_VERSION
                )
            )
    if len(results) < 2:
        errors.append(f"vllm_benchmark_files names {len(results)} file(s); wanted at least two.")
    if errors:
        return {"errors": errors, "text": "", "markdown": ""}
    base = results[0]
    for other in results[1:]:
        errors.extend(incomparable(base, other))
    if errors:
        return {"errors": errors, "text": "", "markdown": ""}
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    names = [letters[index] if index < 26 else str(index + 1) for index in range(len(results))]
    lines, page = [], ["# Benchmarks compared", ""]
    for name, entry in zip(names, results):
        line = "{0}: {1}, {2}".format(name, entry["file"], entry["result"]["provenance"]["time"])
        lines.append(line)
        page.append("- " + line)
    differences = [
        [key.replace("_", " ")] + [_words(entry["result"]["provenance"].get(key)) for entry in results]
        for key in MAY_DIFFER
        if len({json.dumps(entry["result"]["provenance"].get(key), sort_keys=True) for entry in results}) > 1
    ]
    if differences:
        lines += ["", "What differs:"]
        for row in differences:
            lines += [f"  {row[0]}"] + [f"    {name}: {cell}" for name, cell in zip(names, row[1:])]
        page += ["", "## What differs", ""] + _md_table([""] + names, differences)
    for run in base["result"]["runs"]:
        scenario = run["scenario"]["name"]
        figures = [_run_of(entry["result"], scenario)["figures"] for entry in results]
        body = []
        for key, label in ROWS:
            values = [one.get(key) for one in figures]
            if values[0] is not None:
                body.append([label, shown(values[0])] + [_beside(value, values[0]) for value in values[1:]])
        lines += ["", "{0}: {1}".format(scenario, lengths(run["scenario"]))]
        lines += ["  " + line for line in table([""] + names, body)]
        page += ["", "## " + scenario, "", lengths(run["scenario"]) + ".", ""] + _md_table([""] + names, body)
    return {"errors": [], "text": "\n".join(lines), "markdown": "\n".join(page) + "\n"}


def _beside(value, base):
    if value is None or not base:
        return shown(value)
    return f"{shown(value)} ({100.0 * (value - base) / base:+.1f} %)"


def _run_of(result, name):
    for run in result["runs"]:
        if run["scenario"]["name"] == name:
            return run
    return None


def incomparable(base, other):
    """Why two results must not be compared, as texts; empty where they may."""
    first, second = base["result"]["provenance"], other["result"]["provenance"]
    reasons = [
        f"{key} {_words(first.get(key))} and {_words(second.get(key))}"
        for key in SAME
        if first.get(key) != second.get(key)
    ]
    reasons += [
        "{0} {1} and {2}".format(key, first["topology"].get(key), second["topology"].get(key))
        for key in TOPOLOGY
        if first["topology"].get(key) != second["topology"].get(key)
    ]
    for run in base["result"]["runs"]:
        name = run["scenario"]["name"]
        same = _run_of(other["result"], name)
        if same is None:
            reasons.append(f"the scenario {name} is in the first alone")
            continue
        reasons += [
            "{0} of {1}: {2} and {3}".format(
                key, name, _words(run["scenario"].get(key)), _words(same["scenario"].get(key))
            )
            for key in WORK
            if run["scenario"].get(key) != same["scenario"].get(key)
        ]
        for result, entry in ((run, base), (same, other)):
            for reason in undone(result["scenario"], result["figures"]):
                reasons.append("the work of {0} was not done in {1}: {2}".format(name, entry["file"], reason))
    return ["{0} must not be compared with {1}: {2}.".format(other["file"], base["file"], reason) for reason in reasons]


def gate_of(value):
    """The gate as a share; raises ValueError with what was wanted."""
    value = as_number(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 2:
        raise ValueError(f"vllm_benchmark_gate is {value!r}; wanted a share such as 0.97, 0 for no gate.")
    return float(value)
