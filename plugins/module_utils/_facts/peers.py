# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the nodes of a replica can only find out together: do they reach each other, chip by chip and port by port?

All nodes run this at the same time. The primary listens for real on its API and RPC ports; each secondary connects
through the network, gets the primary's clock, and has the primary connect back to a port of its own. Meanwhile every
chip pings its peers. Whoever does not meet the others within the time says so, and nobody waits longer than that.
"""

from __future__ import annotations

import email.utils
import errno
import json
import socket
import threading
import time

from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.parallel import in_parallel
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.run import (
    driver_env,
    find_tool,
    run,
    shorten,
)
from ansible_collections.ascend_ops.vllm.plugins.module_utils._npu.chips import (
    NO_TOOL,
    chips_of,
    spans_nodes,
)
from ansible_collections.ascend_ops.vllm.plugins.module_utils._npu.hccn import parse_ping

PORTS = ("api", "rpc")
HELLO = "ascend-vllm preflight"
CONNECT_SECONDS = 1.0  # one attempt; a dropped packet is silence
ANSWER_SECONDS = 3.0  # the primary answers after it has connected back
CLOCK_ROUNDS = 3


def peers_for(node, members, facts_by_host):
    """What a node of a replica must know of its replica, from what all nodes told before: the options of gather().

    Pure. ``{peers: [{host, address, role, ports, chips, vnic}], serving}``; *chips* and *vnic* are the addresses by
    chip; *serving* says that the replica's own service runs on the primary. Then its ports are those it listens on,
    which may be none while it starts.
    """
    primary = _primary(members)
    told = (facts_by_host.get(primary["host"]) or {}) if primary else {}
    serving = bool(told.get("service_pids"))
    open_ports = {item["port"] for item in told.get("ports") or () if item.get("own")}
    peers = []
    for other in members:
        if other["host"] == node["host"]:
            continue
        chips = ((facts_by_host.get(other["host"]) or {}).get("fabric") or {}).get("chips") or {}
        peers.append(
            {
                "host": other["host"],
                "address": other["address"],
                "role": other["role"],
                "ports": {
                    name: port for name, port in shared_ports(other).items() if not serving or port in open_ports
                },
                "chips": {str(chip): told["address"] for chip, told in chips.items() if told.get("address")},
                "vnic": {
                    str(chip): told["vnic"]["address"]
                    for chip, told in chips.items()
                    if (told.get("vnic") or {}).get("address")
                },
            }
        )
    return {"peers": peers, "serving": serving}


def shared_ports(plan):
    """The ports of a node on the network of its replica. An API that listens at another address only is not there."""
    elsewhere = plan.get("listen") not in (None, "", "0.0.0.0", "::", plan["address"])
    return {name: plan["ports"][name] for name in PORTS if name in plan["ports"] and not (name == "api" and elsewhere)}


def _primary(members):
    found = [member for member in members if member["role"] == "primary"]
    return found[0] if len(found) == 1 else None


def gather(plan, peers, serving=False, wait=8.0, timeout=10.0, all_pairs=False, hccn_tool=None):
    """``{pings, ping_error, reach, seconds}``; never raises, and ends within about *wait* and *timeout*, the longer one.

    :param plan: the node's part of the plan.
    :param peers: the other nodes of the replica, see peers_for().
    :param serving: the replica's own service listens on the primary's ports: connect to it, open nothing.
    :param wait: seconds to wait for the other nodes.
    :param timeout: seconds that all pings together may take.
    :param all_pairs: let each chip ping all chips of the other nodes, not the one of its own number alone.
    """
    started = time.monotonic()
    facts = {"pings": [], "ping_error": "", "reach": None, "seconds": 0.0}
    jobs = {
        "pings": lambda: pings(plan, peers, timeout, all_pairs, hccn_tool),
        "reach": lambda: reach(plan, peers, serving, wait),
    }
    told = in_parallel(lambda name: jobs[name](), list(jobs), max(wait + 2 * ANSWER_SECONDS, timeout + 4))
    if "pings" in told:
        facts["pings"], facts["ping_error"] = told["pings"]
    else:
        facts["ping_error"] = "the pings did not end in time"
    facts["reach"] = told["reach"] if "reach" in told else {"error": "the ports could not be tried in time"}
    facts["seconds"] = round(time.monotonic() - started, 2)
    return facts


# -- chips ----------------------------------------------------------------------------------------------------------


def pairs(plan, peers, all_pairs):
    """Who pings whom: ``{chip: [{host, chip, address, kind}]}``; a chip's own number first.

    An A3 whose peer has an address on the super-pod's network is pinged there.
    """
    result = {}
    for chip in chips_of(plan):
        wanted = result.setdefault(chip, [])
        for peer in peers:
            over_hccs = plan["hardware"] == "a3" and bool(peer.get("vnic"))
            addresses = peer["vnic"] if over_hccs else peer.get("chips") or {}
            numbers = sorted(addresses, key=int) if all_pairs else [str(chip)]
            for number in numbers:
                if addresses.get(number):
                    wanted.append(
                        {
                            "host": peer["host"],
                            "chip": int(number),
                            "address": addresses[number],
                            "kind": "hccs_ping" if over_hccs else "ping",
                        }
                    )
        wanted.sort(key=lambda item: item["chip"] != chip)
    return result


def pings(plan, peers, timeout, all_pairs=False, executable=None):
    """``([{chip, host, peer_chip, address, kind, transmitted, received, error}], error)``."""
    tool = find_tool("hccn_tool", executable)
    if not tool:
        return [], NO_TOOL
    wanted = pairs(plan, peers, all_pairs)
    deadline = time.monotonic() + timeout
    results = []

    def ping_from(chip):
        for target in wanted[chip]:
            entry = {"chip": chip, "host": target["host"], "peer_chip": target["chip"]}
            entry.update(address=target["address"], kind=target["kind"], transmitted=None, received=None, error="")
            left = deadline - time.monotonic()
            if left <= 0:
                entry["error"] = "not asked: the time was up"
            else:
                argv = [tool, "-i", str(chip), "-" + target["kind"], "-g", "address", target["address"]]
                rc, text, late = run(argv, left, driver_env())
                told = parse_ping(text)
                if told and not late:
                    entry.update(transmitted=told["transmitted"], received=told["received"])
                else:
                    entry["error"] = "no answer in time" if late else shorten(text) or f"exit status {rc}"
            results.append(entry)

    in_parallel(ping_from, list(wanted), timeout + 3)
    done = sorted(results, key=lambda item: (item["chip"], item["host"], item["peer_chip"]))
    return done, ""


# -- ports ----------------------------------------------------------------------------------------------------------


def reach(plan, peers, serving, wait):
    """The primary's or a secondary's part; None where there is nothing to try."""
    if not spans_nodes(plan) or not peers:
        return None
    if plan["role"] == "primary":
        expected = {peer["host"]: peer["address"] for peer in peers}
        return listen(plan["address"], shared_ports(plan), expected, wait, serving)
    primary = _primary(peers)
    if primary is None:
        return {"error": "the plan names no primary"}
    return connect(plan, primary, serving, wait)


def listen(address, ports, expected, wait, serving=False):
    """Listen until all expected hosts have connected to all ports, or the time is up.

    ``{role, serving, ports: {name: {port, state, error, heard}}, back: {host: error}, from, until}`` with *state* one
    of listened, in use, error.
    """
    facts = {"role": "primary", "serving": serving, "ports": {}, "back": {}, "from": time.time()}
    listeners = []
    lock = threading.Lock()
    done = threading.Event()
    for name, port in ports.items():
        entry = facts["ports"][name] = {"port": port, "state": "serving", "error": "", "heard": []}
        if serving:
            continue
        try:
            listeners.append((entry, _listener(address, port)))
            entry["state"] = "listened"
        except OSError as error:
            entry["state"] = "in use" if error.errno == errno.EADDRINUSE else "error"
            entry["error"] = error.strerror or str(error)

    def all_heard():
        return all(set(entry["heard"]) == set(expected) for entry, unused in listeners)

    def serve(entry, connection):
        with connection:
            try:
                connection.settimeout(ANSWER_SECONDS)
                stream = connection.makefile("rwb")
                hello = _read(stream)
                host = hello.get("host")
                if hello.get("hello") != HELLO or host not in expected:
                    return
                for _round in range(CLOCK_ROUNDS):
                    _write(stream, {"hello": HELLO, "time": time.time()})
                    _read(stream)
                with lock:
                    known = host in facts["back"]
                if not known and hello.get("back"):
                    error = _try(expected[host], int(hello["back"]), CONNECT_SECONDS)[1]
                    with lock:
                        facts["back"][host] = error
                with lock:
                    if host not in entry["heard"]:
                        entry["heard"].append(host)
                _write(stream, {"hello": HELLO, "bye": True})
                stream.read(1)  # the other end closes first, so that nothing lingers on the port the service will take
            except (OSError, ValueError, TypeError, AttributeError, OverflowError):
                pass
            finally:
                if all_heard():
                    done.set()

    def accept(entry, listener):
        while not done.is_set():
            try:
                connection = listener.accept()[0]
            except socket.timeout:
                continue
            except OSError:
                return
            threads.append(threading.Thread(target=serve, args=(entry, connection), daemon=True))
            threads[-1].start()

    threads = [threading.Thread(target=accept, args=pair, daemon=True) for pair in listeners]
    for thread in list(threads):
        thread.start()
    if listeners:
        done.wait(wait)
    done.set()
    until = time.monotonic() + 1
    for thread in list(threads):  # a listener that is closed while somebody waits at it lives on
        thread.join(max(0, until - time.monotonic()))
    for _entry, listener in listeners:
        listener.close()
    facts["until"] = time.time()
    with lock:
        return json.loads(json.dumps(facts))


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


def connect(plan, primary, serving, wait):
    """Connect to the primary's ports, again and again until it listens or the time is up.

    ``{role, serving, primary, ports: {name: {port, state, error, answered}}, clock, from, until}`` with *state* one of
    connected, refused, silent, unreachable, error, skipped. *clock* is ``{offset, error, source}``: seconds that this
    node's clock is ahead of the primary's, and how wrong that may be; null where it was not told.
    """
    facts = {"role": "secondary", "serving": serving, "primary": primary["host"], "ports": {}, "clock": None}
    facts["from"] = time.time()
    deadline = time.monotonic() + wait
    back = None
    try:
        back = _listener(plan["address"], 0)
    except OSError:
        pass  # the address is not here: network.address says so

    def one(name):
        port = primary["ports"][name]
        entry = {"port": port, "state": "skipped", "error": "", "answered": False}
        if serving and name != "api":
            entry["error"] = "the service runs; it listens there only while it starts"
            return entry, None
        while True:
            state, error, connection = _dial(primary["address"], port, CONNECT_SECONDS)
            if connection is not None:
                clock = None
                with connection:
                    entry["state"] = "connected"
                    https = serving and plan["service"]["url"].startswith("https:")
                    if not https:
                        clock = _http_clock(connection) if serving else _hello(connection, plan["host"], back)
                    # What verifies the certificate is on the primary; that its own service listens is known from there.
                    entry["answered"] = https or clock is not None
                return entry, clock
            entry.update(state=state, error=error)
            if time.monotonic() > deadline:
                return entry, None
            time.sleep(0.1)

    told = in_parallel(one, [name for name in PORTS if name in primary["ports"]], wait + 2 * ANSWER_SECONDS)
    for name in PORTS:
        if name in primary["ports"]:
            late = {"port": primary["ports"][name], "state": "error", "error": "not ended in time", "answered": False}
            facts["ports"][name], clock = told.get(name) or (late, None)
            if clock and (facts["clock"] is None or clock["error"] < facts["clock"]["error"]):
                facts["clock"] = clock
    if back is not None:
        back.close()
    facts["until"] = time.time()
    return facts


def _dial(address, port, seconds):
    """``(state, error, connection)``."""
    try:
        return "connected", "", socket.create_connection((address, port), timeout=seconds)
    except ConnectionRefusedError as error:
        return "refused", error.strerror or str(error), None
    except (socket.timeout, TimeoutError):
        return "silent", f"no answer in {seconds:g} s", None
    except OSError as error:
        blocked = (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EACCES, errno.EPERM)
        return "unreachable" if error.errno in blocked else "error", error.strerror or str(error), None


def _try(address, port, seconds):
    """``(state, error)`` of one connection that is closed at once."""
    state, error, connection = _dial(address, port, seconds)
    if connection is not None:
        connection.close()
    return state, error


def _hello(connection, host, back):
    """Say who is there, and compare the clocks over the quickest of a few rounds; None where no primary answers."""
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
            pass  # it had heard enough
        return {name: round(value, 6) if name != "source" else value for name, value in best.items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def _http_clock(connection):
    """The clock of a server that answers HTTP: its Date has whole seconds."""
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


def _write(stream, data):
    stream.write(json.dumps(data).encode("utf-8") + b"\n")
    stream.flush()


def _read(stream):
    """One line of JSON that is an object, else ValueError."""
    data = json.loads(stream.readline(4096).decode("utf-8"))
    if not isinstance(data, dict):
        raise ValueError("no object")
    return data
