# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a replica needs as a whole: its containers start and die together. Runs on the controller."""

from __future__ import annotations

from ansible_collections.ascend_ops.vllm.plugins.module_utils._state.report import TOGETHER


def group_action(members, ready_timeout):
    """Decide what a deploy does with the containers of one replica.

    :param members: one ``{"host", "container", "changed", "ready", "files_at"}`` per node: the container's state or None,
        what changed on the node in this run (a list of words), whether the service answered (None where not asked), and
        when the newest of its files was written (missing or None where not known).
    :param ready_timeout: seconds within which a replica that was started is to answer.
    :return: ``{"action", "reason"}``; *action* is ``start``, ``restart``, ``wait`` (it still starts, as one group) or
        ``keep``.
    """
    changed = [
        "{0} on {1}".format(", ".join(member["changed"]), member["host"]) for member in members if member["changed"]
    ]
    running = [member for member in members if member["container"] and member["container"]["running"]]
    if not running:
        return {"action": "start", "reason": "nothing runs yet"}
    if changed:
        return {"action": "restart", "reason": "changed: " + "; ".join(changed)}
    # A run was broken off after it wrote them.
    stale = [member["host"] for member in running if newer_files(member)]
    if stale:
        return {"action": "restart", "reason": "its files are newer than what runs on " + ", ".join(stale)}
    down = [member["host"] for member in members if member not in running]
    if down:
        return {"action": "restart", "reason": "not running on " + ", ".join(down)}
    if any(member["ready"] for member in members):
        return {"action": "keep", "reason": "it answers"}
    ages = [member["container"]["age"] or 0 for member in members]
    if any(member["container"]["restart_count"] for member in members) or max(ages) - min(ages) > TOGETHER:
        return {"action": "restart", "reason": "it does not answer, and its containers were not started together"}
    if max(ages) > ready_timeout:
        return {"action": "restart", "reason": f"it does not answer after {max(ages)} s"}
    return {"action": "wait", "reason": "it is still starting"}


def newer_files(member):
    """Were files written after the container that reads them was started? Not where one of both is not known."""
    started = member["container"].get("started_at")
    # A time comes as text from older Ansible.
    return bool(started and member.get("files_at") and float(member["files_at"]) > started)


def verification_text(process, verified):
    """What a verification showed, in a few lines.

    :param verified: ``verdicts`` and ``answer`` (what the model said).
    """
    lines = [f"replica {process['replica']}: {process['service']['url']} serves {process['service']['model']}"]
    for verdict in verified["verdicts"]:
        lines.append("  {verdict:<8}{id:<20}{seen}".format(**verdict))
    if verified.get("answer"):
        lines.append("  answer  {!r}".format(verified["answer"][:200]))
    return "\n".join(lines)
