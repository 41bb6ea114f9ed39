# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files and the systemd of a node, as far as its tuning touches them, and the record of the values found first."""

from __future__ import annotations

import errno
import glob
import json
import os
import re
from typing import Callable

from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.layout import RECORDS_DIR, SERVICE_DIR
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.run import run

UNIT = "ascend-vllm-host-tuning.service"
RECORD = RECORDS_DIR + "/host_tuning.json"
DROP_IN = "/etc/sysctl.d/90-ascend-vllm.conf"
SCRIPT = SERVICE_DIR + "/host-tuning.sh"
UNIT_FILE = "/etc/systemd/system/" + UNIT
UNIT_LINK = "/etc/systemd/system/multi-user.target.wants/" + UNIT

LINK_MARK = "link to "
SYSTEMCTL_SECONDS = 60
ERRNO_HINTS = {
    errno.EROFS: "it is read-only here. Run this on the node itself, not in a container",
    errno.EACCES: "not permitted. Use become: true, on the node itself, not in a container",
    errno.EPERM: "not permitted. Use become: true; kernel lockdown (secure boot) refuses some files even to root",
    errno.EINVAL: "the kernel does not accept this value",
    errno.EBUSY: "the kernel reports it as busy: another tool or the CPU driver controls it. Retry, or omit the setting",
}


class TuningError(Exception):
    """Invalid input, or a node on which a setting is not possible; nothing was changed."""


class Host:
    """The node's files below a root directory, and its systemd.

    :param root: other than / in tests, which bring their own *systemctl*: it takes the arguments of the command and
        returns ``(exit status, output)``.
    """

    def __init__(self, root: str = "/", systemctl: Callable[..., tuple[int, str]] | None = None):
        self.root = root.rstrip("/")
        self.systemctl = systemctl or run_systemctl

    def at(self, path: str) -> str:
        """The path of a file below the root."""
        return self.root + path

    def find(self, pattern: str) -> list[str]:
        """The paths that match, in the order of the numbers in them."""
        found = [path[len(self.root) :] for path in glob.glob(glob.escape(self.root) + pattern)]
        return sorted(found, key=lambda path: [int(digits) for digits in re.findall(r"\d+", path)])

    def value(self, path: str) -> str:
        """The value of a kernel file, without superfluous whitespace; raises OSError."""
        with open(self.at(path), "rb") as handle:
            return squeeze(handle.read(4096).decode("utf-8", "replace"))

    def set_value(self, path: str, value: str) -> None:
        """Write a kernel file; raises OSError if the kernel refuses the value."""
        # Without O_CREAT: a kernel file that has disappeared must not become a regular file.
        handle = os.open(self.at(path), os.O_WRONLY | os.O_TRUNC)
        try:
            os.write(handle, (value + "\n").encode())
        finally:
            os.close(handle)

    def text(self, path: str) -> str | None:
        """The content of a file, LINK_MARK and the target of a link, or None if it does not exist."""
        if os.path.islink(self.at(path)):
            return LINK_MARK + os.readlink(self.at(path))
        try:
            with open(self.at(path), "rb") as handle:
                return handle.read().decode("utf-8", "replace")
        except FileNotFoundError:
            return None

    def replace(self, path: str, content: str, mode: int) -> None:
        """Write a file, or a link for content as text() returns it, atomically."""
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
        """Remove a file, and its directory if that belongs to this collection and is empty."""
        try:
            os.unlink(self.at(path))
        except FileNotFoundError:
            pass
        if path in (SCRIPT, RECORD):
            try:
                os.rmdir(os.path.dirname(self.at(path)))
            except OSError:
                pass  # it contains other files

    def load_record(self) -> dict[str, dict[str, str]]:
        """What earlier runs set: ``{path: {kind, name, before, set}}``; TuningError if the file is damaged."""
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
                "Repair it, or move it away: the current values then count as the original ones"
            ) from error

    def save_record(self, record: dict[str, dict[str, str]]) -> None:
        """Write the record; an empty one is removed."""
        if record:
            content = json.dumps({"version": 1, "values": record}, indent=1, sort_keys=True) + "\n"
            self.replace(RECORD, content, 0o600)
        else:
            self.remove(RECORD)

    def has_systemd(self) -> bool:
        """Whether systemd is installed."""
        return any(os.path.isdir(self.at(path)) for path in ("/usr/lib/systemd/system", "/lib/systemd/system"))

    def runs_systemd(self) -> bool:
        """Whether systemd is running."""
        return os.path.isdir(self.at("/run/systemd/system"))


def run_systemctl(*arguments: str) -> tuple[int, str]:
    """Run systemctl: ``(exit status, output)``."""
    code, text, timed_out = run(["systemctl", *arguments], SYSTEMCTL_SECONDS, {"SYSTEMD_PAGER": ""})
    return code, f"no answer in {SYSTEMCTL_SECONDS} s" if timed_out else text.strip()


def explain(error: OSError) -> str:
    """An error as text, with a hint on what to do."""
    hint = ERRNO_HINTS.get(error.errno or 0, "see the kernel log (dmesg)")
    return f"{error.strerror}, {hint}"


def squeeze(value: object) -> str:
    """A value as text without superfluous whitespace; empty for None."""
    return "" if value is None else " ".join(str(value).split())


def shorten(names: list[str]) -> str:
    """The first four of some names, and how many more there are."""
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def count_cpus(number: int) -> str:
    """``1 CPU``, ``2 CPUs``."""
    return "1 CPU" if number == 1 else f"{number} CPUs"
