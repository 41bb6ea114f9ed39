# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The causes of a death, as data. ``CAUSES`` is in the order in which they are tried on a line: the more special ones first."""

from __future__ import annotations

from ansible_collections.ascend_ops.vllm.plugins.module_utils._failure.catalogue import (
    arguments,
    chips,
    collectives,
    deaths,
    image,
    memory,
    model,
    network,
)
from ansible_collections.ascend_ops.vllm.plugins.module_utils._failure.cause import FOLLOWS, GENERAL, OUTER, ROOT

CAUSES = tuple(
    sorted(
        (
            cause
            for part in (deaths, memory, collectives, image, model, arguments, network, chips)
            for cause in part.CAUSES
        ),
        key=lambda cause: (ROOT, FOLLOWS, GENERAL, OUTER).index(cause.rank),
    )
)
