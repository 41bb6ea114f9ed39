# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Test whether the nodes of a replica reach each other's ports, and compare their clocks.

All nodes run this at the same time. The primary listens on its API and RPC ports; each secondary connects over the
network, reads the primary's clock, and accepts a connection back on a port of its own. A node that does not meet the
others in time reports that; none waits longer.
"""

from __future__ import annotations

import email.utils
import errno
import json
import socket
import threading
import time

from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.parallel import in_parallel
from ansible_collections.ascend_ops.vllm.plugins.module_utils._npu.chips import spans_nodes

PORTS = ("api", "rpc")
HELLO = "ascend-vllm preflight"
CONNECT_SECONDS = 1.0  # for one attempt; a dropped packet gets no answer
ANSWER_SECONDS = 3.0  # the primary answers after it has connected back
CLOCK_ROUNDS = 3


def shared_ports(plan):
    """The ports of a node on the network of its replica, ``{name: port}``; without an API that listens elsewhere."""
    elsewhere = plan.get("listen") not in (None, "", "0.0.0.0", "::", plan["address"])
    return {name: plan["ports"][name] for name in PORTS if name in plan["ports"] and not (name == "api" and elsewhere)}


def primary_of(members):
    """The primary among some nodes; None if there is none, or more than one."""
    found = [member for member in members if member["role"] == "primary"]
    return found[0] if len(found) == 1 else None


def reach(plan, peers, serving, wait):
    """The part of the primary (see listen) or of a secondary (see connect); None if there is nothing to test."""
    if not spans_nodes(plan) or not peers:
        return None
    if plan["role"] == "primary":
        expected = {peer["host"]: peer["address"] for peer in peers}
        return listen(plan["address"], shared_ports(plan), expected, wait, serving)
    primary = primary_of(peers)
    if primary is None:
        return {"error": "the plan names no primary"}
    return connect(plan, primary, serving, wait)


# -- the primary -------------------------------------------------------------------------------------------------------


def listen(address, ports, expected, wait, serving=False):
    """Listen until all expected hosts have connected to all ports, or *wait* seconds have passed.

    :param ports: ``{name: port}``.
    :param expected: ``{host: address}``.
    :param serving: the service itself listens on the ports: open nothing.
    :return: ``{role, serving, ports: {name: {port, state, error, heard}}, back: {host: error}, from, until}`` with *state*
        one of serving, listened, in use, error; times in seconds since the epoch.
    """
    facts = {"role": "primary", "serving": serving, "ports": {}, "back": {}, "from": time.time()}
    rendezvous = _Rendezvous(expected, facts)
    for name, port in ports.items():
        facts["ports"][name] = {"port": port, "state": "serving", "error": "", "heard": []}
        if not serving:
            rendezvous.open(address, facts["ports"][name])
    rendezvous.run(wait)
    facts["until"] = time.time()
    return rendezvous.snapshot()


class _Rendezvous:
    """The listening ports of the primary, and the secondaries that have connected."""

    def __init__(self, expected, facts):
        self.expected = expected
        self.facts = facts
        self.listeners = []  # pairs of a port's facts and its socket
        self.threads = []
        self.lock = threading.Lock()
        self.done = threading.Event()

    def open(self, address, entry):
        """Listen on the port of *entry*, and record there whether that worked."""
        try:
            self.listeners.append((entry, _listener(address, entry["port"])))
            entry["state"] = "listened"
        except OSError as error:
            entry["state"] = "in use" if error.errno == errno.EADDRINUSE else "error"
            entry["error"] = error.strerror or str(error)

    def run(self, wait):
        """Serve until all have connected or the time is up, then close everything."""
        self.threads = [threading.Thread(target=self._accept, args=pair, daemon=True) for pair in self.listeners]
        for thread in list(self.threads):
            thread.start()
        if self.listeners:
            self.done.wait(wait)
        self.done.set()
        until = time.monotonic() + 1
        for thread in list(self.threads):  # a socket that is closed while a thread waits on it stays open
            thread.join(max(0, until - time.monotonic()))
        for _entry, listener in self.listeners:
            listener.close()

    def snapshot(self):
        """A copy of the facts that threads which are still running cannot change."""
        with self.lock:
            return json.loads(json.dumps(self.facts))

    def _accept(self, entry, listener):
        while not self.done.is_set():
            try:
                connection = listener.accept()[0]
            except socket.timeout:
                continue
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(entry, connection), daemon=True)
            self.threads.append(thread)
            thread.start()

    def _serve(self, entry, connection):
        with connection:
            try:
                self._greet(entry, connection)
            except (OSError, ValueError, TypeError, AttributeError, OverflowError):
                pass
            finally:
                if all(set(other["heard"]) == set(self.expected) for other, _listener in self.listeners):
                    self.done.set()

    def _greet(self, entry, connection):
        connection.settimeout(ANSWER_SECONDS)
        stream = connection.makefile("rwb")
        hello = _read(stream)
        host = hello.get("host")
        if hello.get("hello") != HELLO or host not in self.expected:
            return
        for _round in range(CLOCK_ROUNDS):
            _write(stream, {"hello": HELLO, "time": time.time()})
            _read(stream)
        self._connect_back(host, hello.get("back"))
        with self.lock:
            if host not in entry["heard"]:
                entry["heard"].append(host)
        _write(stream, {"hello": HELLO, "bye": True})
        stream.read(1)  # the other end closes first, so that nothing lingers on the port that the service needs

    def _connect_back(self, host, port):
        with self.lock:
            known = host in self.facts["back"]
        if known or not port:
            return
        _state, error, connection = _dial(self.expected[host], int(port), CONNECT_SECONDS)
        if connection is not None:
            connection.close()
        with self.lock:
            self.facts["back"][host] = error


def _listener(address, port):
    listener = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        listener.listen(64)
        listener.settimeout(0.1)
    except OSError:
        listener.close()
        raise
    return listener


# -- a secondary -------------------------------------------------------------------------------------------------------


def connect(plan, primary, serving, wait):
    """Connect to the primary's ports, repeatedly until it listens or *wait* seconds have passed.

    :return: ``{role, serving, primary, ports: {name: {port, state, error, answered}}, clock, from, until}`` with *state*
        one of connected, refused, silent, unreachable, error, skipped. *clock* is ``{offset, error, source}``: how many
        seconds this node's clock is ahead of the primary's, and the error of that measurement; None if it is not known.
    """
    facts = {"role": "secondary", "serving": serving, "primary": primary["host"], "ports": {}, "clock": None}
    facts["from"] = time.time()
    deadline = time.monotonic() + wait
    names = [name for name in PORTS if name in primary["ports"]]
    try:
        back = _listener(plan["address"], 0)
    except OSError:
        back = None  # the node does not have the address: network.address reports it
    found = in_parallel(
        lambda name: _connect_to(name, plan, primary, serving, back, deadline), names, wait + 2 * ANSWER_SECONDS
    )
    for name in names:
        late = {"port": primary["ports"][name], "state": "error", "error": "not finished in time", "answered": False}
        facts["ports"][name], clock = found.get(name) or (late, None)
        if clock and (facts["clock"] is None or clock["error"] < facts["clock"]["error"]):
            facts["clock"] = clock
    if back is not None:
        back.close()
    facts["until"] = time.time()
    return facts


def _connect_to(name, plan, primary, serving, back, deadline):
    """One port of the primary: ``(facts of the port, clock or None)``."""
    port = primary["ports"][name]
    entry = {"port": port, "state": "skipped", "error": "", "answered": False}
    if serving and name != "api":
        entry["error"] = "the service is running, and listens there only while it starts"
        return entry, None
    while True:
        state, error, connection = _dial(primary["address"], port, CONNECT_SECONDS)
        entry.update(state=state, error=error)
        if connection is not None:
            clock = None
            https = serving and plan["service"]["url"].startswith("https:")
            with connection:
                if not https:
                    clock = _http_clock(connection) if serving else _hello(connection, plan["host"], back)
            # The CA that verifies the certificate is on the primary, which reports whether its own service listens.
            entry["answered"] = https or clock is not None
            return entry, clock
        if time.monotonic() > deadline:
            return entry, None
        time.sleep(0.1)


def _dial(address, port, seconds):
    """One attempt to connect: ``(state, error, connection)``."""
    try:
        return "connected", "", socket.create_connection((address, port), timeout=seconds)
    except ConnectionRefusedError as error:
        return "refused", error.strerror or str(error), None
    except (socket.timeout, TimeoutError):
        return "silent", f"no answer in {seconds:g} s", None
    except OSError as error:
        blocked = (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EACCES, errno.EPERM)
        return "unreachable" if error.errno in blocked else "error", error.strerror or str(error), None


# -- clocks ------------------------------------------------------------------------------------------------------------


def _hello(connection, host, back):
    """Greet the primary, and compare the clocks over the quickest of a few rounds; None if no primary answers."""
    try:
        connection.settimeout(ANSWER_SECONDS)
        stream = connection.makefile("rwb")
        _write(stream, {"hello": HELLO, "host": host, "back": back.getsockname()[1] if back else None})
        best = None
        for number in range(CLOCK_ROUNDS):
            sent = time.monotonic() if number else None
            if number:
                _write(stream, {"next": number})
            answer = _read(stream)
            here = time.time()
            if answer.get("hello") != HELLO:
                return None
            if sent is not None:
                half = (time.monotonic() - sent) / 2
                if best is None or half < best["error"]:
                    best = {"offset": here - half - float(answer["time"]), "error": half, "source": "listener"}
        try:
            _write(stream, {"next": CLOCK_ROUNDS})
            _read(stream)  # the primary has connected back
        except (OSError, ValueError):
            pass  # the clocks are compared all the same
        return {name: round(value, 6) if name != "source" else value for name, value in best.items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def _http_clock(connection):
    """The clock of an HTTP server, from its Date header, which has whole seconds; None without one."""
    try:
        connection.settimeout(ANSWER_SECONDS)
        sent = time.time()
        connection.sendall(b"GET /health HTTP/1.0\r\n\r\n")
        text = connection.recv(4096).decode("latin-1")
        here = (sent + time.time()) / 2
        dates = [line[5:].strip() for line in text.splitlines() if line.lower().startswith("date:")]
        there = email.utils.parsedate_to_datetime(dates[0]).timestamp() + 0.5
        error = 0.5 + (time.time() - sent) / 2
        return {"offset": round(here - there, 3), "error": round(error, 3), "source": "http"}
    except (OSError, ValueError, TypeError, IndexError):
        return None


# -- messages ----------------------------------------------------------------------------------------------------------


def _write(stream, data):
    stream.write(json.dumps(data).encode("utf-8") + b"\n")
    stream.flush()


def _read(stream):
    """One line with a JSON object; ValueError for anything else."""
    data = json.loads(stream.readline(4096).decode("utf-8"))
    if not isinstance(data, dict):
        raise ValueError("not an object")
    return data
