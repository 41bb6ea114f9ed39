# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An entry in the catalogue of checks."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Check:
    """What docs/checks.md says about a check.

    :param why: what goes wrong in a service when the check fails.
    :param read: where the facts come from.
    :param remedy: what an operator does about a failure; the default remedy of its verdicts.
    :param source: URL of the issue or manual that documents the problem, or empty.
    """

    why: str
    read: str
    remedy: str
    source: str = ""
