"""What a node looks like after restore."""

import pytest


def test_values_are_the_first_ones(node, governors):
    assert set(governors) == {"schedutil"}
    assert node.file("/proc/sys/kernel/numa_balancing").content_string.strip() == "1"
    assert node.file("/sys/kernel/debug/sched/migration_cost_ns").content_string.strip() == "500000"


@pytest.mark.parametrize(
    "path",
    [
        "/etc/sysctl.d/90-ascend-vllm.conf",
        "/etc/ascend-vllm/host-tuning.sh",
        "/etc/systemd/system/ascend-vllm-host-tuning.service",
        "/etc/systemd/system/multi-user.target.wants/ascend-vllm-host-tuning.service",
        "/var/lib/ascend-vllm/host_tuning.json",
    ],
)
def test_files_are_gone(node, path):
    assert not node.file(path).exists


def test_systemd_has_forgotten_the_unit(node):
    assert "not-found" in node.check_output("systemctl show -p LoadState ascend-vllm-host-tuning.service")
