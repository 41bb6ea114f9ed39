"""What a supervisor decides, and what it sees of connections."""

import json
import os
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.engine import EngineError
from ansible_collections.ascend_ops.vllm.plugins.module_utils._failure import evidence
from ansible_collections.ascend_ops.vllm.plugins.module_utils._service import decision, look, supervise
from ansible_collections.ascend_ops.vllm.plugins.module_utils._state import memory, supervision

SETTINGS = {
    "name": "c",
    "role": "primary",
    "engine": "docker",
    "url": "http://127.0.0.1:1",
    "model": "m",
    "ca_file": "",
    "primary": {"address": "127.0.0.1", "rpc": 1},
    "interval": 0,
    "ready_timeout": 600,
    "probe_timeout": 5,
    "probe_failures": 3,
    "restart_limit": 3,
    "stable_after": 1800,
    "stop_timeout": 10,
}
SECONDARY = dict(SETTINGS, role="secondary")
TOKENS = {"kind": "tokens", "text": "", "seconds": 0.1}
NONE = {"kind": "none", "text": "no answer within 5 s", "seconds": None}
REFUSED = {"kind": "refused", "text": "HTTP 401: the service wants another API key", "seconds": None}


def box(started_at=1000, running=True, status=None, restart_count=0):
    return {
        "status": status or ("running" if running else "exited"),
        "running": running,
        "started_at": started_at,
        "restart_count": restart_count,
        "name": "c",
        "exit_code": 1,
        "error": "",
    }


def primary(answer, container=None, **more):
    return dict({"container": container or box(), "error": "", "answer": answer, "work": None}, **more)


def secondary(links=5, rpc_links=0, state="serves", container=None):
    seen = {"container": container or box(), "error": "", "links": links, "rpc_links": rpc_links, "primary": state}
    return seen


class Obeys:
    """An engine that does what it is told."""

    def __init__(self, started_at):
        self.started_at = started_at

    def call(self, *_):
        pass

    def container(self, _):
        return box(self.started_at)


class Refuses(Obeys):
    """One that does not."""

    def call(self, *_):
        raise EngineError("no space left on device")


class Life:
    """A supervisor's looks, one after the other; an action leads to a container that was started anew."""

    def __init__(self, settings, now=1010):
        self.settings = settings
        self.now = now
        self.state = memory.fresh(now)
        self.actions = []

    def look(self, seen, after=15):
        self.now += after
        self.state, action = decision.step(self.settings, self.state, seen, self.now)
        if action:
            self.actions.append(action)
        return action

    def acted(self, started_at):
        """What ``act`` leaves after a restart."""
        supervise.act(SETTINGS, Obeys(started_at), self.state, "restart", self.now)


def test_a_serving_primary_is_left_alone():
    life = Life(SETTINGS)
    for _ in range(200):
        assert life.look(primary(TOKENS)) is None
    assert life.state["state"] == "serving"
    assert len(life.state["history"]) == 1


def test_a_primary_that_starts_has_its_time_and_no_more():
    life = Life(SETTINGS)
    for _ in range(38):
        assert life.look(primary(NONE)) is None
        assert life.state["state"] == "starting"
    assert life.look(primary(NONE)) is None
    assert life.look(primary(NONE)) == "restart"
    assert "no token within" in life.state["reason"]


def test_a_primary_that_hangs_is_restarted_after_the_third_failure():
    life = Life(SETTINGS)
    life.look(primary(TOKENS))
    assert [life.look(primary(NONE)) for _ in range(3)] == [None, None, "restart"]
    assert life.state["restarts"] == 1


def test_a_failure_between_successes_counts_for_nothing():
    life = Life(SETTINGS)
    for _ in range(10):
        life.look(primary(TOKENS))
        life.look(primary(NONE))
        life.look(primary(NONE))
    assert life.actions == []


def test_a_service_that_refuses_the_probe_lives_and_is_not_restarted():
    life = Life(SETTINGS)
    life.look(primary(TOKENS))
    for _ in range(20):
        assert life.look(primary(REFUSED)) is None
    assert life.state["state"] == "failing"
    assert "another API key" in life.state["reason"]


def test_restarts_back_off_and_end():
    life = Life(SETTINGS)
    started = 1000
    waits = []
    while "stop" not in life.actions:
        life.look(primary(TOKENS, box(started)))
        waited = 0
        while not life.look(primary(NONE, box(started))):
            waited += 15
            assert waited < 4000
        waits.append(waited)
        started = int(life.now) + 1
        life.acted(started)
    assert life.actions == ["restart"] * 3 + ["stop"]
    assert life.state["state"] == "gave-up"
    assert "3 restarts" in life.state["reason"]
    assert waits == sorted(waits) and waits[-1] > waits[0]


def test_what_the_engine_refuses_is_tried_again_and_never_given_up():
    life = Life(SETTINGS)
    life.look(primary(TOKENS))
    for _ in range(30):
        assert life.look({"container": box(running=False), "error": ""}, after=60) == "start"
        supervise.act(SETTINGS, Refuses(0), life.state, "start", life.now)
        assert life.state["state"] == "failing"
        assert "no space left" in life.state["reason"]


