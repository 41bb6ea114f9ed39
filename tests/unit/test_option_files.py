"""The files that options name: refused by the plan where no mount has them, looked for on the node, judged by preflight."""

import copy
import time

import pytest
from ansible_collections.ascend_ops.vllm.plugins.module_utils._checks import files as checks_files
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.option_files import FILE, FOLDER, named, on_host
from ansible_collections.ascend_ops.vllm.plugins.module_utils._facts import files as facts_files
from ansible_collections.ascend_ops.vllm.plugins.module_utils._facts.files import gather, state
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.model import processes
from ansible_collections.ascend_ops.vllm.plugins.plugin_utils._plan import plan
from healthy import catalogue, own_facts, whole
from hypothesis import given, settings
from hypothesis import strategies as st
from test_plan import a2, a3

# -- what an option names -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "args, found",
    [
        ({"chat-template": "/opt/t/x.jinja"}, [("chat-template", FILE, "/opt/t/x.jinja")]),
        ({"chat_template": "/opt/t/../x.jinja"}, [("chat-template", FILE, "/opt/x.jinja")]),
        ({"chat-template": "{{ messages }}"}, []),  # the template itself
        ({"chat-template": "/{% if x %}"}, []),
        ({"chat-template": "tool_chat.jinja"}, []),  # the image's own
        ({"tokenizer": "org/name"}, []),
        ({"tool-server": "demo"}, []),
        ({"tool-parser-plugin": "/p/t.py"}, [("tool-parser-plugin", FILE, "/p/t.py")]),
        ({"lora-modules": ["a=/lora/a", "b=org/b"]}, [("lora-modules", FOLDER, "/lora/a")]),
        ({"lora-modules": '{"name": "b", "path": "/lora/b"}'}, [("lora-modules", FOLDER, "/lora/b")]),
        ({"lora-modules": [{"name": "b", "path": "/lora/b"}]}, [("lora-modules", FOLDER, "/lora/b")]),
        ({"default-mm-loras": {"image": "/lora/i"}}, [("default-mm-loras", FOLDER, "/lora/i")]),
        ({"speculative_config": {"model": "/d", "method": "eagle3"}}, [("speculative-config.model", FOLDER, "/d")]),
        ({"speculative-config": '{"model": "/d"}'}, [("speculative-config.model", FOLDER, "/d")]),
        ({"speculative-config": "{"}, []),
        (
            {"additional-config": {"eplb_config": {"expert_map_path": "/m.json"}}},
            [("additional-config.eplb_config.expert_map_path", FILE, "/m.json")],
        ),
        ({"port": 8000, "chat-template": None, "config": 7}, []),
    ],
)
def test_named(args, found):
    assert named(args) == found


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9) | st.just("/x"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@settings(deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["lora-modules", "chat-template", "speculative_config", "additional-config"]), VALUES
    )
)
def test_any_value_is_read(args):
    assert all(path.startswith("/") for _option, _kind, path in named(args))


def test_the_innermost_mount_counts():
    mounts = [{"source": "/h", "target": "/"}, {"source": "/a", "target": "/m"}, {"source": "/b", "target": "/m/in/"}]
    assert on_host("/m/in/x", mounts) == "/b/x"
    assert on_host("/m/inner/x", mounts) == "/a/inner/x"
    assert on_host("/m/in", mounts) == "/b" and on_host("/x", mounts) == "/h/x"
    assert on_host("/x", mounts[1:]) is None


# -- the plan -------------------------------------------------------------------------------------------------------

PLUGIN = {"reasoning-parser": "m2_think", "reasoning-parser-plugin": "/opt/plugins/m2_think.py"}


def test_a_file_in_no_mount_is_refused_once_with_the_way_out():
    errors = plan(a2(args=dict(PLUGIN, **{"chat-template": "/opt/t/x.jinja"})))["errors"]
    assert len(errors) == 2  # and not once for each node
    (template,) = [error for error in errors if "--chat-template" in error]
    assert template.startswith(
        "replica default: --chat-template is /opt/t/x.jinja, which is in no mount of the container;"
    )
    assert "vllm_recipe_container: {mounts: [{source: /opt/t, target: /opt/t}]}" in template
    assert "/opt/data/verification/models" in template


@pytest.mark.parametrize(
    "settings",
    [
        {"container": {"mounts": [{"source": "/opt/plugins", "target": "/opt/plugins"}]}},
        {"container": {"mounts": [{"source": "/srv/p", "target": "/opt"}]}},
        {"image": "registry.local/own-vllm:1"},  # may hold it itself
        {"args": {"reasoning-parser-plugin": "/opt/data/verification/models/m2_think.py"}},
        {"args": {"reasoning-parser-plugin": "/vllm-workspace/vllm/m2_think.py"}},
        {"args": {"reasoning-parser-plugin": "m2_think.py"}},
    ],
)
def test_a_file_that_the_container_sees_is_taken(settings):
    assert plan(a2(**{"args": PLUGIN, **settings}))["errors"] == []


