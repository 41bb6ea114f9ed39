# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The root cause in a log.

Errors count before warnings. Of the known causes one that stands for itself wins, wherever it is, and one that is told in words
before one that a call's return code tells; of those that name a family or echo a death elsewhere, and of exceptions that are not
known, the earliest wins. Of one message, an exception that is not known gives way to what stands below it. Wrappers never count.
"""

from __future__ import annotations

import collections
import re

from ansible_collections.ascend_ops.vllm.plugins.module_utils._failure import log as logs
from ansible_collections.ascend_ops.vllm.plugins.module_utils._failure.catalogue import CAUSES
from ansible_collections.ascend_ops.vllm.plugins.module_utils._failure.cause import (
    FOLLOWS,
    GENERAL,
    OUTER,
    ROOT,
    Cause,
    codes_of,
    facts_of,
)

MOST = 3  # causes that are told
MANY = 1000  # different lines that are looked at, from both ends
# The lowest rank is the most telling, then the lowest number of the line.
Finding = collections.namedtuple("Finding", "rank cause line facts")
UNKNOWN = Cause(
    "error",
    "unknown",
    "vLLM ended with an error that is not among the known ones.",
    "The line is the first that was raised; the traceback above it in the log names the place. Search the issues of vllm-ascend for it.",
    rank=GENERAL,
)
FAMILY = "cann-runtime"  # says no more than that a call failed
# While it serves, vLLM prints how many tokens it generates. What was logged before the last such line did not kill it.
_GENERATES = re.compile(r"generation throughput: (?!0\.0\b)[\d.]+ tokens/s")
# A call that failed with a code: another line may tell why.
_RETURNED = re.compile(r"\berror (?:code|no)\b\D{0,4}\d|\bfailed: ?\d{6}\b|runtime result = \d", re.I)
# How CANN and pydantic go on below the first line of a message.
_GOES_ON = re.compile(r"\s|\[|E[A-Z\d]\d{4}\b|\d{4}-\d\d-\d\d-|[\w.]+$")
_TELLING = re.compile(
    r"error|exception|fail|fatal|cannot|refused|denied|not found|invalid|timed? ?out|killed|abort|\bE[A-Z]\d{4}\b", re.I
)
# All patterns at once: most lines of a log match none.
_ANY = re.compile("|".join(re.sub(r"\(\?P<\w+>", "(?:", p.pattern) for cause in CAUSES for p in cause.patterns), re.I)


def explain(log, exit_code=None, plog=""):
    """Why a process or container died, the most telling cause first, at most three; empty where nothing is known.

    :param log: what the container printed since its start.
    :param exit_code: of the container, or None; it tells something where the logs do not.
    :param plog: what CANN logged of this start; counts where *log* has no cause that stands for itself.
    :return: ``[{"id", "kind", "line", "meaning", "advice", "process", "time", "consequence", "facts"}]``: *line* is the line of
        the log, at most 300 characters; *consequence* is true for what mostly follows from a death elsewhere; *facts* are what the log
        tells, such as ``{"port": "8000"}``.
    """
    found = _found(_of_the_death(log), True)
    if plog and not (found and found[0].rank < 1):
        found += [finding._replace(rank=finding.rank + 0.5) for finding in _found(plog, False)]
        found.sort(key=lambda finding: finding.rank)
    result = {}
    for finding in found:
        if finding.cause.id not in result and not (finding.cause.rank == OUTER and result):
            result[finding.cause.id] = _told(finding.cause, finding.facts, finding.line)
    return list(result.values())[:MOST] or _of_the_exit(exit_code)


def _told(cause, facts, line):
    return {
        "id": cause.id,
        "kind": cause.kind,
        "line": line.text.strip()[:300],
        "meaning": cause.meaning_with(facts),
        "advice": cause.advice_with(facts),
        "process": line.process,
        "time": line.time,
        "consequence": cause.rank == FOLLOWS,
        "facts": facts,
    }


def telling(log, most=8):
    """The lines of a log that say most where no cause is known: its last errors, else its last lines."""
    lines = [line for line in logs.read(log) if line.level == logs.ERROR or _TELLING.search(line.text)]
    seen = list(dict.fromkeys(line.text.strip()[:300] for line in lines))
    return (seen or [text.strip()[:300] for text in log.splitlines() if text.strip()])[-most:]


def first_to_fail(causes):
    """The node that failed first, of ``{node: what explain returned}``; None where no node has a cause.

    One with a cause of its own goes before those that only noticed; then the earliest time counts.
    """
    known = [node for node in causes if causes[node]]
    return min(known, key=lambda node: (causes[node][0]["consequence"], causes[node][0]["time"] or "~"), default=None)


def _of_the_death(log):
    """The log without what was printed while the service still generated tokens; whole where nothing is left then."""
    marks = [match.end() for match in _GENERATES.finditer(log)]
    if len(marks) < 2:
        return log
    rest = log[marks[-2] :]  # the figure is of the ten seconds before: the death may lie in front of the last one
    lines = logs.read(rest)
    return (
        rest
        if any(line.level == logs.ERROR for line in lines) or any(_cause_of(line)[0] for line in _bounded(lines))
        else log
    )


def _bounded(lines):
    """Lines without the middle of a flood of them: each takes up to a millisecond."""
    texts = list(dict.fromkeys(line.text for line in lines))
    looked_at = {*texts[:MANY], *texts[-MANY:]}
    return [line for line in lines if line.text in looked_at]


def _found(log, exceptions):
    """The findings in a log, the most telling first.

    :param exceptions: whether an exception that is not known counts.
    """
    lines = _bounded(logs.read(log))
    result = []
    messages = {}  # by process: findings of the message that goes on which say no more than that something failed
    known = {}  # by text: sixteen workers say the same
    for line in lines:
        cause, facts = known[line.text] if line.text in known else known.setdefault(line.text, _cause_of(line))
        if not _GOES_ON.match(line.text):
            messages.pop(line.process, None)
        if cause is None and exceptions and line.level != logs.WARNING and line.raised:
            cause, facts = UNKNOWN, {}
        if cause is None:
            continue
        returned = _RETURNED.search(line.text)
        rank = {ROOT: 0, OUTER: 2}.get(cause.rank, 1) + (3 if line.level == logs.WARNING else 0)
        result.append(Finding(rank + (0.2 if returned and rank == 0 else 0), cause, line, dict(facts)))
        if cause is UNKNOWN or cause.id == FAMILY or (returned and cause.rank in (GENERAL, FOLLOWS)):
            messages.setdefault(line.process, []).append(result[-1])
        elif cause.rank != OUTER:
            for vague in messages.pop(line.process, ()):
                result.remove(vague)
    outer = next((finding.line for finding in result if finding.rank == 2), None)
    if outer:  # what other processes noticed later is told after the call that failed first
        result = [
            finding._replace(rank=2.1)
            if finding.cause.rank == FOLLOWS
            and finding.rank == 1
            and outer.number < finding.line.number
            and finding.line.process not in ("", outer.process)
            else finding
            for finding in result
        ]
    result.sort(key=lambda finding: (finding.rank, finding.line.number))
    for finding in result[: 2 * MOST]:
        for detail in finding.cause.details:
            matches = [(abs(line.number - finding.line.number), line) for line in lines if detail.search(line.text)]
            match = detail.search(min(matches, key=lambda pair: pair[0])[1].text) if matches else None
            for name, value in facts_of(match).items() if match else ():
                finding.facts.setdefault(name, value)
    return result


def _cause_of(line):
    codes = codes_of(line.text)
    if codes or _ANY.search(line.text):
        for cause in CAUSES:
            facts = cause.match(line.text, codes)
            if facts is not None:
                return cause, facts
    return None, {}


def _of_the_exit(code):
    line = logs.Line(0, "", logs.RAW, "", f"exit code {code}")
    return [_told(cause, {}, line) for cause in CAUSES if code is not None and code in cause.exits][:1]
