"""What differs between a plan and a node: arguments from wherever they are read, files by hand or by a variable, containers."""

import json

import pytest
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.engine import spec_digest
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan import render
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.model import processes
from ansible_collections.ascend_ops.vllm.plugins.module_utils._state import arguments, desired, drift, observed, records
from ansible_collections.ascend_ops.vllm.plugins.module_utils._state.arguments import args_from_argv, running
from ansible_collections.ascend_ops.vllm.plugins.module_utils._state.container import (
    found_settings,
    size,
    size_text,
    wanted_settings,
)
from ansible_collections.ascend_ops.vllm.plugins.plugin_utils._plan import plan
from test_plan import a2

PROCESS = processes(plan(a2()))[0]
SPEC = PROCESS["container"]

# -- arguments --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words, found",
    [
        ("--max-num-seqs 64", {"max-num-seqs": "64"}),
        ("--max-num-seqs=64", {"max-num-seqs": "64"}),
        ("--max_num_seqs 64", {"max-num-seqs": "64"}),
        ("--headless --port 1", {"headless": "true", "port": "1"}),
        ("--no-enable-prefix-caching", {"enable-prefix-caching": "false"}),
        ("--no-thing 5", {"no-thing": "5"}),
        ("--seed -1", {"seed": "-1"}),
        ("-tp 4", {"tp": "4"}),
        ("--a=b=c", {"a": "b=c"}),
        ("--lora-modules x y", {"lora-modules": '["x", "y"]'}),
        ("--middleware x --middleware y", {"middleware": '["x", "y"]'}),
        (
            '--c {"a":{"b_c":1},"d":null,"e":[1,2],"f":"x"}',
            {"c.a.b_c": "1", "c.d": "null", "c.e": "[1, 2]", "c.f": "x"},
        ),
        ("--compilation-config.cudagraph_mode NONE", {"compilation-config.cudagraph_mode": "NONE"}),
        ("--c {broken", {"c": "{broken"}),
        ("--c {}", {"c": "{}"}),
    ],
)
@pytest.mark.parametrize(
    "command",
    [
        "vllm serve M",
        "/usr/bin/python3 /usr/local/bin/vllm serve M",
        "python -m vllm.entrypoints.cli.main serve M",
        "python -u -m vllm.entrypoints.openai.api_server M",
    ],
)
def test_arguments_of_a_command(command, words, found):
    assert args_from_argv(command.split() + words.split()) == dict({"model": "M"}, **found)


@pytest.mark.parametrize("command", ["", "sleep 5", "vllm bench serve", "bash -c vllm", "VLLM::EngineCore", "vllm"])
def test_a_command_that_serves_nothing(command):
    with pytest.raises(ValueError, match="no 'vllm serve'"):
        args_from_argv(command.split())


def test_a_plan_its_script_and_its_process_have_the_same_arguments():
    from_plan = args_from_argv(PROCESS["argv"])
    assert arguments.of_script(render.launch_script(PROCESS))["arguments"] == from_plan
    assert from_plan["compilation-config.cudagraph_mode"] == "FULL_DECODE_ONLY"
    assert from_plan["mm-processor-cache-type"] == "shm" and from_plan["model"] == PROCESS["argv"][2]


def test_scripts_are_read_as_a_shell_does():
    text = "# it's a comment\nexport A=1 \\\n  B='x\ny' # more\nC=\"$A\" run\nif [ -n x ]; then\nfi\nexec vllm serve M \\\n --o 'it'\"'\"'s'\n#'\n"
    found = arguments.of_script(text)
    assert found == {"arguments": {"model": "M", "o": "it's"}, "environment": {"A": "1", "B": "x\ny", "C": "$A"}}
    assert arguments.of_script(text + "# by hand\necho --later\n") == found
    for bad in ("exec vllm serve 'M\n", "echo\n", ""):
        with pytest.raises(ValueError):
            arguments.of_script(bad)


