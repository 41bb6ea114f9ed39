"""Nothing blinds a supervisor: no state that it cannot read or write, no clock that is set, no check that was cut short."""

import errno
import json
import os
import shutil
import types

import pytest
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common import files, layout
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.engine import Engine, EngineError
from ansible_collections.ascend_ops.vllm.plugins.module_utils._service import decision, look, repair, supervise
from ansible_collections.ascend_ops.vllm.plugins.module_utils._state import memory, schema, supervision
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from test_supervise import NONE, REFUSED, SECONDARY, SETTINGS, TOKENS, Life, Obeys, box, primary, secondary
from test_supervise_drift import deployed  # noqa: F401  # pylint: disable=unused-import

DAY = 86400
CLOCK = {"wall": 1_800_000_000.0, "monotonic": 5000.0, "boot": "b1"}


def later(seconds, set_by=0, boot="b1"):
    """The clock after some seconds, in which somebody set it."""
    return {"wall": CLOCK["wall"] + seconds + set_by, "monotonic": CLOCK["monotonic"] + seconds, "boot": boot}


@pytest.fixture
def places(tmp_path, monkeypatch):
    """The places of the state of container c, in a folder of the test."""
    monkeypatch.setattr(layout, "STATE_DIR", str(tmp_path / "run"))
    monkeypatch.setattr(layout, "RECORDS_DIR", str(tmp_path / "var"))
    return memory.places("c")


def written(path, **changes):
    """Write a good state with some changes to a place."""
    state = {**memory.fresh(CLOCK["wall"] - 100), "schema": schema.VERSION, "clock": CLOCK, **changes}
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as handle:
        json.dump(state, handle)


def refuse(monkeypatch, *paths, number=errno.ENOSPC):
    """No file below these can be written."""
    real = files.write

    def write(path, content, mode):
        if any(path.startswith(os.path.dirname(place)) for place in paths):
            raise OSError(number, os.strerror(number), path)
        real(path, content, mode)

    monkeypatch.setattr(files, "write", write)


# -- a state that cannot be used --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"restarts": "x"}, "restarts is 'x', wanted a whole number from 0 on"),
        ({"restarts": True}, "restarts is True, wanted a whole number"),
        ({"restarts": 10**30}, "wanted a whole number"),
        ({"restarts": 2}, "restarts is 2, and last_restart is missing"),
        ({"failures": -1}, "failures is -1, wanted a whole number from 0 on"),
        ({"since": float("nan")}, "since is nan, wanted a number"),
        ({"began_at": float("inf")}, "began_at is inf, wanted a number"),
        ({"proven": None}, "proven is None, wanted true or false"),
        ({"history": [{"at": "now", "event": "x"}]}, "history holds what at is 'now', wanted a number"),
        ({"history": [{"at": 1, "event": "x"}] * 21}, "history is a list, wanted a list of at most 20"),
        ({"state": "happy"}, "state is 'happy', wanted one of starting"),
        ({"last_restart": {"at": 1}}, "last_restart reason is missing"),
        ({"trusted": {"launch.sh": 3}}, "trusted is a dict, wanted a mapping of texts"),
        ({"acting": {"action": "explode", "at": 1}}, "acting action is 'explode', wanted one of start"),
        ({"schema": 1}, "of another version of this collection"),
        ({"clock": dict(CLOCK, monotonic=CLOCK["monotonic"] + 99)}, "it comes from the future"),
    ],
)
def test_a_state_is_valid_as_a_whole_or_not_at_all(changes, why, places):
    written(places[0])
    assert memory.load("c", later(10))[0]["state"] == "starting"
    written(places[0], **{"state": "serving", "failures": 2, **changes})
    state, told = memory.load("c", later(10))
    assert state is None and len(told) == 1 and why in told[0] and places[0] in told[0]


@pytest.mark.parametrize("text", ["", "[]", '{"state": "serving"', "\0\0\0", "[" * 100000, "null", '"x"', "9" * 5000])
def test_a_file_that_is_no_state_is_no_end(text, places, capsys):
    os.makedirs(os.path.dirname(places[0]))
    with open(places[0], "w", encoding="utf-8") as handle:
        handle.write(text)
    state = supervise.load("c", dict(CLOCK, wall=5))
    assert (state["state"], state["since"]) == ("starting", 5)
    assert places[0] in state["history"][0]["event"] and "it begins anew" in state["history"][0]["event"]
    assert capsys.readouterr().out == "<4>c: {0}\n".format(state["history"][0]["event"])


def test_where_there_is_no_state_it_begins_without_a_word(places):
    assert supervise.load("c", CLOCK)["history"] == []
    written(places[0], failures=2)
    after_boot = supervise.load("c", later(10, boot="b2"))
    assert (after_boot["failures"], after_boot["history"]) == (0, [])


def test_keys_of_another_build_do_not_matter(places):
    written(places[0], another={"key": 1})
    assert "another" not in memory.load("c", CLOCK)[0]


