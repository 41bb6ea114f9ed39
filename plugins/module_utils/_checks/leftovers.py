# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The checks of what other tools and earlier jobs left on a node: open chips, rank tables, Ascend's container runtime."""

from __future__ import annotations

import re

from ansible_collections.ascend_ops.vllm.plugins.module_utils._checks.check import Check
from ansible_collections.ascend_ops.vllm.plugins.module_utils._checks.owners import REMEDY, is_doubtful
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.option_files import inside
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.verdict import (
    FAIL,
    PASS,
    UNKNOWN,
    WARN,
    verdict,
)

# Processes that only a job on the chips has; of others, such as an exporter of metrics, it is not known whether they disturb.
OF_A_JOB = re.compile(r"hccp|^VLLM::|^vllm$|mindie", re.I)

CHECKS = {
    "process.holds_device": Check(
        why="HCCP, or a process that a job left behind, keeps a chip open without being in the table of npu-smi; the next start "
        "fails with EJ0001, `Failed to initialize the HCCP process`, or 507033.",
        source="https://github.com/hiyouga/LlamaFactory/issues/3839",
        read="the open files of all processes in /proc, without those of the service itself. A failure for HCCP and engines, a "
        "warning for others, which may only read sensors.",
        remedy="'fuser -v /dev/davinci*' and 'ps -fp PID' show what it is. Stop the job that it belongs to; ten seconds later "
        "HCCP has ended as well.",
    ),
    "engine.runtime": Check(
        why="With Ascend's runtime as Docker's default, every container gets what ASCEND_VISIBLE_DEVICES of its image or "
        "environment says: other chips than the plan's, numbered anew, or the chips of another container.",
        source="https://github.com/vllm-project/vllm-ascend/issues/6063",
        read="DefaultRuntime in `docker info`, and ASCEND_VISIBLE_DEVICES in the image",
        remedy="Remove default-runtime from /etc/docker/daemon.json and restart Docker; this collection passes the chips by "
        "name. The runtime itself may stay.",
    ),
    "fabric.rank_table": Check(
        why="HCCL takes the ranks from a rank table, if it is told one, instead of from the nodes that start: one that an earlier "
        "job or another tool left describes other nodes, and the start ends with EI0004 or EI0014.",
        source="https://www.hiascend.com/document/detail/en/canncommercial/850/commlib/hcclug/hcclug_000063.html",
        read="RANK_TABLE_FILE in the plan's environment and in the image; /etc/hccl_rootinfo.json on the node, and whether a "
        "mount shows it to the container",
        remedy="Remove the file, or what sets RANK_TABLE_FILE: vllm_recipe_env, or the image.",
    ),
}


def evaluate(node, facts, policy):
    """The verdicts on one node: process.holds_device, engine.runtime, fabric.rank_table."""
    return [_holders(facts), _runtime(facts), _rank_table(node, facts)]


def _result(name, word, seen, wanted, remedy=None):
    return verdict(name, word, seen, wanted, CHECKS[name].remedy if remedy is None else remedy)


def _holders(facts):
    name, wanted = "process.holds_device", "no process but the service's own has a chip open"
    holders = facts.get("holders")
    if holders is None:
        return _result(name, UNKNOWN, "the node did not report it", wanted)
    own = set(facts.get("service_pids") or ())
    others = [one for one in holders if one["pid"] not in own]
    known = [one for one in others if not is_doubtful(facts, one["container"])]
    if known:
        word = FAIL if any(OF_A_JOB.search(one["name"]) for one in known) else WARN
        return _result(name, word, _processes(known), wanted)
    if others:
        seen = f"{_processes(others)}; it is not known whose they are"
        return _result(name, UNKNOWN, seen, wanted, REMEDY)
    return _result(name, PASS, "none", wanted)


def _processes(found):
    parts = [f"pid {one['pid']} ({one['name'] or 'no name'}) has {_devices(one['devices'])} open" for one in found[:4]]
    return "; ".join(parts) + (f"; and {len(found) - 4} more" if len(found) > 4 else "")


def _devices(devices):
    return devices[0] if len(devices) == 1 else f"{devices[0]} and {len(devices) - 1} more"


def _runtime(facts):
    name, wanted = "engine.runtime", "a default runtime that passes no chips by itself"
    engine = facts.get("engine") or {"error": "not reported"}
    runtime = engine.get("default_runtime")
    if engine.get("error") or not runtime:
        seen = "the engine did not respond" if engine.get("error") else "the engine did not report it"
        return _result(name, UNKNOWN, seen, wanted, "See engine.running.")
    if "ascend" not in str(runtime).lower():
        return _result(name, PASS, str(runtime), wanted)
    devices = ((engine.get("image") or {}).get("env") or {}).get("ASCEND_VISIBLE_DEVICES")
    seen = f"{runtime}" + (f"; the image has ASCEND_VISIBLE_DEVICES={devices}" if devices else "")
    return _result(name, WARN, seen, wanted)


def _rank_table(node, facts):
    name, wanted = "fabric.rank_table", "no rank table of another job"
    env = node["env"].get("RANK_TABLE_FILE")
    of_image = (((facts.get("engine") or {}).get("image") or {}).get("env") or {}).get("RANK_TABLE_FILE")
    tables = facts.get("rank_tables")
    if env:
        state = "" if tables is None else ", which is there" if env in tables else ", which is not on the node"
        return _result(name, FAIL, f"RANK_TABLE_FILE of the plan is {env}{state}", wanted)
    if of_image:
        return _result(name, WARN, f"the image sets RANK_TABLE_FILE={of_image}", wanted)
    if tables is None:
        return _result(name, UNKNOWN, "the node did not report it", wanted)
    if not tables:
        return _result(name, PASS, "none", wanted)
    shown = [path for path in tables if any(inside(path, one["source"]) for one in node["container"]["mounts"])]
    state = "a mount shows it to the container" if shown else "no mount shows it to the container"
    return _result(name, WARN, f"{', '.join(shown or tables)} is on the node; {state}", wanted)
