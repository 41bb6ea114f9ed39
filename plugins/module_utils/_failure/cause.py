# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the catalogue is made of."""

from __future__ import annotations

import re

# How far an entry goes. A ROOT is the cause wherever it stands. A GENERAL one names a family and gives way to a root; of several
# the earliest counts. FOLLOWS is like GENERAL, and mostly the echo of a death elsewhere. OUTER is told only where nothing else is.
ROOT, GENERAL, FOLLOWS, OUTER = "root", "general", "follows", "outer"

# Codes of CANN in a line: E..., or six digits that are no process id and no part of a longer number or of a time.
_CODE = re.compile(
    r"\b(E[A-Z]\d{4})\b|(?<![\w.-])(?<!\d:)(?<!pid[=: ])(?<!PID[=: ])(?<!PID: )([1-9]\d{5})(?![\w:]|[.-]\d)"
)

# A number alone is none: the line must say that something failed.
_FAILS = re.compile(r"err|code|\bret|fail|status|result|reason|exception", re.I)


class Cause:
    """One entry: why a service dies, how a log says so, and the way out.

    :param id: its name on the screen and in JSON.
    :param kind: the class it belongs to; docs/failures.md is ordered by it.
    :param meaning: what happened, one sentence.
    :param advice: what to do. ``{name}`` is what a named group of ``patterns`` or ``details`` found; a part in ``<<...>>`` is
        left out where its names were not found.
    :param patterns: regular expressions for one line, any case.
    :param codes: codes of CANN, as text; one ends with ``x`` for all that begin so.
    :param details: regular expressions with named groups for other lines of the log that tell more.
    :param derived: ``facts -> facts``: figures that follow from those that were found.
    :param exits: exit codes of the container that say the same where its log says nothing.
    :param rank: ROOT, GENERAL, FOLLOWS or OUTER.
    :param examples: lines that logs had; the last is found by this entry, and is its test.
    :param source: where it is described.
    """

    def __init__(
        self,
        id,
        kind,
        meaning,
        advice,
        patterns=(),
        codes=(),
        details=(),
        derived=None,
        exits=(),
        rank=ROOT,
        examples=(),
        source="",
    ):
        self.id, self.kind, self.meaning, self.advice = id, kind, meaning, advice
        self.patterns = tuple(_compiled(pattern) for pattern in patterns)
        self.codes = frozenset(code for code in codes if not code.endswith("x"))
        self.families = tuple(code[:-1] for code in codes if code.endswith("x"))
        self.details = tuple(_compiled(pattern) for pattern in details)
        self.derived = derived or (lambda facts: {})
        self.exits, self.rank, self.examples, self.source = tuple(exits), rank, tuple(examples), source

    def match(self, text, codes):
        """What the entry finds in a line, as ``{name: value}``; None where it finds nothing.

        :param codes: the codes in the line, as :func:`codes_of` has them.
        """
        for pattern in self.patterns:
            found = pattern.search(text)
            if found:
                return facts_of(found)
        for code in codes:
            if code in self.codes or code.startswith(self.families):
                return {"code": code}
        return None

    def meaning_with(self, facts):
        """What happened, with what the log knows."""
        return _filled(self.meaning, {**facts, **self.derived(facts)})

    def advice_with(self, facts):
        """What to do, with what the log knows."""
        return _filled(self.advice, {**facts, **self.derived(facts)})


def _compiled(pattern):
    """A pattern whose branches may use one name again, which Python's do not: the second is called ``name__2``."""
    counts = {}

    def numbered(match):
        name = match.group(1)
        counts[name] = counts.get(name, 0) + 1
        return match.group(0) if counts[name] == 1 else f"(?P<{name}__{counts[name]}>"

    return re.compile(re.sub(r"\(\?P<(\w+)>", numbered, pattern), re.I)


def facts_of(match):
    """What the named groups of a pattern found, as ``{name: value}``."""
    return {name.split("__")[0]: value for name, value in match.groupdict().items() if value}


def _filled(text, facts):
    def part(match):
        return match.group(1) if all(name in facts for name in re.findall(r"\{(\w+)\}", match.group(1))) else ""

    text = re.sub(r"<<(.*?)>>", part, text)
    return re.sub(r"\{(\w+)\}", lambda match: facts.get(match.group(1), match.group(0)), text)


def codes_of(text):
    """The codes of CANN in a line: ``507015``, ``EI0006``."""
    return [first or second for first, second in _CODE.findall(text) if first or _FAILS.search(text)]
