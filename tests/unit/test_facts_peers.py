"""What nodes find out together, on real sockets of loopback addresses and stand-ins for hccn_tool."""

import io
import json
import socket
import threading
import time

import pytest
from ansible_collections.ascend_ops.vllm.plugins.module_utils._facts import reach as reach_module
from ansible_collections.ascend_ops.vllm.plugins.module_utils._facts.peers import (
    gather,
    pairs,
    peers_for,
    pings,
)
from hypothesis import given, settings
from hypothesis import strategies as st

PRIMARY, SECOND, THIRD = "127.0.0.1", "127.0.0.2", "127.0.0.3"


def free_port():
    with socket.socket() as probe:
        probe.bind((PRIMARY, 0))
        return probe.getsockname()[1]


def plan(host, address, role, ports=None, chips=2, hardware="a2"):
    return {
        "host": host,
        "address": address,
        "role": role,
        "hardware": hardware,
        "ports": dict(ports or {}, hccl=[60000, 60001]),
        "listen": address if role == "primary" else "",
        "service": {"url": f"http://{PRIMARY}:1"},
        "ranks": [0, 0, 2],
        "container": {"devices": [f"/dev/davinci{chip}" for chip in range(chips)] + ["/dev/davinci_manager"]},
    }


@pytest.fixture
def members():
    ports = {"api": free_port(), "rpc": free_port()}
    return [
        plan("one", PRIMARY, "primary", ports),
        plan("two", SECOND, "secondary"),
        plan("three", THIRD, "secondary"),
    ]


def together(members, facts_by_host=None, starts=None, **options):
    """All nodes at the same time: {host: what it found}; *starts* are seconds to begin later."""
    found = {}

    def work(node):
        time.sleep((starts or {}).get(node["host"], 0))
        given_to = peers_for(node, members, facts_by_host or {})
        found[node["host"]] = gather(node, **dict(given_to, **options))

    threads = [threading.Thread(target=work, args=(node,)) for node in members]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return json.loads(json.dumps(found))


def test_all_meet_and_the_ports_are_free_again(members):
    started = time.monotonic()
    found = together(members, wait=8, hccn_tool="/nowhere")
    assert time.monotonic() - started < 4  # as soon as all have met, not when the time is up
    primary = found["one"]["reach"]
    assert primary["back"] == {"two": "", "three": ""}
    for name in ("api", "rpc"):
        assert primary["ports"][name]["state"] == "listened"
        assert sorted(primary["ports"][name]["heard"]) == ["three", "two"]
    for host in ("two", "three"):
        reported = found[host]["reach"]
        assert reported["primary"] == "one"
        assert {name: entry["state"] for name, entry in reported["ports"].items()} == {
            "api": "connected",
            "rpc": "connected",
        }
        assert all(entry["answered"] for entry in reported["ports"].values())
        assert abs(reported["clock"]["offset"]) < 0.2 and 0 <= reported["clock"]["error"] < 0.2
    for name in ("api", "rpc"):  # without SO_REUSEADDR: nothing lingers where the service will listen
        with socket.socket() as service:
            service.bind((PRIMARY, members[0]["ports"][name]))


@pytest.mark.parametrize("starts", [{"one": 1.0}, {"two": 1.0, "three": 0.5}])
def test_whoever_comes_first_waits(members, starts):
    found = together(members, starts=starts, wait=6, hccn_tool="/nowhere")
    assert found["one"]["reach"]["back"] == {"two": "", "three": ""}
    assert found["two"]["reach"]["ports"]["api"]["state"] == "connected"


def test_nodes_that_do_not_meet_end_in_time(members):
    started = time.monotonic()
    primary = gather(members[0], wait=0.5, hccn_tool="/nowhere", **peers_for(members[0], members, {}))["reach"]
    second = gather(members[1], wait=0.5, hccn_tool="/nowhere", **peers_for(members[1], members, {}))["reach"]
    assert time.monotonic() - started < 4
    assert primary["ports"]["api"]["heard"] == [] and primary["back"] == {}
    assert second["ports"]["api"]["state"] == "refused" and second["clock"] is None
    assert second["from"] > primary["until"]


def test_a_clock_that_is_ahead_is_measured(members, monkeypatch):
    original = reach_module._write

    def write(stream, data):
        if "time" in data:
            data = dict(data, time=data["time"] - 100)
        original(stream, data)

    monkeypatch.setattr(reach_module, "_write", write)
    found = together(members[:2], wait=5, hccn_tool="/nowhere")
    assert found["two"]["reach"]["clock"]["offset"] == pytest.approx(100, abs=0.2)


@pytest.fixture
def server():
    """A server on a port that answers all that connect with some bytes, or with nothing."""
    listeners = []

    def start(port, answer):
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((PRIMARY, port))
        listener.listen(8)
        listeners.append(listener)
        kept = []

        def serve():
            while True:
                try:
                    connection = listener.accept()[0]
                except OSError:
                    return
                kept.append(connection)
                if answer:
                    connection.recv(1000)
                    connection.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()

    yield start
    for listener in listeners:
        listener.close()