values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.integers(min_value=10**12),
        st.floats(),
        st.text(max_size=5),
        st.sampled_from([*schema.STATES, *schema.ACTIONS, CLOCK["boot"], 1_800_000_000, 2]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.one_of(st.text(max_size=5), st.sampled_from(["at", "reason", "event"])), inner, max_size=3),
    ),
    max_leaves=5,
)
KEYS = ["schema", "clock", *memory.fresh(0)]
moments = st.one_of(st.integers(0, 4_000_000_000), st.floats(0, 4e9))
events = st.fixed_dictionaries({"at": moments, "event": st.text(max_size=5)})
digests = st.dictionaries(st.sampled_from(["launch.sh", "service.env"]), st.sampled_from(["a", "b"]))
restart = st.fixed_dictionaries({"at": moments, "reason": st.text(max_size=5)})
counts = st.one_of(st.integers(0, 9), st.just(schema.MOST - 10**6))
good_states = st.fixed_dictionaries(
    {
        "state": st.sampled_from(schema.STATES),
        "since": moments,
        "checked_at": moments,
        "reason": st.text(max_size=5),
        "last_good": st.none() | moments,
        "last_good_seconds": st.none() | moments,
        "good_since": st.none() | moments,
        "failures": counts,
        "restarts": counts,
        "last_restart": restart,
        "container_id": st.sampled_from([None, "id1"]),
        "started_at": st.none() | st.just(1000) | moments,
        "began_at": st.none() | moments,
        "engine_restarts": counts,
        "proven": st.booleans(),
        "unlinked": counts,
        "work": st.none() | st.lists(st.text(max_size=3), max_size=2),
        "acting": st.none() | st.fixed_dictionaries({"action": st.sampled_from(schema.ACTIONS), "at": moments}),
        "started_with": digests,
        "trusted": digests,
        "drift": st.none() | st.lists(st.text(max_size=3), max_size=2),
        "memory": st.text(max_size=5),
        "history": st.lists(events, max_size=20),
    }
)
entries = st.fixed_dictionaries({"how": st.just("is missing"), "usable": st.booleans(), "restorable": st.booleans()})
containers = st.builds(
    lambda status, started, count: dict(box(started, status == "running", status, count), id="id1"),
    st.sampled_from(["running", "restarting", "exited", "created", "dead", "paused"]),
    st.sampled_from([None, 1000, 1000.5, 1_800_000_000.0]),
    st.integers(0, 9),
)
seen_things = st.fixed_dictionaries(
    {
        "container": st.none() | containers,
        "error": st.sampled_from(["", "the engine does not answer"]),
        "foreign": st.booleans(),
        "others": st.lists(st.sampled_from([{"id": "id1", "name": "x"}, {"id": "id2", "name": "y"}]), max_size=2),
        "age": st.none() | moments,
        "files": st.none()
        | st.fixed_dictionaries(
            {"digests": digests, "altered": st.dictionaries(st.sampled_from(["launch.sh", "service.env"]), entries)}
        ),
        "answer": st.sampled_from([TOKENS, NONE, REFUSED]),
        "work": st.none() | st.lists(st.text(max_size=3), max_size=2),
        "links": st.integers(0, 3),
        "rpc_links": st.integers(0, 3),
        "primary": st.sampled_from(["serves", "waits", "is away"]),
    }
)
given_settings = st.builds(
    lambda role, limit: dict(SETTINGS, role=role, restart_limit=limit),
    st.sampled_from(schema.ROLES),
    st.sampled_from([0, 3, schema.MOST]),
)


@hypothesis_settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from(KEYS), values, max_size=4), st.sets(st.sampled_from(KEYS), max_size=2), values)
def test_any_garbage_is_a_state_that_decides_or_none(tmp_path_factory, changes, gone, whole):
    folder = tmp_path_factory.mktemp("state")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "STATE_DIR", str(folder / "run"))
        patch.setattr(layout, "RECORDS_DIR", str(folder / "var"))
        one, other = memory.places("c")
        written(one, **changes)
        found = json.loads(open(one, encoding="utf-8").read())
        with open(one, "w", encoding="utf-8") as handle:
            json.dump({key: value for key, value in found.items() if key not in gone}, handle)
        os.makedirs(os.path.dirname(other))
        with open(other, "w", encoding="utf-8") as handle:
            json.dump(whole, handle)
        state = supervise.load("c", later(10))
        for seen in (primary(NONE), {"container": box(running=False), "error": ""}, primary(TOKENS, box(2000))):
            after, action = decision.step(SETTINGS, state, seen, later(10)["wall"])
            assert action in (None, *schema.ACTIONS) and after["state"] in schema.STATES
    shutil.rmtree(folder)