class Proc:
    """A folder of processes."""

    def __init__(self, folder):
        self.folder = folder

    def add(self, number, parent, *words, name="x"):
        place = self.folder / str(number)
        place.mkdir(parents=True)
        (place / "stat").write_text(f"{number} ({name}) S {parent} 1 1 0 -1\n")
        (place / "cmdline").write_bytes(b"".join(word.encode() + b"\0" for word in words))
        return self


SERVE = ("/usr/bin/python3", "/usr/local/bin/vllm", "serve", "M", "--max-num-seqs", "32")


def test_the_process_that_runs_is_found_below_an_init_and_beside_its_engine_cores(tmp_path):
    proc = Proc(tmp_path).add(1, 0, "/sbin/init").add(9, 1, "vllm", "serve", "OTHER")
    proc.add(50, 1, "/sbin/docker-init", "--", "/bin/bash", "/etc/ascend-vllm/launch.sh", name="docker (init) 1")
    proc.add(60, 50, *SERVE).add(70, 60, "VLLM::EngineCore_DP0").add(71, 70, "VLLM::Worker")
    (tmp_path / "self").mkdir()
    assert running(50, str(tmp_path)) == {
        "pid": 60,
        "arguments": {"model": "M", "max-num-seqs": "32"},
        "error": "",
    }
    assert running(60, str(tmp_path))["pid"] == 60


def test_a_process_that_is_not_found_is_unknown(tmp_path):
    Proc(tmp_path).add(50, 1, "/bin/bash", "/etc/ascend-vllm/launch.sh").add(51, 50)
    seen = running(50, str(tmp_path))
    assert (seen["pid"], seen["arguments"]) == (None, None)
    assert seen["error"] == "none of the 1 processes of the container is 'vllm serve'"
    assert "none of the 0" in running(77, str(tmp_path))["error"]
    assert "does not tell" in running(0, str(tmp_path))["error"]
    assert "cannot be read" in running(50, str(tmp_path / "nowhere"))["error"]


# -- containers -------------------------------------------------------------------------------------------------------


def test_sizes():
    words = ("1200g", "64M", "1gb", "5", "5b", "2k", "much", 7, "", "gb")
    assert [size(word) for word in words] == [1200 << 30, 64 << 20, 1 << 30, 5, 5, 2048, None, 7, None, None]
    assert [size_text(count) for count in (1200 << 30, 1 << 40, 5, 0, None)] == ["1200g", "1t", "5", "0", None]


def inspected(spec=SPEC):
    """What an engine says of a container that was made of *spec*."""
    return {
        "Image": "sha256:1",
        "Config": {
            "Image": spec["image"],
            "User": spec["user"],
            "Entrypoint": spec["command"][:1],
            "Cmd": spec["command"][1:],
        },
        "HostConfig": {
            "NetworkMode": "host",
            "ShmSize": 1200 << 30,
            "RestartPolicy": {"Name": "unless-stopped"},
            "LogConfig": {"Type": "json-file", "Config": {"max-file": "5", "max-size": "100m"}},
            "Init": True,
            "Privileged": False,
            "Devices": [{"PathOnHost": path} for path in spec["devices"]],
        },
        "Mounts": [
            {
                "Type": "bind",
                "Source": mount["source"],
                "Destination": mount["target"],
                "RW": not mount["read_only"],
            }
            for mount in spec["mounts"]
        ],
    }


