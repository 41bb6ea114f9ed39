# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Slow functions in parallel, with a time limit, so that none delays the others."""

from __future__ import annotations

import threading
import time


def in_parallel(function, items, seconds):
    """``{item: function(item)}`` of those that ended within *seconds*; those that raised or still run are missing."""
    results = {}

    def work(item):
        try:
            results[item] = function(item)
        except Exception:  # a broken chip must not cost the answers of the others
            pass

    threads = [threading.Thread(target=work, args=(item,), daemon=True) for item in items]
    deadline = time.monotonic() + seconds
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0, deadline - time.monotonic()))
    return dict(results)


def bounded(function, seconds):
    """The result of *function*, or None when it takes longer than *seconds* or raises: a network file system can hang."""
    results = []

    def work():
        try:
            results.append(function())
        except Exception:  # whatever it is, there is no answer
            pass

    worker = threading.Thread(target=work)
    worker.daemon = True
    worker.start()
    worker.join(seconds)
    return results[0] if results else None