@hypothesis_settings(max_examples=500, deadline=None)
@given(good_states, seen_things, given_settings, moments, st.integers(-DAY, DAY))
def test_every_good_state_decides_and_leads_to_a_good_one(state, seen, given, now, step):
    assert schema.settings_error(given) == ""
    assert schema.state_error(dict(state, schema=schema.VERSION, clock=CLOCK)) == ""
    clock = later(15, step)
    state = memory.moved(dict(state, schema=schema.VERSION, clock=CLOCK), clock)
    state, action = decision.step(given, state, seen, now)
    assert action in (None, *schema.ACTIONS)
    assert schema.state_error(dict(state, schema=schema.VERSION, clock=CLOCK)) == ""
    assert action != "rename" or state["container_id"] == "id1"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("", "cannot read"),
        ("[]", "is a list, wanted a mapping"),
        (json.dumps(dict(SETTINGS, probe_failures="3")), "probe_failures is '3', wanted a whole number"),
        (json.dumps({key: value for key, value in SETTINGS.items() if key != "role"}), "role is missing"),
        ("[" * 100000, "cannot read"),
    ],
)
def test_settings_that_cannot_be_used_are_named(content, why, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(layout, "SERVICE_DIR", str(tmp_path))
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "supervise.json").write_text(content)
    assert supervise.main("c") == 1
    assert why in capsys.readouterr().out
    (tmp_path / "c" / "supervise.json").write_text(json.dumps(SETTINGS))
    assert supervise.read_settings("c") == (SETTINGS, "")


# -- a state that cannot be written -----------------------------------------------------------------------------------


def test_a_full_run_sends_the_state_to_the_disk_and_the_newest_counts(places, monkeypatch):
    state = dict(memory.fresh(CLOCK["wall"]), failures=1)
    assert memory.save("c", state, CLOCK, {"name": "c"}) and state["memory"] == ""
    with monkeypatch.context() as patch:
        refuse(patch, places[0])
        state["failures"] = 2
        assert memory.save("c", state, later(15), {})
        mount = memory.mount_of(places[0])
        assert state["memory"] == f"cannot write its state: no space left on {mount}; it is in {places[1]}"
    assert memory.load("c", later(30))[0]["failures"] == 2
    assert "no space left" in memory.load("c", later(30))[0]["memory"]
    state["failures"] = 3
    assert memory.save("c", state, later(30), {}) and state["memory"] == ""
    assert memory.load("c", later(45))[0]["failures"] == 3
    assert not os.path.exists(places[1])


@pytest.mark.parametrize(
    ("number", "text"),
    [(errno.ENOSPC, "no space left on /"), (errno.EROFS, " is mounted read-only"), (errno.EACCES, "Permission denied")],
)
def test_what_no_place_takes_has_a_cause(number, text, places, monkeypatch):
    refuse(monkeypatch, *places, number=number)
    state = memory.fresh(0)
    assert not memory.save("c", state, CLOCK, {})
    assert text in state["memory"] and "nothing is remembered" in state["memory"]


class Node(Obeys):
    """An engine with one container, as the supervisor's program meets it."""

    def __init__(self, **changes):
        super().__init__(1000)
        self.box = dict(box(1000), id="id1", labels={"ascend_ops.vllm.service": "c"}, pid=0, **changes)
        self.calls = []

    def __call__(self, *_):
        return self

    def call(self, words, *_):
        self.calls.append(words[0])
        if words[0] in ("restart", "start"):
            self.box = dict(self.box, running=True, status="running", started_at=self.box["started_at"] + 100)
        elif words[0] == "stop":
            self.box = dict(self.box, running=False, status="exited")

    def container(self, _):
        return self.box

    def last_exit(self, *_):
        return 1

    def made_as(self, _):
        return []


@pytest.fixture
def program(places, tmp_path, monkeypatch):
    """The supervisor's program on a node whose service is silent, and was started long ago."""
    monkeypatch.setattr(layout, "SERVICE_DIR", str(tmp_path / "etc"))
    (tmp_path / "etc" / "c").mkdir(parents=True)
    (tmp_path / "etc" / "c" / "supervise.json").write_text(json.dumps(SETTINGS))
    node = Node()
    monkeypatch.setattr(supervise, "Engine", node)
    monkeypatch.setattr(supervise, "look_drift", lambda *_: [])
    monkeypatch.setattr(look, "look_primary", lambda *_: {"answer": NONE, "work": None})
    monkeypatch.setattr(repair, "look_files", lambda _: {"digests": {}, "altered": {}})
    ages = iter([9000] * 9)
    monkeypatch.setattr(look, "process_age", lambda _: next(ages) if node.box["started_at"] == 1000 else 5)
    monkeypatch.setattr(supervise, "process_age", lambda _: 1)
    return types.SimpleNamespace(node=node, places=places)


def test_a_service_that_hangs_is_restarted_after_as_many_checks_as_ever(program):
    for number in range(3):
        assert program.node.calls == []
        assert supervise.main("c") == 0, number
    assert program.node.calls == ["restart"]