@pytest.mark.parametrize(
    "answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"{}\n", b"[1]\n", b"\xff" * 9000, b'{"hello": 1}\n']
)
def test_a_stranger_on_the_port_is_reached_and_not_taken_for_the_primary(members, server, monkeypatch, answer):
    monkeypatch.setattr(reach_module, "ANSWER_SECONDS", 0.5)
    server(members[0]["ports"]["api"], answer)
    found = together(members[:2], wait=2, hccn_tool="/nowhere")
    assert found["one"]["reach"]["ports"]["api"]["state"] == "in use"
    reported = found["two"]["reach"]["ports"]
    assert (reported["api"]["state"], reported["api"]["answered"]) == ("connected", False)
    assert (reported["rpc"]["state"], reported["rpc"]["answered"]) == ("connected", True)


def test_a_running_service_is_connected_to_and_nothing_is_opened(members, server):
    dated = b"HTTP/1.1 200 OK\r\ndate: Wed, 25 Nov 2020 00:00:00 GMT\r\n\r\n"
    server(members[0]["ports"]["api"], dated)
    facts = {"one": {"service_pids": [17], "ports": [{"port": members[0]["ports"]["api"], "own": True}]}}
    started = time.monotonic()
    found = together(members[:2], facts, wait=5, hccn_tool="/nowhere")
    assert time.monotonic() - started < 2
    assert {entry["state"] for entry in found["one"]["reach"]["ports"].values()} == {"serving"}
    reported = found["two"]["reach"]
    assert [(name, entry["state"]) for name, entry in reported["ports"].items()] == [("api", "connected")]
    assert reported["clock"]["source"] == "http"
    assert reported["clock"]["offset"] == pytest.approx(time.time() - 1606262400.5, abs=2)


def test_a_running_service_over_https_is_connected_to_and_not_spoken_to(members, server):
    members[1]["service"] = {"url": "https://127.0.0.1:1"}
    server(members[0]["ports"]["api"], b"HTTP/1.1 200 OK\r\ndate: Wed, 25 Nov 2020 00:00:00 GMT\r\n\r\n")
    facts = {"one": {"service_pids": [17], "ports": [{"port": members[0]["ports"]["api"], "own": True}]}}
    reported = together(members[:2], facts, wait=5)["two"]["reach"]
    assert (reported["ports"]["api"]["state"], reported["ports"]["api"]["answered"]) == ("connected", True)
    assert reported["clock"] is None


@pytest.mark.parametrize("listen, shared", [("0.0.0.0", True), (PRIMARY, True), ("", True), ("192.0.2.7", False)])
def test_an_api_that_listens_elsewhere_is_not_tried(listen, shared, members):
    members[0]["listen"] = listen
    found = together(members[:2], wait=3)
    assert ("api" in found["one"]["reach"]["ports"], "api" in found["two"]["reach"]["ports"]) == (shared, shared)
    assert found["two"]["reach"]["ports"]["rpc"]["state"] == "connected"


def test_a_service_that_starts_is_left_alone(members):
    rpc = {"port": members[0]["ports"]["rpc"], "own": True}
    started = time.monotonic()
    found = together(members[:2], {"one": {"service_pids": [17], "ports": [rpc]}}, wait=5, hccn_tool="/nowhere")
    assert found["two"]["reach"]["ports"]["rpc"]["state"] == "skipped"
    assert "api" not in found["two"]["reach"]["ports"]
    assert together(members[:2], {"one": {"service_pids": [17]}}, wait=5)["two"]["reach"]["ports"] == {}
    assert time.monotonic() - started < 2


def test_garbage_to_the_primary_is_not_counted(members):
    port = members[0]["ports"]["api"]
    result = []
    thread = threading.Thread(
        target=lambda: result.append(
            gather(members[0], wait=3, hccn_tool="/nowhere", **peers_for(members[0], members[:2], {}))
        )
    )
    thread.start()
    time.sleep(0.3)
    words = [b"\n", b"\xff\xfe\n", b"[]\n", b'{"hello": "x", "host": "two"}\n', b"GET / HTTP/1.0\r\n\r\n"]
    known = json.dumps({"hello": reach_module.HELLO, "host": "two", "back": 1}).encode() + b"\n"
    stranger = json.dumps({"hello": reach_module.HELLO, "host": "mallory"}).encode() + b"\n"
    for word in words + [stranger + b"{}\n{}\n{}\n", known + b"{}\n[]\n"]:
        with socket.create_connection((PRIMARY, port)) as connection:
            connection.sendall(word)
            connection.shutdown(socket.SHUT_WR)
            connection.settimeout(0.5)
            try:
                while connection.recv(4096):
                    pass
            except OSError:
                pass
    thread.join()
    reach = result[0]["reach"]
    assert reach["ports"]["api"]["heard"] == [] and reach["back"] == {}


