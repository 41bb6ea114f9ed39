# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run commands with limits on time and output."""

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
    """The path of a tool, or None: *explicit* where it is given and exists, else from the usual places, else from PATH."""
    if explicit:
        return explicit if os.path.isfile(explicit) else None
    for folder in TOOL_FOLDERS:
        path = os.path.join(folder, name)
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    return shutil.which(name)


def driver_env() -> Dict[str, str]:
    """The library path that the driver's tools need, which the non-login shell of Ansible lacks."""
    wanted = [DRIVER + "/lib64", DRIVER + "/lib64/common", DRIVER + "/lib64/driver"]
    present = os.environ.get("LD_LIBRARY_PATH")
    return {"LD_LIBRARY_PATH": ":".join(wanted + ([present] if present else []))}


def run(
    argv: List[str], timeout: float, env: Optional[Dict[str, str]] = None, given: str = ""
) -> Tuple[int, str, bool]:
    """Run a command: ``(exit status, stdout and stderr, timed out)``.

    After *timeout* seconds, or more than MAX_OUTPUT bytes, the whole process group is killed.
    A short text may be *given* on its stdin, which no process list shows.
    """
    started, process = _start(argv, env, given)
    if process is None:
        return started[0], started[1], False
    complete = False
    with process.stdout:
        try:
            output, complete = _read(process, time.monotonic() + timeout)
        finally:  # also when this program is terminated
            if not complete:
                _kill_group(process)
    timed_out = not complete and len(output) < MAX_OUTPUT
    return RC_TIMEOUT if timed_out else process.returncode, output.decode("utf-8", "replace"), timed_out


def run_tail(
    argv: List[str], timeout: float, limit: int, env: Optional[Dict[str, str]] = None, head: int = 0
) -> Tuple[int, str, bool, int]:
    """Like run() for long output: ``(exit status, text, timed out, cut)``.

    The text is the first *head* bytes, to the end of a line, and the last *limit* bytes, from the start of a line; *cut* is how
    many bytes between them were dropped.
    """
    started, process = _start(argv, env)
    if process is None:
        return started[0], started[1], False, 0
    seen = [0]
    first = bytearray()
    kept = bytearray()

    def keep(chunk: bytes) -> None:
        seen[0] += len(chunk)
        missing = head - len(first)
        if missing > 0:
            first.extend(chunk[:missing])
            chunk = chunk[missing:]
        kept.extend(chunk)
        if len(kept) > 2 * limit:
            del kept[:-limit]

    with process.stdout:
        unused, complete = _read(process, time.monotonic() + timeout, keep)
        if not complete:
            _kill_group(process)
    text = last_lines(bytes(kept), limit, seen[0] > len(first) + len(kept))
    if seen[0] > len(first) + len(text):
        del first[first.rfind(b"\n") + 1 :]
    text = bytes(first) + text
    return (
        RC_TIMEOUT if not complete else process.returncode,
        text.decode("utf-8", "replace"),
        not complete,
        seen[0] - len(text),
    )


def last_lines(data: bytes, limit: int, cut: bool = False) -> bytes:
    """The last *limit* bytes without a partial first line; *cut* says that *data* begins with one.

    Half a secret would not be recognized. A single long line loses its first 4096 bytes.
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
            except OSError:  # it has ended; its output says why
                pass
        return (0, ""), process
    except FileNotFoundError as error:
        return (RC_NOT_FOUND, str(error)), None
    except (OSError, ValueError) as error:
        return (RC_NOT_EXECUTABLE, str(error)), None


def _read(
    process: subprocess.Popen, deadline: float, keep: Optional[Callable[[bytes], None]] = None
) -> Tuple[bytes, bool]:
    """Read until the process has ended: (output, True); (output, False) when it took too long or printed too much.

    With *keep*, the output is passed to it in chunks, and is never too much.
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
            elif ended:  # a process that it left behind may keep the pipe open
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
    """The first non-empty line of a text, printable, at most 120 characters."""
    lines = [line.strip() for line in str(text).splitlines() if line.strip()]
    return "".join(char if char.isprintable() else "?" for char in lines[0][:120]) if lines else ""