def test_a_mirror_of_the_image_holds_no_more_than_the_image():
    assert plan(a2(args=PLUGIN, image="registry.local:5000/x/vllm-ascend:v0.20.2rc1"))["errors"]


def test_certificates_are_mounted_by_the_plan_itself():
    tls = {"certificate": "/etc/pki/c.pem", "key": "/etc/pki/k.pem"}
    assert plan(a2(tls=tls))["errors"] == []


# -- the node -------------------------------------------------------------------------------------------------------


def test_state(tmp_path):
    shown, other = tmp_path / "shown", tmp_path / "other"
    shown.mkdir()
    other.mkdir()
    (shown / "x").write_text("")
    (other / "y").write_text("")
    (shown / "out").symlink_to(other / "y")
    (shown / "in").symlink_to("x")
    (shown / "gone").symlink_to("nothing")
    mounts = [{"source": str(shown), "target": "/m"}]
    found = {name: state(str(shown / name), FILE, mounts) for name in ("x", "in", "out", "gone", "absent", ".")}
    assert found == {"x": "there", "in": "there", "out": "hidden", "gone": "missing", "absent": "missing", ".": "kind"}
    assert state(str(shown), FOLDER, mounts) == "there" and state(str(shown / "x"), FOLDER, mounts) == "kind"


def test_a_file_that_cannot_be_read(tmp_path, monkeypatch):
    (tmp_path / "x").write_text("")
    monkeypatch.setattr(facts_files.os, "access", lambda path, mode: False)
    assert state(str(tmp_path / "x"), FILE, [{"source": str(tmp_path)}]) == "unreadable"


def test_gather_translates_and_leaves_out_checkpoints(tmp_path, monkeypatch):
    (tmp_path / "x.jinja").write_text("")
    node = {
        "args": {"chat-template": "/t/x.jinja", "config": "/c.yml", "speculative_config": {"model": "/t/Eagle3"}},
        "weights": [{"path": "/t/Eagle3"}],
        "container": {"mounts": [{"source": str(tmp_path), "target": "/t"}]},
    }
    template = {"option": "chat-template", "kind": "file", "path": "/t/x.jinja", "host": f"{tmp_path}/x.jinja"}
    config = {"option": "config", "kind": "file", "path": "/c.yml", "host": None, "state": None}
    assert gather(node, {"timeout": 5}) == [config, dict(template, state="there")]
    monkeypatch.setattr(facts_files.os.path, "lexists", lambda path: time.sleep(30))
    began = time.monotonic()
    assert gather(node, {"timeout": 0.1})[1]["state"] is None and time.monotonic() - began < 5


# -- the check ------------------------------------------------------------------------------------------------------

NODE = processes(
    plan(a2(args={"chat-template": "/t/x.jinja"}, container={"mounts": [{"source": "/opt/t", "target": "/t"}]}))
)[0]


def verdict(node=NODE, **entry):
    facts = own_facts(node)
    base = {"option": "chat-template", "kind": "file", "path": "/t/x.jinja", "host": "/opt/t/x.jinja", "state": "there"}
    facts["files"] = [dict(base, **entry)] if entry is not None else []
    (found,) = whole(checks_files.evaluate(node, facts, {}), checks_files).values()
    return found["verdict"], found["seen"]


def test_the_catalogue_is_whole():
    catalogue(checks_files)


@pytest.mark.parametrize(
    "entry, word, seen",
    [
        ({}, "pass", "/t/x.jinja"),
        ({"state": "missing"}, "fail", "--chat-template: /opt/t/x.jinja (/t/x.jinja in the container) is not there"),
        ({"state": "hidden"}, "fail", "is a link to a place that no mount"),
        ({"state": "unreadable"}, "fail", "cannot be read"),
        ({"state": "kind"}, "fail", "/opt/t/x.jinja is a folder; wanted a file"),
        ({"state": None}, "unknown", "not answered for in time"),
        ({"option": "config"}, "unknown", "did not report it"),
        ({"host": None, "state": "there"}, "pass", "/t/x.jinja"),
        ({"host": None, "state": "missing"}, "fail", "/t/x.jinja is not there in the image"),
        ({"host": None, "state": None}, "unknown", "the files of the image cannot be read"),
    ],
)
def test_verdicts(entry, word, seen):
    found = verdict(**entry)
    assert found[0] == word and seen in found[1], found


def test_a_file_of_an_image_that_is_not_there_yet_is_skipped():
    facts = own_facts(NODE)
    facts["engine"]["image"] = None
    entry = {"option": "chat-template", "kind": "file", "path": "/t/x.jinja", "host": None, "state": None}
    (found,) = checks_files.evaluate(NODE, dict(facts, files=[entry]), {})
    assert found["verdict"] == "skipped" and "not on the node yet" in found["seen"]


def test_without_files_it_is_skipped():
    for node in (processes(plan(a2()))[0], processes(plan(a3()))[0]):  # the draft model is looked at by weights.draft
        assert verdict(copy.deepcopy(node))[0] == "skipped"
