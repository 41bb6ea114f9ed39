"""The way of two replicas through upgrades and a rollback. The tests go on from what the one before them left.

They run on the two nodes of this scenario; with UPGRADE_INVENTORY on two replicas of another inventory of the lab.
"""

import json
import os
import re
import subprocess
import threading
import time
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
# Not in molecule's ephemeral directory, which it empties at the end.
RESULTS = ROOT / ".cache" / "upgrade-durations.json"
INVENTORY = os.environ.get("UPGRADE_INVENTORY") or str(Path(os.environ.get("MOLECULE_INVENTORY_FILE", "")).parent)


# Molecule forces colours, and the tests read what is printed.
ENVIRONMENT = dict(os.environ, ANSIBLE_CONFIG=str(ROOT / "ansible.cfg"), ANSIBLE_FORCE_COLOR="0")


def variables(**more):
    return json.dumps({"lab_args": {"tensor-parallel-size": 1, "enforce-eager": True, **more}})


def playbook(name, *arguments):
    """Run a playbook; its exit status, its output, the changes by node, the seconds it took."""
    start = time.monotonic()
    ran = subprocess.run(
        ["ansible-playbook", str(ROOT / "playbooks" / name), "-i", INVENTORY, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        timeout=900,
        check=False,
        env=ENVIRONMENT,
    )
    changed = {host: int(count) for host, count in re.findall(r"^(\S+) .*changed=(\d+)", ran.stdout, re.M)}
    return ran.returncode, ran.stdout, changed, round(time.monotonic() - start, 1)


@pytest.fixture(scope="module")
def replicas(tmp_path_factory):
    """``{host: {"url", "model"}}`` of the two replicas, in their order."""
    path = tmp_path_factory.mktemp("plan") / "plan.json"
    rc, output, _changed, _seconds = playbook("plan.yml", "-e", f"vllm_plan_file={path}")
    assert rc == 0, output
    found = {node["host"]: node["service"] for node in json.loads(path.read_text())}
    assert len(found) == 2
    return found


@pytest.fixture(scope="module")
def durations():
    """Seconds by name, written to a file at the end."""
    taken = {}
    yield taken
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(taken, indent=1) + "\n")


def ask(service):
    """Does it yield tokens?"""
    body = json.dumps({"model": service["model"], "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 2})
    request = urllib.request.Request(
        service["url"] + "/v1/chat/completions", body.encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as answer:
            return json.load(answer)["usage"]["completion_tokens"] > 0
    except OSError:
        return False


class Watch(threading.Thread):
    """Asks all replicas over and over; ``seen`` is one mapping of replica to answer per round."""

    def __init__(self, services):
        super().__init__(daemon=True)
        self.services, self.seen, self.ended = services, [], threading.Event()

    def run(self):
        while not self.ended.is_set():
            self.seen.append({host: ask(service) for host, service in self.services.items()})
            time.sleep(1)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_unused):
        self.ended.set()
        self.join()


def state(host):
    """What runs on a node: when its container was started, and the value of an argument."""
    ran = subprocess.run(
        [
            "ansible",
            host,
            "-i",
            INVENTORY,
            "-m",
            "ansible.builtin.shell",
            "-a",
            "docker inspect -f '{{ '{{' }}.State.StartedAt{{ '}}' }}' vllm-ascend; "
            "grep -o 'max-num-seqs [0-9]*' /etc/ascend-vllm/vllm-ascend/launch.sh",
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env=ENVIRONMENT,
    )
    lines = ran.stdout.splitlines()
    return lines[1], lines[2].split()[1]


def states(replicas):
    return {host: state(host) for host in replicas}


def test_replicas_are_upgraded_one_after_the_other(replicas, durations):
    rc, output, _changed, _seconds = playbook("deploy_a3.yml", "-e", variables(**{"max-num-seqs": 24}))
    assert rc == 0, output
    before = states(replicas)
    with Watch(replicas) as watch:
        rc, output, changed, durations["upgrade"] = playbook("upgrade.yml", "-e", variables(**{"max-num-seqs": 28}))
    assert rc == 0, output
    after = states(replicas)
    assert [value for _started, value in after.values()] == ["28", "28"]
    assert all(changed[host] > 0 and after[host][0] != before[host][0] for host in replicas)
    for host in replicas:
        assert any(not seen[host] for seen in watch.seen), f"{host} was never away"
    assert all(any(seen.values()) for seen in watch.seen), watch.seen
    assert output.count("upgrade  restarted: changed: launch.sh on ") == 2


def test_an_upgrade_that_does_not_come_up_is_rolled_back_and_the_other_replica_is_not_touched(replicas, durations):
    before = states(replicas)
    with Watch(replicas) as watch:
        rc, output, changed, durations["failed upgrade with rollback"] = playbook(
            "upgrade.yml", "-e", variables(**{"max-model-len": 99999999})
        )
    assert rc != 0
    words = " ".join(output.split())
    for wanted in (
        "replica r1 did not take the new plan",
        "[bad-value] The log says: Value error, User-specified max_model_len (99999999)",
        "rolled back to the revision that ran before, and it answers again",
        "on the new plan: none; not touched: r2",
        "archive ",
    ):
        assert wanted in words, f"'{wanted}' is not in:\n{output}"
    first, second = replicas
    after = states(replicas)
    assert after[second] == before[second] and changed[second] == 0
    assert all(seen[second] for seen in watch.seen)
    assert after[first][1] == "28" and ask(replicas[first])


def test_a_rollback_takes_both_back_and_a_second_one_returns(replicas, durations):
    rc, output, _changed, durations["rollback"] = playbook("rollback.yml")
    assert rc == 0, output
    assert [value for _started, value in states(replicas).values()] == ["24", "24"]
    assert all(ask(service) for service in replicas.values())
    rc, output, _changed, _seconds = playbook("rollback.yml")
    assert rc == 0, output
    assert [value for _started, value in states(replicas).values()] == ["28", "28"]


def test_an_upgrade_to_what_runs_changes_nothing(replicas, durations):
    before = states(replicas)
    rc, output, changed, durations["unchanged upgrade"] = playbook(
        "upgrade.yml", "-e", variables(**{"max-num-seqs": 28})
    )
    assert rc == 0, output
    assert set(changed.values()) == {0}, output
    assert states(replicas) == before


@pytest.mark.parametrize("name", ["restart.yml", "rollback.yml", "upgrade.yml"])
def test_check_mode_changes_nothing(name, replicas):
    before = states(replicas)
    rc, output, _changed, _seconds = playbook(name, "--check", "-e", variables(**{"max-num-seqs": 30}))
    assert rc == 0, output
    assert states(replicas) == before and all(ask(service) for service in replicas.values())


def test_a_restart_goes_through_the_replicas_one_after_the_other(replicas, durations):
    before = states(replicas)
    with Watch(replicas) as watch:
        rc, output, _changed, durations["restart"] = playbook("restart.yml", "-e", variables(**{"max-num-seqs": 28}))
    assert rc == 0, output
    after = states(replicas)
    assert all(after[host][0] != before[host][0] and after[host][1] == "28" for host in replicas)
    assert all(any(seen.values()) for seen in watch.seen), watch.seen
