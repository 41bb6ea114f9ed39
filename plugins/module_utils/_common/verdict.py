# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The result of a check: ``{id, verdict, seen, wanted, remedy}``."""

from __future__ import annotations

from enum import Enum


class Verdict(str, Enum):
    """The outcome of a check, from best to worst.

    ``unknown`` means that the data was not available. It is never counted as a pass.
    """

    PASS = "pass"
    SKIPPED = "skipped"
    WARN = "warn"
    UNKNOWN = "unknown"
    FAIL = "fail"

    __str__ = str.__str__  # the plain word in messages, with every version of Python


PASS, SKIPPED, WARN, UNKNOWN, FAIL = Verdict
WORDS = tuple(outcome.value for outcome in Verdict)


def verdict(check, outcome, seen, wanted, remedy=""):
    """One result as plain strings, ready for JSON.

    :param check: the id of the check, such as ``npu.health``.
    :param outcome: a :class:`Verdict` or its word; any other word raises ValueError.
    :param remedy: what to do; dropped for a passed check.
    """
    outcome = Verdict(outcome)
    return {
        "id": check,
        "verdict": outcome.value,
        "seen": str(seen),
        "wanted": str(wanted),
        "remedy": "" if outcome is Verdict.PASS else remedy,
    }


def worst(outcomes):
    """The worst of some outcomes; ``pass`` if there are none."""
    return max(outcomes, key=WORDS.index, default=Verdict.PASS)