def test_a_stop_that_the_engine_refuses_is_tried_again():
    life = Life(SETTINGS)
    life.state.update(started_at=1000, restarts=4, last_restart={"at": 1000, "reason": "it ended"})
    for _ in range(3):
        assert life.look(primary(NONE)) == "stop"
        supervise.act(SETTINGS, Refuses(0), life.state, "stop", life.now)


def test_what_was_given_up_stays_down_until_somebody_starts_it():
    life = Life(SETTINGS)
    life.state.update(state="gave-up", started_at=1000)
    assert life.look(primary(NONE, box(running=False))) is None
    assert life.state["state"] == "gave-up"
    life.look(primary(TOKENS, box(2000)))
    assert life.state["state"] == "serving"
    assert life.state["restarts"] == 0


def test_crashes_that_the_engine_mends_are_counted_and_end_too():
    life = Life(SETTINGS)
    life.look(primary(NONE))
    for number in range(1, 4):
        assert life.look(primary(NONE, box(1000 + number * 20, restart_count=number), exit_code=0)) is None
    assert life.look(primary(NONE, box(2000, restart_count=4), exit_code=0)) == "stop"
    assert "exit code 0" in life.state["reason"]


def test_restarts_are_forgotten_after_a_time_of_quiet():
    life = Life(SETTINGS)
    life.look(primary(TOKENS))
    life.look(primary(TOKENS, box(1100, restart_count=1), exit_code=1))
    assert life.state["restarts"] == 1
    life.look(primary(TOKENS, box(1100, restart_count=1)), after=1700)
    assert life.state["restarts"] == 1
    life.look(primary(TOKENS, box(1100, restart_count=1)), after=200)
    assert life.state["restarts"] == 0


def test_a_container_that_was_stopped_is_started():
    life = Life(SETTINGS)
    life.look(primary(TOKENS))
    assert life.look({"container": box(running=False), "error": ""}) == "start"


@pytest.mark.parametrize(
    "seen",
    [
        {"container": None, "error": "the engine does not answer"},
        {"container": None, "error": ""},
        {"container": box(running=False, status="restarting"), "error": ""},
    ],
)
def test_nothing_is_done_where_the_engine_is_away_or_at_work(seen):
    life = Life(SETTINGS)
    for _ in range(5):
        assert life.look(seen) is None


def test_a_joined_secondary_is_left_alone():
    life = Life(SECONDARY)
    for _ in range(100):
        assert life.look(secondary()) is None
    assert life.state["state"] == "joined"


def test_a_secondary_waits_for_a_primary_that_is_not_there():
    life = Life(SECONDARY)
    for _ in range(500):
        assert life.look(secondary(links=0, state="is away")) is None
    assert life.state["state"] == "waiting"


def test_a_secondary_follows_a_primary_that_died():
    life = Life(SECONDARY)
    life.look(secondary())
    assert life.look(secondary(links=0, state="is away")) is None
    assert life.look(secondary(links=0, state="is away")) == "restart"
    assert life.state["restarts"] == 0  # it is not to blame


def test_a_secondary_with_dead_connections_follows_a_primary_that_gathers_its_nodes():
    life = Life(SECONDARY)
    life.look(secondary())
    assert life.look(secondary(links=5, rpc_links=0, state="waits")) == "restart"


def test_a_secondary_that_takes_part_in_a_start_is_left_alone():
    life = Life(SECONDARY)
    for _ in range(100):
        assert life.look(secondary(links=1, rpc_links=1, state="waits")) is None


def test_a_secondary_without_its_primary_ends_every_five_minutes_and_is_never_given_up():
    life = Life(SECONDARY)
    for number in range(50):
        seen = secondary(links=0, state="is away", container=box(1000 + number * 300, restart_count=number))
        assert life.look(seen, after=300) is None
    assert life.state["restarts"] == 0


def test_a_secondary_that_ends_though_its_primary_waits_is_given_up():
    life = Life(SECONDARY)
    for number in range(5):
        seen = secondary(links=0, state="waits", container=box(1000 + number * 20, restart_count=number))
        action = life.look(dict(seen, exit_code=1))
    assert action == "stop"


def test_own_connections_are_told_from_those_of_others():
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(5)
    port = listener.getsockname()[1]
    client = socket.create_connection(("127.0.0.1", port))
    try:
        assert port in look.connections([os.getpid()], "127.0.0.1")
        assert look.connections([1 if os.getpid() != 1 else 2], "127.0.0.1").count(port) == 0
        assert look.connections([os.getpid()], "192.0.2.1") == []
        assert look.is_open("127.0.0.1", port)
    finally:
        client.close()
        listener.close()
    assert port not in look.connections([os.getpid()], "127.0.0.1")
    assert not look.is_open("127.0.0.1", port)


