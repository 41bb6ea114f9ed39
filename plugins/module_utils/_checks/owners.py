# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose a process is, as far as that is known. No verdict accuses a process whose owner is not known."""

from __future__ import annotations

REMEDY = (
    "Nothing is to be stopped: it may be the service itself. Look at engine.running and node.load, and run the checks again "
    "when the engine answers; until then 'cat /proc/PID/cgroup' on the node shows the container."
)


def engine_silent(facts):
    """Whether the engine gave no answer, so that the processes of the service are not known."""
    return bool((facts.get("engine") or {}).get("error"))


def is_doubtful(facts, container):
    """Whether a process may belong to the service.

    :param container: the container of the process; an empty text outside containers, None if it is not known.
    """
    return engine_silent(facts) and container != ""


def doubtful_pids(facts):
    """The pids in the table of npu-smi that may belong to the service, or to nobody: of some this machine knows nothing."""
    npu, owners = facts.get("npu") or {}, facts.get("owners") or {}
    listed = [process for device in npu.get("devices") or () for process in device["processes"]]
    pids = {process["pid"] for process in listed + list(npu.get("unplaced_processes") or ())}
    not_here = {pid for pid in pids if owners.get(str(pid), "") is None}
    return not_here | {pid for pid in pids if is_doubtful(facts, owners.get(str(pid)))}
