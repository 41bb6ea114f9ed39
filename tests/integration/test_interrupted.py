"""Runs that are killed midway: the next plain run completes what they began, and rollback.yml goes back.

On the lab's A2 nodes, or with ASCEND_VLLM_TEST_INVENTORY on those of another inventory of the lab.
"""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from . import conftest
from .conftest import ROOT, lab, playbook

INVENTORY = Path(os.environ.get("ASCEND_VLLM_TEST_INVENTORY", conftest.INVENTORY))
# Where a run is killed: a task of which the output shows that it began.
POINTS = (
    "Ensure the container exists",
    "Ensure launch script",
    "Stop the containers",
    "Start the containers",
    "Wait for the first tokens",
    "Record the verified revision",
)


@pytest.fixture(scope="session")
def deployed():
    """Instead of that of other tests, which is for A2 nodes alone."""
    if "ASCEND_VLLM_TEST_INVENTORY" not in os.environ:
        lab("up", "--hardware", "a2", "--nodes", "2")


@pytest.fixture(scope="module")
def deploy(deployed, tmp_path_factory):
    """The name of the deploy's playbook; the service is deployed and proven."""
    path = tmp_path_factory.mktemp("plan") / "plan.json"
    run = playbook("plan.yml", "-e", f"vllm_plan_file={path}", inventory=INVENTORY)
    assert run.rc == 0, run.output
    name = "deploy_{0}.yml".format(json.loads(path.read_text())[0]["hardware"])
    complete(name, variables(0))
    return name


def variables(number):
    """Variables that change container and launch script, in another way for each number."""
    arguments = {"tensor-parallel-size": 1, "enforce-eager": True, "max-num-seqs": 20 + number}
    return json.dumps(
        {"lab_args": arguments, "vllm_recipe_container": {"shm_size": "1g", "log_max_file": str(2 + number)}}
    )


def kill(name, given, point):
    """Start a playbook, and kill it with all its processes when it begins a task."""
    process = subprocess.Popen(
        ["ansible-playbook", str(ROOT / "playbooks" / name), "-i", str(INVENTORY), "-e", given],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        # The default screen, which prints a heading when its task begins.
        env=dict(
            os.environ,
            ANSIBLE_CONFIG=str(ROOT / "ansible.cfg"),
            ANSIBLE_NOCOLOR="1",
            ANSIBLE_STDOUT_CALLBACK="ansible.builtin.default",
        ),
        start_new_session=True,
    )
    output = ""
    for line in process.stdout:
        output += line
        if line.startswith("TASK [") and point in line:
            time.sleep(0.7)  # in the middle of its work on the node
            break
    ended = process.poll()
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(20)
    process.stdout.close()
    assert ended is None, f"it never came to '{point}':\n{output}"


def complete(name, given):
    """A plain run ends well, with all as planned."""
    run = playbook(name, "-e", given, inventory=INVENTORY)
    assert run.rc == 0, run.output
    as_planned(given)
    return run


def as_planned(given):
    """Container, files, record and supervision are those of the variables, and the service answers."""
    run = playbook("status.yml", "-e", given, "-e", "vllm_status_strict=true", inventory=INVENTORY)
    assert run.rc == 0, run.output


@pytest.mark.parametrize("point", POINTS)
def test_a_killed_deploy_is_completed_by_the_next_one(point, deploy):
    given = variables(1 + POINTS.index(point))
    kill(deploy, given, point)
    complete(deploy, given)
    third = playbook(deploy, "-e", given, inventory=INVENTORY)
    assert third.rc == 0 and set(third.changed.values()) == {0}, third.output


def test_a_killed_upgrade_is_completed_by_the_next_one(deploy):
    given = variables(10)
    kill("upgrade.yml", given, "Stop the containers")
    complete("upgrade.yml", given)
    third = playbook("upgrade.yml", "-e", given, inventory=INVENTORY)
    assert third.rc == 0 and set(third.changed.values()) == {0}, third.output


def test_a_killed_upgrade_is_taken_back_by_a_rollback_and_a_second_one_goes_further_back(deploy):
    complete(deploy, variables(11))
    complete(deploy, variables(12))
    kill("upgrade.yml", variables(13), "Wait for the first tokens")
    run = playbook("rollback.yml", inventory=INVENTORY)
    assert run.rc == 0, run.output
    as_planned(variables(12))
    run = playbook("rollback.yml", inventory=INVENTORY)
    assert run.rc == 0, run.output
    as_planned(variables(11))
