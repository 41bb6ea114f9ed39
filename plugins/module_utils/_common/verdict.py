# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a check says: ``{id, verdict, seen, wanted, remedy}``."""

from __future__ import annotations

# From good to bad. Unknown, what could not be told, is never counted as passed.
WORDS = ("pass", "skipped", "warn", "unknown", "fail")


def verdict(name, word, seen, wanted, remedy=""):
    """One verdict; a passed check needs no remedy."""
    return {
        "id": name,
        "verdict": word,
        "seen": str(seen),
        "wanted": str(wanted),
        "remedy": "" if word == "pass" else remedy,
    }


def worst(words):
    """The worst of some verdict words; ``pass`` for none."""
    return max(words, key=WORDS.index, default="pass")
