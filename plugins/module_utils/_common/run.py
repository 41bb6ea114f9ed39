# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run a tool of the Ascend driver, bounded in time and in output."""

from __future__ import annotations

import os
import selectors
import shutil
import signal
import subprocess
import time
from typing import Callable, Dict, List, Optional, Tuple

MAX_OUTPUT = 1024 * 1024
DRIVER = "/usr/local/Ascend/driver"
TOOL_FOLDERS = ("/usr/local/bin", "/usr/local/sbin", "/usr/bin", "/usr/sbin", DRIVER + "/tools")
RC_TIMEOUT, RC_NOT_EXECUTABLE, RC_NOT_FOUND = 124, 126, 127


def find_tool(name: str, explicit: Optional[str] = None) -> Optional[str]:
    """The path of a tool: the explicit one or none, else from the usual places, else from PATH."""
    if explicit:
        return explicit if os.path.isfile(explicit) else None
    for folder in TOOL_FOLDERS:
        path = os.path.join(folder, name)
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    return shutil.which(name)


def driver_env() -> Dict[str, str]:
    """The library path the tools need; the non-login shell of Ansible has none."""
    wanted = [DRIVER + "/lib64", DRIVER + "/lib64/common", DRIVER + "/lib64/driver"]
    present = os.environ.get("LD_LIBRARY_PATH")
    return {"LD_LIBRARY_PATH": ":".join(wanted + ([present] if present else []))}


def run(
    argv: List[str], timeout: float, env: Optional[Dict[str, str]] = None, given: str = ""
) -> Tuple[int, str, bool]:
    """Run a command: (exit status, its stdout and stderr, whether the time was up).

    When the time is up, or more than MAX_OUTPUT came, the whole process group is killed.
    A few words may be *given* on its stdin, where nobody else sees them.
    """
    started, process = _start(argv, env, given)
    if process is None:
        return started[0], started[1], False
    complete = False
    with process.stdout:
        try:
            output, complete = _read(process, time.monotonic() + timeout)
        finally:  # also when this program is to end
            if not complete:
                _kill_group(process)
    timed_out = not complete and len(output) < MAX_OUTPUT
    return RC_TIMEOUT if timed_out else process.returncode, output.decode("utf-8", "replace"), timed_out


def run_tail(
    argv: List[str], timeout: float, limit: int, env: Optional[Dict[str, str]] = None
) -> Tuple[int, str, bool, int]:
    """Like run(), for long output: the last *limit* bytes of it, from a line's start, and how many were left out."""
    started, process = _start(argv, env)
    if process is None:
        return started[0], started[1], False, 0
    seen = [0]
    kept = bytearray()

    def keep(chunk: bytes) -> None:
        seen[0] += len(chunk)
        kept.extend(chunk)
        if len(kept) > 2 * limit:
            del kept[:-limit]

    with process.stdout:
        unused, complete = _read(process, time.monotonic() + timeout, keep)
        if not complete:
            _kill_group(process)
    text = last_lines(bytes(kept), limit, seen[0] > len(kept))
    return (
        RC_TIMEOUT if not complete else process.returncode,
        text.decode("utf-8", "replace"),
        not complete,
        seen[0] - len(text),
    )


def last_lines(data: bytes, limit: int, cut: bool = False) -> bytes:
    """The last *limit* bytes, without the line that is cut in two; *cut* says that the first one is one.

    Half a secret would not be known as one. Of a single line its first 4096 bytes are left out.
    """
    if len(data) > limit:
        data, cut = data[-limit:], True
    if not cut:
        return data
    end = data.find(b"\n")
    return data[end + 1 :] if end >= 0 else data[4096:]


def _start(
    argv: List[str], env: Optional[Dict[str, str]], given: str = ""
) -> Tuple[Tuple[int, str], Optional[subprocess.Popen]]:
    try:
        process = subprocess.Popen(  # pylint: disable=ansible-bad-function  # also without AnsibleModule
            argv,
            stdin=subprocess.PIPE if given else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=dict(os.environ, LC_ALL="C", LANGUAGE="C", **(env or {})),
        )
        if given:
            try:
                process.stdin.write(given.encode("utf-8"))
                process.stdin.close()
            except OSError:  # it has ended, and says why
                pass
        return (0, ""), process
    except FileNotFoundError as error:
        return (RC_NOT_FOUND, str(error)), None
    except (OSError, ValueError) as error:
        return (RC_NOT_EXECUTABLE, str(error)), None


def _read(
    process: subprocess.Popen, deadline: float, keep: Optional[Callable[[bytes], None]] = None
) -> Tuple[bytes, bool]:
    """Read until the process has ended; (output, False) when it went on for too long or printed too much.

    What it prints is handed to *keep*, where there is one, and is then never too much.
    """
    output = b""
    pipe_open = True
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while time.monotonic() < deadline and len(output) < MAX_OUTPUT:
            ended = process.poll() is not None
            if not pipe_open:
                if ended:
                    return output, True
                time.sleep(0.02)
            elif selector.select(0 if ended else min(0.1, max(0, deadline - time.monotonic()))):
                chunk = os.read(process.stdout.fileno(), 65536)
                pipe_open = bool(chunk)
                if keep:
                    keep(chunk)
                else:
                    output = (output + chunk)[:MAX_OUTPUT]
            elif ended:  # whatever it left behind may hold the pipe open
                return output, True
    return output, False


def _kill_group(process: subprocess.Popen) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except OSError:
        pass
    try:
        process.wait(timeout=2)
    except subprocess.TimeoutExpired:  # stuck in the driver: cannot be killed, is not waited for
        pass


def shorten(text):
    """The first line that says something."""
    lines = [line.strip() for line in str(text).splitlines() if line.strip()]
    return "".join(char if char.isprintable() else "?" for char in lines[0][:120]) if lines else ""
