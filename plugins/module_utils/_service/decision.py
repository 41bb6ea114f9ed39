# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What one look of a supervisor at its node means. Pure: :func:`step` gets all that was seen, and decides.

The state and its times are of ``_state.memory``; what is seen is of ``look``.
"""

from __future__ import annotations

from ansible_collections.ascend_ops.vllm.plugins.module_utils._state.memory import fresh, note

# Seconds that a secondary may take from its start to its first connection: vLLM itself gives up after five minutes.
JOIN_TIMEOUT = 420
BACK_OFF = (30, 900)
# Seconds that the engine may need beyond the time of a stop, to end what a check began that was cut short.
ENGINE_TIME = 30


def step(settings, state, seen, now):
    """Decide what one look at a node means.

    :param settings: what ``supervise.json`` holds.
    :param state: what the last step returned, or ``memory.fresh``.
    :param seen: as of ``look.look``; where the container runs, with what ``look_primary`` or ``look_secondary`` add.
    :param now: seconds since the epoch.
    :return: ``(state, action)``; *action* is ``None``, ``start``, ``restart``, ``stop``, ``restore`` (files of the service
        as they were deployed, then restart) or ``rename`` (the container ``container_id`` of the state, as it was named).
    """
    state = dict(state, checked_at=now, history=list(state["history"]))
    container = seen["container"]
    if seen["error"]:
        return became(state, "down", seen["error"], now), None
    if container is None:
        return _missing(state, seen, now)
    if seen.get("foreign"):
        return became(state, "down", "somebody else created the container of this name; deploy again", now), None
    state["container_id"] = container.get("id")
    if state["acting"]:
        resumed = _resume(settings, state, seen, now)
        if resumed:
            return resumed
    if state["state"] == "gave-up" and not _is_up(container):
        return state, None
    if state["state"] == "gave-up":  # somebody started it by hand: a new chance
        state = dict(fresh(now), history=state["history"], container_id=state["container_id"], trusted=state["trusted"])
    crashed = _count_restarts(settings, state, seen, now) or container["status"] == "restarting"
    if seen.get("age") is not None:  # the kernel knows best
        state["began_at"] = max(0, now - seen["age"])
    # First, since the engine starts what cannot start many times within one look.
    mended = _mend(settings, state, seen, "it ended", now, tried=True) if crashed and not state["proven"] else None
    if mended:
        return mended
    if state["restarts"] > settings["restart_limit"]:
        return _give_up(settings, state, now)
    if container["status"] == "restarting":
        return became(state, "restarting", "the engine starts it again", now), None
    if not container["running"]:
        reason = _with_cause("it was not running ({0})".format(container["status"]), seen)
        return _restart(settings, state, seen, reason, now, "start")
    if settings["role"] == "secondary":
        return _step_secondary(settings, state, seen, now)
    return _step_primary(settings, state, seen, now)


def _is_up(container):
    return container["running"] or container["status"] == "restarting"


def _missing(state, seen, now):
    """There is no container of the name: it is gone, or has another one."""
    for other in seen.get("others") or []:
        if other["id"] == state["container_id"]:
            reason = "it was renamed to {0}, and gets its name back".format(other["name"])
            return became(state, "failing", reason, now), "rename"
    reason = "there is no such container; deploy again"
    if seen.get("others"):
        reason = "there is no such container, though {0} was made as it; 'docker rename' that, or deploy again".format(
            ", ".join(other["name"] for other in seen["others"])
        )
    return became(state, "down", reason, now), None


def _step_primary(settings, state, seen, now):
    answer = seen["answer"]
    state["work"] = seen["work"]
    if answer["kind"] == "tokens":
        state["proven"] = True
        state["failures"] = 0
        if answer["seconds"] is not None:
            state["last_good_seconds"] = answer["seconds"]
        _good(settings, state, now)
        return became(state, "serving", "", now), None
    if answer["kind"] == "refused":
        return became(state, "failing", "the probe is refused: {0}".format(answer["text"]), now), None
    state["failures"] += 1
    if not state["proven"]:
        age = _age(state, now)
        # What is not remembered may have served until now: then it has as many failures as any.
        if age > settings["ready_timeout"] and state["failures"] >= settings["probe_failures"]:
            return _restart(settings, state, seen, f"no token within {age:.0f} s of its start", now)
        return became(state, "starting", answer["text"], now), None
    state["good_since"] = None
    if state["failures"] < settings["probe_failures"]:
        return became(state, "failing", answer["text"], now), None
    return _restart(settings, state, seen, "no token {0} times: {1}".format(state["failures"], answer["text"]), now)


def _step_secondary(settings, state, seen, now):
    if seen["links"]:
        state["proven"] = True
        state["unlinked"] = 0
        if seen["primary"] == "waits" and not seen["rpc_links"]:
            return _restart(settings, state, seen, "the primary waits for its nodes anew", now)
        if seen["primary"] == "serves":
            _good(settings, state, now)
        return became(state, "joined", "{0} connections to the primary".format(seen["links"]), now), None
    state["good_since"] = None
    if state["proven"]:
        state["unlinked"] += 1
        if state["unlinked"] < 2:
            return became(state, "failing", "no connection to the primary any more", now), None
        return _restart(settings, state, seen, "no connection to the primary any more", now)
    age = _age(state, now)
    if age > JOIN_TIMEOUT and seen["primary"] == "waits":
        return _restart(settings, state, seen, f"not connected {age:.0f} s after its start", now)
    return became(state, "waiting", "not connected to the primary yet, which {0}".format(seen["primary"]), now), None


def _age(state, now):
    """Seconds since the start that is watched."""
    return max(0, now - (now if state["began_at"] is None else state["began_at"]))


def _good(settings, state, now):
    """Note a moment of service; after a time of quiet earlier restarts are forgotten."""
    state["last_good"] = now
    state["trusted"] = state["started_with"]
    if state["good_since"] is None:
        state["good_since"] = now
    if now - state["good_since"] >= settings["stable_after"]:
        state["restarts"] = 0


def began(state, seen, now):
    """Note which start of the container is watched now, and what it reads: nothing is known of it yet.

    :param seen: ``container``, and as far as they are known ``age`` (seconds since its start) and ``files``.
    """
    container = seen["container"]
    age = seen.get("age")
    if age is None:
        age = now - (now if container["started_at"] is None else container["started_at"])
    state.update(started_at=container["started_at"], began_at=max(0, now - max(0, age)))
    state.update(engine_restarts=container["restart_count"], started_with=(seen.get("files") or {}).get("digests", {}))
    state.update(proven=False, failures=0, unlinked=0, good_since=None, work=None)


def _count_restarts(settings, state, seen, now):
    """Take note of a container that somebody else started since the last look; return whether the engine did, after it ended."""
    container, known = seen["container"], state["started_at"]
    if container["started_at"] == known:
        return False
    ended = container["restart_count"] - state["engine_restarts"]
    began(state, seen, now)
    if known is None:
        return False
    # Without its primary a secondary ends every five minutes, and is not to blame.
    if settings["role"] == "secondary" and seen.get("primary", "serves") == "is away":
        return ended > 0
    code = seen.get("exit_code")
    reason = _with_cause("it ended (exit code {0})".format("unknown" if code is None else code), seen)
    state["restarts"] += max(1, ended)
    # Not when it was noticed: where nothing is remembered, each check notices it anew, and would wait anew.
    state["last_restart"] = {"at": state["began_at"], "reason": reason}
    note(state, f"it was started again, since {reason}", now)
    return ended > 0


def _with_cause(reason, seen):
    return f"{reason}: {seen['cause']}" if seen.get("cause") else reason


def _resume(settings, state, seen, now):
    """Complete what a check began that was cut short; None where the look goes on."""
    container = seen["container"]
    action, since = state["acting"]["action"], state["acting"]["at"]
    unchanged = container["started_at"] == state["started_at"]
    # The engine goes on alone with what it was asked for.
    if action in ("restart", "restore", "stop") and container["running"] and unchanged:
        if now - since < settings["stop_timeout"] + ENGINE_TIME:
            return state, None
    state["acting"] = None
    if action == "rename":
        return None
    note(state, f"the check was cut short that began this: {action}", now)
    if action == "stop":
        return (state, "stop") if _is_up(container) else None
    if not unchanged:  # it was done, and is no death
        began(state, seen, now)
        return None
    if container["status"] == "restarting":
        return None
    if container["running"]:
        return state, action
    return state, "restore" if action == "restore" else "start"


def _restart(settings, state, seen, reason, now, action="restart"):
    """Restart now, or wait as long as the last restarts demand."""
    last = state["last_restart"]
    wait = 0 if not state["restarts"] else min(BACK_OFF[0] * 2 ** min(state["restarts"] - 1, 10), BACK_OFF[1])
    if last and now - last["at"] < wait:
        text = "{0}; restart {1} is due in {2:.0f} s".format(reason, state["restarts"] + 1, last["at"] + wait - now)
        return became(state, "failing", text, now), None
    mended = _mend(settings, state, seen, reason, now, tried=action == "restart" and not state["proven"])
    if mended:
        return mended
    # A secondary that follows its primary is not to blame for it.
    if settings["role"] != "secondary" or not state["proven"]:
        state["restarts"] += 1
    state["last_restart"] = {"at": now, "reason": reason}
    if state["restarts"] > settings["restart_limit"]:
        return _give_up(settings, state, now)
    note(state, f"{action}: {reason}", now)
    return became(state, "restarting", reason, now), action


def _mend(settings, state, seen, reason, now, tried):
    """Restore files that are not as deployed, or give up where that cannot be; None where the files are not to blame.

    A file that cannot start the service is restored at any repair, one that merely differs only after a start with it
    failed, and never one that has served: an edit by hand may be meant.

    :param tried: whether the container ended or was too slow with the files that are there.
    """
    files = seen.get("files") or {"digests": {}, "altered": {}}
    altered = {
        name: entry
        for name, entry in files["altered"].items()
        if (tried or not entry["usable"])
        and (name not in files["digests"] or files["digests"][name] != state["trusted"].get(name))
    }
    lost = sorted(name for name, entry in altered.items() if not entry["usable"] and not entry["restorable"])
    if lost:
        text = "{0}, and nothing on the node tells what was deployed. Deploy, which writes it.".format(
            ", ".join("{0} {1}".format(name, altered[name]["how"]) for name in lost)
        )
        state["last_restart"] = state["last_restart"] or {"at": now, "reason": reason}
        return became(state, "gave-up", text, now), "stop" if _is_up(seen["container"]) else None
    known = sorted(name for name, entry in altered.items() if entry["restorable"])
    if not known:
        return None
    text = "{0}; {1}, and is restored as it was deployed".format(
        reason, ", ".join("{0} {1}".format(name, altered[name]["how"]) for name in known)
    )
    # Counts, and is not what the limit ends: its cause is known, and is taken away, and with it the blame for the starts before.
    state["restarts"] = min(state["restarts"] + 1, max(1, settings["restart_limit"] - 1))
    state["last_restart"] = {"at": now, "reason": text}
    note(state, f"restore: {text}", now)
    return became(state, "restarting", text, now), "restore"


def _give_up(settings, state, now):
    text = "{0} restarts without {1} s of quiet, the last since {2}. Read the container's log, fix the cause, deploy.".format(
        settings["restart_limit"],
        settings["stable_after"],
        state["last_restart"]["reason"] if state["last_restart"] else "it ended",
    )
    return became(state, "gave-up", text, now), "stop"


def became(state, name, reason, now):
    """The state under a name and a reason; a change of the name is an event."""
    if state["state"] != name:
        state["since"] = now
        note(state, "{0}{1}".format(name, ": " + reason if reason else ""), now)
    state.update(state=name, reason=reason)
    return state