class Server(BaseHTTPRequestHandler):
    tokens = 10
    asked = 0

    def do_GET(self):
        self.reply(f'# HELP x\nvllm:generation_tokens_total{{engine="0"}} {Server.tokens}.0\nhttp_requests_total 7.0\n')

    def do_POST(self):
        Server.asked += 1
        self.rfile.read(int(self.headers["Content-Length"]))
        choice = {"message": {"content": "x"}, "finish_reason": "length"}
        self.reply(json.dumps({"choices": [choice], "usage": {"completion_tokens": 1}}))

    def reply(self, text):
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_):
        pass


def test_the_exit_code_is_told_also_while_the_engine_starts_it_again():
    class Restarting(Obeys):
        def container(self, _):
            return box(2000, running=False, status="restarting", restart_count=1)

        def last_exit(self, _, since):
            return 3 if since == 1000 else None

    life = Life(SETTINGS)
    life.look(primary(TOKENS))
    life.look(look.look(SETTINGS, Restarting(0), life.state))
    assert "exit code 3" in life.state["last_restart"]["reason"]


def test_a_busy_service_is_not_asked_and_an_idle_one_is(monkeypatch):
    server = HTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    settings = dict(SETTINGS, url=f"http://127.0.0.1:{server.server_port}", model="m", ca_file="")
    state = dict(memory.fresh(0), proven=True)
    try:
        first = look.look_primary(settings, state)
        assert first["answer"]["kind"] == "tokens" and Server.asked == 1
        state["work"] = first["work"]
        look.look_primary(settings, state)
        assert Server.asked == 2, "an idle service has to be asked"
        Server.tokens += 1
        busy = look.look_primary(settings, state)
        assert busy["answer"]["kind"] == "tokens" and Server.asked == 2, "its counters moved: it need not be asked"
    finally:
        server.shutdown()
    # Its socket still takes connections, and nobody answers.
    settings["probe_timeout"] = 0.5
    monkeypatch.setattr(look.Client, "text", lambda self, path, _timeout, text=look.Client.text: text(self, path, 0.5))
    assert look.look_primary(settings, state)["answer"]["kind"] == "none"


# -- what is installed on a node --------------------------------------------------------------------------------------


def test_the_code_that_is_installed_on_a_node_runs_there_alone(tmp_path):
    """Only the files that are installed are there: no Ansible, no other part of the collection."""
    for path, text in supervision.code().items():
        file = tmp_path / os.path.relpath(path, supervision.CODE_DIR)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    done = subprocess.run(
        [sys.executable, "-S", "-m", supervision.SUPERVISOR, "no-such-container"],
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": str(tmp_path)},
    )
    assert (done.returncode, done.stderr) == (1, "")
    assert "no-such-container/supervise.json" in done.stdout and "Deploy again" in done.stdout


def test_settings_name_the_primary_of_the_own_replica():
    def node(host, role, replica, address):
        ports = {"api": 20004, "rpc": 2347} if role == "primary" else {}
        service = {"url": f"http://{address}:20004", "model": "m"}
        return {
            "host": host,
            "role": role,
            "replica": replica,
            "address": address,
            "ports": ports,
            "service": service,
            "container": {"name": "c"},
        }

    processes = [
        node("a", "primary", "x", "192.0.2.1"),
        node("b", "secondary", "x", "192.0.2.2"),
        node("c", "primary", "y", "192.0.2.3"),
        node("d", "secondary", "y", "192.0.2.4"),
    ]
    settings = supervision.settings_for(processes, "d", {"interval": "15", "engine": "docker"})
    assert settings["primary"] == {"address": "192.0.2.3", "rpc": 2347}
    assert (settings["role"], settings["name"], settings["interval"]) == ("secondary", "c", 15)


class Died(Obeys):
    """An engine whose container printed a log before it ended."""

    executable, env = "/nowhere/docker", {}

    def __init__(self, container):
        super().__init__(0)
        self.found = container

    def container(self, _):
        return self.found

    def last_exit(self, _, since):
        return 1

    def inspect(self, kind, name):
        return None


@pytest.mark.parametrize(
    "container, began, until",
    [
        (box(1000, running=False, status="exited"), 1000, None),
        (box(2000, running=False, status="restarting", restart_count=1), 1000, 2000),
    ],
)
def test_the_history_names_the_cause_of_a_death(monkeypatch, container, began, until):
    asked = []

    def said(engine, name, since, ended):
        asked.append((since, ended))
        return "RuntimeError: NPU out of memory. Tried to allocate 2 GiB\n"

    monkeypatch.setattr(evidence, "log_since", said)
    monkeypatch.setattr(look, "_files", lambda name: None)
    life = Life(SETTINGS)
    life.look(primary(TOKENS))
    life.look(look.look(SETTINGS, Died(container), life.state))
    assert asked == [(began, until)]
    events = [event["event"] for event in life.state["history"]]
    assert any("does not hold what the model needs. [npu-out-of-memory]" in event for event in events), events
