"""Runs of real playbooks against the lab's two A2 nodes."""

import json
import os
import re
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
INVENTORY = ROOT / "lab" / "inventories" / "a2"
URL = "http://10.213.0.11:20004"


class Run:
    """The end of a playbook's run."""

    def __init__(self, completed):
        self.rc = completed.returncode
        self.output = completed.stdout
        # As one line, since Ansible wraps long messages.
        self.words = " ".join(self.output.split())

    @property
    def changed(self):
        """How many tasks changed something, by node."""
        return {host: int(count) for host, count in re.findall(r"^(\S+) .*changed=(\d+)", self.output, re.M)}


def lab(*arguments):
    """Run the lab's command; it must succeed."""
    completed = subprocess.run(
        [sys.executable, str(ROOT / "lab" / "lab"), *arguments],
        capture_output=True,
        text=True,
        timeout=560,
        check=False,
    )
    assert completed.returncode == 0, completed.stdout + completed.stderr
    return completed.stdout


def playbook(name, *arguments, inventory=INVENTORY, timeout=560):
    """Run a playbook of the collection and give its end, whatever it is."""
    environment = dict(os.environ, ANSIBLE_CONFIG=str(ROOT / "ansible.cfg"), ANSIBLE_NOCOLOR="1")
    words = ["ansible-playbook", str(ROOT / "playbooks" / name), "-i", str(inventory), *arguments]
    try:
        return Run(
            subprocess.run(
                words,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                text=True,
                timeout=timeout,
                env=environment,
                check=False,
            )
        )
    except subprocess.TimeoutExpired as error:
        output = error.stdout.decode() if isinstance(error.stdout, bytes) else error.stdout
        pytest.fail(f"{name} was still running after {timeout} s. It printed:\n{output}")


def ad_hoc(host, module, **arguments):
    """Run one module of the collection on a node: its exit status and its result."""
    given = ["-a", json.dumps(arguments)] if arguments else []
    completed = subprocess.run(
        ["ansible", host, "-i", str(INVENTORY), "-m", "ascend_ops.vllm." + module, *given],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=dict(os.environ, ANSIBLE_CONFIG=str(ROOT / "ansible.cfg"), ANSIBLE_CALLBACK_RESULT_FORMAT="json"),
    )
    assert "=> {" in completed.stdout, completed.stdout + completed.stderr
    return completed.returncode, json.loads(completed.stdout.partition("=> ")[2])


def answers():
    """Does the service yield tokens?"""
    body = json.dumps({"model": "minimax25", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 4})
    request = urllib.request.Request(URL + "/v1/chat/completions", body.encode(), {"Content-Type": "application/json"})
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60) as answer:
            return json.load(answer)["usage"]["completion_tokens"] > 0
    except OSError:
        return False


@pytest.fixture(scope="session", autouse=True)
def deployed():
    """Two nodes without a fault, with the service deployed and answering."""
    lab("up", "--hardware", "a2", "--nodes", "2")
    for node in ("a2-node1", "a2-node2"):
        lab("mend", node)
    run = playbook("deploy_a2.yml")
    assert run.rc == 0, run.output
    assert answers()


@pytest.fixture
def broken():
    """A function that breaks a node; it is mended afterwards."""
    done = []

    def break_node(node, *fault):
        done.append(node)
        lab("break", node, *fault)

    yield break_node
    for node in done:
        lab("mend", node)


@pytest.fixture
def inventory(tmp_path):
    """A function that writes an inventory of the lab's nodes with other groups or addresses."""

    def write(groups, **variables):
        hosts = {"a2-node1": "10.213.0.11", "a2-node2": "10.213.0.12"}
        children = {
            group: {
                "hosts": {
                    name: {"ansible_host": hosts[name], **variables.get(name.replace("-", "_"), {})} for name in names
                }
            }
            for group, names in groups.items()
        }
        shared = json.loads(
            subprocess.run(
                ["ansible-inventory", "-i", str(INVENTORY), "--host", "a2-node1"],
                capture_output=True,
                text=True,
                check=True,
            ).stdout
        )
        shared.pop("ansible_host")
        path = tmp_path / "hosts.json"
        path.write_text(json.dumps({"all": {"vars": shared, "children": children}}))
        return path

    return write
