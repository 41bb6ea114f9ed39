# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Errors of a plan, and the phrases that they are made of."""

from __future__ import annotations

import contextlib
import difflib
import json
import re


class PlanError(Exception):
    """One or more reasons why there is no plan; each says what was seen, what was wanted and the way out.

    ``errors`` is the list of sentences.
    """

    def __init__(self, errors):
        super().__init__("\n".join(errors))
        self.errors = list(errors)


def raise_all(errors):
    """Raise PlanError with all of *errors*, a list of sentences; do nothing where it is empty."""
    if errors:
        raise PlanError(errors)


@contextlib.contextmanager
def collected(errors):
    """Add the sentences of a PlanError that ends the block to *errors*, and go on after it."""
    try:
        yield
    except PlanError as error:
        errors += error.errors


def nearest(word, known, cutoff=0.6):
    """Return `` Did you mean 'x'?`` for the known name nearest to *word*, or an empty string where none is near enough."""
    match = difflib.get_close_matches(str(word), [str(item) for item in known], n=1, cutoff=cutoff)
    return f" Did you mean '{match[0]}'?" if match else ""


def typo_of(word, known):
    """The known name that *word* is most likely a misspelling of; None where none is that near.

    The same letters in other case or with other separators, or one or two letters more, fewer, changed or exchanged in a
    name of four or more. A digit alone makes another name: FLASHCOMM1 and FLASHCOMM2.
    """
    word = str(word)
    plain = _plain(word)
    for name in known:
        if _plain(str(name)) == plain and str(name) != word:
            return str(name)
    if len(plain) < 4:
        return None
    match = difflib.get_close_matches(word, [str(item) for item in known], n=1, cutoff=0.9 if len(word) > 10 else 0.85)
    if not match or _plain(re.sub(r"\d", "", word)) == _plain(re.sub(r"\d", "", match[0])):
        return None
    changed = sum(
        max(right - left, end - start)
        for kind, left, right, start, end in difflib.SequenceMatcher(None, word, match[0]).get_opcodes()
        if kind != "equal"
    )
    return match[0] if changed <= 2 else None


def _plain(name):
    return re.sub(r"[^a-z0-9]", "", name.lower())


def listed(items):
    """Items with commas between them; ``none`` for no item."""
    return ", ".join(str(item) for item in items) or "none"


def shown(value):
    """A value as an operator wrote it, near enough: as JSON, or its ``repr``; never fails."""
    try:
        return json.dumps(value, sort_keys=True, ensure_ascii=False)
    except (TypeError, ValueError):
        return repr(value)


def quoted(value):
    """A string in single quotes, any other value as in :func:`shown`."""
    return f"'{value}'" if isinstance(value, str) else shown(value)
