# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Several slow questions at once, none of which may hold up the others."""

from __future__ import annotations

import threading
import time


def in_parallel(function, items, seconds):
    """``{item: function(item)}`` of those that ended in time; what raised is left out, and nobody waits for the rest."""
    results = {}

    def work(item):
        try:
            results[item] = function(item)
        except Exception:  # one chip's trouble must not cost the others' answers
            pass

    threads = [threading.Thread(target=work, args=(item,), daemon=True) for item in items]
    deadline = time.monotonic() + seconds
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0, deadline - time.monotonic()))
    return dict(results)


def bounded(function, seconds):
    """The result of *function*, or None when it takes longer or raises: a file system over a network can hang."""
    results = []

    def work():
        try:
            results.append(function())
        except Exception:  # whatever it is, the node did not tell
            pass

    worker = threading.Thread(target=work)
    worker.daemon = True
    worker.start()
    worker.join(seconds)
    return results[0] if results else None
