# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Benchmarks: which to run, and their results as data, text and pages."""

from __future__ import annotations

import json
from pathlib import Path

from ansible.errors import AnsibleFilterError
from ansible_collections.ascend_ops.vllm.plugins.module_utils._bench import compare, judge, pages, scenario, text
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.files import recipe_of


def benchmark_scenarios(settings, hardware, own=(), names=(), sweep=None):
    """What to run against a replica of the recipe that *settings* name: ``{"scenarios", "sweep", "errors"}``."""
    deployment = recipe_of(settings["name"])["deployments"].get(hardware) or {}
    chosen = scenario.choose(deployment.get("benchmarks"), own, names)
    sweep, errors = ({}, []) if chosen["errors"] else scenario.choose_sweep(sweep, chosen["scenarios"])
    return {"scenarios": chosen["scenarios"], "sweep": sweep, "errors": chosen["errors"] + errors}


def benchmark_service(node):
    """The arguments of the module vllm_bench that depend on a node's service."""
    return {
        "url": node["service"]["url"],
        "model": node["service"]["model"],
        "tokenizer": node["argv"][2],
        "trust_remote_code": "--trust-remote-code" in node["argv"],
        "ca_file": node["service"].get("ca_file", ""),
    }


def benchmark_report(nodes, measured, chosen, gate, status=None):
    """The result of a replica: ``{"ok", "text", "failed", "files"}``; *files* maps names to contents."""
    try:
        gate = judge.gate_of(gate)
    except ValueError as error:
        raise AnsibleFilterError(str(error)) from error
    member = sorted(nodes, key=lambda node: node["role"] == "secondary")
    measured = dict(measured)
    if measured.get("sweep"):
        measured["sweep"] = dict(measured["sweep"], target=chosen["sweep"])
    result = judge.report(member, measured, chosen["scenarios"], gate, status)
    stem = judge.stem(result)
    return {
        "ok": result["ok"],
        "text": text.text(result),
        "failed": [run["scenario"]["name"] for run in result["runs"] if run["gate"]["verdict"] == "fail"],
        "files": {
            stem + ".json": json.dumps(result, indent=1, sort_keys=True) + "\n",
            stem + ".md": text.markdown(result),
            stem + ".html": pages.page(result),
        },
    }


def benchmark_compare(files):
    """Compare results of benchmark.yml, given by the paths of their JSON: ``{"errors", "text", "markdown"}``."""
    results = []
    for name in files:
        try:
            result = json.loads(Path(str(name)).expanduser().read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            return {"errors": [f"{name}: cannot be read: {error}"], "text": "", "markdown": ""}
        results.append({"file": str(name), "result": result})
    return compare.compare(results)


class FilterModule:
    """Filters of ascend_ops.vllm."""

    def filters(self):
        return {
            "benchmark_scenarios": benchmark_scenarios,
            "benchmark_service": benchmark_service,
            "benchmark_report": benchmark_report,
            "benchmark_compare": benchmark_compare,
        }