def test_a_service_that_hangs_is_restarted_though_nothing_takes_the_state(program, monkeypatch, capsys):
    refuse(monkeypatch, *program.places)
    assert supervise.main("c") == 0
    assert program.node.calls == ["restart"]
    assert "<4>c: cannot write its state: no space left on /" in capsys.readouterr().out
    supervise.main("c")
    assert program.node.calls == ["restart"]  # it starts: it has its time


def test_an_old_state_that_cannot_be_replaced_does_not_make_it_wait_for_ever(program, monkeypatch):
    """The last state that was written stays, with another start of the container and some restarts in it."""
    state = dict(memory.fresh(0), started_at=500, began_at=0, restarts=1, last_restart={"at": 0, "reason": "x"})
    assert memory.save("c", state, memory.clock(), {})
    refuse(monkeypatch, *program.places)
    supervise.main("c")
    assert program.node.calls == ["restart"]


def test_a_service_that_hangs_is_restarted_whatever_the_state_holds(program):
    os.makedirs(os.path.dirname(program.places[0]))
    for number in range(3):
        supervise.main("c")
        if number == 0:
            state = json.loads(open(program.places[0]).read())
            assert state["failures"] == 1
    assert program.node.calls == ["restart"]
    with open(program.places[0], "w", encoding="utf-8") as handle:
        json.dump(dict(state, restarts=None), handle)
    program.node.box["started_at"] = 1000
    for _number in range(3):
        supervise.main("c")
    assert program.node.calls == ["restart"] * 2


def test_a_check_has_the_time_that_its_last_resort_takes():
    unit = supervision.units("c", {**SETTINGS, "interval": 15, "probe_timeout": 600, "stop_timeout": 60}, "python3")
    (limit,) = [
        line for line in unit["/etc/systemd/system/ascend-vllm@c.service"].splitlines() if "TimeoutStart" in line
    ]
    assert int(limit.partition("=")[2]) >= 3 * (15 + 600 + 10) + 60 + 120


# -- a clock that is set ----------------------------------------------------------------------------------------------


class Clocked:
    """A supervisor whose state goes through its file, on a node whose clock is set now and then."""

    def __init__(self, settings):
        self.settings, self.passed, self.set_by = settings, 0, 0
        self.actions = []

    def clock(self):
        return later(self.passed, self.set_by)

    def look(self, seen, after=15):
        self.passed += after
        clock = self.clock()
        state = supervise.load("c", clock)
        seen["container"] = dict(seen["container"], started_at=seen["container"]["started_at"])
        self.state, action = decision.step(self.settings, state, seen, clock["wall"])
        memory.save("c", self.state, clock, {})
        if action:
            self.actions.append(action)
        return action


@pytest.mark.parametrize("step", [-DAY, DAY, -3600, 30])
def test_a_clock_that_is_set_does_not_move_a_restart(step, places):
    life = Clocked(SETTINGS)
    started = CLOCK["wall"] - 50
    again = box(started + 75, restart_count=1)
    life.look(primary(TOKENS, box(started)))
    life.look(primary(TOKENS, again))  # it ended, and was started 5 s ago: a restart has to wait for 25 s from here on
    life.set_by = step
    due = [life.look(primary(NONE, again), after=4) for _ in range(3)]
    assert due == [None] * 3 and "due in 13 s" in life.state["reason"], life.state["reason"]
    assert [life.look(primary(NONE, again), after=10) for _ in range(2)] == [None, "restart"]
    assert any("the clock was set" in entry["event"] for entry in life.state["history"])


@pytest.mark.parametrize("step", [-DAY, DAY])
@pytest.mark.parametrize("known", [True, False], ids=["before", "at-once"])
def test_a_clock_that_is_set_does_not_move_the_time_that_a_start_has(step, known, places):
    life = Clocked(SETTINGS)
    started = CLOCK["wall"] if known else CLOCK["wall"] + step
    if known:
        life.look(primary(NONE, box(started)), after=1)
    life.set_by = step
    looks = 0
    while not life.look(primary(NONE, box(started))):
        looks += 1
        assert looks < 50, life.state
    assert 39 <= looks <= 41


def test_the_engine_may_have_another_clock_and_the_kernel_knows_best(places):
    """The container starts in the future, by the clock that was set back before the first look at it."""
    life = Clocked(SETTINGS)
    looks = 0
    while not life.look(primary(NONE, box(CLOCK["wall"] + DAY), age=580 + life.passed)):
        looks += 1
        assert looks < 5, life.state
    assert looks == 2  # three failures
    life = Clocked(SETTINGS)
    looks = 0
    memory.forget("c")
    while not life.look(primary(NONE, box(CLOCK["wall"] + DAY))):  # not known to the kernel: clamped
        looks += 1
        assert looks < 50, life.state


def test_a_start_is_as_old_as_the_kernel_says_whatever_is_remembered():
    life = Life(SETTINGS)
    life.state.update(started_at=1000, began_at=life.now - DAY, failures=5)
    assert life.look(primary(NONE, age=30)) is None
    assert life.state["state"] == "starting" and life.now - life.state["began_at"] == 30


