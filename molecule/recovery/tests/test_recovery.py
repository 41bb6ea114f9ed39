"""Deaths of a running replica on two A2 nodes: each time tokens come back, and nobody did anything.

The time from the fault to the first good token is printed, and written to ``.cache/recovery.json``. vLLM is real,
on CPU; its start takes most of the time.
"""

import json
import os
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest

URL = "http://10.213.0.11:20004"
PRIMARY, SECONDARY = 11, 12
NAME = "minimax2_5"
LIMIT = 420
# Not in molecule's ephemeral directory, which it empties at the end.
RESULTS = Path(__file__).resolve().parents[3] / ".cache" / "recovery.json"


def answers(timeout=8):
    """Does the service yield a token?"""
    body = {"model": "minimax25", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 2}
    request = urllib.request.Request(
        URL + "/v1/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=timeout) as answer:
            return json.load(answer)["usage"]["completion_tokens"] > 0
    except (OSError, ValueError, KeyError):
        return False


def started(node):
    return node.check_output("docker inspect --format '{{.State.StartedAt}}' %s", NAME)


def state(node):
    """What the node's supervisor saw last; nothing before its first look, or after a boot."""
    file = node.file(f"/run/ascend-vllm/{NAME}/state.json")
    return json.loads(file.content_string) if file.exists else {"state": "", "reason": ""}


def until(what, limit=LIMIT):
    """Seconds until something is so."""
    begin = time.monotonic()
    while not what():
        assert time.monotonic() - begin < limit, f"not within {limit} s"
        time.sleep(1)
    return time.monotonic() - begin


def kill(pattern, signal="KILL"):
    """A command that signals the processes of the container whose title matches; it must find one."""
    return f"pkill -{signal} --full '{pattern}'"


def here(command):
    """Run a command on this machine; it must succeed."""
    subprocess.run(command, shell=True, check=True, stdout=subprocess.DEVNULL)


def lab(*words):
    return " ".join([os.environ["LAB"], *words])


DOCKER = "/var/lib/docker/containers"
FOLDER = f"/etc/ascend-vllm/{NAME}"
STATE = f"/run/ascend-vllm/{NAME}/state.json"
# Where the state goes while /run does not take it.
STATE_ON_DISK = f"/var/lib/ascend-vllm/{NAME}/supervisor.json"
# All nodes of the lab have one clock. This sets it for the supervisor alone: Python imports the file at its start.
STEPPED = f"/run/systemd/system/ascend-vllm@{NAME}.service.d"
STEP_CLOCK = (
    f"mkdir -p /run/stepped {STEPPED} && "
    "printf 'import time\nreal = time.time\ntime.time = lambda: real() - 86400\n' > /run/stepped/sitecustomize.py && "
    "printf '[Service]\nEnvironment=PYTHONPATH=/run/stepped:/usr/local/lib/ascend-vllm\n' "
    f"> {STEPPED}/clock.conf && systemctl daemon-reload"
)
MEND_CLOCK = f"rm -r /run/stepped {STEPPED} && systemctl daemon-reload"
# In brackets, so that the shell that waits does not find itself.
KILL_SUPERVISOR = (
    "timeout 300 sh -c 'until pgrep --full \"[d]ocker restart --time\"; do sleep 0.1; done' && "
    f"pkill -KILL --full '[_]service.supervise {NAME}'"
)
BLOCK = "iptables {0} INPUT --source 10.213.0.{1} --jump DROP"
CUT_OFF = lab("break", "a2-node2", "cut-off", "10.213.0.11")
FLAP = f"for i in 1 2 3 4 5; do {CUT_OFF} && sleep 8 && {lab('mend', 'a2-node2')} && sleep 8 || exit 1; done"
# name: node, command on it (or on this machine, for None), what mends it after some seconds
FAULTS = {
    "primary's API process killed": (PRIMARY, kill("[v]llm serve"), None),
    "primary's engine killed": (PRIMARY, kill("VLLM::EngineCor[e]"), None),
    "secondary killed": (SECONDARY, kill("[v]llm serve"), None),
    "secondary's engine killed": (SECONDARY, kill("VLLM::EngineCor[e]"), None),
    "primary's container stopped by hand": (PRIMARY, f"docker stop --time 5 {NAME}", None),
    "secondary's container stopped by hand": (SECONDARY, f"docker stop --time 5 {NAME}", None),
    "primary's engine hung": (PRIMARY, kill("VLLM::EngineCor[e]", "STOP"), None),
    "secondary's engine hung": (SECONDARY, kill("VLLM::EngineCor[e]", "STOP"), None),
    "primary rebooted": (None, lab("reboot", "a2-node1"), None),
    "secondary rebooted": (None, lab("reboot", "a2-node2"), None),
    "network cut for 40 s": (None, lab("break", "a2-node2", "cut-off", "10.213.0.11"), (40, lab("mend", "a2-node2"))),
    "no room on the state's disk": (
        PRIMARY,
        "mount -t tmpfs -o size=4k full /var/lib/ascend-vllm && (cat /dev/zero > /var/lib/ascend-vllm/full || true) && "
        + kill("VLLM::EngineCor[e]"),
        (40, "umount /var/lib/ascend-vllm"),
    ),
    # Docker keeps the container's state and log there. What is mounted stays until the node is removed: the log is open.
    "no room on Docker's disk": (
        PRIMARY,
        f"cp -a {DOCKER} /run/kept && mount -t tmpfs -o size=64m full {DOCKER} && cp -a /run/kept/. {DOCKER} && "
        f"(cat /dev/zero > {DOCKER}/full || true) && " + kill("VLLM::EngineCor[e]"),
        (40, f"rm {DOCKER}/full"),
    ),
    "primary's launch script emptied": (PRIMARY, f": > {FOLDER}/launch.sh && docker kill {NAME}", None),
    "secondary's launch script lost": (SECONDARY, f"rm {FOLDER}/launch.sh && " + kill("[v]llm serve"), None),
    "primary's environment corrupted": (
        PRIMARY,
        f"printf 'A=(never closed' > {FOLDER}/service.env && " + kill("[v]llm serve"),
        None,
    ),
    "primary's container renamed": (PRIMARY, f"docker rename {NAME} other && docker kill other", None),
    "secondary's container renamed": (SECONDARY, f"docker rename {NAME} other && docker kill other", None),
    "supervisor killed while it restarts": (
        PRIMARY,
        kill("VLLM::EngineCor[e]", "STOP") + " && " + KILL_SUPERVISOR,
        None,
    ),
    "state overwritten": (PRIMARY, f'echo \'{{"restarts": "x"}}\' > {STATE} && ' + kill("VLLM::EngineCor[e]"), None),
    "clock set back by a day, and right again": (
        PRIMARY,
        STEP_CLOCK + " && sleep 20 && " + kill("[v]llm serve"),
        (60, MEND_CLOCK),
    ),
    "secondary's clock set back by a day": (
        SECONDARY,
        STEP_CLOCK + " && sleep 20 && " + kill("[v]llm serve"),
        (180, MEND_CLOCK),
    ),
    "network cut and restored five times": (None, FLAP, None),
    "network cut one way, to the primary, for 90 s": (
        PRIMARY,
        BLOCK.format("-I", SECONDARY),
        (90, BLOCK.format("-D", SECONDARY)),
    ),
    "network cut one way, to the secondary, for 90 s": (
        SECONDARY,
        BLOCK.format("-I", PRIMARY),
        (90, BLOCK.format("-D", PRIMARY)),
    ),
}


@pytest.fixture(scope="module")
def results():
    times = {}
    yield times
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(times, indent=1) + "\n")
    print("\nseconds from the fault to the first good token:")
    for name, seconds in times.items():
        print(f"  {seconds:6.1f}  {name}")


