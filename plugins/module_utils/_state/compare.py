# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a deploy has anything to do on a node: the desired and the observed state, compared in one go."""

from __future__ import annotations

from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.engine import Engine, EngineError
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.openai import Client
from ansible_collections.ascend_ops.vllm.plugins.module_utils._state import desired, drift, observed, supervision
from ansible_collections.ascend_ops.vllm.plugins.module_utils._state.revisions import Revisions
from ansible_collections.ascend_ops.vllm.plugins.module_utils._tuning.host import RECORD, Host, TuningError
from ansible_collections.ascend_ops.vllm.plugins.module_utils._tuning.settings import parse_settings
from ansible_collections.ascend_ops.vllm.plugins.module_utils._tuning.tune import tune


def sides(process, options):
    """``(wanted, seen)`` of a process, with all that *options* give to compare.

    :param options: ``engine`` (an ``Engine``), ``interface``; as far as they are given, ``secrets`` (name to value),
        ``supervision`` (settings, empty for none) and ``tuning`` (settings of the host, empty for none). ``proc`` is for
        tests.
    """
    wanted = desired.desired(process, options)
    seen = observed.observed(process, options)
    if not wanted["files_error"]:
        wanted["record"] = desired.process_file(process, options["interface"])
    if options.get("supervision") is not None:
        name = process["container"]["name"]
        wanted["supervision"] = supervision.desired(name, options["supervision"])
        seen["supervision"] = supervision.observed(name, wanted["supervision"])
    if options.get("tuning"):
        seen["tuning"] = tuning(options["tuning"])
    return wanted, seen


def tuning(settings):
    """The settings of the host that differ: ``{"items", "error"}``, items as of ``drift``; *error* where it is not known."""
    try:
        outcome = tune(Host(), parse_settings(settings), dry_run=True, strict=False)
    except (TuningError, OSError) as error:
        return {"items": [], "error": str(error)}
    items = []
    for entry in outcome.settings:
        if entry["verdict"] == "differs":
            was = entry["note"] if entry["before"] is None else entry["before"]
            items.append(drift.item("tuning", entry["name"], was, entry["wanted"]))
    for entry in outcome.files:
        if entry["verdict"] != "ok":
            items.append(drift.item("tuning", entry["path"], entry["note"] or "another text", "as planned"))
    if outcome.changed and not items:
        items.append(drift.item("tuning", RECORD, "of other settings", "of these"))
    return {"items": items, "error": ""}


def compare(process, options):
    """What a deploy would change on a node, and whether the service answers.

    :param options: as of :func:`sides`, with the name of the engine's command as ``engine``; ``members``, ``checks``,
        ``api_key``, ``request_timeout`` (seconds): see the module vllm_drift.
    :return: ``{"settled", "drift", "drift_text", "unknown", "group", "verdicts", "answer"}``. Where anything differs the
        service is not asked; what cannot be compared counts as something to do.
    """
    result = {
        "settled": False,
        "drift": [],
        "drift_text": [],
        "unknown": [],
        "group": None,
        "verdicts": [],
        "answer": "",
    }
    engine = Engine(options["engine"])
    try:
        wanted, seen = sides(process, dict(options, engine=engine))
        items = drift.drift(wanted, seen)
        result["unknown"] = drift.unknown(wanted, seen)
        for text in [seen["engine_error"], wanted["files_error"], (seen.get("tuning") or {}).get("error")]:
            if text:
                items.append(drift.item("unknown", "not compared", text, "compared"))
        if not items:
            items = _revision(process, options, engine, seen, result) or _service(process, options, result)
    except (EngineError, OSError, ValueError, KeyError, TypeError) as error:
        items = [drift.item("unknown", "not compared", f"{type(error).__name__}: {error}", "compared")]
    result.update(settled=not items, drift=items, drift_text=drift.lines(items))
    return result


def _revision(process, options, engine, seen, result):
    """Nothing where what is on the node was verified with the members that its replica has now."""
    revisions = Revisions(engine, process["container"]["name"], True)
    result["group"] = revisions.verified_group(process, options["members"], seen["container"]["image_id"])
    if result["group"]:
        return []
    wanted = "verified with {0}".format(", ".join(options["members"]))
    return [drift.item("revision", "revision", "not the one that was verified last", wanted)]


def _service(process, options, result):
    """Nothing where the service answers, or the node serves no API."""
    if process["role"] == "secondary":
        return []
    service = process["service"]
    client = Client(
        service["url"], service["model"], options["request_timeout"], options["api_key"], service.get("ca_file") or ""
    )
    for check in options["checks"]:
        verdict = getattr(client, check)()
        result["verdicts"].append(verdict)
        if verdict["verdict"] != "pass":
            return [drift.item("service", verdict["id"], verdict["seen"], verdict["wanted"])]
    result["answer"] = "".join(verdict.get("text", "") for verdict in result["verdicts"])
    return []
