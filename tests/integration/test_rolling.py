"""A replica of two nodes through upgrade, rollback and restart, served over https and with an API key.

Both nodes take part in each step, and go back together. The tests go on from what the one before them left.
"""

import json
import subprocess
import threading

import pytest

from ..unit.certificates import Pki
from .conftest import lab, playbook
from .test_secrets import CHAT
from .test_secrets import ask as send

NODES = ("a2-node1", "a2-node2")
ADDRESS, NAME = "10.213.0.11", "minimax2_5"
URL = f"https://{ADDRESS}:20004"
TLS = "/etc/vllm-tls"
KEY, NEXT_KEY = "first-key-4711", "second-key-0815"


@pytest.fixture(scope="module")
def authority(deployed, tmp_path_factory):
    """The certificate that clients verify with; the primary has one that it signed. Both are gone afterwards."""
    pki = Pki(tmp_path_factory.mktemp("pki"))
    signer = pki.authority()
    certificate, key = pki.signed(signer, ADDRESS)
    for node in NODES:
        for name, path in (("api.crt", certificate), ("api.key", key), ("ca.crt", signer[0])):
            with open(path) as stream:
                lab("ssh", node, f"mkdir -p {TLS} && umask 077 && printf %s '{stream.read()}' > {TLS}/{name}")
    yield signer[0]
    run = playbook("deploy_a2.yml")
    assert run.rc == 0, run.output
    for node in NODES:
        lab("ssh", node, f"rm -r {TLS}")


def variables(key=KEY, **arguments):
    tls = {"certificate": f"{TLS}/api.crt", "key": f"{TLS}/api.key", "ca": f"{TLS}/ca.crt"}
    return json.dumps(
        {
            "lab_args": {"tensor-parallel-size": 1, "enforce-eager": True, **arguments},
            "vllm_service_secrets": {"VLLM_API_KEY": key},
            "vllm_recipe_tls": tls,
        }
    )


def ask(key, authority):
    """The status of a request for tokens."""
    return send(URL, key, authority, dict(CHAT, model="minimax25"))


def started():
    return [lab("ssh", node, f"docker inspect -f '{{{{.State.StartedAt}}}}' {NAME}").strip() for node in NODES]


def sequences():
    words = f"grep -o 'max-num-seqs [0-9]*' /etc/ascend-vllm/{NAME}/launch.sh"
    return [lab("ssh", node, words).split()[1] for node in NODES]


def groups():
    """The group that each node's revision belongs to: what was verified together."""
    path = f"/var/lib/ascend-vllm/{NAME}/deployed.json"
    return [json.loads(lab("ssh", node, f"cat {path}"))["current"]["group"] for node in NODES]


def test_a_pair_is_served_over_https_with_a_key(authority):
    run = playbook("deploy_a2.yml", "-e", variables(**{"max-num-seqs": 24}))
    assert run.rc == 0, run.output
    assert (ask(KEY, authority), ask("x", authority)) == (200, 401)
    run = playbook("deploy_a2.yml", "-e", variables(**{"max-num-seqs": 24}))
    assert run.rc == 0 and set(run.changed.values()) == {0}, run.output
    run = playbook("status.yml", "-e", variables(**{"max-num-seqs": 24}), "-e", "vllm_status_strict=true")
    assert run.rc == 0 and "serving" in run.output and "joined" in run.output, run.output


def test_a_benchmark_of_it(authority, tmp_path):
    own = {"name": "tiny", "input_tokens": 16, "output_tokens": 8, "prompts": 4, "concurrency": 2}
    given = {"vllm_benchmark_own": [own], "vllm_benchmark_scenarios": ["tiny"], "vllm_benchmark_dir": str(tmp_path)}
    run = playbook("benchmark.yml", "-e", variables(**{"max-num-seqs": 24}), "-e", json.dumps(given))
    assert run.rc == 0, run.output
    assert all(KEY not in path.read_text() for path in tmp_path.iterdir()) and KEY not in run.output
    (result,) = tmp_path.glob("*.json")
    assert json.loads(result.read_text())["runs"][0]["figures"]["completed"] == 4


def test_an_upgrade_that_fails_takes_both_nodes_back_and_the_key_of_before(authority):
    before = groups()
    assert before[0] == before[1]
    run = playbook("upgrade.yml", "-e", variables(NEXT_KEY, **{"max-model-len": 99999999}))
    assert run.rc != 0
    for wanted in (
        "replica default did not take the new plan",
        "[bad-value]",
        "rolled back to the revision that ran before, and it answers again",
    ):
        assert wanted in run.words, run.output
    assert (ask(KEY, authority), ask(NEXT_KEY, authority)) == (200, 401)
    assert groups() == before and sequences() == ["24", "24"]
    run = playbook("status.yml", "-e", variables(**{"max-num-seqs": 24}), "-e", "vllm_status_strict=true")
    assert run.rc == 0, run.output


def test_an_upgrade_and_a_rollback_of_a_pair(authority):
    old, before = started(), groups()
    run = playbook("upgrade.yml", "-e", variables(NEXT_KEY, **{"max-num-seqs": 28}))
    assert run.rc == 0, run.output
    assert sequences() == ["28", "28"] and all(new != was for new, was in zip(started(), old))
    assert groups()[0] == groups()[1] != before[0]
    assert (ask(KEY, authority), ask(NEXT_KEY, authority)) == (401, 200)
    run = playbook("rollback.yml", "-e", variables(NEXT_KEY, **{"max-num-seqs": 28}))
    assert run.rc == 0, run.output
    assert sequences() == ["24", "24"] and groups()[0] == groups()[1]
    assert (ask(KEY, authority), ask(NEXT_KEY, authority)) == (200, 401)


def test_a_restart_of_a_pair(authority):
    old = started()
    run = playbook("restart.yml", "-e", variables(**{"max-num-seqs": 24}))
    assert run.rc == 0, run.output
    assert all(new != was for new, was in zip(started(), old)) and ask(KEY, authority) == 200


def test_a_node_that_is_lost_midway_is_named_and_the_next_run_completes(authority):
    """Its sshd ends while the containers are stopped, and comes back afterwards."""
    given = variables(**{"max-num-seqs": 26})
    old = started()

    def cut():
        # From inside the node, so that it is not the connection that ends it.
        script = (
            f"for i in $(seq 600); do [ \"$(docker inspect -f '{{{{.State.Running}}}}' {NAME} 2>/dev/null)\" = true ] || break; "
            "sleep 0.1; done; systemctl stop ssh ssh.socket; pkill sshd; sleep 45; systemctl start ssh"
        )
        lab(
            "ssh",
            "a2-node2",
            f"systemd-run --unit lose-me --collect sh -c '{script.replace(chr(39), chr(39) + chr(92) + chr(39) + chr(39))}'",
        )

    cut()
    run = playbook("upgrade.yml", "-e", given, timeout=900)
    assert run.rc != 0, run.output
    assert "a2-node2" in run.words and "Traceback" not in run.output
    for _ in range(120):
        if subprocess.run(["timeout", "2", "bash", "-c", "</dev/tcp/10.213.0.12/22"], check=False).returncode == 0:
            break
        threading.Event().wait(1)
    run = playbook("upgrade.yml", "-e", given, timeout=900)
    assert run.rc == 0, run.output
    assert sequences() == ["26", "26"] and all(new != was for new, was in zip(started(), old))
    assert ask(KEY, authority) == 200 and groups()[0] == groups()[1]
