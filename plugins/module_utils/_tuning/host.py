# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compare, set, persist and put back the kernel settings of a node.

Everything goes through one path, :func:`tune`: what the settings name is brought to its value, what an earlier
run set and the settings no longer name is put back. So putting all back is tuning with no settings.
"""

from __future__ import annotations

import errno
import glob
import json
import os
import re
import shlex
import subprocess
from collections import Counter
from typing import Any, Callable, NamedTuple

UNIT = "ascend-vllm-host-tuning.service"
RECORD = "/var/lib/ascend-vllm/host_tuning.json"
DROP_IN = "/etc/sysctl.d/90-ascend-vllm.conf"
SCRIPT = "/etc/ascend-vllm/host-tuning.sh"
UNIT_FILE = "/etc/systemd/system/" + UNIT
UNIT_LINK = "/etc/systemd/system/multi-user.target.wants/" + UNIT
OWN_FILES = (DROP_IN, SCRIPT, UNIT_FILE, UNIT_LINK)

GOVERNORS = "/sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor"
SCHED_SYSCTL = "/proc/sys/kernel/sched_migration_cost_ns"
SCHED_DEBUGFS = "/sys/kernel/debug/sched/migration_cost_ns"

HEADER = "# Written by ascend_ops.vllm.host_tuning: its next run undoes changes made here.\n"
LINK_MARK = "link to "
ERRNO_HINTS = {
    errno.EROFS: "it is read-only here. Run this on the node itself, not in a container",
    errno.EACCES: "not permitted. Use become: true, on the node itself, not in a container",
    errno.EPERM: "not permitted. Use become: true; kernel lockdown (secure boot) refuses some files even to root",
    errno.EINVAL: "the kernel does not accept this value",
    errno.EBUSY: "the kernel says it is busy: another tool or the CPU's driver holds it. Try again, or leave it out",
}


class TuningError(Exception):
    """Wrong input, or a node on which the settings cannot be made; nothing was changed."""


class Setting(NamedTuple):
    kind: str
    name: str
    value: str


class Seen(NamedTuple):
    live: dict[str, str]
    note: str = ""
    problem: str = ""


class Outcome(NamedTuple):
    settings: list[dict[str, Any]]
    files: list[dict[str, Any]]
    changed: bool
    compliant: bool
    failures: list[str]
    notes: list[str]
    diff: list[dict[str, str]]


def parse_settings(raw: list[dict[str, Any]]) -> list[Setting]:
    """Check the list; an entry without a value means "leave alone" and is dropped."""
    settings: list[Setting] = []
    for entry in raw:
        kind, value = entry["kind"], _squeeze(entry.get("value"))
        name = entry.get("name") or ("" if kind == "sysctl" else kind)
        if not name:
            raise TuningError(f"a setting of kind sysctl needs a name, such as vm.swappiness (its value is {value!r})")
        if kind == "sysctl":
            sysctl_path(name)
        if not value:
            continue
        if kind == "governor" and not re.match(r"[A-Za-z0-9_-]+$", value):
            raise TuningError(f"governor {value!r} is not a governor's name: wanted one word, such as performance")
        if kind == "sched_migration_cost_ns" and not re.match(r"[0-9]+$", value):
            raise TuningError(f"sched_migration_cost_ns {value!r} is not a whole number of nanoseconds")
        if (kind, name) in [(other.kind, other.name) for other in settings]:
            raise TuningError(f"{name} stands twice in the settings: keep one")
        settings.append(Setting(kind, name, value))
    return settings


def sysctl_path(name: str) -> str:
    """/proc/sys path of a sysctl; as everywhere, a slash in the name stands for a dot in the file name."""
    parts = [part.replace("/", ".") for part in name.split(".")]
    if not re.match(r"[A-Za-z0-9_./:@-]+$", name) or any(part.strip(".") == "" for part in parts) or len(parts) < 2:
        raise TuningError(f"{name!r} is not a sysctl name: wanted words with dots between, such as vm.swappiness")
    return "/proc/sys/" + "/".join(parts)


class Host:
    """The node's files below root, and its systemd."""

    def __init__(self, root: str = "/", systemctl: Callable[..., tuple[int, str]] | None = None):
        # root other than / is for tests: they bring their own systemctl
        self.root = root.rstrip("/")
        self.systemctl = systemctl or run_systemctl

    def at(self, path: str) -> str:
        return self.root + path

    def find(self, pattern: str) -> list[str]:
        found = [path[len(self.root) :] for path in glob.glob(glob.escape(self.root) + pattern)]
        return sorted(found, key=lambda path: [int(digits) for digits in re.findall(r"\d+", path)])

    def value(self, path: str) -> str:
        with open(self.at(path), "rb") as handle:
            return _squeeze(handle.read(4096).decode("utf-8", "replace"))

    def set_value(self, path: str, value: str) -> None:
        # no O_CREAT: a kernel file that is gone must not turn into a plain one
        handle = os.open(self.at(path), os.O_WRONLY | os.O_TRUNC)
        try:
            os.write(handle, (value + "\n").encode())
        finally:
            os.close(handle)

    def text(self, path: str) -> str | None:
        if os.path.islink(self.at(path)):
            return LINK_MARK + os.readlink(self.at(path))
        try:
            with open(self.at(path), "rb") as handle:
                return handle.read().decode("utf-8", "replace")
        except FileNotFoundError:
            return None

    def replace(self, path: str, content: str, mode: int) -> None:
        target = self.at(path)
        temporary = target + ".new"
        os.makedirs(os.path.dirname(target), mode=0o755, exist_ok=True)
        if os.path.lexists(temporary):
            os.unlink(temporary)
        if content.startswith(LINK_MARK):
            os.symlink(content[len(LINK_MARK) :], temporary)
        else:
            with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
                stream.write(content.encode())
                stream.flush()
                os.fchmod(stream.fileno(), mode)
                os.fsync(stream.fileno())
        os.replace(temporary, target)

    def remove(self, path: str) -> None:
        try:
            os.unlink(self.at(path))
        except FileNotFoundError:
            pass
        if path in (SCRIPT, RECORD):
            try:
                os.rmdir(os.path.dirname(self.at(path)))
            except OSError:
                pass  # not empty: others keep files there too

    def load_record(self) -> dict[str, dict[str, str]]:
        text = self.text(RECORD)
        if text is None:
            return {}
        try:
            values = json.loads(text)["values"]
            for entry in values.values():
                entry["kind"], entry["name"], entry["before"], entry["set"]
            return values
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise TuningError(
                f"{RECORD}, the record of the values before tuning, cannot be read ({type(error).__name__}: {error}). "
                "Mend it, or move it away: then the values of now count as the ones to put back"
            ) from error

    def save_record(self, record: dict[str, dict[str, str]]) -> None:
        if record:
            content = json.dumps({"version": 1, "values": record}, indent=1, sort_keys=True) + "\n"
            self.replace(RECORD, content, 0o600)
        else:
            self.remove(RECORD)

    def has_systemd(self) -> bool:
        return any(os.path.isdir(self.at(path)) for path in ("/usr/lib/systemd/system", "/lib/systemd/system"))

    def runs_systemd(self) -> bool:
        return os.path.isdir(self.at("/run/systemd/system"))


