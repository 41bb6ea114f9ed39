# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a supervisor remembers from one check to the next: where, and how old it is. Each check is a process of its own.

The state belongs into ``/run``, and goes to the disk while ``/run`` does not take it; the newest of them counts. Where
neither takes it, the process that looked remembers it: see ``_service.supervise``.

Ages are those of the clock that nobody sets: each state notes the time by both clocks. Where the node's clock was set
since then, all times of the state are moved with it, so that what was 40 s ago is still 40 s ago.
"""

from __future__ import annotations

import copy
import errno
import json
import os
import time

from ansible_collections.ascend_ops.vllm.plugins.module_utils._common import files, layout
from ansible_collections.ascend_ops.vllm.plugins.module_utils._state import schema

MAX_FILE = 1 << 20
BOOT_ID = "/proc/sys/kernel/random/boot_id"
# Seconds that both clocks may differ by; what is less is how a clock is kept right.
STEP = 2


def places(name):
    """The files that may hold the state of a service, the best one first."""
    return [
        os.path.join(layout.STATE_DIR, name, "state.json"),
        os.path.join(layout.RECORDS_DIR, name, "supervisor.json"),
    ]


def clock():
    """The time: ``{"wall", "monotonic", "boot"}``, in seconds since the epoch and since the boot, and which boot."""
    try:
        with open(BOOT_ID, encoding="ascii") as handle:
            boot = handle.read(100).strip()
    except (OSError, ValueError):
        boot = ""
    return {"wall": time.time(), "monotonic": time.monotonic(), "boot": boot}


def fresh(now):
    """The state of a supervisor that has seen nothing yet."""
    return {
        "state": "starting",
        "since": now,
        "checked_at": now,
        "reason": "",
        "last_good": None,
        "last_good_seconds": None,
        "good_since": None,
        "failures": 0,
        "restarts": 0,
        "last_restart": None,
        "container_id": None,
        "started_at": None,
        "began_at": None,
        "engine_restarts": 0,
        "proven": False,
        "unlinked": 0,
        "work": None,
        "acting": None,
        "started_with": {},
        "trusted": {},
        "drift": None,
        "memory": "",
        "history": [],
    }


def note(state, event, now):
    """Add an event to the history of a state."""
    state["history"] = (state["history"] + [{"at": now, "event": event}])[-schema.HISTORY :]


def load(name, clock):
    """The newest state that can be used: ``(state, why)``.

    :param clock: the time now, as of :func:`clock`.
    :return: the state with its times by the clock of now, or None; and what could not be used, as sentences. A state of
        another boot counts as none: nothing is wrong with it.
    """
    found, why = [], []
    for path in places(name):
        try:
            with open(path, encoding="utf-8", errors="replace") as handle:
                state = json.loads(handle.read(MAX_FILE))
        except FileNotFoundError:
            continue
        except OSError as error:
            why.append(f"cannot read {path}: {error.strerror}")
            continue
        except (ValueError, RecursionError):
            why.append(f"{path} cannot be used: it is no JSON")
            continue
        problem = schema.state_error(state)
        if problem:
            why.append(f"{path} cannot be used: {problem}")
        elif state["clock"]["boot"] != clock["boot"]:
            continue
        elif state["clock"]["monotonic"] > clock["monotonic"]:
            why.append(f"{path} cannot be used: it comes from the future")
        else:
            found.append(schema.known(state))
    if not found:
        return None, why
    return moved(max(found, key=lambda state: state["clock"]["monotonic"]), clock), why


def moved(state, clock):
    """A state with its times by the clock of now: see above. No time lies in the future."""
    state = copy.deepcopy(state)
    then = state.pop("clock")
    state.pop("schema", None)
    step = clock["wall"] - then["wall"] - (clock["monotonic"] - then["monotonic"])
    if abs(step) < STEP:
        step = 0

    def move(seconds):
        return max(0, min(seconds + step, clock["wall"]))

    for key in schema.TIMES:
        if state[key] is not None:
            state[key] = move(state[key])
    for entry in [state["last_restart"], state["acting"]] + state["history"]:
        if entry is not None:
            entry["at"] = move(entry["at"])
    if step:
        event = "the clock was set {0} by {1:.0f} s".format("forward" if step > 0 else "back", abs(step))
        note(state, event, clock["wall"])
    return state


def save(name, state, clock, more):
    """Write a state to the first place that takes it. Sets ``memory`` of it: why that is not the first; empty for the first.

    :param clock: the time that the times of the state are by.
    :param more: what else the file says.
    :return: whether a place took it.
    """
    paths = places(name)
    refused = []
    for path in paths:
        state["memory"] = memory(refused, path)
        text = json.dumps(dict(state, schema=schema.VERSION, clock=clock, **more), indent=1) + "\n"
        try:
            os.makedirs(os.path.dirname(path), 0o755, exist_ok=True)
            files.write(path, text, 0o644)
        except OSError as error:
            refused.append(cause(error, path))
            continue
        if not refused:
            forget(name, paths[1:])
        return True
    state["memory"] = memory(refused, "")
    return False


def memory(refused, path):
    """The sentence on why a state is not where it belongs; empty where no place refused it."""
    if not refused:
        return ""
    where = f"it is in {path}" if path else "nothing is remembered from one check to the next"
    return "cannot write its state: {0}; {1}".format(", ".join(refused), where)


def cause(error, path):
    """Why a file could not be written, in few words: ``no space left on /run``."""
    mount = mount_of(path)
    texts = {
        errno.ENOSPC: f"no space left on {mount}",
        errno.EDQUOT: f"the quota of {mount} is used up",
        errno.EROFS: f"{mount} is mounted read-only",
        errno.EIO: f"{mount} has input/output errors",
    }
    return texts.get(error.errno, f"{path}: {error.strerror or error}")


def mount_of(path):
    """Where the file system is mounted that a path is on, or would be."""
    path = os.path.abspath(path)
    while not os.path.ismount(path) and path != "/":
        path = os.path.dirname(path)
    return path


def obstacles(name):
    """Why the places of a state could not be written now, one of :func:`cause` each, without writing to them."""
    found = []
    for path in places(name):
        mount = mount_of(path)
        try:
            seen = os.statvfs(mount)
        except OSError as error:
            found.append(cause(error, path))
            continue
        if seen.f_flag & os.ST_RDONLY:
            found.append(cause(OSError(errno.EROFS, ""), path))
        elif not seen.f_bavail or (seen.f_files and not seen.f_favail):
            found.append(cause(OSError(errno.ENOSPC, ""), path))
    return found


def forget(name, paths=None):
    """Remove the state of a service; *paths*: from these places only. What cannot be removed stays."""
    for path in places(name) if paths is None else paths:
        try:
            os.unlink(path)
        except OSError:
            pass
