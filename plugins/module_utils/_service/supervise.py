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

It also reports whether the node still is as it was deployed (``drift`` in state.json), and never acts on that.

:func:`step` decides and is pure; the rest looks and acts. It runs on a node without Ansible: only the standard library
and modules of this collection that need nothing else are imported.
"""

# A program of its own on a node, which prints to the journal.
# pylint: disable=ansible-bad-function

from __future__ import annotations

import json
import os
import re
import shlex
import socket
import sys
import time
from urllib.parse import urlsplit

from ansible_collections.ascend_ops.vllm.plugins.module_utils._common import files, layout
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.engine import Engine, EngineError
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.openai import Client
from ansible_collections.ascend_ops.vllm.plugins.module_utils._state import desired, drift, observed, records

HISTORY = 20
# Seconds that a secondary may take from its start to its first connection: vLLM itself gives up after five minutes.
JOIN_TIMEOUT = 420
BACK_OFF = (30, 900)
# Counters and gauges that only an engine at work moves. Requests alone move others.
WORK = re.compile(
    r"^vllm:(?:generation_tokens_total|prompt_tokens_total|prefix_cache_queries_total|iteration_tokens_total_count"
    r"|kv_cache_usage_perc)(?:\{[^}]*\})? (\S+)",
    re.M,
)


# -- the decision ---------------------------------------------------------------------------------------------------


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
        "started_at": None,
        "engine_restarts": 0,
        "proven": False,
        "unlinked": 0,
        "work": None,
        "drift": None,
        "history": [],
    }


def step(settings, state, seen, now):
    """Decide what one look at a node means.

    :param settings: what ``supervise.json`` holds.
    :param state: what the last step returned, or :func:`fresh`.
    :param seen: ``{"container": dict or None, "error": str}`` and what :func:`look_primary` or :func:`look_secondary`
        add where the container runs.
    :param now: seconds since the epoch.
    :return: ``(state, action)``; *action* is ``None``, ``start``, ``restart`` or ``stop``.
    """
    state = dict(state, checked_at=now, history=list(state["history"]))
    container = seen["container"]
    if seen["error"]:
        return _become(state, "down", seen["error"], now), None
    if container is None:
        return _become(state, "down", "there is no such container; deploy again", now), None
    if state["state"] == "gave-up" and not container["running"]:
        return state, None
    if state["state"] == "gave-up":  # somebody started it by hand: a new chance
        state = dict(fresh(now), history=state["history"])
    _count_restarts(settings, state, container, seen, now)
    if state["restarts"] > settings["restart_limit"]:
        return _give_up(settings, state, now)
    if container["status"] == "restarting":
        return _become(state, "restarting", "the engine starts it again", now), None
    if not container["running"]:
        return _restart(settings, state, "it was not running ({0})".format(container["status"]), now, "start")
    if settings["role"] == "secondary":
        return _step_secondary(settings, state, seen, now)
    return _step_primary(settings, state, seen, now)


def _step_primary(settings, state, seen, now):
    answer = seen["answer"]
    state["work"] = seen["work"]
    if answer["kind"] == "tokens":
        state["proven"] = True
        state["failures"] = 0
        if answer["seconds"] is not None:
            state["last_good_seconds"] = answer["seconds"]
        _good(settings, state, now)
        return _become(state, "serving", "", now), None
    if answer["kind"] == "refused":
        return _become(state, "failing", "the probe is refused: {0}".format(answer["text"]), now), None
    if not state["proven"]:
        age = now - (state["started_at"] or now)
        if age > settings["ready_timeout"]:
            return _restart(settings, state, f"no token within {age:.0f} s of its start", now)
        return _become(state, "starting", answer["text"], now), None
    state["failures"] += 1
    state["good_since"] = None
    if state["failures"] < settings["probe_failures"]:
        return _become(state, "failing", answer["text"], now), None
    return _restart(settings, state, "no token {0} times: {1}".format(state["failures"], answer["text"]), now)


def _step_secondary(settings, state, seen, now):
    age = now - (state["started_at"] or now)
    if seen["links"]:
        state["proven"] = True
        state["unlinked"] = 0
        if seen["primary"] == "waits" and not seen["rpc_links"]:
            return _restart(settings, state, "the primary waits for its nodes anew", now)
        if seen["primary"] == "serves":
            _good(settings, state, now)
        return _become(state, "joined", "{0} connections to the primary".format(seen["links"]), now), None
    state["good_since"] = None
    if state["proven"]:
        state["unlinked"] += 1
        if state["unlinked"] < 2:
            return _become(state, "failing", "no connection to the primary any more", now), None
        return _restart(settings, state, "no connection to the primary any more", now)
    if age > JOIN_TIMEOUT and seen["primary"] == "waits":
        return _restart(settings, state, f"not connected {age:.0f} s after its start", now)
    return _become(state, "waiting", "not connected to the primary yet, which {0}".format(seen["primary"]), now), None


def _good(settings, state, now):
    """Note a moment of service; after a time of quiet earlier restarts are forgotten."""
    state["last_good"] = now
    state["good_since"] = state["good_since"] or now
    if now - state["good_since"] >= settings["stable_after"]:
        state["restarts"] = 0


def _began(state, container):
    """Note which start of the container is watched now: nothing is known of it yet."""
    state.update(started_at=container["started_at"], engine_restarts=container["restart_count"])
    state.update(proven=False, failures=0, unlinked=0, good_since=None, work=None)


def _count_restarts(settings, state, container, seen, now):
    """Take note of a container that somebody else started since the last look."""
    known = state["started_at"]
    if container["started_at"] == known:
        return
    ended = max(1, container["restart_count"] - state["engine_restarts"])
    _began(state, container)
    if known is None:
        return
    # Without its primary a secondary ends every five minutes, and is not to blame.
    if settings["role"] == "secondary" and seen.get("primary", "serves") == "is away":
        return
    reason = "it ended (exit code {0})".format(
        seen.get("exit_code") if seen.get("exit_code") is not None else "unknown"
    )
    state["restarts"] += ended
    state["last_restart"] = {"at": now, "reason": reason}
    _note(state, f"{reason} and was started again", now)


def _restart(settings, state, reason, now, action="restart"):
    """Restart now, or wait as long as the last restarts demand."""
    last = state["last_restart"]
    wait = 0 if not state["restarts"] else min(BACK_OFF[0] * 2 ** (state["restarts"] - 1), BACK_OFF[1])
    if last and now - last["at"] < wait:
        text = "{0}; restart {1} is due in {2:.0f} s".format(reason, state["restarts"] + 1, last["at"] + wait - now)
        return _become(state, "failing", text, now), None
    # A secondary that follows its primary is not to blame for it.
    if settings["role"] != "secondary" or not state["proven"]:
        state["restarts"] += 1
    state["last_restart"] = {"at": now, "reason": reason}
    if state["restarts"] > settings["restart_limit"]:
        return _give_up(settings, state, now)
    _note(state, f"{action}: {reason}", now)
    return _become(state, "restarting", reason, now), action


def _give_up(settings, state, now):
    text = "{0} restarts without {1} s of quiet, the last since {2}. Read the container's log, fix the cause, deploy.".format(
        settings["restart_limit"], settings["stable_after"], state["last_restart"]["reason"]
    )
    return _become(state, "gave-up", text, now), "stop"


def _become(state, name, reason, now):
    if state["state"] != name:
        state["since"] = now
        _note(state, "{0}{1}".format(name, ": " + reason if reason else ""), now)
    state.update(state=name, reason=reason)
    return state


def _note(state, event, now):
    state["history"] = (state["history"] + [{"at": now, "event": event}])[-HISTORY:]


# -- looking and acting ---------------------------------------------------------------------------------------------


def look(settings, engine, state):
    """What one node sees now; see :func:`step`."""
    seen = {"container": None, "error": ""}
    try:
        seen["container"] = container = engine.container(settings["name"])
    except EngineError as error:
        seen["error"] = str(error)
        return seen
    if container is None:
        return seen
    if state["started_at"] not in (None, container["started_at"]):
        seen["exit_code"] = engine.last_exit(settings["name"], int(state["started_at"]))
    if not container["running"]:
        return seen
    if settings["role"] == "secondary":
        seen.update(look_secondary(settings, engine))
    else:
        seen.update(look_primary(settings, state))
    return seen


def look_drift(settings, engine):
    """What differs on the node from what was deployed there, as lines; None where that is not known.

    Container, files and the arguments of what runs; secrets are not read.
    """
    folder = os.path.join(layout.SERVICE_DIR, settings["name"])
    deployed = records.deployed_process(folder, settings["name"])
    if deployed is None:
        return None
    try:
        process = deployed["process"]
        wanted = desired.desired(process, {"interface": deployed["interface"], "masked": True})
        seen = observed.observed(process, {"engine": engine})
        return None if seen["engine_error"] else drift.lines(drift.drift(wanted, seen))
    except (OSError, ValueError, LookupError, TypeError, AttributeError, StopIteration):  # of another version
        return None


def look_primary(settings, state):
    """``{"answer": {"kind", "text", "seconds"}, "work"}``: does the service yield tokens?

    *kind* is ``tokens``, ``none``, or ``refused`` for a service that lives and rejects the request as such. *work* is
    what the engines' own counters say, or None. Where they moved since the last look, the service yields tokens to
    others, and is not asked: under full load a request of ours would wait in the queue.
    """
    client = Client(
        settings["url"], settings["model"], settings["probe_timeout"], api_key(settings["name"]), settings["ca_file"]
    )
    work = WORK.findall(client.text("/metrics", 5)) or None
    if state["proven"] and work and state["work"] and work != state["work"]:
        return {"answer": {"kind": "tokens", "text": "", "seconds": None}, "work": work}
    verdict = client.chat(max_tokens=1)
    if verdict["verdict"] == "pass":
        # Its own token moved the counters.
        work = WORK.findall(client.text("/metrics", 5)) or None
        return {"answer": {"kind": "tokens", "text": "", "seconds": verdict["seconds"]}, "work": work}
    refused = client.refused or re.match(r"HTTP (?!408|429)4\d\d", verdict["seen"])
    return {
        "answer": {"kind": "refused" if refused else "none", "text": verdict["seen"], "seconds": None},
        "work": work,
    }


def look_secondary(settings, engine):
    """``{"links", "rpc_links", "primary"}``: connections of the container to the primary, and what the primary does.

    *primary* is ``serves`` (its API port is open), ``waits`` (its RPC port is: it gathers its nodes) or ``is away``.
    """
    address, rpc = settings["primary"]["address"], settings["primary"]["rpc"]
    ports = connections(engine.pids(settings["name"]), address)
    api = urlsplit(settings["url"])
    if is_open(api.hostname, api.port):
        primary = "serves"
    elif rpc and is_open(address, rpc):
        primary = "waits"
    else:
        primary = "is away"
    return {"links": len(ports), "rpc_links": ports.count(rpc), "primary": primary}


def is_open(address, port, timeout=3):
    """Does a port of another node take connections?"""
    try:
        socket.create_connection((address, port), timeout).close()
    except OSError:
        return False
    return True


def connections(pids, address, proc="/proc"):
    """The remote ports of the established TCP connections that processes have to an address.

    The host's table serves: containers use the host's network.
    """
    inodes = set()
    for pid in pids:
        folder = os.path.join(proc, str(pid), "fd")
        try:
            names = os.listdir(folder)
        except OSError:  # it has ended
            continue
        for name in names:
            try:
                match = re.match(r"socket:\[(\d+)\]", os.readlink(os.path.join(folder, name)))
            except OSError:
                continue
            if match:
                inodes.add(match.group(1))
    wanted = _packed(address)
    ports = []
    for table in ("tcp", "tcp6"):
        try:
            with open(os.path.join(proc, "net", table), encoding="ascii") as handle:
                rows = handle.read().splitlines()[1:]
        except OSError:
            continue
        for row in rows:
            words = row.split()
            remote, unused, port = words[2].partition(":")
            if words[3] == "01" and words[9] in inodes and _unpacked(remote) == wanted:
                ports.append(int(port, 16))
    return ports


def _packed(address):
    """An address as 16 bytes; IPv4 as IPv6 maps it."""
    if ":" in address:
        return socket.inet_pton(socket.AF_INET6, address)
    return b"\0" * 10 + b"\xff\xff" + socket.inet_aton(address)


def _unpacked(text):
    """An address of the kernel's table, which holds words of four bytes in the machine's own order, as 16 bytes."""
    raw = bytes.fromhex(text)
    if sys.byteorder == "little":
        raw = b"".join(raw[index : index + 4][::-1] for index in range(0, len(raw), 4))
    return raw if len(raw) == 16 else b"\0" * 10 + b"\xff\xff" + raw


def api_key(name):
    """The key of the service, from the file that the container reads it from."""
    try:
        with open(os.path.join(layout.SERVICE_DIR, name, "secrets.env"), encoding="utf-8") as handle:
            for line in handle:
                variable, unused, value = line.partition("=")
                if variable == "VLLM_API_KEY":
                    return "".join(shlex.split(value))
    except (OSError, ValueError):
        pass
    return ""


def act(settings, engine, state, action):
    """Do what :func:`step` decided; a refusal of the engine becomes part of the state."""
    name, seconds = settings["name"], settings["stop_timeout"]
    words = {
        "start": ["start", name],
        "restart": ["restart", "--time", str(seconds), name],
        "stop": ["stop", "--time", str(seconds), name],
    }[action]
    try:
        engine.call(words, seconds + 120)
        container = engine.container(name)
        if action != "stop" and container is not None:
            _began(state, container)
    except EngineError as error:
        # What the engine refuses, for want of room perhaps, is no restart; it is tried again.
        if action != "stop":
            state["restarts"] = max(0, state["restarts"] - 1)
        _become(state, "failing", f"{action} failed: {error}", time.time())


def read_state(path, now):
    """The state of the last look, or a fresh one where there is none that can be used."""
    try:
        with open(path, encoding="utf-8") as handle:
            return dict(fresh(now), **json.load(handle))
    except (OSError, ValueError, TypeError):
        return fresh(now)


def main(name):
    """Check the container *name* once, and do what follows; return the exit status."""
    config = os.path.join(layout.SERVICE_DIR, name, "supervise.json")
    try:
        with open(config, encoding="utf-8") as handle:
            settings = json.load(handle)
    except (OSError, ValueError) as error:
        print(f"<3>{name}: cannot read {config}: {error}. Deploy again, which writes it.")
        return 1
    path = os.path.join(layout.STATE_DIR, name, "state.json")
    engine = Engine(settings["engine"])
    before = read_state(path, time.time())
    seen = look(settings, engine, before)
    state, action = step(settings, before, seen, time.time())
    if action:
        act(settings, engine, state, action)
    state["drift"] = None if seen["error"] else look_drift(settings, engine)  # last, so that nothing waits for it
    for entry in state["history"]:
        if entry not in before["history"]:
            print("<5>{0}: {1}".format(name, entry["event"]))
    os.makedirs(os.path.dirname(path), 0o755, exist_ok=True)
    files.write(path, json.dumps(dict(state, name=name, role=settings["role"]), indent=1) + "\n", 0o644)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
