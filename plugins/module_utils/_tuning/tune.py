# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compare, set, persist and restore the kernel settings of a node.

Everything goes through :func:`tune`: it applies the settings, and restores what an earlier run set and the settings no
longer contain. To restore everything is to tune without settings.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Callable, Dict, NamedTuple

from ansible_collections.ascend_ops.vllm.plugins.module_utils._tuning.host import (
    UNIT,
    Host,
    TuningError,
    count_cpus,
    explain,
    shorten,
)
from ansible_collections.ascend_ops.vllm.plugins.module_utils._tuning.persist import (
    compare_files,
    persist,
    wanted_files,
)
from ansible_collections.ascend_ops.vllm.plugins.module_utils._tuning.settings import Seen, Setting, look

Record = Dict[str, Dict[str, str]]  # {path: {kind, name, before, set}}


class Outcome(NamedTuple):
    """The result of :func:`tune`.

    *settings* and *files* are entries of the module's report. *compliant* says that nothing differs now (in a dry run:
    that nothing differed), *failures* and *notes* are sentences, *diff* is as Ansible shows it.
    """

    settings: list[dict[str, Any]]
    files: list[dict[str, Any]]
    changed: bool
    compliant: bool
    failures: list[str]
    notes: list[str]
    diff: list[dict[str, str]]


class Item:
    """A setting on this node: its live values and the desired one of each kernel file.

    The verdict is ok, differs, unavailable, changed, kept or failed.
    """

    def __init__(self, kind: str, name: str, wanted: str | None, seen: Seen, target: dict[str, str]):
        self.kind, self.name, self.wanted, self.problem = kind, name, wanted, seen.problem
        self.target = target
        self.before = dict(seen.live)
        self.after = dict(seen.live)
        self.notes = [seen.note] if seen.note else []
        self.verdict = "ok"
        if seen.problem or self.todo():
            self.verdict = "differs"
        elif not seen.live:
            self.verdict = "unavailable"

    def todo(self) -> dict[str, str]:
        """What is to be written: ``{path: value}``."""
        return {path: value for path, value in self.target.items() if self.after.get(path) != value}

    def write(self, host: Host) -> None:
        """Write what differs, then read everything back: a kernel may clamp a value, or accept and not keep it."""
        errors: dict[str, list[str]] = {}
        for path, value in self.todo().items():
            try:
                host.set_value(path, value)
            except OSError as error:
                errors.setdefault(f"{value} was refused: {explain(error)}", []).append(path)
        for path in self.target:
            try:
                self.after[path] = host.value(path)
            except OSError as error:
                errors.setdefault(f"cannot be read back ({error.strerror})", []).append(path)
        refused = [path for paths in errors.values() for path in paths]
        for path, value in self.todo().items():
            if path not in refused:
                errors.setdefault(f"{value} was written, but it reads {self.after[path]!r}", []).append(path)
        if errors:
            self.verdict = "unavailable" if self.kind == "sched_migration_cost_ns" else "failed"
            self.notes = [f"{shorten(paths)}: {text}" for text, paths in errors.items()]
        elif self.after != self.before:
            self.verdict = "changed"

    def report(self) -> dict[str, Any]:
        """The entry of the module's report."""
        notes = ([self.problem] if self.problem else []) + self.notes
        return {
            "name": self.name,
            "kind": self.kind,
            "before": _summary(self.before),
            "wanted": self.wanted,
            "after": _summary(self.after),
            "verdict": self.verdict,
            "note": "; ".join(notes),
        }


def tune(host: Host, settings: list[Setting], dry_run: bool, strict: bool = True) -> Outcome:
    """Apply the settings to the node.

    :param dry_run: only compare.
    :param strict: raise TuningError, before anything is changed, for a setting that is not possible on this node.
    :raises TuningError: also for a damaged record.
    """
    record = host.load_record()
    items = [_applied(host, setting) for setting in settings]
    problems = [item.problem for item in items if item.problem]
    if problems and strict:
        raise TuningError("; ".join(problems) + ". Nothing was changed")
    available = [setting for setting, item in zip(settings, items) if item.before]
    new_record = _new_record(record, items)
    items += _restored(host, record, settings)
    diff = [_diff_of_values(items)]  # before the values are written
    if not dry_run and (new_record != record or any(item.todo() for item in items)):
        host.save_record(dict(record, **new_record))  # before the first write, so that an interrupted run can be undone
        for item in items:
            item.write(host)
    failures = [f"{item.name}: {'; '.join(item.notes)}" for item in items if item.verdict == "failed"]
    if failures:
        failures.append(
            "the other values are set, but nothing was made to survive a reboot: run again after the repair"
        )

    contents = wanted_files(settings, available, host.has_systemd())
    files, diff_of_files = compare_files(host, contents)
    notes = _notes(host, settings)
    if not dry_run and not failures:
        failures = persist(host, contents, files, notes)
        if not failures and host.load_record() != new_record:
            host.save_record(new_record)

    verdicts = [item.verdict for item in items] + [entry["verdict"] for entry in files]
    different = "differs" in verdicts
    written = "changed" in verdicts or any(item.after != item.before for item in items)
    changed = written or new_record != record or (dry_run and different)
    reports = [item.report() for item in items]
    return Outcome(reports, files, changed, not different, failures, notes, diff + diff_of_files)