@pytest.mark.parametrize(
    "change, lines",
    [
        ({}, []),
        ({"shm_size": "1g"}, ["shm_size: 1200g -> 1g"]),
        ({"shm_size": "1228800m"}, []),
        ({"devices": SPEC["devices"][1:]}, ["device /dev/davinci0: present -> none"]),
        ({"devices": [*SPEC["devices"], "/dev/x"]}, ["device /dev/x: none -> present"]),
        ({"mounts": SPEC["mounts"][:-1]}, ["mount /etc/ascend-vllm: /etc/ascend-vllm/minimax2_5 (read-only) -> none"]),
        ({"privileged": True, "init": False}, ["init: true -> false", "privileged: false -> true"]),
        (
            {"restart": "on-failure:3", "network": "bridge", "user": "1000"},
            ["user: 0 -> 1000", "network: host -> bridge", "restart: unless-stopped -> on-failure:3"],
        ),
        ({"log": dict(SPEC["log"], **{"max-file": "9"})}, ["log max-file: 5 -> 9"]),
        ({"command": ["/bin/bash", "x"]}, ["command: /bin/bash /etc/ascend-vllm/launch.sh -> /bin/bash x"]),
    ],
)
def test_settings_of_a_container(change, lines):
    spec = dict(SPEC, **change)
    items = drift.differences("container", found_settings(inspected()), wanted_settings(spec, spec["mounts"]))
    assert drift.lines(items) == lines


def container_items(image_id="sha256:1", label=True, policy="unless-stopped", **change):
    """The drift of a container that was created from SPEC, with the image of its name."""
    found = inspected()
    found.update(Id="c", State={"Status": "running", "Running": True, "Pid": 5})
    found["HostConfig"]["RestartPolicy"]["Name"] = policy
    found["Config"]["Labels"] = {"ascend_ops.vllm.service": "x"}
    if label:
        found["Config"]["Labels"]["ascend_ops.vllm.spec"] = spec_digest(SPEC, SPEC["mounts"], "sha256:1")
    spec = dict(SPEC, **change)
    wanted = {"spec": spec, "settings": wanted_settings(spec, spec["mounts"])}
    wanted.update(mounts=spec["mounts"], missing_mounts=[])
    image = image_id and {"id": image_id, "digests": []}
    return drift.of_container(
        wanted, {"engine_error": "", "image": image, "container": observed.container_of(found, "c")}
    )


def test_a_container_is_compared_by_its_label_and_told_by_its_parts():
    assert container_items() == []
    assert drift.lines(container_items(shm_size="1g")) == ["shm_size: 1200g -> 1g"]
    assert drift.lines(container_items(image="other:1")) == [f"image: {SPEC['image']} -> other:1"]
    assert drift.lines(container_items("sha256:2")) == [f"image {SPEC['image']}: 1 -> 2"]
    assert drift.lines(container_items(None)) == [f"image: none -> {SPEC['image']}"]
    (unlabelled,) = container_items(label=False)
    assert (unlabelled["path"], unlabelled["was"]) == ("made of", None)


def test_a_restart_policy_that_was_changed_by_hand():
    (item,) = container_items(policy="no")
    assert (drift.line(item), item["origin"]) == ("restart: no -> unless-stopped", "edited")
    (item,) = container_items(policy="unless-stopped", restart="always")
    assert (drift.line(item), item["origin"]) == ("restart: unless-stopped -> always", "")


# -- files ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wanted, found, deployed, kinds",
    [
        ("A=1\n", "A=1\n", ["A=1\n"], []),
        ("A=1\n", "A=1\n", [], []),
        ("A=1\n", "A=1\n", ["A=0\n"], []),
        ("A=1\n", None, ["A=1\n"], ["missing"]),
        ("A=1\n", "A=2\n", [], [""]),
        ("A=1\n", "A=2\n", ["A=1\n"], ["edited"]),
        ("A=1\n", "A=2\n", ["A=2\n"], ["variable"]),
        ("A=1\n", "A=2\n", ["A=0\n"], ["edited", "variable"]),
        # A run that was broken off wrote process.json alone: what the revision has is there.
        ("A=1\n", "A=2\n", ["A=1\n", "A=2\n"], ["variable"]),
    ],
)
def test_by_hand_or_by_a_variable(wanted, found, deployed, kinds):
    entry = entry_of("service.env", wanted, found, deployed)
    assert ["missing"] * entry["missing"] + [change["origin"] for change in entry["changes"]] == kinds
    assert bool(entry["items"]) == bool(kinds)


