"""The node as seen from outside, over ssh."""

import os

import pytest
import testinfra


@pytest.fixture(scope="session")
def node(tmp_path_factory):
    lab = os.environ.get("ASCEND_VLLM_LAB_DIR", "/var/lib/ascend-vllm-lab")
    config = tmp_path_factory.mktemp("ssh") / "config"
    config.write_text(
        f"Host 10.213.0.*\n  User root\n  IdentityFile {lab}/ssh/id_ed25519\n"
        "  StrictHostKeyChecking no\n  UserKnownHostsFile /dev/null\n  LogLevel ERROR\n"
    )
    return testinfra.get_host("ssh://10.213.0.11", ssh_config=str(config))


@pytest.fixture
def governors(node):
    return node.check_output("cat /sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor").split()
