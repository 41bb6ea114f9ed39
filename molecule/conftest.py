"""The lab's nodes as seen from outside: over SSH, and by their services."""

import json
import os
import urllib.request

import pytest
import testinfra


@pytest.fixture(scope="session")
def node(tmp_path_factory):
    """A function that gives a node by the last number of its address."""
    lab = os.environ.get("ASCEND_VLLM_LAB_DIR", "/var/lib/ascend-vllm-lab")
    config = tmp_path_factory.mktemp("ssh") / "config"
    config.write_text(
        f"Host 10.213.0.*\n  User root\n  IdentityFile {lab}/ssh/id_ed25519\n"
        "  StrictHostKeyChecking no\n  UserKnownHostsFile /dev/null\n  LogLevel ERROR\n"
    )
    return lambda number: testinfra.get_host(f"ssh://10.213.0.{number}", ssh_config=str(config))


@pytest.fixture(scope="session")
def container():
    """A function that gives what the engine of a node says of a container."""
    return lambda node, name: json.loads(node.check_output("docker container inspect %s", name))[0]


@pytest.fixture(scope="session")
def request_json():
    """A function that sends a request to a service, from this machine, and gives the answer."""

    def send(url, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60) as answer:
            text = answer.read().decode()
            return json.loads(text) if "json" in answer.headers["Content-Type"] else text

    return send