def entry_of(name, wanted, found, deployed=(), masked=False, mode="0600"):
    seen = {"files": {name: {"content": found, "mode": mode, "mtime": 1}}, "deployed": {name: list(deployed)}}
    goal = {"directory": "/d", "masked": masked, "files": [{"name": name, "content": wanted, "mode": "0600"}]}
    (entry,) = drift.of_files(goal, seen)
    return entry


def test_what_differs_in_a_file_is_told_with_old_and_new_and_how_it_came():
    entry = entry_of("service.env", "A=1\nB=1\nC=1\nD=1\n", "A=2\nB=2\nC=2\nE=1\n", ["A=1\nB=2\nC=0\nD=1\n"])
    assert [(drift.line(item), item["origin"]) for item in entry["items"]] == [
        ("A: 2 -> 1", "edited"),
        ("B: 2 -> 1", "variable"),
        ("C: 2 -> 1", "both"),
        ("D: none -> 1", "edited"),
        ("E: 1 -> none", "edited"),
    ]
    assert {item["file"] for item in entry["items"]} == {"/d/service.env"}


def test_options_of_a_launch_script_that_was_edited():
    script = render.launch_script(PROCESS)
    edited = script.replace("--max-num-seqs 128", "--max-num-seqs 32").replace("set -eu", "set -eu\nexport MINE=1")
    entry = entry_of("launch.sh", script, edited, [script])
    assert entry["changes"] == [{"origin": "edited", "lines": 2}]
    assert drift.lines(entry["items"]) == ["max-num-seqs: 32 -> 128", "MINE: 1 -> none"]
    assert [item["section"] for item in entry["items"]] == ["arguments", "environment"]


@pytest.mark.parametrize("more", ["# by hand\n", "echo 'open\n"])
def test_other_lines_of_a_file_are_counted(more):
    script = render.launch_script(PROCESS)
    (item,) = entry_of("launch.sh", script, script + more, [script])["items"]
    assert (drift.line(item), item["origin"]) == ("/d/launch.sh: 1 line changed -> as planned", "edited")


def test_a_mode_is_told():
    (item,) = entry_of("service.env", "A=1\n", "A=1\n", mode="0644")["items"]
    assert drift.line(item) == "/d/service.env mode: 0644 -> 0600"


def test_values_of_secrets_are_masked():
    entry = entry_of("service.env", "A_TOKEN=canary1\nMAX_TOKENS=7\n", "A_TOKEN=canary2\nMAX_TOKENS=8\n")
    assert drift.lines(entry["items"]) == ["A_TOKEN: another value", "MAX_TOKENS: 8 -> 7"]
    script = "exec vllm serve M --api-key canary1 --x https://u:canary2@h/\n"
    entry = entry_of("launch.sh", script, script.replace("canary", "bird"), [script])
    assert "canary" not in json.dumps(entry) and len(entry["items"]) == 2
    entry = entry_of("secrets.env", "A='canary1'\nB='1'\n", "A='canary2'\nC='1'\n")
    assert drift.lines(entry["items"]) == [
        "secret A: another value -> as given",
        "secret B: none -> present",
        "secret C: present -> none",
    ]
    assert "canary" not in json.dumps(entry)


def test_a_plan_without_the_values_of_secrets_does_not_compare_them():
    wanted = "A_TOKEN='********'\nB=1\n"
    assert entry_of("service.env", wanted, "A_TOKEN=canary\nB=1\n", masked=True)["items"] == []
    assert drift.lines(entry_of("service.env", wanted, "A_TOKEN=canary\nB=2\n", masked=True)["items"]) == ["B: 2 -> 1"]
    assert drift.lines(entry_of("service.env", wanted, "B=1\n", masked=True)["items"]) == ["A_TOKEN: none -> ********"]
    assert entry_of("service.env", wanted, "A_TOKEN=canary\nB=1\n")["items"], "a plan with its values compares them"