def test_a_start_of_unknown_time_begins_with_the_first_look():
    life = Life(SETTINGS)
    assert [life.look(primary(NONE, box(None))) for _ in range(5)] == [None] * 5
    assert life.state["state"] == "starting"


@pytest.mark.parametrize("step", [-DAY, DAY])
def test_a_clock_that_is_set_does_not_forget_or_keep_restarts(step, places):
    life = Clocked(SETTINGS)
    for number in range(2):
        life.look(primary(TOKENS, box(1000 + number, restart_count=number)))
    assert life.state["restarts"] == 1
    life.set_by = step
    life.look(primary(TOKENS, box(1001, restart_count=1)), after=1700)
    assert life.state["restarts"] == 1
    life.look(primary(TOKENS, box(1001, restart_count=1)), after=200)
    assert life.state["restarts"] == 0


def test_a_clock_that_is_set_is_told_once(places, capsys):
    written(places[0])
    state = supervise.load("c", later(10, -DAY))
    assert capsys.readouterr().out == "<4>c: the clock was set back by 86400 s\n"
    memory.save("c", state, later(10, -DAY), {})
    assert supervise.load("c", later(25, -DAY))["history"] == state["history"] and capsys.readouterr().out == ""


def test_no_time_lies_in_the_future_and_a_slewed_clock_moves_nothing(places):
    written(places[0], last_good=CLOCK["wall"] + 500, good_since=CLOCK["wall"] - 10)
    state = memory.load("c", later(10, 0.5))[0]
    assert state["last_good"] == later(10, 0.5)["wall"]
    assert state["good_since"] == CLOCK["wall"] - 10 and state["history"] == []


# -- a check that is cut short ----------------------------------------------------------------------------------------


class Killed(BaseException):
    """The check ends here, whatever it is at."""


@pytest.mark.parametrize("at", ["before", "stopped", "done"])
def test_a_check_that_is_killed_in_mid_action_is_completed_and_counted_once(at, program, monkeypatch, capsys):
    node = program.node

    def die(words, *_):
        if at != "before":
            node.box = dict(node.box, running=False, status="exited")
        if at == "done":
            Node.call(node, words)
        raise Killed

    for _number in range(2):
        supervise.main("c")
    with monkeypatch.context() as patch:
        patch.setattr(node, "call", die)
        with pytest.raises(Killed):
            supervise.main("c")
    assert capsys.readouterr().out.count("<5>c: restart: no token within") == 1
    node.calls.clear()
    saved = json.loads(open(program.places[0]).read())
    assert saved["acting"]["action"] == "restart" and saved["restarts"] == 1
    supervise.main("c")
    # The engine may still be at it; what stands still is started; what was done is not done again.
    assert node.calls == {"before": [], "stopped": ["start"], "done": []}[at]
    state = json.loads(open(program.places[0]).read())
    assert state["restarts"] == 1
    assert bool(state["acting"]) == (at == "before")
    if at == "before":
        state["acting"]["at"] -= SETTINGS["stop_timeout"] + decision.ENGINE_TIME
        with open(program.places[0], "w", encoding="utf-8") as handle:
            json.dump(state, handle)
        supervise.main("c")
        assert node.calls == ["restart"]
        assert json.loads(open(program.places[0]).read())["restarts"] == 1


def test_a_stop_that_was_cut_short_is_no_new_chance():
    life = Life(SETTINGS)
    life.state.update(state="gave-up", started_at=1000, acting={"action": "stop", "at": life.now - 100})
    assert life.look(primary(NONE)) == "stop"
    assert life.look(primary(NONE, box(running=False))) is None and life.state["state"] == "gave-up"


# -- a container that was renamed -------------------------------------------------------------------------------------


def test_a_renamed_container_gets_its_name_back_where_it_is_the_one_that_was_watched():
    life = Life(SETTINGS)
    life.look(primary(TOKENS, dict(box(), id="id1")))
    gone = {"container": None, "error": "", "others": [{"id": "id1", "name": "old"}]}
    assert life.look(gone) == "rename"
    assert "renamed to old" in life.state["reason"] and life.state["restarts"] == 0
    calls = []
    node = Node()
    node.call = lambda words, *_: calls.append(words)
    supervise.act(SETTINGS, node, life.state, "rename", life.now)
    assert calls == [["rename", "id1", "c"]]
    assert life.look(primary(TOKENS, dict(box(), id="id1"))) is None and life.state["state"] == "serving"


def test_another_container_of_the_same_make_is_left_alone_and_named():
    life = Life(SETTINGS)
    life.look(primary(TOKENS, dict(box(), id="id1")))
    gone = {"container": None, "error": "", "others": [{"id": "id2", "name": "copy"}]}
    assert life.look(gone) is None
    assert life.state["state"] == "down" and "copy was made as it" in life.state["reason"]
    fresh = Life(SETTINGS)
    assert fresh.look(dict(gone, others=[{"id": None, "name": "copy"}])) in (None, "rename")


