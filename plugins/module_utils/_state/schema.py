# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The shape of the two files that a supervisor reads, its settings and its state. Each is valid as a whole or not at all."""

from __future__ import annotations

# Of the state; a file with another number was written by another version of this collection.
VERSION = 2
HISTORY = 20
STATES = ("starting", "waiting", "serving", "joined", "failing", "restarting", "gave-up", "down")
ACTIONS = ("start", "restart", "stop", "restore", "rename")
ROLES = ("single", "primary", "secondary")
# Of numbers: enough for every count and time, and nothing to compute with for long.
MOST = 1 << 40


# A check takes a value and returns what is wrong with it: empty, or ``is 'x', wanted a number``, behind the names of the
# keys that lead there.


def _wanted(value, text):
    scalar = value is None or isinstance(value, (str, int, float))
    return "is {0:.60}, wanted {1}".format(repr(value) if scalar else "a " + type(value).__name__, text)


def number(value):
    """A number from 0 on; not infinite, nor what is no number."""
    good = isinstance(value, (int, float)) and not isinstance(value, bool)
    return "" if good and 0 <= value <= MOST else _wanted(value, "a number from 0 on")


def count(value):
    """A whole number from 0 on."""
    good = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST
    return "" if good else _wanted(value, "a whole number from 0 on")


def text(value):
    """A text."""
    return "" if isinstance(value, str) else _wanted(value, "a text")


def filled(value):
    """A text that is not empty."""
    return "" if isinstance(value, str) and value else _wanted(value, "a text")


def flag(value):
    """True or false."""
    return "" if isinstance(value, bool) else _wanted(value, "true or false")


def one_of(*allowed):
    """A check for one of some values."""
    return lambda value: "" if value in allowed else _wanted(value, "one of " + ", ".join(map(str, allowed)))


def maybe(check):
    """A check for null, or what another check wants."""
    return lambda value: "" if value is None else check(value)


def listing(check, most):
    """A check for a list of at most so many elements."""

    def wrong(value):
        if not isinstance(value, list) or len(value) > most:
            return _wanted(value, f"a list of at most {most}")
        return next((f"holds what {problem}" for problem in map(check, value) if problem), "")

    return wrong


def mapping(checks):
    """A check for a mapping that has these keys; others do not matter."""

    def wrong(value):
        if not isinstance(value, dict):
            return _wanted(value, "a mapping")
        for key, check in checks.items():
            problem = check(value[key]) if key in value else "is missing"
            if problem:
                return f"{key} {problem}"
        return ""

    return wrong


def texts(value):
    """A mapping of texts to texts."""
    good = isinstance(value, dict) and all(isinstance(one, str) for pair in value.items() for one in pair)
    return "" if good else _wanted(value, "a mapping of texts")


# state.json. Times are seconds since the epoch by the node's clock as it was at ``clock``; ``memory`` puts them right.
_STATE = {
    "schema": one_of(VERSION),
    "clock": mapping({"wall": number, "monotonic": number, "boot": text}),
    "state": one_of(*STATES),
    "reason": text,
    "since": number,
    "checked_at": number,
    "last_good": maybe(number),
    "last_good_seconds": maybe(number),
    "good_since": maybe(number),
    "failures": count,  # of the probe, in a row
    "restarts": count,  # since it was stable
    "last_restart": maybe(mapping({"at": number, "reason": text})),
    "container_id": maybe(text),
    "started_at": maybe(number),  # of the container, as the engine says: which of its starts is watched
    "began_at": maybe(number),  # when that was
    "engine_restarts": count,
    "proven": flag,  # whether this start has served
    "unlinked": count,  # checks in a row without a connection to the primary
    "work": maybe(listing(text, 10000)),
    "acting": maybe(mapping({"action": one_of(*ACTIONS), "at": number})),  # begun, and not known to have ended
    "started_with": texts,  # digests of the files of the service, by name: those that this start read
    "trusted": texts,  # and those that have served
    "drift": maybe(listing(text, 10000)),
    "memory": text,  # why the state is not where it belongs
    "history": listing(mapping({"at": number, "event": text}), HISTORY),
}
TIMES = ("since", "checked_at", "last_good", "good_since", "began_at")

# supervise.json, as ``supervision.settings_for`` makes it.
_SETTINGS = {
    "engine": filled,
    "name": filled,
    "role": one_of(*ROLES),
    "url": filled,
    "model": text,
    "ca_file": text,
    "primary": mapping({"address": filled, "rpc": maybe(count)}),
    "ready_timeout": number,
    "stop_timeout": count,
    "interval": number,
    "probe_timeout": number,
    "probe_failures": count,
    "restart_limit": count,
    "stable_after": number,
}


def state_error(found):
    """What is wrong with a state, as ``restarts is 'x', wanted a whole number from 0 on``; empty for nothing."""
    if isinstance(found, dict) and found.get("schema") != VERSION:
        return "is of another version of this collection"
    problem = mapping(_STATE)(found)
    if not problem and found["restarts"] and found["last_restart"] is None:
        problem = "restarts is {0}, and last_restart is missing".format(found["restarts"])
    return problem


def settings_error(found):
    """What is wrong with the settings of a supervisor, as :func:`state_error` says it."""
    return mapping(_SETTINGS)(found)


def known(found):
    """A state without the keys that this version does not know."""
    return {key: found[key] for key in _STATE}
