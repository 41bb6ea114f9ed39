# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ends of a service's logs on its node: of its container and of its supervisor, without secrets."""

from __future__ import annotations

import re
import time

from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.engine import Engine, EngineError
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.redact import Redactor
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.run import find_tool, run_tail
from ansible_collections.ascend_ops.vllm.plugins.module_utils._failure.evidence import causes_of
from ansible_collections.ascend_ops.vllm.plugins.module_utils._support import parts
from ansible_collections.ascend_ops.vllm.plugins.module_utils._support.container import environment_of, known_secrets

SUPERVISOR = "ascend-vllm@{0}.service"


def seconds_of(since):
    """``10m``, ``2h``, ``1h30m`` in seconds; 0 for an empty text. Raises ValueError for anything else."""
    found = re.findall(r"(\d+)([smhd])", since)
    if "".join(number + unit for number, unit in found) != since:
        raise ValueError(f"'{since}' is not a length of time: wanted a number and s, m, h or d, such as 10m")
    return sum(int(number) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[unit] for number, unit in found)


def log_commands(name, engine, lines, since):
    """``(argv of the container's log, argv of the supervisor's journal)``, both without a unit.

    :param lines: how many lines of each, from its end.
    :param since: how far to look back, as :func:`seconds_of` reads it; empty for no bound.
    """
    log = [engine, "logs", "--timestamps", "--tail", str(lines)]
    journal = ["journalctl", "--no-pager", "-o", "short-iso", "-n", str(lines)]
    if since:
        begin = int(time.time()) - seconds_of(since)
        log += ["--since", str(begin)]
        journal += ["--since", f"@{begin}"]
    return log + [name], journal


def read_logs(name, engine="docker", lines=200, since="", secrets=(), timeout=20.0, root="/"):
    """The ends of a container's log and of its supervisor's journal.

    :param secrets: values to redact, besides those that the node knows.
    :param timeout: seconds for each command.
    :return: ``{"container", "log", "journal", "missing", "causes", "notes"}``: *missing* says by ``log`` and ``journal`` why
        there is none, *causes* are of the container's last start.
    """
    log, journal = log_commands(name, engine, lines, since)
    result = {"container": None, "log": "", "journal": "", "missing": {}, "causes": [], "notes": []}
    inspected = ""
    try:
        # Raw, since the secrets are those of the container's environment.
        inspected = Engine(engine, timeout).call(["container", "inspect", name], check=False)[1]
        result["container"] = Engine(engine, timeout).container(name)
        if result["container"] is None:
            result["missing"]["log"] = f"there is no container {name}"
    except EngineError as error:
        result["missing"]["log"] = str(error)
    if result["container"]:
        result["causes"] = causes_of(Engine(engine, timeout), name, root)
        result["container"] = {key: result["container"][key] for key in ("status", "exit_code", "age", "restart_count")}
    values, result["notes"] = known_secrets(name, root, environment_of(inspected))
    redactor = Redactor(list(values) + list(secrets))
    for key, argv in (("log", log), ("journal", journal + ["-q", "-u", SUPERVISOR.format(name)])):
        if key not in result["missing"]:
            _read(result, key, argv, timeout, redactor, since)
    return redactor.data(result)


def _read(result, key, argv, timeout, redactor, since):
    """Run the command of one log and put its text, or the reason why there is none, into the result."""
    tool = find_tool(argv[0]) or (argv[0] if "/" in argv[0] else None)
    if not tool:
        result["missing"][key] = f"there is no command {argv[0]}"
        return
    rc, text, late, cut = run_tail([tool] + argv[1:], timeout, parts.LOG)
    text = redactor.text(text)
    if late:
        result["missing"][key] = f"no answer in {timeout:g} s"
    elif rc != 0 and not text.strip():
        result["missing"][key] = f"'{argv[0]}' ended with exit status {rc}"
    elif not text.strip():
        result["missing"][key] = "no entries" + (" in the last " + since if since else "")
    if cut:
        result["notes"].append(f"the first {cut} bytes of the {key} were dropped")
    result[key] = text