def run_systemctl(*arguments: str) -> tuple[int, str]:
    command = ["systemctl", *arguments]
    try:
        done = subprocess.run(  # pylint: disable=ansible-bad-function  # has no AnsibleModule
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=60,
            env=dict(os.environ, LC_ALL="C", SYSTEMD_PAGER=""),
            check=False,
        )
    except subprocess.TimeoutExpired:
        return 124, "no answer in 60 s"
    except OSError as error:
        return 127, str(error.strerror)
    return done.returncode, done.stdout.decode("utf-8", "replace").strip()


def look(host: Host, setting: Setting) -> Seen:
    """The live values of a setting by kernel file; none when this node does not have it."""
    if setting.kind == "governor":
        return _look_at_governors(host, setting.value)
    if setting.kind == "sysctl":
        return _look_at_sysctl(host, setting.name)
    return _look_at_sched(host)


def _look_at_governors(host: Host, wanted: str) -> Seen:
    live: dict[str, str] = {}
    skipped: list[str] = []
    lacking: dict[str, list[str]] = {}
    unchecked = False
    for path in host.find(GOVERNORS):
        cpu = path.split("/")[5]
        try:
            live[path] = host.value(path)
        except OSError:
            skipped.append(cpu)  # the kernel answers so for a CPU that is offline
            continue
        try:
            available = host.value(os.path.dirname(path) + "/scaling_available_governors").split()
        except OSError:
            unchecked = True
            continue
        if wanted not in available:
            lacking.setdefault(" ".join(available), []).append(cpu)
    if not live:
        return Seen({}, "not available on this node: no CPU has cpufreq (a VM, or the firmware keeps it to itself)")
    notes = [_cpus(len(live))]
    if skipped:
        notes.append(f"skipped, offline: {_shorten(skipped)}")
    if unchecked:
        notes.append("this kernel does not list its governors")
    problem = "; ".join(
        f"governor {wanted!r} does not exist on {_shorten(cpus)}: available there: {offer or 'none'}. Choose one of "
        f"these, load the kernel module cpufreq_{wanted} if the kernel has it, or leave the governor out"
        for offer, cpus in lacking.items()
    )
    return Seen(live, "; ".join(notes), problem)


