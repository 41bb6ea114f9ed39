# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the members of a replica have in common, from what each node reports. Pure, and for the controller alone."""

from __future__ import annotations

from ansible_collections.ascend_ops.vllm.plugins.module_utils._state.revisions import PARTS, WORDS, short_digest

_DEPLOY = "Set the variables to what is wanted and deploy."


def group_id(members):
    """An id of what the members of a replica have together, for the revisions that are recorded of it.

    :param members: one ``{"host", "process", "files", "image_id"}`` per member: its process plan, the digest of its files
        (module vllm_files) and the id of its container's image.
    """
    return short_digest(
        sorted(
            [member["host"], member["files"], member["image_id"], [member["process"].get(part) for part in PARTS]]
            for member in members
        )
    )


def agree(compared):
    """Is a replica up to date: nothing differs on any member, and all were verified together?

    :param compared: what the module vllm_drift returned for each member; empty for one that was not asked.
    """
    return (
        bool(compared) and all(one.get("settled") for one in compared) and len({one["group"] for one in compared}) == 1
    )


def rollback_target(reports_by_host, last=False):
    """The revision that the members of a replica roll back to together.

    The one before the current one. But where something else is on a node than what was verified last, because a run was
    interrupted or failed, it is what was verified last; with *last*, always.

    :param reports_by_host: host to what the module vllm_revision gathered (``current``, ``previous``, ``live``); what
        lacks ``live`` counts as a node that did not answer.
    :return: ``{"errors", "ids", "revision", "why"}``; *ids* by host, *revision* of the first host, *why* as words.
    """
    result = {"errors": [], "ids": {}, "revision": None, "why": ""}
    silent = [host for host, seen in reports_by_host.items() if "live" not in (seen or {})]
    if silent:
        return {**result, "errors": [f"{', '.join(silent)} did not report what was verified before."]}
    bare = [host for host, seen in reports_by_host.items() if not seen["current"]]
    if bare:
        return {**result, "errors": [f"no deploy was verified on {', '.join(bare)}: there is nothing to roll back to."]}
    settled = (
        not last
        and all(seen["live"] for seen in reports_by_host.values())
        and len({seen["current"]["group"] for seen in reports_by_host.values()}) == 1
    )
    places = _places(reports_by_host, settled)
    common = [found for found in places.values() if len(found) == len(reports_by_host)]
    if not common:
        return {**result, "errors": [_no_common(reports_by_host, settled and not places)]}
    chosen = min(common, key=lambda found: sum(place for place, unused in found.values()))
    revisions = {host: revision for host, (unused, revision) in chosen.items()}
    return {
        "errors": _errors(revisions, list(reports_by_host)),
        "ids": {host: one["id"] for host, one in revisions.items()},
        "revision": next(iter(revisions.values())),
        "why": "what ran before" if settled else "what was verified last, since something else is on the nodes",
    }


def _places(reports, settled):
    """Group to the hosts that can roll back to it: host to its place (0 current, 1 previous) and its revision."""
    places = {}
    for host, seen in reports.items():
        for place, word in enumerate(WORDS):
            if seen[word] and not (settled and word == "current"):
                places.setdefault(seen[word]["group"], {})[host] = (place, seen[word])
    return places


def _no_common(reports, nothing_before):
    if nothing_before:
        return f"nothing was verified before what runs now. {_DEPLOY}"

    def groups(seen):
        return " and ".join(f"group {seen[word]['group']}" if seen[word] else "none" for word in WORDS)

    listed = "; ".join(f"{host}: {groups(seen)}" for host, seen in reports.items())
    return (
        "the nodes have no revision that all of them were verified with together (current and previous on "
        f"{listed}). {_DEPLOY}"
    )


def _errors(revisions, hosts):
    """Why a revision cannot be restored on these hosts."""
    errors = [f"{host}: {one['error']}" for host, one in revisions.items() if one.get("error")]
    then = next(iter(revisions.values())).get("hosts") or []
    if sorted(then) != sorted(hosts):
        errors.append(
            f"that revision was verified on {', '.join(then or ['other nodes'])} together; the replica is "
            f"{', '.join(hosts)} now. {_DEPLOY}"
        )
    return errors