def test_variables_of_a_record_are_compared_in_any_order():
    """0.1.0 sorted them."""
    assert entry_of("service.env", "A=1\nB=1\n", "B=1\nA=1\n", masked=True)["items"] == []
    entry = entry_of("service.env", "B=2\nA=1\n", "B=1\nA=1\n", ["A=1\nB=1\n"])
    assert [(drift.line(item), item["origin"]) for item in entry["items"]] == [("B: 1 -> 2", "variable")]


def test_what_was_deployed_is_told_without_secrets():
    process = dict(PROCESS, env=dict(PROCESS["env"], MY_API_KEY="canary"))
    text = records.process_text(process, "eth0")
    assert "canary" not in text and json.loads(text)["process"]["env"]["MY_API_KEY"] == "********"
    assert desired.process_file(process, "eth0")["mode"] == "0600"


# -- what runs --------------------------------------------------------------------------------------------------------


def process_lines(now, script="vllm serve M --a 1", planned="vllm serve M --a 1", started_at=10, mtime=1):
    """The drift of a running process."""
    found = {"content": f"exec {script}\n", "mode": "0755", "mtime": mtime}
    files = dict.fromkeys(("service.env", "secrets.env", "watched.sha256"), {"content": "", "mode": "", "mtime": 1})
    container = {"running": True, "foreign": False, "started_at": started_at}
    words = now and {"arguments": args_from_argv(now.split())}
    wanted = {"directory": "/d", "arguments": args_from_argv(planned.split())}
    seen = {
        "files": dict(files, **{"launch.sh": found}),
        "container": container,
        "running": words or {"arguments": None},
    }
    return drift.lines(drift.of_process(wanted, seen))


def test_what_runs_is_compared_as_a_mapping():
    assert process_lines("/x/vllm serve M --a=1") == []
    assert process_lines("vllm serve M --a 2") == ["running a: 2 -> 1"]
    assert process_lines("vllm serve N --b") == [
        "running model: N -> M",
        "running a: none -> 1",
        "running b: true -> none",
    ]
    assert process_lines(None) == [], "what cannot be read is no drift"


def test_what_the_files_say_already_is_told_of_the_files_alone():
    assert process_lines("vllm serve M --a 2", script="vllm serve M --a 2") == []
    assert process_lines("vllm serve M --a 3", script="vllm serve M --a 2") == ["running a: 3 -> 1"]
    assert process_lines("vllm serve M --a 1", script="vllm serve M --a 2") == []
    assert process_lines("vllm serve M --a 2", script="'") == ["running a: 2 -> 1"]


def test_files_that_what_runs_has_not_read():
    assert process_lines("vllm serve M --a 1", mtime=11) == [
        "running launch.sh: written after the start -> read at the start"
    ]


def test_what_is_not_known_is_said():
    seen = {"engine_error": "", "running": {"arguments": None, "error": "no process"}}
    assert drift.unknown({"files_error": ""}, seen) == ["the arguments of what runs are not known: no process"]
    seen = {"engine_error": "down", "running": None}
    assert drift.unknown({"files_error": "no interface"}, seen) == ["down", "no interface"]


# -- supervision ------------------------------------------------------------------------------------------------------


def test_supervision():
    wanted = {"/x.json": '{"interval": 15, "name": "c"}', "/y.py": "1"}
    right = {"active": True, "enabled": True, "files": dict(wanted)}
    assert drift.of_supervision("c", wanted, right) == []
    other = dict(right, enabled=False, files={"/x.json": '{"interval": 16, "name": "c"}', "/y.py": None})
    assert drift.lines(drift.of_supervision("c", wanted, other)) == [
        "ascend-vllm@c.timer: active, disabled -> active, enabled",
        "interval: 16 -> 15",
        "/y.py: none -> as planned",
    ]
    assert drift.lines(drift.of_supervision("c", {}, right)) == ["ascend-vllm@c.timer: active, enabled -> off"]
    assert drift.of_supervision("c", {}, {"active": False, "enabled": False, "files": {}}) == []
