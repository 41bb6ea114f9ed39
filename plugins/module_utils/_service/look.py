# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a supervisor sees of its node: the container, whether the service yields tokens, the connections to the primary."""

from __future__ import annotations

import os
import re
import shlex
import socket
import sys
import time
from urllib.parse import urlsplit

from ansible_collections.ascend_ops.vllm.plugins.module_utils._common import layout
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.engine import LABEL_SERVICE, EngineError
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.openai import Client
from ansible_collections.ascend_ops.vllm.plugins.module_utils._failure import evidence
from ansible_collections.ascend_ops.vllm.plugins.module_utils._service import repair
from ansible_collections.ascend_ops.vllm.plugins.module_utils._state import desired, drift, observed, records

# Counters and gauges that only an engine at work moves. Requests alone move others.
WORK = re.compile(
    r"^vllm:(?:generation_tokens_total|prompt_tokens_total|prefix_cache_queries_total|iteration_tokens_total_count"
    r"|kv_cache_usage_perc)(?:\{[^}]*\})? (\S+)",
    re.M,
)
# What data of another version, or of nobody's making, raises where it is read.
UNKNOWN_DATA = (OSError, ValueError, LookupError, TypeError, AttributeError, StopIteration, RecursionError)


def look(settings, engine, state):
    """What one node sees now; never raises.

    :return: ``{"container", "error", "foreign", "others", "age", "files"}`` and what :func:`look_primary` or
        :func:`look_secondary` add where the container runs. *container* is as of ``engine.container_state``, or None;
        *error* says why nothing is known; *foreign*: the container is not of this collection; *others*: where there is no
        container, those that were made as it and have another name, ``[{"id", "name"}]``; *cause*: why the run ended that was
        watched, where it did; *age*: seconds since its start,
        or None; *files* as of ``repair.look_files``, or None.
    """
    seen = {"container": None, "error": "", "foreign": False, "others": [], "age": None, "files": None}
    try:
        seen["container"] = container = engine.container(settings["name"])
        if container is None:
            seen["others"] = engine.made_as(settings["name"])
            return seen
        seen["foreign"] = LABEL_SERVICE not in container.get("labels", [LABEL_SERVICE])
        if seen["foreign"]:
            return seen
        seen["files"] = _files(settings["name"])
        anew = state["started_at"] not in (None, container["started_at"])
        if anew:
            seen["exit_code"] = engine.last_exit(settings["name"], int(state["started_at"]))
        if anew or not container["running"]:
            seen["cause"] = _cause(engine, container, seen.get("exit_code"), state["started_at"] if anew else None)
        if not container["running"]:
            return seen
        seen["age"] = process_age(container.get("pid"))
        if settings["role"] == "secondary":
            seen.update(look_secondary(settings, engine))
        else:
            seen.update(look_primary(settings, state))
    except EngineError as error:
        seen["error"] = str(error)
    except UNKNOWN_DATA as error:
        seen["error"] = f"the check failed: {type(error).__name__}: {error}"
    return seen


def _cause(engine, container, exit_code, before):
    """Why the container ended, as ``the HBM ... [npu-out-of-memory]``; empty where that is not known.

    :param before: when the run that ended was started, where another one runs by now; else None.
    """
    ended = dict(container, exit_code=container["exit_code"] if exit_code is None else exit_code)
    since, until = (container["started_at"], None) if before is None else (before, container["started_at"])
    try:
        causes = evidence.death(engine, ended, since or 0, until)["causes"]
    except (EngineError, *UNKNOWN_DATA):
        return ""
    return "{meaning} [{id}]".format(**causes[0]) if causes else ""


def _files(name):
    try:
        return repair.look_files(name)
    except UNKNOWN_DATA:  # of process.json, or of the revision
        return None