def _applied(host: Host, setting: Setting) -> Item:
    seen = look(host, setting)
    return Item(setting.kind, setting.name, setting.value, seen, dict.fromkeys(seen.live, setting.value))


def _new_record(record: Record, items: list[Item]) -> Record:
    """The record of the settings that are applied now, with the values that were found first."""
    current = {(item.kind, item.name) for item in items}
    result = {path: entry for path, entry in record.items() if (entry["kind"], entry["name"]) in current}
    for item in items:
        for path, value in item.target.items():
            before = record[path]["before"] if path in record else item.before[path]
            result[path] = {"kind": item.kind, "name": item.name, "before": before, "set": value}
    return result


def _restored(host: Host, record: Record, settings: list[Setting]) -> list[Item]:
    """The settings that an earlier run applied and that are no longer wanted."""
    current = {(setting.kind, setting.name) for setting in settings}
    recorded = {(entry["kind"], entry["name"]) for entry in record.values()}
    return [_restore(host, record, kind, name) for kind, name in sorted(recorded - current)]


def _restore(host: Host, record: Record, kind: str, name: str) -> Item:
    """A setting with its recorded values as the target; a value that was changed since by another tool is kept."""
    live: dict[str, str] = {}
    target: dict[str, str] = {}
    kept: list[str] = []
    gone: list[str] = []
    for path, entry in record.items():
        if (entry["kind"], entry["name"]) != (kind, name):
            continue
        try:
            live[path] = host.value(path)
        except OSError:
            gone.append(path)
            continue
        if live[path] in (entry["set"], entry["before"]):
            target[path] = entry["before"]
        else:
            kept.append(f"{path} reads {live[path]}")
    notes = []
    if kept:
        notes.append(f"not restored, since it was changed by another tool or user: {shorten(kept)}")
    if gone:
        notes.append(f"no longer on this node: {shorten(gone)}")
    item = Item(kind, name, _summary(target), Seen(live, "; ".join(notes)), target)
    if kept and item.verdict == "ok":
        item.verdict = "kept"
    return item


def _notes(host: Host, settings: list[Setting]) -> list[str]:
    if settings and not host.has_systemd():
        return ["no systemd on this node: only the sysctl values survive a reboot"]
    if settings and not host.runs_systemd():
        return [f"systemd is not running: {UNIT} takes effect at the next boot"]
    return []


def _diff_of_values(items: list[Item]) -> dict[str, str]:
    def lines(values: Callable[[Item], dict[str, str]]) -> str:
        return "".join(f"{item.name} = {_summary(values(item))}\n" for item in items if item.before)

    return {
        "before_header": "live values",
        "after_header": "live values",
        "before": lines(lambda item: item.before),
        "after": lines(lambda item: dict(item.before, **item.target)),
    }


def _summary(values: dict[str, str]) -> str | None:
    """One value for all kernel files, or each value and how many CPUs have it; None without any."""
    counts = Counter(values.values())
    if len(counts) < 2:
        return next(iter(counts), None)
    return ", ".join(f"{value} ({count_cpus(number)})" for value, number in sorted(counts.items()))


def report_lines(outcome: Outcome) -> list[str]:
    """The outcome as lines for an operator; files that are as wanted are left out."""
    lines = []
    for entry in outcome.settings:
        before, after, wanted, note = (entry[key] for key in ("before", "after", "wanted", "note"))
        line = f"{entry['name']}: {entry['verdict']}"
        if before is not None:
            line += f", {after}"
            line += f" (was {before})" if after != before else f" (wanted {wanted})" if after != wanted else ""
        lines.append(line + (f", {note}" if note else ""))
    for entry in outcome.files:
        if entry["verdict"] != "ok":
            lines.append(f"{entry['path']}: {entry['verdict']}" + (f", {entry['note']}" if entry["note"] else ""))
    return lines + outcome.notes
