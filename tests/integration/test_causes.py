"""Causes of failure on the lab's A3 node: real vLLM in its real container, made to fail. Each is named by deploy, by status and in the
supervisor's history.

A wrapper takes the place of the command `vllm` in the container, or a file of the model is changed. In their order the ways are tried
on a deploy that fails, then on a service that is supervised.
"""

import shlex
import time

import pytest

from .conftest import ROOT, lab, playbook

NODE, NAME = "a3-node1", "vllm-ascend"
INVENTORY = ROOT / "lab" / "inventories" / "a3"
MODEL = "/mnt/sfs_turbo/.cache/MiniMax-M2.5-w8a8-QuaRot"
WITH = 'exec /usr/local/bin/vllm.real "$@" '

# What `vllm` does instead.
WRAPPERS = {
    "unknown-argument": WITH + "--max-num-sqs 4",
    "bad-argument": WITH + "--port http",
    "bad-value": WITH + "--tensor-parallel-size 3",
    "model-length": WITH + "--max-model-len 99999999",
    "parser-unknown": WITH + "--enable-auto-tool-choice --tool-call-parser nosuch",
    "named-file-missing": WITH + "--chat-template /opt/nowhere/x.jinja",
    "certificate": "echo no > /tmp/bad.pem; " + WITH + "--ssl-certfile /tmp/bad.pem --ssl-keyfile /tmp/bad.pem",
    "name-not-resolved": WITH + "--host nosuch.invalid",
    "address-not-here": WITH + "--host 192.0.2.1",
    "kv-cache": WITH + "--num-gpu-blocks-override 1",
    "file-descriptors": "ulimit -n 12; " + WITH,
    "host-out-of-memory": "ulimit -v 3000000; " + WITH,
    "cann-not-set-up": "python3 -c 'import ctypes; ctypes.CDLL(\"libatb.so\")'",
    "module-missing": "python3 -c 'import mooncake'",
    "native-crash": "python3 -c 'import ctypes; ctypes.string_at(0)'",
    "command-not-found": "vllm-of-another-image serve",
    "not-executable": "touch /tmp/x; /tmp/x",
}
# What is changed in the model's folder: a command, with the folder as $1.
FILES = {
    "weights-missing": 'mv "$1" "$1.away"',
    "checkpoint-damaged": 'truncate --size 9 "$1"/*.safetensors',
    "tokenizer-missing": 'rm -f "$1"/tokenizer*',
    "model-unknown": 'sed -i \'s/"MiniMaxM2ForCausalLM"/"NoSuchForCausalLM"/\' "$1/config.json"',
}
WAYS = [*WRAPPERS, *FILES]


UNCHECKED = ("-e", '{"npu_preflight_fail_on": [], "vllm_service_restart_limit": 1000}')


@pytest.fixture(scope="session")
def deployed():
    """Instead of the A2 nodes' own: nothing here needs them."""


@pytest.fixture(scope="module", autouse=True)
def service():
    """An A3 node that serves, with the container's command and the model's folder kept aside. The node is removed afterwards."""
    lab("up", "--hardware", "a3")
    lab("mend", NODE)
    run = playbook("deploy_a3.yml", *UNCHECKED, inventory=INVENTORY)
    assert run.rc == 0, run.output
    lab("ssh", NODE, f"docker cp {NAME}:/usr/local/bin/vllm /root/vllm.real && cp -a {MODEL} {MODEL}.good")
    lab("ssh", NODE, f"docker cp /root/vllm.real {NAME}:/usr/local/bin/vllm.real")
    yield
    lab("down", "--hardware", "a3")


@pytest.fixture
def broken():
    """A function that breaks the service in a way; it is mended afterwards."""

    def put(text):
        lab("ssh", NODE, f"printf '%s\\n' {shlex.quote(text)} > /root/vllm && chmod +x /root/vllm")
        lab("ssh", NODE, f"docker cp /root/vllm {NAME}:/usr/local/bin/vllm")

    def break_it(way):
        if way in WRAPPERS:
            put("#!/bin/bash\n" + WRAPPERS[way])
        else:
            lab("ssh", NODE, f"set -- {MODEL}; {FILES[way]}")

    yield break_it
    lab("ssh", NODE, f"rm -rf {MODEL} {MODEL}.away && cp -a {MODEL}.good {MODEL}")
    lab("ssh", NODE, f"docker cp /root/vllm.real {NAME}:/usr/local/bin/vllm")


@pytest.mark.parametrize("way", WAYS)
def test_deploy_and_status_name_it(way, broken):
    playbook("stop.yml", inventory=INVENTORY)
    broken(way)
    run = playbook("deploy_a3.yml", *UNCHECKED, inventory=INVENTORY)
    assert run.rc != 0 and "before the service answered" in run.words, run.output
    assert f" [{way}] The log says: " in run.words, run.output
    run = playbook("status.yml", inventory=INVENTORY)
    assert f"[{way}] The log says: " in run.words, run.output


def test_a_deploy_brings_the_service_back():
    run = playbook("deploy_a3.yml", *UNCHECKED, inventory=INVENTORY)
    assert run.rc == 0, run.output


@pytest.mark.parametrize("way", WAYS)
def test_the_supervisor_s_history_names_it(way, broken):
    broken(way)
    lab("ssh", NODE, f"docker restart --time 1 {NAME}")
    end = time.monotonic() + 90
    while time.monotonic() < end:
        if f"[{way}]" in lab("ssh", NODE, f"cat /run/ascend-vllm/{NAME}/state.json"):
            return
        time.sleep(2)
    pytest.fail(lab("ssh", NODE, f"cat /run/ascend-vllm/{NAME}/state.json; docker logs --tail 50 {NAME} 2>&1"))
