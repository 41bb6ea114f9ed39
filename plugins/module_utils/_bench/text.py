# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A benchmark's result as text for the screen and as Markdown. Runs on the controller."""

from __future__ import annotations

from ansible_collections.ascend_ops.vllm.plugins.module_utils._bench.scenario import PUBLISHED

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


def shown(value):
    """A figure as text, ``-`` for None."""
    if value is None:
        return "-"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    return f"{value:.0f}" if value == int(value) else f"{value:.3f}" if value < 1 else f"{value:.2f}"


def rows(run):
    """``[[label, measured, published, comparison]]`` of a run, without figures that are unknown on both sides."""
    result = []
    for key, label in ROWS:
        seen, published = run["figures"].get(key), run["published"].get(key)
        if seen is None and published is None:
            continue
        ratio = ""
        if seen and published:
            better = seen >= published if PUBLISHED.get(key, True) else seen <= published
            ratio = f"{100 * seen / published:.1f} % ({'better' if better else 'worse'})"
        result.append([label, shown(seen), shown(published), ratio])
    return result


def table(head, body):
    """Lines of a table, the first column aligned left and the others right."""
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
        common = f"{scenario['prefixes']} prefix{'es' if scenario['prefixes'] > 1 else ''} in common"
        tokens = f"{scenario['prefix_tokens']} + {scenario['suffix_tokens']} tokens in ({common})"
    else:
        tokens = f"{scenario['input_tokens']} random tokens in"
    at_once = f"{scenario['concurrency']} at once" if scenario["concurrency"] else "all at once"
    rate = f", {scenario['request_rate']} requests/s" if scenario["request_rate"] else ""
    return f"{tokens}, {scenario['output_tokens']} out, {scenario['prompts']} prompts, {at_once}{rate}"


def verdict_line(run):
    """The gate of a run in one line."""
    gate = run["gate"]
    if gate["verdict"] == "pass":
        text = (
            f"{shown(gate['seen'])} output tokens/s, {100 * gate['share']:.1f} % of the published "
            f"{shown(gate['published'])} (wanted {100 * gate['least']:.0f} %)"
        )
        return "pass        " + "; ".join([text, *gate["reasons"]])
    return f"{gate['verdict']:<12}{'; '.join(gate['reasons'])}"


def text(result):
    """A result for the screen."""
    provenance = result["provenance"]
    lines = [
        "replica {replica}: {model} {checkpoint} on {image} ({nodes} x {hardware})".format(
            **{**provenance, "replica": result["replica"], "hardware": provenance["hardware"].upper()}
        )
    ]
    for run in result["runs"]:
        lines += ["", f"{run['scenario']['name']}: {lengths(run['scenario'])}"]
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
    found = f"the highest concurrency that meets it: {sweep['best']}" if sweep["best"] else "no concurrency meets it"
    return ["sweep: " + found] + [
        "  " + line for line in table(["at once", "output tokens/s", "p99 TTFT ms", "p99 TPOT ms", ""], body)
    ]


def markdown(result):
    """A result as a page of Markdown."""
    provenance = result["provenance"]
    lines = [f"# Benchmark of replica {result['replica']}, {provenance['time']}", ""]
    lines += ["The published figures were not measured here: each scenario names its source.", ""]
    for run in result["runs"]:
        scenario = run["scenario"]
        lines += ["## " + scenario["name"], "", lengths(scenario) + ".", ""]
        lines += md_table(["", "measured", "published", "of the published"], rows(run))
        lines += ["", f"Gate: **{run['gate']['verdict']}**. {'; '.join(run['gate']['reasons'])}".rstrip(), ""]
        lines += ["- " + hint for hint in run["look_at"]] + ([""] if run["look_at"] else [])
        if scenario["source"]:
            note = f" {scenario['note']}" if scenario["note"] else ""
            lines += [f"Published by: <{scenario['source']}>.{note}", ""]
        lines += ["```", run["command"], "```", ""]
    for entry in result["skipped"]:
        lines += [f"## {entry['name']}", "", f"Not run: {entry['reason']}.", ""]
    if result["sweep"]:
        lines += ["## Sweep", "", "```"] + sweep_lines(result["sweep"]) + ["```", ""]
    lines += ["## What was measured", ""]
    lines += md_table(["", ""], provenance_rows(provenance))
    return "\n".join(lines) + "\n"


def provenance_rows(provenance):
    """``[[name, value]]`` of what the figures depend on."""
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
        "image_id",
        "image_digests",
        "vllm",
        "container_started_at",
        "kernel",
        "machine",
        "plan_sha256",
        "problems",
    )
    return [[name.replace("_", " "), words(provenance.get(name))] for name in names]


def words(value):
    """A value of the provenance as text."""
    if isinstance(value, dict):
        return ", ".join(f"{key} {value[key]}" for key in sorted(value))
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return str(value) if value not in (None, "") else "unknown"


def md_table(head, body):
    """Lines of a table in Markdown."""
    cells = [head, ["---"] * len(head)] + body
    return ["| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in cells]
