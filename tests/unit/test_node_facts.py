"""The facts of a node, read from real files, sockets and processes of this machine."""

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.ascend_ops.vllm.plugins.module_utils._facts import host, node
from ansible_collections.ascend_ops.vllm.plugins.module_utils._facts.node import (
    gather,
    is_device,
    listeners,
    network,
    parse_addresses,
    pids_of,
    wanted_ports,
)

# What is read of a node's plan. No filter makes it here: these tests run with a node's Python, without Ansible.
NODE = {
    "host": "a2-node1",
    "role": "primary",
    "hardware": "a2",
    "address": "10.0.0.11",
    "ranks": [0, 7, 16],
    "ports": {"api": 20004, "rpc": 2347, "hccl": [60000, 60007]},
    "weights": [{"directory": "MiniMax-M2.5", "draft": False, "path": "/nowhere/models/MiniMax-M2.5"}],
    "service": {},
    "tls": {},
    "container": {
        "name": "minimax2_5",
        "image": "quay.io/ascend/vllm-ascend:v0.20.2rc1",
        "devices": ["/dev/davinci0", "/dev/davinci1", "/dev/davinci_manager"],
        "mounts": [{"source": "/nowhere/models", "target": "/nowhere/models", "read_only": True, "optional": False}],
    },
}

IP = """\
1: lo    inet 127.0.0.1/8 scope host lo\\       valid_lft forever preferred_lft forever
1: lo    inet6 ::1/128 scope host \\       valid_lft forever preferred_lft forever
2: enp67s0f5    inet 10.0.0.11/24 brd 10.0.0.255 scope global dynamic noprefixroute enp67s0f5\\       valid_lft 85930sec
2: enp67s0f5    inet 10.0.0.111/24 brd 10.0.0.255 scope global secondary enp67s0f5:1\\       valid_lft forever
2: enp67s0f5    inet6 fe80::d250:99ff:fe2a:1/64 scope link \\       valid_lft forever preferred_lft forever
3: bond0.100@bond0    inet 10.1.0.11/16 brd 10.1.255.255 scope global bond0.100\\       valid_lft forever
4: tun0    inet 10.8.0.6 peer 10.8.0.5/32 scope global tun0\\       valid_lft forever preferred_lft forever
5: eth0@if12    inet6 fd00::b/64 scope global nodad \\       valid_lft forever preferred_lft forever
"""


def test_parse_addresses():
    assert parse_addresses(IP) == {
        "127.0.0.1": "lo",
        "::1": "lo",
        "10.0.0.11": "enp67s0f5",
        "10.0.0.111": "enp67s0f5",
        "fe80::d250:99ff:fe2a:1": "enp67s0f5",
        "10.1.0.11": "bond0.100",
        "10.8.0.6": "tun0",
        "fd00::b": "eth0",
    }
    assert parse_addresses("") == parse_addresses('Object "adr" is unknown\n') == {}


def test_network_of_this_machine():
    seen = network("127.0.0.1")
    assert (seen["interface"], seen["error"]) == ("lo", "")
    assert network("192.0.2.1")["interface"] is None


def test_network_without_the_command_ip(monkeypatch):
    monkeypatch.setattr(node, "run", lambda argv, timeout: (127, "No such file: " + argv[0], False))
    seen = network("127.0.0.1")
    assert seen == {"interface": None, "addresses": {}, "error": "No such file: /usr/sbin/ip"}


def test_wanted_ports():
    assert wanted_ports({"api": 20004, "rpc": 2347, "hccl": [60000, 60002]}) == [20004, 2347, 60000, 60001, 60002]


# -- listeners ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family, address", [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_listeners_names_the_process(family, address):
    with socket.socket(family) as server:
        server.bind((address, 0))
        port = server.getsockname()[1]
        assert listeners([port], set()) == []  # bound, not listening
        server.listen()
        (seen,) = listeners([port], set())
        assert (seen["port"], seen["address"], seen["pid"], seen["own"]) == (port, address, os.getpid(), False)
        assert "python" in seen["name"] or "pytest" in seen["name"]
        assert listeners([port], {os.getpid()})[0]["own"] is True
        with socket.create_connection((address, port)):  # a connection is no listener
            assert len(listeners([port], set())) == 1
    assert listeners([port], set()) == []


def test_listeners_of_ports_that_nobody_wants():
    assert listeners([], set()) == []


