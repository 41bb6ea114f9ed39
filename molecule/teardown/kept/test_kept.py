"""Two nodes after a teardown that keeps the tuning."""

import pytest

NODES = (11, 12)
IMAGE = "quay.io/ascend/vllm-ascend:v0.20.2rc1"


@pytest.mark.parametrize("number", NODES)
def test_the_service_is_gone(node, number):
    torn = node(number)
    assert torn.check_output("docker ps --all --quiet") == ""
    assert IMAGE not in torn.check_output("docker images --format '{{.Repository}}:{{.Tag}}'").split()
    for path in ("/etc/ascend-vllm/minimax2_5", "/var/lib/ascend-vllm/minimax2_5", "/run/ascend-vllm/minimax2_5"):
        assert not torn.file(path).exists, path
    assert "ascend-vllm@" not in torn.check_output("systemctl list-unit-files; systemctl list-units --all")
    assert torn.file("/opt/data/verification/models/MiniMax-M2.5").is_directory


@pytest.mark.parametrize("number", NODES)
def test_the_tuning_is_there(node, number):
    torn = node(number)
    assert torn.file("/proc/sys/vm/swappiness").content_string.strip() == "0"
    assert torn.file("/etc/sysctl.d/90-ascend-vllm.conf").exists
    assert torn.file("/var/lib/ascend-vllm/host_tuning.json").exists
    assert torn.service("ascend-vllm-host-tuning.service").is_enabled
