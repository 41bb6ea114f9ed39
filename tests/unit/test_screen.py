"""What a run prints: no skipped tasks, and texts below the heading of their task. Real runs on this machine alone."""

import json
import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

BOOK = [
    {
        "hosts": "localhost",
        "connection": "local",
        "gather_facts": False,
        "vars": {"ansible_python_interpreter": "{{ ansible_playbook_python }}"},
        "tasks": [
            {"name": "Say it", "ascend_ops.vllm.show": {"text": "first line\nsecond line"}},
            {"name": "Leave it", "ascend_ops.vllm.show": {"text": "never"}, "when": False},
            {
                "name": "Ask what fails",
                "ascend_ops.vllm.gather": {"module": "npu_info", "arguments": {"executable": "/nowhere/npu-smi"}},
                "register": "told",
            },
            {"name": "Show why", "ascend_ops.vllm.show": {"text": "error: {{ told.error }}"}},
            {
                "name": "Ask a node that is not there",
                "ascend_ops.vllm.gather": {"module": "npu_info"},
                "register": "told",
                "vars": {
                    "ansible_connection": "ssh",
                    "ansible_host": "127.0.0.1",
                    "ansible_port": 1,
                    "ansible_user": "operator",
                    "ansible_ssh_common_args": "-o ConnectTimeout=2",
                },
            },
            {
                "name": "Show why again",
                "ascend_ops.vllm.show": {"text": "error: {{ told.error }} ({{ told.user }}, {{ told.port }})"},
            },
        ],
    }
]


@pytest.fixture(scope="module", params=["ascend_ops.vllm.operator", "ansible.builtin.default"])
def ran(request, tmp_path_factory):
    """The callback, and the output of the run."""
    book = tmp_path_factory.mktemp("screen") / "book.yml"
    book.write_text(json.dumps(BOOK))
    book.with_name("ansible.cfg").write_text("[defaults]\n")
    environment = dict(
        os.environ,
        ANSIBLE_STDOUT_CALLBACK=request.param,
        ANSIBLE_NOCOLOR="1",
        ANSIBLE_CONFIG=str(book.with_name("ansible.cfg")),
        ANSIBLE_COLLECTIONS_PATH=str(ROOT / "playbooks" / "collections"),
    )
    done = subprocess.run(
        ["ansible-playbook", str(book), "-i", "localhost,"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=environment,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return request.param, done.stdout


def test_a_text_stands_below_the_heading_of_its_task(ran):
    _callback, output = ran
    heading, text = output.index("TASK [Say it]"), output.index("first line\nsecond line\n")
    assert heading < text < output.index("ok: [localhost]")


def test_skipped_tasks_are_not_shown(ran):
    callback, output = ran
    assert "never" not in output
    assert ("Leave it" in output) == (callback == "ansible.builtin.default")


def test_what_cannot_be_asked_is_a_result(ran):
    _callback, output = ran
    errors = [line for line in output.splitlines() if line.startswith("error: ")]
    assert "/nowhere/npu-smi" in errors[0]
    assert "127.0.0.1 port 1: Connection refused" in errors[1] and errors[1].endswith("(operator, 1)")
    assert "unreachable=0" in output and "failed=0" in output
