# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of a support bundle and what fills them: the output of commands, the end of a file. Bounded in time and size."""

from __future__ import annotations

import os
import stat
import time

from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.redact import names_only
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.run import find_tool, last_lines, run_tail
from ansible_collections.ascend_ops.vllm.plugins.module_utils._npu.chips import NO_TOOL

OUTPUT = 512 * 1024  # bytes of one command's output
LOG = 4 * 1024 * 1024  # bytes of one log


class Missing(Exception):
    """Why a file of the bundle could not be made."""


class Part:
    """One file of the bundle.

    :param path: its path in the bundle.
    :param what: what it holds, for the index.
    :param fill: called with the part; returns the text, or raises Missing.

    After :meth:`run`: ``text``, or None with the reason in ``missing``; ``problems``, notes on the text; ``cut``, the bytes
    dropped from its start; ``hung``, not empty after a command that timed out.
    """

    def __init__(self, path, what, fill):
        self.path, self.what, self.fill = path, what, fill
        self.problems = []
        self.cut = 0
        self.text = None
        self.missing = "no answer in time"
        self.hung = ""

    def run(self):
        """Fill the part. An error becomes the reason why it is missing."""
        try:
            self.text = self.fill(self)
            self.missing = ""
        except Missing as error:
            self.missing = str(error)
        except Exception as error:  # one broken part must not cost the others
            self.missing = f"{type(error).__name__}: {error}"


def commands(argvs, timeout=20.0, limit=None, env=None, explicit=None):
    """Fill a part with the output of commands, run one after the other; none is run after one that timed out.

    :param argvs: the commands, each a list of words. A name without a slash is searched in the usual places.
    :param timeout: seconds for each command.
    :param limit: bytes to keep of each output, from its end; OUTPUT when None.
    :param explicit: path of the tool, where the operator gave one.
    """

    def fill(part):
        texts = []
        absent = []
        for argv in argvs:
            shown = " ".join([os.path.basename(argv[0])] + list(argv[1:]))
            tool = argv[0] if "/" in argv[0] else find_tool(argv[0], explicit)
            if not tool or not os.path.isfile(tool):
                absent.append(NO_TOOL if argv[0] == "hccn_tool" else f"there is no command {explicit or argv[0]}")
            elif part.hung:
                part.problems.append(f"{shown}: skipped after the timeout")
            else:
                texts.append(
                    _output(part, shown, [tool] + list(argv[1:]), timeout, OUTPUT if limit is None else limit, env)
                )
        if not texts:
            raise Missing("; ".join(sorted(set(absent))) or "nothing to run")
        part.problems.extend(sorted(set(absent)))
        return "\n".join(texts)

    return fill


def _output(part, shown, argv, timeout, limit, env):
    """The output of one command between its command line and its exit status; failures are noted in the part."""
    started = time.monotonic()
    rc, text, late, cut = run_tail(argv, timeout, limit, env)
    part.cut += cut
    end = f"exit status {rc}"
    if late:
        end = part.hung = f"no answer in {timeout:g} s"
    if late or rc != 0:
        part.problems.append(f"{shown}: {end}")
    newline = "" if text.endswith("\n") or not text else "\n"
    return f"$ {shown}\n{text}{newline}[{end}, after {time.monotonic() - started:.2f} s]\n"


def contents(path, limit=None):
    """Fill a part with the end of a regular file: at most *limit* bytes (OUTPUT when None), from the start of a line."""

    def fill(part):
        most = OUTPUT if limit is None else limit
        try:
            with open(path, "rb") as stream:
                status = os.fstat(stream.fileno())
                if not stat.S_ISREG(status.st_mode):
                    raise Missing(f"{path} is no regular file")
                stream.seek(max(0, status.st_size - most))
                data = last_lines(stream.read(most), most, status.st_size > most)
        except OSError as error:
            raise Missing(f"{path}: {error.strerror or error}")
        part.cut = max(0, status.st_size - len(data)) if status.st_size > most else 0
        return data.decode("utf-8", "replace")

    return fill


def only_names(read):
    """Fill a part with the names in a file of secrets that *read* reads."""

    def fill(part):
        part.problems.append("names only")
        return names_only(read(part))

    return fill


def refuse(reason):
    """A part that cannot be made."""

    def fill(unused):
        raise Missing(reason)

    return fill