@pytest.mark.parametrize("fault", FAULTS)
def test_the_group_comes_back(fault, node, results):
    where, command, mend = FAULTS[fault]
    until(answers)
    before = {number: started(node(number)) for number in (PRIMARY, SECONDARY)}
    begin = time.monotonic()
    node(where).check_output(command) if where else here(command)
    if mend:
        time.sleep(mend[0])
        node(where).check_output(mend[1]) if where else here(mend[1])
    # Death, detection and a new group: until a token comes from containers that were started after the fault, or the
    # old ones answer again.
    time.sleep(3)
    until(lambda: answers() and state(node(PRIMARY))["state"] == "serving")
    results[fault] = round(time.monotonic() - begin, 1)
    # It stays: nothing restarts a group that serves.
    after = {number: started(node(number)) for number in (PRIMARY, SECONDARY)}
    time.sleep(20)
    assert answers()
    assert {number: started(node(number)) for number in (PRIMARY, SECONDARY)} == after, "restarted while it served"
    if "cut" not in fault:
        assert after != before, "no container was started anew: was there a fault at all?"
    assert state(node(SECONDARY))["state"] == "joined"


def test_a_full_run_keeps_nobody_from_repairing(node):
    primary = node(PRIMARY)
    until(lambda: state(primary)["state"] == "serving", 60)
    before = started(primary)
    full = "/run/ascend-vllm"
    primary.check_output(
        f"mount -t tmpfs -o size=4k full {full} && (cat /dev/zero > {full}/full || true) && "
        + kill("VLLM::EngineCor[e]")
    )
    try:
        time.sleep(3)
        until(answers)
        assert started(primary) != before
        until(lambda: json.loads(primary.file(STATE_ON_DISK).content_string)["state"] == "serving", 60)
        seen = json.loads(primary.file(STATE_ON_DISK).content_string)
        assert seen["memory"] == f"cannot write its state: no space left on {full}; it is in {STATE_ON_DISK}"
    finally:
        primary.check_output(f"umount {full}")
    until(lambda: state(primary)["state"] == "serving" and not primary.file(STATE_ON_DISK).exists, 60)
    assert state(primary)["memory"] == ""


