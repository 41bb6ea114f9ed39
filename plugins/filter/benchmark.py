# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which benchmarks are run, and what they measured: as data, as text, and as pages."""

from __future__ import annotations

import json
from pathlib import Path

from ansible.errors import AnsibleFilterError
from ansible_collections.ascend_ops.vllm.plugins.module_utils._bench import pages, report, scenario
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.files import recipe_of


def benchmark_scenarios(settings, hardware, own=(), names=(), sweep=None):
    """What to run against a replica of the recipe that its *settings* name: ``{"scenarios", "sweep", "errors"}``."""
    deployment = recipe_of(settings["name"])["deployments"].get(hardware) or {}
    chosen = scenario.choose(deployment.get("benchmarks"), own, names)
    sweep, errors = ({}, []) if chosen["errors"] else scenario.choose_sweep(sweep, chosen["scenarios"])
    return {"scenarios": chosen["scenarios"], "sweep": sweep, "errors": chosen["errors"] + errors}


def benchmark_service(node):
    """What the module vllm_bench is to be told of a node's service."""
    return {
        "url": node["service"]["url"],
        "model": node["service"]["model"],
        "tokenizer": node["argv"][2],
        "trust_remote_code": "--trust-remote-code" in node["argv"],
        "ca_file": node["service"].get("ca_file", ""),
    }


def benchmark_report(nodes, told, chosen, gate, status=None):
    """The result of a replica, with the ``stem`` of its files and their contents in ``files``."""
    try:
        gate = report.gate_of(gate)
    except ValueError as error:
        raise AnsibleFilterError(str(error)) from error
    member = sorted(nodes, key=lambda node: node["role"] == "secondary")
    told = dict(told)
    if told.get("sweep"):
        told["sweep"] = dict(told["sweep"], target=chosen["sweep"])
    result = report.report(member, told, chosen["scenarios"], gate, status)
    stem = report.stem(result)
    return {
        "ok": result["ok"],
        "text": report.text(result),
        "failed": [run["scenario"]["name"] for run in result["runs"] if run["gate"]["verdict"] == "fail"],
        "files": {
            stem + ".json": json.dumps(result, indent=1, sort_keys=True) + "\n",
            stem + ".md": report.markdown(result),
            stem + ".html": pages.page(result),
        },
    }


def benchmark_compare(files):
    """Results of benchmark.yml by the paths of their JSON, side by side."""
    results = []
    for name in files:
        try:
            result = json.loads(Path(str(name)).expanduser().read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            return {"errors": [f"{name}: cannot be read: {error}"], "text": "", "markdown": ""}
        results.append({"file": str(name), "result": result})
    return report.compare(results)


class FilterModule:
    """Filters of ascend_ops.vllm."""

    def filters(self):
        return {
            "benchmark_scenarios": benchmark_scenarios,
            "benchmark_service": benchmark_service,
            "benchmark_report": benchmark_report,
            "benchmark_compare": benchmark_compare,
        }
