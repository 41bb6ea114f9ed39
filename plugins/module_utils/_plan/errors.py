# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Errors of a plan, and the phrases that they are made of."""

from __future__ import annotations

import difflib
import json


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


def nearest(word, known):
    """Return `` Did you mean 'x'?`` for the known name nearest to *word*, or an empty string."""
    match = difflib.get_close_matches(str(word), [str(item) for item in known], n=1, cutoff=0.6)
    return f" Did you mean '{match[0]}'?" if match else ""


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
