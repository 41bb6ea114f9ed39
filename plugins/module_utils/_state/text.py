# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The status report as an operator reads it: a table and sentences. On the controller."""

from __future__ import annotations

from ansible_collections.ascend_ops.vllm.plugins.module_utils._state.drift import line
from ansible_collections.ascend_ops.vllm.plugins.module_utils._state.records import RECIPE

COLUMNS = ("node", "role", "container", "up", "restarts", "supervisor", "last good", "image")
# Seconds after which what the supervisor saw last is outdated: it checks every 15 s.
STALE = 300


def text(report):
    """The report of ``report.report`` as lines."""
    parts = [_replica(replica) for replica in report["replicas"]]
    return "\n\n".join([*parts, f"{report['summary']}. Next: {report['next']}."])


def _replica(replica):
    problems = {}  # the same on several nodes is shown once
    for one in replica["problems"]:
        problems.setdefault((one["id"], one["seen"], one["do"]), []).append(one["host"])
    count = len(problems)
    serving = {True: "serving", False: "NOT SERVING", None: "not known whether it serves"}[replica["serving"]]
    found = f"{count} problem{'' if count == 1 else 's'}" if count else "no drift"
    head = f"replica {replica['name']}: {serving}, {found}"
    lines = [head, "-" * len(head), *_table(replica["nodes"])]
    lines.append(f"  plan      {_recipe(replica['recipe'])}")
    lines.append(f"  image     {replica['image']}{_digest(replica['nodes'])}")
    lines.extend(f"  deployed  {line}" for line in _deployed(replica))
    lines.append(f"  answers   {_answer(replica)}")
    for row in replica["nodes"]:
        last = ((row.get("supervisor") or {}).get("state") or {}).get("last_restart")
        if last:
            lines.append(f"  restart   {row['host']}: {duration(row['time'] - last['at'])} ago, {last['reason']}")
        unknown = (row.get("running") or {}).get("error")
        if unknown:
            lines.append(f"  unknown   {row['host']}: the arguments of what runs: {unknown}")
    for (name, seen, do), hosts in problems.items():
        lines.append(f"  problem   {', '.join(hosts)}: {name}: {seen}")
        lines.append(f"            do: {do}")
    return "\n".join(lines)


def _table(nodes):
    rows = [COLUMNS, *(_row(row) for row in nodes)]
    widths = [max(len(row[index]) for row in rows) for index in range(len(COLUMNS))]
    return ["  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]


def _row(row):
    if row.get("error"):
        return (row["host"], row["role"], "unreachable", "-", "-", "-", "-", "-")
    container, supervisor = row["container"], row["supervisor"]
    state = supervisor["state"] or {}
    if row["engine_error"]:
        what = "no engine"
    elif container is None:
        what = "missing"
    else:
        what = "another's" if container["foreign"] else container["status"]
    watch = state.get("state", "silent") if supervisor["active"] else "off"
    if supervisor["active"] and state and row["time"] - state["checked_at"] > STALE:
        watch += f" (stale, {duration(row['time'] - state['checked_at'])})"
    good = state.get("last_good")
    return (
        row["host"],
        row["role"],
        what,
        duration(container["age"]) if container and container["running"] else "-",
        f"{container['restart_count'] if container else '-'} + {state.get('restarts', '-')}",
        watch,
        f"{duration(row['time'] - good)} ago" if good else "-",
        short(container["image_id"]) if container else "-",
    )


def drift_lines(items):
    """The drift of a node for the screen of a deploy: as ``drift.lines``, with what is not for an operator left out.

    The files of the supervisor are counted, and the record of the deployed plan is left out where more differs than that.
    """
    code = [item for item in items if item["section"] == "supervision" and item["path"].startswith("/")]
    told = [item for item in items if item not in code and item["section"] != "record"]
    lines = [line(item) for item in told]
    if code:
        lines.append(f"supervision: {len(code)} file{'' if len(code) == 1 else 's'} of this collection to update")
    return lines or [line(item) for item in items]


def words(value):
    """A value of a recipe in words."""
    return (", ".join(value) or "none") if isinstance(value, list) else str(value)


def _recipe(recipe):
    return f"{recipe['name']} {recipe['release']}, checkpoint {recipe['checkpoint']}, scenarios {words(recipe['scenarios'])}"


def _digest(rows):
    images = [row["image"] for row in rows if row.get("image")]
    digests = [digest for image in images for digest in image["digests"]]
    if not images:
        return ""
    return f" (digest {digests[0].rpartition('@')[2]})" if digests else " (no digest: it came from an archive)"


def _deployed(replica):
    lines = {}
    for row in replica["nodes"]:
        current = (row.get("deployed") or {}).get("current")
        if not current:
            line = "not known" if row.get("error") else "nothing that was verified"
        else:
            planned = all(current["recipe"][key] == replica["recipe"][key] for key in RECIPE)
            what = "as planned" if planned else _recipe(current["recipe"])
            line = f"{what}, verified {duration(row['time'] - current['proven_at'])} ago"
        lines.setdefault(line, []).append(row["host"])
    if len(lines) == 1:
        return list(lines)
    return [f"{', '.join(hosts)}: {line}" for line, hosts in lines.items()]


def _answer(replica):
    for row in replica["nodes"]:
        if row.get("probe"):
            last = row["probe"]["verdicts"][-1]
            seconds = f" in {last['seconds']} s" if last.get("seconds") is not None else ""
            return f"{replica['url']} {replica['model']}: {last['seen']}{seconds}"
    return f"{replica['url']} {replica['model']}: not asked"


def short(image_id):
    """The id of an image as an operator compares it: its first 12 digits, or ``none``."""
    return str(image_id or "none").rpartition(":")[2][:12]


def duration(seconds):
    """``42 s``, ``5 min``, ``3 h 20 min``, ``4 d 2 h``; ``0 s`` for what lies in the future, ``-`` for None."""
    if seconds is None:
        return "-"
    seconds = max(0, int(seconds))
    if seconds < 120:
        return f"{seconds} s"
    minutes = seconds // 60
    if minutes < 120:
        return f"{minutes} min"
    hours = minutes // 60
    if hours < 48:
        return f"{hours} h {minutes % 60} min"
    return f"{hours // 24} d {hours % 24} h"