def test_one_node_alone_has_no_ports_to_try():
    node = dict(plan("one", PRIMARY, "single", {"api": free_port()}), ranks=[0, 0, 1])
    assert gather(node, [], hccn_tool="/nowhere")["reach"] is None


def test_the_primary_is_unknown(members):
    other = [dict(members[1]), dict(members[2])]
    assert gather(other[0], wait=0.2, hccn_tool="/nowhere", **peers_for(other[0], other, {}))["reach"] == {
        "error": "the plan names no primary"
    }


# -- pings ----------------------------------------------------------------------------------------------------------


def tool(tmp_path, body):
    path = tmp_path / "hccn_tool"
    path.write_text("#!/bin/sh\n" + body)
    path.chmod(0o755)
    return str(path)


CHIPS = {"two": {"chips": {"0": "192.0.2.20", "1": "192.0.2.21"}}}


def peer(**more):
    return dict(
        {"host": "two", "address": SECOND, "role": "secondary", "ports": {}, "chips": CHIPS["two"]["chips"]}, **more
    )


def test_pings_ask_the_chip_of_the_same_number(tmp_path):
    body = '[ "$3 $4 $5" = "-ping -g address" ] || exit 9\n'
    body += '[ $6 = 192.0.2.21 ] && n=2 || n=3\necho "3 packets transmitted, $n received, 0.00% packet loss"\n'
    found, error = pings(plan("one", PRIMARY, "primary"), [peer()], 5, executable=tool(tmp_path, body))
    assert error == ""
    assert [(item["chip"], item["peer_chip"], item["address"], item["received"]) for item in found] == [
        (0, 0, "192.0.2.20", 3),
        (1, 1, "192.0.2.21", 2),
    ]


def test_all_pairs_begin_with_the_own_number():
    wanted = pairs(plan("one", PRIMARY, "primary"), [peer()], True)
    assert {chip: [item["chip"] for item in items] for chip, items in wanted.items()} == {0: [0, 1], 1: [1, 0]}


def test_an_a3_in_a_super_pod_is_pinged_over_hccs():
    a3 = plan("one", PRIMARY, "primary", hardware="a3")
    (item,) = pairs(a3, [peer(vnic={"0": "198.51.100.1"})], False)[0]
    assert (item["kind"], item["address"]) == ("hccs_ping", "198.51.100.1")
    assert [item["kind"] for item in pairs(a3, [peer(vnic={})], False)[0]] == ["ping"]
    assert pairs(plan("one", PRIMARY, "primary"), [peer(vnic={"0": "198.51.100.1"})], False)[0][0]["kind"] == "ping"


def test_hanging_pings_end_together(tmp_path):
    started = time.monotonic()
    found, error = pings(
        plan("one", PRIMARY, "primary", chips=8),
        [peer(chips={str(chip): "192.0.2.1" for chip in range(8)})],
        1.0,
        all_pairs=True,
        executable=tool(tmp_path, "sleep 60\n"),
    )
    assert time.monotonic() - started < 4
    assert error == "" and len(found) == 64
    assert {item["received"] for item in found} == {None}
    assert {item["error"] for item in found} == {"no answer in time", "not queried: out of time"}


@pytest.mark.parametrize("text", ["", "Command execute failed!", "0 packets transmitted, 0 received", "\\377\\001"])
def test_garbage_is_no_answer(tmp_path, text):
    found, unused = pings(
        plan("one", PRIMARY, "primary"), [peer()], 5, executable=tool(tmp_path, f"printf '{text}'\nexit 1\n")
    )
    assert len(found) == 2
    assert all(item["received"] is None and item["error"] for item in found)


def test_no_tool():
    found, error = pings(plan("one", PRIMARY, "primary"), [peer()], 5, executable="/nowhere/hccn_tool")
    assert found == [] and "no hccn_tool" in error


def test_what_a_node_must_know_of_its_replica(members):
    facts = {
        "one": {"service_pids": []},
        "two": {"fabric": {"chips": {"0": {"address": "192.0.2.20", "vnic": {"address": "198.51.100.1"}}, "1": {}}}},
        "three": {"error": "unreachable"},
    }
    reported = peers_for(members[0], members, facts)
    assert reported["serving"] is False
    assert [(item["host"], item["chips"], item["vnic"]) for item in reported["peers"]] == [
        ("two", {"0": "192.0.2.20"}, {"0": "198.51.100.1"}),
        ("three", {}, {}),
    ]
    ports = peers_for(members[1], members, facts)["peers"][0]["ports"]
    assert ports == {name: members[0]["ports"][name] for name in ("api", "rpc")}


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=200))
def test_any_line_is_an_object_or_a_value_error(data):
    try:
        assert isinstance(reach_module._read(io.BytesIO(data)), dict)
    except ValueError:
        pass
