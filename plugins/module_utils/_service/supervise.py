# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Supervise the nodes of a replica as one group. A systemd timer of each node runs :func:`main` every few seconds.

Nodes do not talk to each other about it: each acts on what it can see, and the group comes back because what one node
does is seen by the others.

- The node that serves the API asks for one token. Where it gets none several times in a row, or none at all within the
  time that a start may take, it restarts its container.
- A secondary looks at the connections that its own container has to the primary. It restarts its container when it had
  some and has none, or when the primary waits for its nodes anew and this one is not connected to it: it then belongs
  to a group that is gone, and would keep the new one from forming.

The engine's own restart policy brings back what ended by itself. This code counts that, and stops the container when it
happened too often without a time of quiet in between.

It also reports whether the node still is as it was deployed (``drift`` in state.json), and does not act on that, but for
a launch script or environment that the service cannot be started with: see ``repair``.

Here it acts; ``look`` looks, ``decision`` decides, ``_state.memory`` remembers. It runs on a node without Ansible: only
the standard library and modules of this collection that need nothing else are imported.
"""

# A program of its own on a node, which prints to the journal.
# pylint: disable=ansible-bad-function

from __future__ import annotations

import json
import os
import sys
import time

from ansible_collections.ascend_ops.vllm.plugins.module_utils._common import layout
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.engine import Engine, EngineError
from ansible_collections.ascend_ops.vllm.plugins.module_utils._service import repair
from ansible_collections.ascend_ops.vllm.plugins.module_utils._service.decision import became, began, step
from ansible_collections.ascend_ops.vllm.plugins.module_utils._service.look import look, look_drift, process_age
from ansible_collections.ascend_ops.vllm.plugins.module_utils._state import memory, schema


def act(settings, engine, state, action, now):
    """Do what ``decision.step`` decided; a refusal of the engine becomes part of the state.

    :param action: as of ``decision.step``, not None.
    :param now: seconds since the epoch, for the times in the state.
    """
    name, seconds = settings["name"], settings["stop_timeout"]
    words = {
        "start": ["start", name],
        "restart": ["restart", "--time", str(seconds), name],
        "restore": ["restart", "--time", str(seconds), name],
        "stop": ["stop", "--time", str(seconds), name],
        "rename": ["rename", state["container_id"], name],
    }[action]
    try:
        if action == "restore":
            repair.restore(name)
        engine.call(words, seconds + 120)
        container = engine.container(name)
        if action not in ("stop", "rename") and container is not None:
            age = process_age(container.get("pid")) if container["running"] else None
            began(state, {"container": container, "age": age, "files": repair.look_files(name)}, now)
    except (EngineError, OSError) as error:
        # What the node refuses, for want of room perhaps, is no restart; it is tried again.
        if action not in ("stop", "rename"):
            state["restarts"] = max(0, state["restarts"] - 1)
        if isinstance(error, OSError):
            error = memory.cause(error, error.filename or os.path.join(layout.SERVICE_DIR, name))
        became(state, "failing", f"{action} failed: {error}", now)


def check(settings, engine, before, clock):
    """Look once, and do what follows: ``(state, whether it is remembered)``.

    :param before: the state of the last check.
    :param clock: the time that the times of *before* are by, as of ``memory.clock``.
    """

    def time_is():
        """The time by the clock that nobody sets."""
        passed = time.monotonic() - clock["monotonic"]
        return dict(clock, wall=clock["wall"] + passed, monotonic=clock["monotonic"] + passed)

    def tell():
        """Print the events that were not printed yet."""
        for entry in state["history"]:
            if entry not in told:
                told.append(entry)
                print("<5>{0}: {1}".format(settings["name"], entry["event"]), flush=True)

    told = list(before["history"])
    more = {"name": settings["name"], "role": settings["role"]}
    seen = look(settings, engine, before)
    state, action = step(settings, before, seen, time_is()["wall"])
    if action:
        # First, so that the next check knows of it where this one is cut short.
        state["acting"] = {"action": action, "at": time_is()["wall"]}
        memory.save(settings["name"], state, time_is(), more)
        tell()
        act(settings, engine, state, action, time_is()["wall"])
        state["acting"] = None
    state["drift"] = None if seen["error"] else look_drift(settings, engine)  # last, so that nothing waits for it
    tell()
    remembered = memory.save(settings["name"], state, time_is(), more)
    if state["memory"] != before["memory"]:
        print("<4>{0}: {1}".format(settings["name"], state["memory"] or "its state is where it belongs again"))
    return state, remembered


def load(name, clock):
    """The state of the last check, or a fresh one that says in its history why nothing is known."""
    state, why = memory.load(name, clock)
    if state is None:
        state = memory.fresh(clock["wall"])
        for text in why:
            memory.note(state, f"{text}; it begins anew", clock["wall"])
    for entry in state["history"]:
        if entry["at"] == clock["wall"]:  # of now, and not of a check before
            print("<4>{0}: {1}".format(name, entry["event"]))
    return state


def read_settings(name):
    """``(settings, error)`` of the supervisor of a service; None where *error* says why there are none."""
    path = os.path.join(layout.SERVICE_DIR, name, "supervise.json")
    try:
        with open(path, encoding="utf-8") as handle:
            found = json.load(handle)
        problem = schema.settings_error(found)
    except (OSError, ValueError, RecursionError) as error:
        return None, f"cannot read {path}: {error}. Deploy again, which writes it."
    if problem:
        return None, f"cannot use {path}: {problem}. Deploy again, which writes it."
    return found, ""


def main(name):
    """Check the container *name* once, and do what follows; return the exit status.

    Where nothing takes the state, the memory of this process is the last resort: it looks as often as it takes to find a
    failure, and ends then.
    """
    settings, error = read_settings(name)
    if error:
        print(f"<3>{name}: {error}")
        return 1
    engine = Engine(settings["engine"])
    clock = memory.clock()
    state = load(name, clock)
    for looks in range(max(1, settings["probe_failures"])):
        if looks:
            time.sleep(settings["interval"])
        state, remembered = check(settings, engine, state, clock)
        if remembered:
            break
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
