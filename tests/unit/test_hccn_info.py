"""hccn_info and peer_facts run for real by Ansible, on stand-ins for hccn_tool."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
FIXTURES = Path(__file__).resolve().parent / "fixtures" / "hccn"
PLAYBOOK = os.environ.get("TEST_ANSIBLE_PLAYBOOK") or shutil.which(
    "ansible-playbook", path=os.path.dirname(sys.executable)
)
GOOD = f"""[ "$1 $4 $LC_ALL" = "-i -g C" ] || exit 99
case "$3" in
-link) [ $2 = 1 ] && cat {FIXTURES}/hccn-link-DOWN.txt || echo 'link status: UP';;
-net_health) echo 'net health status: Success';;
-ip) cat {FIXTURES}/hccn-ip-910B1.txt;;
-tls) echo "dev_id:$2, tls switch[1](0:disable, 1:enable)";;
-lldp) cat {FIXTURES}/hccn-lldp-910B1-elided.txt;;
*) echo 'Command execute failed!'; exit 1;;
esac
"""
PLAN = {
    "host": "one",
    "address": "127.0.0.1",
    "role": "single",
    "hardware": "a2",
    "ports": {"api": 20004},
    "ranks": [0, 0, 1],
    "container": {"devices": ["/dev/davinci0"]},
}
PEER = {"host": "two", "address": "127.0.0.2", "role": "secondary", "ports": {}, "chips": {"0": "192.0.2.1"}}
# name: (module, arguments, what the stand-in does)
CASES = {
    "good": ("hccn_info", {"chips": [1, 0, 0]}, GOOD),
    "hangs": ("hccn_info", {"chips": [0, 1, 2], "timeout": 0.5}, "sleep 60\n"),
    "garbage": ("hccn_info", {"chips": [0]}, "printf '\\377\\001'\n"),
    "absent": ("hccn_info", {"chips": [0], "executable": "/nowhere/hccn_tool"}, ""),
    "negative": ("hccn_info", {"chips": [-1]}, ""),
    "no_time": ("hccn_info", {"chips": [0], "timeout": 0}, ""),
    "peers": (
        "peer_facts",
        {"plan": PLAN, "peers": [PEER]},
        'echo "3 packets transmitted, 3 received, 0.00% packet loss"\n',
    ),
    "peers_none": ("peer_facts", {"plan": PLAN, "peers": []}, ""),
}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """{case: what Ansible registered}"""
    if not PLAYBOOK:
        pytest.skip("no ansible-playbook beside this Python")
    folder = tmp_path_factory.mktemp("hccn")
    tasks = []
    for name, (module, arguments, body) in CASES.items():
        stand_in = folder / name
        stand_in.write_text("#!/bin/sh\n" + body)
        stand_in.chmod(0o755)
        option = "executable" if module == "hccn_info" else "hccn_tool"
        tasks.append(
            {
                "ascend_ops.vllm." + module: dict({option: str(stand_in)}, **arguments),
                "register": "case_" + name,
                "ignore_errors": True,
            }
        )
    results = ", ".join(f"'{name}': case_{name}" for name in CASES)
    tasks.append(
        {
            "ansible.builtin.copy": {
                "dest": str(folder / "results.json"),
                "content": "{{ {" + results + "} | to_json }}",
            },
            "check_mode": False,
        }
    )
    python = os.environ.get("TEST_TARGET_PYTHON", sys.executable)
    play = {
        "hosts": "localhost",
        "connection": "local",
        "gather_facts": False,
        "check_mode": True,
        "vars": {"ansible_python_interpreter": python},
        "tasks": tasks,
    }
    (folder / "play.yml").write_text(json.dumps([play]))
    run = subprocess.run(
        [PLAYBOOK, "-i", "localhost,", str(folder / "play.yml")],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=dict(
            os.environ,
            ANSIBLE_COLLECTIONS_PATH=str(ROOT / "playbooks" / "collections"),
            ANSIBLE_HOME=str(folder),
            ANSIBLE_LOCAL_TEMP=str(folder / "tmp"),
            ANSIBLE_REMOTE_TEMP=str(folder / "remote"),
        ),
        check=False,
    )
    assert run.returncode == 0, run.stdout.decode()
    return json.loads((folder / "results.json").read_text())


def test_nothing_changes_and_nothing_crashes(results):
    for name, result in results.items():
        assert not result["changed"], name
        assert "Traceback" not in json.dumps(result), name


def test_what_the_chips_tell(results):
    chips = results["good"]["chips"]
    assert sorted(chips) == ["0", "1"]
    assert results["good"]["tool"].endswith("/good")
    assert (chips["0"]["link"], chips["1"]["link"]) == ("UP", "DOWN")
    assert chips["0"] == {
        "link": "UP",
        "net_health": "Success",
        "address": "29.1.112.213",
        "netmask": "255.255.0.0",
        "tls": True,
        "lldp": {"peer": True, "port": "400GE1/1/20:2", "system": "Versatile Routing Platform Software"},
        "optical": None,
        "problems": {"optical": "Command execute failed!"},
    }


def test_a_tool_that_hangs_is_told_per_chip(results):
    for chip in results["hangs"]["chips"].values():
        assert chip["problems"] == {"link": "no answer in 0.5 s"} and chip["link"] is None


def test_garbage_is_null(results):
    chip = results["garbage"]["chips"]["0"]
    assert {chip[name] for name in ("link", "net_health", "address", "tls", "lldp", "optical")} == {None}
    assert len(chip["problems"]) == 6


@pytest.mark.parametrize(
    "name, says",
    [
        ("absent", "There is no file /nowhere/hccn_tool. Set 'executable'"),
        ("negative", "must be 0 or more"),
        ("no_time", "'timeout' more than 0"),
    ],
)
def test_refusals(results, name, says):
    assert results[name]["failed"] and says in results[name]["msg"]


def test_peer_facts(results):
    facts = results["peers"]["facts"]
    assert [(item["host"], item["address"], item["received"]) for item in facts["pings"]] == [("two", "192.0.2.1", 3)]
    assert facts["reach"] is None
    assert results["peers_none"]["facts"]["pings"] == []