def process_age(pid, proc="/proc"):
    """Seconds since the start of a process by the clock that nobody sets; None where that is not known."""
    try:
        with open(os.path.join(proc, str(pid), "stat"), encoding="utf-8", errors="replace") as handle:
            # "12 (name, which may hold anything) S ...": the start is the 20th word after the name, in ticks since the boot.
            ticks = int(handle.read().rpartition(")")[2].split()[19])
        return max(0, time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK"))
    except (OSError, ValueError, IndexError):
        return None


def look_drift(settings, engine):
    """What differs on the node from what was deployed there, as lines; None where that is not known.

    Container, files and the arguments of what runs; secrets are not read.
    """
    try:
        folder = os.path.join(layout.SERVICE_DIR, settings["name"])
        deployed = records.deployed_process(folder, settings["name"])
        if deployed is None:
            return None
        process = deployed["process"]
        wanted = desired.desired(process, {"interface": deployed["interface"], "masked": True})
        seen = observed.observed(process, {"engine": engine})
        return None if seen["engine_error"] else drift.lines(drift.drift(wanted, seen))
    except UNKNOWN_DATA:
        return None


def look_primary(settings, state):
    """``{"answer": {"kind", "text", "seconds"}, "work"}``: does the service yield tokens?

    *kind* is ``tokens``, ``none``, or ``refused`` for a service that lives and rejects the request as such. *work* is
    what the engines' own counters say, or None. Where they moved since the last look, the service yields tokens to
    others, and is not asked: under full load a request of ours would wait in the queue.
    """
    client = Client(
        settings["url"], settings["model"], settings["probe_timeout"], api_key(settings["name"]), settings["ca_file"]
    )
    work = WORK.findall(client.text("/metrics", 5)) or None
    if state["proven"] and work and state["work"] and work != state["work"]:
        return {"answer": {"kind": "tokens", "text": "", "seconds": None}, "work": work}
    verdict = client.chat(max_tokens=1)
    if verdict["verdict"] == "pass":
        # Its own token moved the counters.
        work = WORK.findall(client.text("/metrics", 5)) or None
        return {"answer": {"kind": "tokens", "text": "", "seconds": verdict["seconds"]}, "work": work}
    refused = client.refused or re.match(r"HTTP (?!408|429)4\d\d", verdict["seen"])
    return {
        "answer": {"kind": "refused" if refused else "none", "text": verdict["seen"], "seconds": None},
        "work": work,
    }


def look_secondary(settings, engine):
    """``{"links", "rpc_links", "primary"}``: connections of the container to the primary, and what the primary does.

    *primary* is ``serves`` (its API port is open), ``waits`` (its RPC port is: it gathers its nodes) or ``is away``.
    """
    address, rpc = settings["primary"]["address"], settings["primary"]["rpc"]
    ports = connections(engine.pids(settings["name"]), address)
    api = urlsplit(settings["url"])
    if is_open(api.hostname, api.port):
        primary = "serves"
    elif rpc and is_open(address, rpc):
        primary = "waits"
    else:
        primary = "is away"
    return {"links": len(ports), "rpc_links": ports.count(rpc), "primary": primary}


def is_open(address, port, timeout=3):
    """Does a port of another node take connections?"""
    try:
        socket.create_connection((address, port), timeout).close()
    except OSError:
        return False
    return True


def connections(pids, address, proc="/proc"):
    """The remote ports of the established TCP connections that processes have to an address.

    The host's table serves: containers use the host's network.
    """
    inodes = set()
    for pid in pids:
        folder = os.path.join(proc, str(pid), "fd")
        try:
            names = os.listdir(folder)
        except OSError:  # it has ended
            continue
        for name in names:
            try:
                match = re.match(r"socket:\[(\d+)\]", os.readlink(os.path.join(folder, name)))
            except OSError:
                continue
            if match:
                inodes.add(match.group(1))
    wanted = _packed(address)
    ports = []
    for table in ("tcp", "tcp6"):
        try:
            with open(os.path.join(proc, "net", table), encoding="ascii") as handle:
                rows = handle.read().splitlines()[1:]
        except OSError:
            continue
        for row in rows:
            words = row.split()
            remote, unused, port = words[2].partition(":")
            if words[3] == "01" and words[9] in inodes and _unpacked(remote) == wanted:
                ports.append(int(port, 16))
    return ports


def _packed(address):
    """An address as 16 bytes; IPv4 as IPv6 maps it."""
    if ":" in address:
        return socket.inet_pton(socket.AF_INET6, address)
    return b"\0" * 10 + b"\xff\xff" + socket.inet_aton(address)


def _unpacked(text):
    """An address of the kernel's table, which holds words of four bytes in the machine's own order, as 16 bytes."""
    raw = bytes.fromhex(text)
    if sys.byteorder == "little":
        raw = b"".join(raw[index : index + 4][::-1] for index in range(0, len(raw), 4))
    return raw if len(raw) == 16 else b"\0" * 10 + b"\xff\xff" + raw


def api_key(name):
    """The key of the service, from the file that the container reads it from."""
    try:
        with open(os.path.join(layout.SERVICE_DIR, name, "secrets.env"), encoding="utf-8") as handle:
            for line in handle:
                variable, unused, value = line.partition("=")
                if variable == "VLLM_API_KEY":
                    return "".join(shlex.split(value))
    except (OSError, ValueError):
        pass
    return ""
