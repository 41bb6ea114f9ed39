# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files that restore the settings after a reboot: a sysctl drop-in, a script, and a systemd unit that runs it."""

from __future__ import annotations

import shlex
from typing import Any

from ansible_collections.ascend_ops.vllm.plugins.module_utils._tuning.host import (
    DROP_IN,
    LINK_MARK,
    SCRIPT,
    UNIT,
    UNIT_FILE,
    UNIT_LINK,
    Host,
    explain,
)
from ansible_collections.ascend_ops.vllm.plugins.module_utils._tuning.settings import (
    GOVERNORS,
    SCHED_DEBUGFS,
    SCHED_SYSCTL,
    Setting,
    sysctl_path,
)

OWN_FILES = (DROP_IN, SCRIPT, UNIT_FILE, UNIT_LINK)
HEADER = "# Written by ascend_ops.vllm.host_tuning, which overwrites changes on its next run.\n"
SCRIPT_HEAD = (
    "#!/bin/sh\n"
    + HEADER
    + """\
# Files that this kernel does not have, and CPUs that are offline, are skipped.
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
# After other units that set the same values at boot, which would overwrite these.
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


def wanted_files(settings: list[Setting], available: list[Setting], systemd: bool = True) -> dict[str, str]:
    """The files that restore the settings after a reboot, ``{path: content}``.

    The unit sets the sysctls too, since a later file (99-sysctl.conf, /etc/sysctl.conf) overrides the drop-in.

    :param available: the settings that the node has.
    :param systemd: whether systemd is installed; without it only the sysctls persist.
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


def _script_line(setting: Setting) -> str:
    value = shlex.quote(setting.value)
    if setting.kind == "governor":
        return f"put {value} {GOVERNORS} || rc=1\n"
    if setting.kind == "sysctl":
        return f"put {value} {shlex.quote(sysctl_path(setting.name))} || rc=1\n"
    return f"put {value} {SCHED_SYSCTL} {SCHED_DEBUGFS} || true\n"


def compare_files(host: Host, contents: dict[str, str]) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
    """``(files, diff)``: an entry ``{path, verdict, note}`` per file, and the differences as Ansible shows them.

    The verdict is ``ok`` or ``differs``. A file that neither exists nor is wanted has no entry.
    """
    files: list[dict[str, Any]] = []
    diff: list[dict[str, str]] = []
    for path in OWN_FILES:
        present, wanted = host.text(path), contents.get(path)
        if present is None and wanted is None:
            continue
        if present != wanted:
            header = {"before_header": path, "after_header": path}
            diff.append(dict(header, before=present or "", after=wanted or ""))
            files.append({"path": path, "verdict": "differs", "note": "absent" if present is None else ""})
        elif path == UNIT_FILE and host.runs_systemd() and host.systemctl("is-active", UNIT)[0]:
            note = f"not active: see 'journalctl -u {UNIT}'"
            files.append({"path": path, "verdict": "differs", "note": note})
        else:
            files.append({"path": path, "verdict": "ok", "note": ""})
    return files, diff


def persist(host: Host, contents: dict[str, str], files: list[dict[str, Any]], notes: list[str]) -> list[str]:
    """Write or remove the files that differ, and reload systemd: the failures as sentences.

    *files* is the result of compare_files, and gets the new verdicts; *notes* gets what an operator should know.
    """
    stale = [entry for entry in files if entry["verdict"] == "differs"]
    reload = host.runs_systemd() and any(entry["path"] != DROP_IN for entry in stale)
    if reload and UNIT_FILE not in contents:
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
    return _reload(host, contents, notes) if reload else []


def _reload(host: Host, contents: dict[str, str], notes: list[str]) -> list[str]:
    code, text = host.systemctl("daemon-reload")
    if code:
        notes.append(f"systemctl daemon-reload failed ({text}): {UNIT} takes effect at the next boot")
    elif UNIT_FILE in contents:
        code, text = host.systemctl("restart", UNIT)
        if code:
            return [f"{UNIT} fails, so the values would not survive a reboot: {text}. See 'journalctl -u {UNIT}'"]
    return []