# -- weights --------------------------------------------------------------------------------------------------------


def test_pids_of_is_by_the_control_group():
    with open("/proc/self/cgroup") as stream:
        own = stream.read().splitlines()[-1]
    assert os.getpid() in pids_of(own)
    assert pids_of("f00" * 21) == []


# -- the machine ------------------------------------------------------------------------------------------------------


def machine(folder, machine_id, boot_id):
    """What a machine with these ids in its files reports."""
    for path, value in (("etc/machine-id", machine_id), ("proc/sys/kernel/random/boot_id", boot_id)):
        if value is not None:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(value + "\n")
    return host.machine_id(str(folder))


def test_a_machine_is_identified_by_machine_id_and_boot_id_together(tmp_path):
    ids = [("m1", "b1"), ("m1", "b2"), ("m2", "b1"), (None, "b1"), (None, "b2")]
    seen = [machine(tmp_path / str(number), *pair) for number, pair in enumerate(ids)]
    assert len(set(seen)) == len(ids)  # clones share the one, containers of one kernel the other
    assert machine(tmp_path / "again", "m1", "b1") == seen[0]
    assert all(re.fullmatch("[0-9a-f]{16}", one) for one in seen)


def test_a_machine_without_a_boot_id_is_not_known(tmp_path):
    assert machine(tmp_path, "m1", None) is machine(tmp_path, "m1", "") is None


def test_this_machine_is_known():
    assert host.machine_id() == host.machine_id() is not None
    facts = gather(NODE, engine="/nowhere/docker", npu_smi="/nowhere/npu-smi", timeout=5)
    assert facts["machine_id"] == host.machine_id()


def test_is_device(tmp_path):
    assert is_device("/dev/null")
    assert not is_device(str(tmp_path)) and not is_device("/dev/davinci_absent")


def test_gather_on_a_machine_without_any_of_it():
    facts = gather(NODE, engine="/nowhere/docker", archive="/nowhere/image.tar", npu_smi="/nowhere/npu-smi", timeout=5)
    assert json.loads(json.dumps(facts)) == facts
    assert facts["npu"]["code"] and facts["npu"]["remedy"]
    assert "no command '/nowhere/docker'" in facts["engine"]["error"]
    assert facts["archive"] is False and facts["weights"][0]["exists"] is False
    assert facts["network"]["interface"] is None and facts["service_pids"] == []
    assert set(facts["devices"]) == set(NODE["container"]["devices"])


BUSY = Path(__file__).parent / "fixtures" / "npu-smi" / "info-910B2C-npu12to15-23.0.3-busy.txt"
# Lists a process on its first look only, as when a container is started again right then.
NPU_SMI = """#!/bin/sh
[ "$*" = info ] || exit 1
echo look >> {0}/looks
[ $(wc -l < {0}/looks) -gt 1 ] && exec cat {0}/later
exec cat {0}/first
"""


@pytest.mark.parametrize("alive", [False, True])
def test_a_process_on_an_npu_that_ended_in_between_is_not_reported(tmp_path, alive):
    gone = subprocess.Popen(["true"])
    gone.wait()
    holder = os.getpid() if alive else gone.pid
    first = re.sub(r"\| 7909[567] ", "| %-6d" % os.getpid(), BUSY.read_text(encoding="utf-8"))
    first = first.replace("| 78617 ", "| %-6d" % holder)
    (tmp_path / "first").write_text(first)
    (tmp_path / "later").write_text("".join(line for line in first.splitlines(True) if "49385" not in line))
    tool = tmp_path / "npu-smi"
    tool.write_text(NPU_SMI.format(tmp_path))
    tool.chmod(0o755)
    facts = gather(NODE, engine="/nowhere/docker", npu_smi=str(tool), timeout=5)
    (chip,) = [device for device in facts["npu"]["devices"] if device["npu_id"] == 12]
    assert [process["pid"] for process in chip["processes"]] == ([holder] if alive else [])


SERVER = "import socket; s = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen(); print(s.getsockname()[1], flush=True); input()"


def test_a_listener_of_another_process_is_found_by_its_command_line():
    argv = [sys.executable, "-c", SERVER, "VLLM::fake"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as other:
        (seen,) = listeners([int(other.stdout.readline())], set())
        other.stdin.close()
    assert seen["pid"] == other.pid and "VLLM::fake" in seen["name"]