def test_a_container_of_somebody_else_is_never_touched():
    node = Node()
    node.box["labels"] = {}
    node.box.update(running=False, status="exited")
    seen = look.look(SETTINGS, node, memory.fresh(0))
    life = Life(SETTINGS)
    assert life.look(seen) is None and life.state["state"] == "down" and "somebody else" in life.state["reason"]


def test_an_engine_that_answers_nonsense_is_no_end():
    node = Node()
    node.box.pop("running")
    seen = look.look(SETTINGS, node, memory.fresh(0))
    assert "the check failed: KeyError" in seen["error"]
    life = Life(SETTINGS)
    assert life.look(seen) is None and life.state["state"] == "down"


# -- files that were corrupted ----------------------------------------------------------------------------------------


def altered(usable=False, restorable=True, digest="bad", how="is empty"):
    entry = {"how": how, "usable": usable, "restorable": restorable}
    return {"digests": {"launch.sh": digest} if digest else {}, "altered": {"launch.sh": entry}}


GOOD = {"digests": {"launch.sh": "good"}, "altered": {}}


def test_a_launch_script_of_no_use_is_restored_at_the_first_repair():
    life = Life(SETTINGS)
    life.look(primary(TOKENS, files=GOOD))
    assert life.look({"container": box(running=False), "error": "", "files": altered()}) == "restore"
    assert "launch.sh is empty, and is restored as it was deployed" in life.state["reason"]
    assert life.state["restarts"] == 1


@pytest.mark.parametrize("how", ["ended", "restarting"])
def test_a_launch_script_that_was_altered_is_restored_after_a_start_with_it_failed(how):
    life = Life(SETTINGS)
    life.look(primary(TOKENS, files=GOOD))
    edit = altered(usable=True, how="differs from what was deployed")
    # Somebody edits it and restarts the container: that is meant, and gets its chance.
    assert life.look(primary(NONE, box(2000), files=edit)) is None
    if how == "ended":
        ended = primary(NONE, box(2100, restart_count=1), files=edit, exit_code=2)
    else:
        ended = {"container": box(2000, running=False, status="restarting"), "error": "", "files": edit}
    assert life.look(ended) == "restore"
    assert "differs from what was deployed" in life.state["reason"]


def test_what_the_engine_started_in_vain_before_a_restore_is_not_what_the_limit_ends():
    """Without its launch script a container ends at once, and the engine starts it many times within one look."""
    life = Life(SETTINGS)
    life.look(primary(TOKENS, files=GOOD))
    starts = SETTINGS["restart_limit"] + 3
    lost = altered(digest="", how="is missing")
    assert life.look(primary(NONE, box(1005, restart_count=starts), files=lost, exit_code=127)) == "restore"
    assert life.look(primary(NONE, box(1010), files=GOOD)) is None, "it was given up"
    assert life.look(primary(TOKENS, box(1010), files=GOOD)) is None and life.state["state"] == "serving"


def test_an_edit_by_hand_that_has_served_is_never_taken_back():
    life = Life(SETTINGS)
    edit = altered(usable=True)
    life.look(primary(TOKENS, files=edit))
    assert life.look(primary(NONE, box(2000, restart_count=1), files=edit)) is None
    assert life.look({"container": box(2000, running=False), "error": "", "files": edit}, after=60) == "start"


def test_an_edit_that_is_not_ready_in_time_is_taken_back():
    life = Life(SETTINGS)
    while not life.look(primary(NONE, files=altered(usable=True))):
        assert life.now < 2000
    assert life.state["reason"].startswith("no token within") and "is restored" in life.state["reason"]
    assert life.actions == ["restore"]


def test_where_nothing_tells_what_was_deployed_the_repair_is_refused_with_its_cause():
    life = Life(SETTINGS)
    life.look(primary(TOKENS, files=GOOD))
    lost = altered(restorable=False, digest="", how="is missing")
    assert life.look({"container": box(running=False), "error": "", "files": lost}) is None
    assert life.state["state"] == "gave-up"
    assert life.state["reason"].startswith(
        "launch.sh is missing, and nothing on the node tells what was deployed. Deploy"
    )
    life = Life(SETTINGS)
    life.look(primary(TOKENS, files=GOOD))
    assert life.look(primary(NONE, box(1100, restart_count=1), files=lost)) == "stop"  # no loop of the engine's either


def test_a_secondary_whose_script_was_corrupted_does_not_end_for_ever():
    life = Life(SECONDARY)
    life.look(dict(secondary(), files=GOOD))
    again = dict(secondary(links=0, state="is away", container=box(1100, restart_count=1)), files=altered())
    assert life.look(again) == "restore"