def _look_at_sysctl(host: Host, name: str) -> Seen:
    path = sysctl_path(name)
    if not os.path.isfile(host.at(path)):
        return Seen({}, f"not available on this node: its kernel has no {name}")
    try:
        return Seen({path: host.value(path)})
    except OSError as error:
        return Seen({}, "", f"sysctl {name} cannot be read ({error.strerror}): leave it out")


def _look_at_sched(host: Host) -> Seen:
    for path in (SCHED_SYSCTL, SCHED_DEBUGFS):
        if not os.path.isfile(host.at(path)):
            continue
        try:
            return Seen({path: host.value(path)}, path)
        except OSError as error:
            return Seen({}, f"not available on this node: {path} cannot be read ({error.strerror})")
    debugfs = host.at("/sys/kernel/debug")
    if os.path.isdir(debugfs) and not os.listdir(debugfs):
        return Seen(
            {},
            "not available on this node: kernel.sched_migration_cost_ns is gone since Linux 5.13 and "
            "debugfs is not mounted at /sys/kernel/debug",
        )
    return Seen({}, "not available on this node: its kernel has it neither as sysctl nor in debugfs")


class Item:
    """One line of the report: where it stands, and where each kernel file is to go."""

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
        return {path: value for path, value in self.target.items() if self.after.get(path) != value}

    def write(self, host: Host) -> None:
        """Write what differs, then read all back: a kernel may clamp, or take a value and not keep it."""
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
            self.notes = [f"{_shorten(paths)}: {text}" for text, paths in errors.items()]
        elif self.after != self.before:
            self.verdict = "changed"

    def report(self) -> dict[str, Any]:
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


def _put_back(host: Host, record: dict[str, dict[str, str]], kind: str, name: str) -> Item:
    """What an earlier run set and nobody wants any more; a value that somebody changed since is not ours."""
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
        notes.append(f"left alone, changed by somebody since it was set: {_shorten(kept)}")
    if gone:
        notes.append(f"no longer on this node: {_shorten(gone)}")
    item = Item(kind, name, _summary(target), Seen(live, "; ".join(notes)), target)
    if kept and item.verdict == "ok":
        item.verdict = "kept"
    return item


def tune(host: Host, settings: list[Setting], dry_run: bool, strict: bool = True) -> Outcome:
    """Bring the node to the settings; with dry_run, compare only. strict: stop at what cannot be made."""
    record = host.load_record()
    items = [_make(host, setting) for setting in settings]
    problems = [item.problem for item in items if item.problem]
    if problems and strict:
        raise TuningError("; ".join(problems) + ". Nothing was changed")

    current = {(setting.kind, setting.name) for setting in settings}
    recorded = {(entry["kind"], entry["name"]) for entry in record.values()}
    new_record = {path: entry for path, entry in record.items() if (entry["kind"], entry["name"]) in current}
    for item in items:
        for path, value in item.target.items():
            before = record[path]["before"] if path in record else item.before[path]
            new_record[path] = {"kind": item.kind, "name": item.name, "before": before, "set": value}
    available = [setting for setting, item in zip(settings, items) if item.before]
    items += [_put_back(host, record, kind, name) for kind, name in sorted(recorded - current)]
    diff = [_diff_of_values(items)]

    if not dry_run and (new_record != record or any(item.todo() for item in items)):
        host.save_record(dict(record, **new_record))  # before the first write: a run cut short can be undone too
        for item in items:
            item.write(host)
    failures = [f"{item.name}: {'; '.join(item.notes)}" for item in items if item.verdict == "failed"]
    if failures:
        failures.append("what was not refused is set, but nothing was made to survive a reboot: run again when mended")

    contents = wanted_files(settings, available, host.has_systemd())
    files = [entry for entry in (_compare(host, path, contents.get(path), diff) for path in OWN_FILES) if entry]
    notes: list[str] = []
    if settings and not host.has_systemd():
        notes.append("no systemd on this node: only the sysctl values survive a reboot")
    elif settings and not host.runs_systemd():
        notes.append(f"systemd does not run here: {UNIT} takes effect at the next boot")
    if not dry_run and not failures:
        failures = _persist(host, contents, files, notes)
        if not failures and host.load_record() != new_record:
            host.save_record(new_record)

    verdicts = [item.verdict for item in items] + [entry["verdict"] for entry in files]
    different = "differs" in verdicts
    written = "changed" in verdicts or any(item.after != item.before for item in items)
    changed = written or new_record != record or (dry_run and different)
    return Outcome([item.report() for item in items], files, changed, not different, failures, notes, diff)


def _make(host: Host, setting: Setting) -> Item:
    seen = look(host, setting)
    return Item(setting.kind, setting.name, setting.value, seen, dict.fromkeys(seen.live, setting.value))


