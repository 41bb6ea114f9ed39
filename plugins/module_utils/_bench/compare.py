# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Results of several benchmarks side by side. Runs on the controller."""

from __future__ import annotations

import json

from ansible_collections.ascend_ops.vllm.plugins.module_utils._bench.judge import SCHEMA_VERSION, undone
from ansible_collections.ascend_ops.vllm.plugins.module_utils._bench.scenario import TOPOLOGY, WORK
from ansible_collections.ascend_ops.vllm.plugins.module_utils._bench.text import (
    ROWS,
    lengths,
    md_table,
    shown,
    table,
    words,
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


def compare(results):
    """Compare results of benchmark.yml, all with the first.

    :param results: ``[{"file": path, "result": the data read from it, or None}]``.
    :return: ``{"errors", "text", "markdown"}``; with errors the texts are empty.
    """
    errors = [
        f"{entry['file']}: is no result of benchmark.yml; wanted its JSON, schema version {SCHEMA_VERSION}."
        for entry in results
        if not isinstance(entry["result"], dict) or entry["result"].get("schema_version") != SCHEMA_VERSION
    ]
    if len(results) < 2:
        errors.append(f"vllm_benchmark_files names {len(results)} file(s); wanted at least two.")
    if not errors:
        errors = [error for other in results[1:] for error in incomparable(results[0], other)]
    if errors:
        return {"errors": errors, "text": "", "markdown": ""}
    names = [chr(ord("A") + index) if index < 26 else str(index + 1) for index in range(len(results))]
    titles = [f"{name}: {entry['file']}, {_provenance(entry)['time']}" for name, entry in zip(names, results)]
    lines = list(titles)
    page = ["# Benchmarks compared", "", *(f"- {title}" for title in titles)]
    differing = differences(results)
    if differing:
        lines += ["", "What differs:"]
        for label, *values in differing:
            lines += [f"  {label}", *(f"    {name}: {value}" for name, value in zip(names, values))]
        page += ["", "## What differs", "", *md_table(["", *names], differing)]
    for run in results[0]["result"]["runs"]:
        scenario = run["scenario"]
        body = figures_beside(results, scenario["name"])
        lines += ["", f"{scenario['name']}: {lengths(scenario)}"]
        lines += [f"  {line}" for line in table(["", *names], body)]
        page += ["", f"## {scenario['name']}", "", f"{lengths(scenario)}.", "", *md_table(["", *names], body)]
    return {"errors": [], "text": "\n".join(lines), "markdown": "\n".join(page) + "\n"}


def differences(results):
    """``[[name, value of each result]]`` of what differs in what the figures depend on."""
    return [
        [key.replace("_", " "), *(words(_provenance(entry).get(key)) for entry in results)]
        for key in MAY_DIFFER
        if len({json.dumps(_provenance(entry).get(key), sort_keys=True) for entry in results}) > 1
    ]


def figures_beside(results, scenario):
    """``[[label, figure of each result]]`` of a scenario, all but the first with their difference from it in percent."""
    figures = [_run_of(entry["result"], scenario)["figures"] for entry in results]
    rows = []
    for key, label in ROWS:
        first, *others = [one.get(key) for one in figures]
        if first is not None:
            rows.append([label, shown(first), *(_beside(value, first) for value in others)])
    return rows


def _provenance(entry):
    return entry["result"]["provenance"]


def _beside(value, base):
    if value is None or not base:
        return shown(value)
    return f"{shown(value)} ({100.0 * (value - base) / base:+.1f} %)"


def _run_of(result, name):
    return next((run for run in result["runs"] if run["scenario"]["name"] == name), None)


def incomparable(base, other):
    """Why two results must not be compared, as texts; empty where they may be."""
    first, second = _provenance(base), _provenance(other)
    reasons = [
        f"{key} {words(first.get(key))} and {words(second.get(key))}"
        for key in SAME
        if first.get(key) != second.get(key)
    ]
    reasons += [
        f"{key} {first['topology'].get(key)} and {second['topology'].get(key)}"
        for key in TOPOLOGY
        if first["topology"].get(key) != second["topology"].get(key)
    ]
    for run in base["result"]["runs"]:
        same = _run_of(other["result"], run["scenario"]["name"])
        if same is None:
            reasons.append(f"the scenario {run['scenario']['name']} is in the first alone")
        else:
            reasons += _other_work(base["file"], run, other["file"], same)
    return [f"{other['file']} must not be compared with {base['file']}: {reason}." for reason in reasons]


def _other_work(file, run, other_file, other):
    name = run["scenario"]["name"]
    reasons = [
        f"{key} of {name}: {_set(run['scenario'].get(key))} and {_set(other['scenario'].get(key))}"
        for key in WORK
        if run["scenario"].get(key) != other["scenario"].get(key)
    ]
    for path, one in ((file, run), (other_file, other)):
        reasons += [
            f"the work of {name} was not done in {path}: {reason}" for reason in undone(one["scenario"], one["figures"])
        ]
    return reasons


def _set(value):
    return "not set" if value is None else words(value)