def record(deployed, tmp_path):  # noqa: F811
    """A revision with the files as they are."""
    place = tmp_path / "var" / deployed["name"]
    folder = place / "revisions" / "r1"
    folder.mkdir(parents=True)
    current = {"id": "r1", "group": "g", "proven_at": 1, "recipe": deployed["process"]["recipe"]}
    (place / "deployed.json").write_text(json.dumps({"current": current}))
    digests = {}
    for name in repair.MODES:
        content = (deployed["folder"] / name).read_text()
        (folder / name).write_text(content)
        digests[name] = files.digest(name, content)
    (folder / "revision.json").write_text(json.dumps({"digests": digests, "node": deployed["process"]}))
    return folder


@pytest.mark.parametrize(
    ("broken", "how"),
    [
        (lambda path: path.unlink(), "is missing"),
        (lambda path: path.write_text(""), "is empty"),
        (lambda path: path.write_bytes(b"\0" * 300), "is no text"),
        (lambda path: path.write_bytes(b"\xff\xfe\xfd" * 30), "is no text"),
        (lambda path: path.write_text("A='never closed\n"), None),
        (lambda path: path.write_text(path.read_text().replace("1024", "7").replace("128", "7")), "differs from what"),
        (lambda path: path.write_text(path.read_text()[: len(path.read_text()) // 2]), None),
    ],
)
@pytest.mark.parametrize("file", ["launch.sh", "service.env"])
def test_a_corrupted_file_is_restored_from_the_revision(file, broken, how, deployed, tmp_path):  # noqa: F811
    record(deployed, tmp_path)
    name, path = deployed["name"], deployed["folder"] / file
    whole = path.read_text()
    assert repair.look_files(name)["altered"] == {}
    broken(path)
    before = path.read_bytes() if path.exists() else None
    entry = repair.look_files(name)["altered"][file]
    assert (how or "") in entry["how"] and entry["restorable"]
    assert entry["usable"] or not entry["how"].startswith("differs")
    assert repair.restore(name) == [file]
    assert path.read_text() == whole and path.stat().st_mode & 0o777 == repair.MODES[file]
    assert repair.look_files(name)["altered"] == {} and repair.restore(name) == []
    kept = path.with_name(file + ".replaced")
    assert kept.exists() == (before is not None) and (before is None or kept.stat().st_mode & 0o777 == 0o600)


def test_a_script_that_cannot_be_run_is_made_to_run_again(deployed):  # noqa: F811
    os.chmod(deployed["folder"] / "launch.sh", 0o644)
    entry = repair.look_files(deployed["name"])["altered"]["launch.sh"]
    assert entry == {"how": "has mode 0644, and cannot be run", "usable": False, "restorable": True}
    assert repair.restore(deployed["name"]) == ["launch.sh"]
    assert repair.look_files(deployed["name"])["altered"] == {}


def test_without_a_revision_the_plan_restores_what_has_no_secrets(deployed):  # noqa: F811
    for file in repair.MODES:
        (deployed["folder"] / file).write_text("")
    found = repair.look_files(deployed["name"])["altered"]
    assert found["launch.sh"]["restorable"] and not found["service.env"]["restorable"]  # MY_TOKEN is not in the plan
    assert repair.restore(deployed["name"]) == ["launch.sh"]


def test_a_revision_of_another_deploy_or_a_corrupted_one_restores_nothing(deployed, tmp_path):  # noqa: F811
    folder = record(deployed, tmp_path)
    env = deployed["folder"] / "service.env"
    (folder / "service.env").write_text("HCCL_BUFFSIZE=1\n")  # its digest is another
    env.write_text("")
    assert not repair.look_files(deployed["name"])["altered"]["service.env"]["restorable"]
    (folder / "revision.json").unlink()  # no digest, but not of this deploy
    assert not repair.look_files(deployed["name"])["altered"]["service.env"]["restorable"]


def test_a_copy_whose_digest_is_another_tells_nothing(deployed, tmp_path):  # noqa: F811
    folder = record(deployed, tmp_path)
    (deployed["folder"] / "process.json").unlink()
    (deployed["folder"] / "service.env").write_text("")
    assert repair.look_files(deployed["name"])["altered"]["service.env"]["restorable"]
    (folder / "service.env").write_text("HCCL_BUFFSIZE=1\n")
    (folder / "revision.json").write_text(json.dumps({"digests": {"service.env": "another"}}))
    assert not repair.look_files(deployed["name"])["altered"]["service.env"]["restorable"]


@pytest.mark.parametrize("content", ["", "[]", '{"process": 1}', '{"interface": "", "process": {"env": 1}}', "\0"])
def test_without_any_record_only_what_is_of_no_use_is_told(content, deployed):  # noqa: F811
    (deployed["folder"] / "process.json").write_text(content)
    assert repair.look_files(deployed["name"])["altered"] == {}
    (deployed["folder"] / "launch.sh").write_text("exit 3\n")
    entry = repair.look_files(deployed["name"])["altered"]["launch.sh"]
    assert entry == {"how": "starts no 'vllm serve'", "usable": False, "restorable": False}


def test_a_restore_that_the_disk_refuses_is_tried_again(deployed, monkeypatch):  # noqa: F811
    (deployed["folder"] / "launch.sh").write_text("")
    refuse(monkeypatch, str(deployed["folder"] / "x"))
    settings = dict(SETTINGS, name=deployed["name"])
    life = Life(settings)
    node = Node()
    for _number in range(3):
        files_seen = repair.look_files(deployed["name"])
        assert life.look({"container": box(running=False), "error": "", "files": files_seen}, after=900) == "restore"
        supervise.act(settings, node, life.state, "restore", life.now)
        assert node.calls == [] and life.state["restarts"] == 0
        assert "restore failed: no space left on /" in life.state["reason"]


def test_a_program_restores_and_restarts(deployed, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setattr(layout, "STATE_DIR", str(tmp_path / "run"))
    folder, docker = deployed["folder"], deployed["docker"]
    whole = (folder / "launch.sh").read_text()
    (folder / "supervise.json").write_text(
        json.dumps(dict(SECONDARY, name=deployed["name"], engine=docker.path, role="secondary"))
    )
    labels = json.dumps({"ascend_ops.vllm.service": deployed["name"]})
    docker.put("container.json", (tmp_path / "exited").read_text().replace('"LABELS"', labels))
    docker.put("labels", labels[1:-1])
    (folder / "launch.sh").write_text("#!/bin/bash\n")
    docker.calls()
    assert supervise.main(deployed["name"]) == 0
    assert "restart --time 10 " + deployed["name"] in docker.calls()
    assert (folder / "launch.sh").read_text() == whole
    state = json.loads((tmp_path / "run" / deployed["name"] / "state.json").read_text())
    assert "launch.sh starts no 'vllm serve', and is restored" in state["reason"] and state["acting"] is None


# -- a network that comes and goes ------------------------------------------------------------------------------------


def test_a_huge_number_of_restarts_waits_no_longer_than_any():
    life = Life(dict(SETTINGS, restart_limit=schema.MOST))
    life.state.update(started_at=1000, restarts=schema.MOST // 2, last_restart={"at": life.now, "reason": "x"})
    assert life.look({"container": box(running=False), "error": ""}) is None
    assert "is due in 885 s" in life.state["reason"]


def test_a_link_that_flaps_restarts_nothing_as_long_as_some_checks_pass():
    one, two = Life(SETTINGS), Life(SECONDARY)
    one.look(primary(TOKENS))
    two.look(secondary())
    for number in range(100):
        assert one.look(primary(NONE if number % 3 else TOKENS)) is None
        assert two.look(secondary(links=number % 2, state=["is away", "serves"][number % 2])) is None


def test_a_link_that_flaps_slowly_ends_in_the_limit_and_not_in_a_loop():
    life = Life(SETTINGS)
    started = 1000
    answers = ([TOKENS] * 4 + [NONE] * 8) * 40
    while "stop" not in life.actions:
        if life.look(primary(answers.pop(), box(started))) == "restart":
            started = int(life.now)
            life.acted(started)
    assert life.actions == ["restart"] * 3 + ["stop"] and life.state["state"] == "gave-up"


def test_a_one_way_block_to_the_primary_waits_for_its_end_and_joins():
    """The secondary reaches nothing of the primary; what the primary sends, its end among it, arrives."""
    life = Life(SECONDARY)
    life.look(secondary())
    assert [life.look(secondary(links=0, state="is away")) for _ in range(2)] == [None, "restart"]
    life.acted(2000)
    for number in range(30):
        assert (
            life.look(secondary(links=0, state="is away", container=box(2000 + 300 * number, restart_count=number)))
            is None
        )
    assert life.state["restarts"] == 0
    assert (
        life.look(secondary(links=2, rpc_links=1, state="waits", container=box(2000 + 300 * 29, restart_count=29)))
        is None
    )
    assert life.state["state"] == "joined"


def test_a_one_way_block_from_the_primary_leaves_dead_connections_that_end_with_it():
    """The secondary never hears that the primary is gone; when it hears of it again, that gathers its nodes."""
    life = Life(SECONDARY)
    life.look(secondary())
    for _number in range(30):
        assert life.look(secondary(links=5, state="is away")) is None
    assert life.look(secondary(links=5, state="waits")) == "restart"
    assert life.state["restarts"] == 0


def test_the_engine_names_containers_by_what_they_were_made_as(deployed):  # noqa: F811
    engine = Engine(deployed["docker"].path)
    deployed["docker"].put("others", "a1b2 old\n")
    assert engine.made_as("c") == [{"id": "a1b2", "name": "old"}]
    deployed["docker"].put("down", "Cannot connect to the Docker daemon")
    with pytest.raises(EngineError):
        engine.made_as("c")