def _compare(host: Host, path: str, wanted: str | None, diff: list[dict[str, str]]) -> dict[str, Any] | None:
    present = host.text(path)
    if present is None and wanted is None:
        return None
    if present != wanted:
        header = {"before_header": path, "after_header": path}
        diff.append(dict(header, before=present or "", after=wanted or ""))
        return {"path": path, "verdict": "differs", "note": "absent" if present is None else ""}
    if path == UNIT_FILE and host.runs_systemd() and host.systemctl("is-active", UNIT)[0]:
        return {"path": path, "verdict": "differs", "note": f"not active: see journalctl -u {UNIT}"}
    return {"path": path, "verdict": "ok", "note": ""}


def _persist(host: Host, contents: dict[str, str], files: list[dict[str, Any]], notes: list[str]) -> list[str]:
    """Write, or remove, the files that differ and let systemd know; the failures, in words."""
    stale = [entry for entry in files if entry["verdict"] == "differs"]
    tell_systemd = host.runs_systemd() and any(entry["path"] != DROP_IN for entry in stale)
    if tell_systemd and UNIT_FILE not in contents:
        host.systemctl("stop", UNIT)
    for entry in stale:
        try:
            if entry["path"] in contents:
                host.replace(entry["path"], contents[entry["path"]], 0o644)
            else:
                host.remove(entry["path"])
        except OSError as error:
            entry["verdict"] = "failed"
            reason = f"{entry['path']} could not be written: {explain(error)}"
            return [reason + ". The live values are set, but would not survive a reboot"]
        entry.update(verdict="changed", note="" if entry["path"] in contents else "removed")
    if not tell_systemd:
        return []
    code, text = host.systemctl("daemon-reload")
    if code:
        notes.append(f"systemctl daemon-reload failed ({text}): {UNIT} takes effect at the next boot")
    elif UNIT_FILE in contents:
        code, text = host.systemctl("restart", UNIT)
        if code:
            return [f"{UNIT} fails, so the values would not survive a reboot: {text}. See: journalctl -u {UNIT}"]
    return []


def wanted_files(settings: list[Setting], available: list[Setting], systemd: bool = True) -> dict[str, str]:
    """Path to content of all that makes the settings survive a reboot.

    The unit sets the sysctls too, since a later file (99-sysctl.conf, /etc/sysctl.conf) wins over the drop-in.
    """
    contents = {}
    sysctls = [setting for setting in available if setting.kind == "sysctl"]
    if sysctls:
        contents[DROP_IN] = HEADER + "".join(f"{setting.name} = {setting.value}\n" for setting in sysctls)
    if settings and systemd:
        contents[SCRIPT] = SCRIPT_HEAD + "".join(_script_line(setting) for setting in settings) + 'exit "$rc"\n'
        contents[UNIT_FILE] = UNIT_TEXT
        contents[UNIT_LINK] = LINK_MARK + "../" + UNIT
    return contents


SCRIPT_HEAD = (
    "#!/bin/sh\n"
    + HEADER
    + """\
# Files that this kernel does not have, and CPUs that are offline, are passed over.
rc=0
put() {
    value=$1
    shift
    refused=0
    for file; do
        now=
        { read -r now <"$file"; } 2>/dev/null
        if [ -n "$now" ] && [ "$now" != "$value" ]; then
            echo "$value" >"$file" || refused=1
        fi
    done
    return "$refused"
}
"""
)

# After the others that set such values at boot, so that theirs do not win
UNIT_TEXT = (
    HEADER
    + f"""\
[Unit]
Description=Host tuning for vLLM on Ascend NPUs
After=systemd-sysctl.service tuned.service cpupower.service

[Service]
Type=oneshot
RemainAfterExit=yes
TimeoutStartSec=60
ExecStart=/bin/sh {SCRIPT}

[Install]
WantedBy=multi-user.target
"""
)


def _script_line(setting: Setting) -> str:
    value = shlex.quote(setting.value)
    if setting.kind == "governor":
        return f"put {value} {GOVERNORS} || rc=1\n"
    if setting.kind == "sysctl":
        return f"put {value} {shlex.quote(sysctl_path(setting.name))} || rc=1\n"
    return f"put {value} {SCHED_SYSCTL} {SCHED_DEBUGFS} || true\n"


def explain(error: OSError) -> str:
    hint = ERRNO_HINTS.get(error.errno or 0, "see the kernel's log (dmesg)")
    return f"{error.strerror}, {hint}"


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
    counts = Counter(values.values())
    if len(counts) < 2:
        return next(iter(counts), None)
    return ", ".join(f"{value} ({_cpus(number)})" for value, number in sorted(counts.items()))


def _squeeze(value: Any) -> str:
    return "" if value is None else " ".join(str(value).split())


def _cpus(number: int) -> str:
    return "1 CPU" if number == 1 else f"{number} CPUs"


def _shorten(names: list[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def report_lines(outcome: Outcome) -> list[str]:
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