def test_a_corrupted_launch_script_of_unknown_origin_is_named_and_not_restarted_for_ever(node):
    primary = node(PRIMARY)
    until(lambda: state(primary)["state"] == "serving", 60)
    primary.check_output(
        f"cp -p {FOLDER}/launch.sh /run/kept.sh && mv {FOLDER}/process.json /run/kept.process && "
        f"mv /var/lib/ascend-vllm/{NAME} /run/kept.records && echo exit > {FOLDER}/launch.sh && docker kill {NAME}"
    )
    try:
        until(lambda: state(primary)["state"] == "gave-up", 60)
        assert (
            "launch.sh starts no 'vllm serve', and nothing on the node tells what was deployed"
            in state(primary)["reason"]
        )
        assert primary.check_output("docker inspect --format '{{.State.Running}}' %s", NAME) == "false"
    finally:
        primary.check_output(
            f"cp -p /run/kept.sh {FOLDER}/launch.sh && mv /run/kept.process {FOLDER}/process.json && "
            f"mv /run/kept.records /var/lib/ascend-vllm/{NAME}"
        )
    primary.check_output(f"docker start {NAME}")
    until(answers)
    until(lambda: state(primary)["state"] == "serving", 60)


def test_a_group_that_cannot_be_mended_is_given_up(node):
    """An operator can read that, and why; a container started by hand is a new chance."""
    settings = f"{FOLDER}/supervise.json"
    vllm = f"{NAME}:/usr/local/bin/vllm"  # not the launch script: that is restored
    primary = node(PRIMARY)
    until(lambda: state(primary)["state"] == "serving", 60)
    primary.check_output(
        f'cp -p {settings} /run/kept.json && sed -i \'s/"restart_limit": 5/"restart_limit": 1/\' {settings} && '
        f"docker cp {vllm} /run/kept.vllm && printf '#!/bin/sh\nexit 3\n' > /run/ends && chmod 0755 /run/ends && "
        f"docker cp /run/ends {vllm} && docker kill {NAME}"
    )
    try:
        until(lambda: state(primary)["state"] == "gave-up", 180)
        assert "exit code 3" in state(primary)["reason"]
        assert primary.check_output("docker inspect --format '{{.State.Running}}' %s", NAME) == "false"
    finally:
        primary.check_output(f"cp -p /run/kept.json {settings} && docker cp /run/kept.vllm {vllm}")
    primary.check_output(f"docker start {NAME}")
    until(answers)
    until(lambda: state(primary)["state"] == "serving", 60)
