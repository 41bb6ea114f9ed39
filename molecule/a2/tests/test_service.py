"""Two A2 nodes after a deploy."""

import re

import pytest

PRIMARY, SECONDARY = 11, 12
URL = "http://10.213.0.11:20004"


@pytest.mark.parametrize("number", [PRIMARY, SECONDARY])
def test_container(node, container, number):
    seen = container(node(number), "minimax2_5")
    host = seen["HostConfig"]
    assert seen["State"]["Running"] is True
    assert seen["RestartCount"] == 0
    assert seen["Config"]["Image"] == "quay.io/ascend/vllm-ascend:v0.20.2rc1"
    assert host["Privileged"] is False
    assert host["NetworkMode"] == "host"
    assert host["IpcMode"] == "private"
    assert host["Init"] is True
    assert host["ShmSize"] == 1024**3
    assert host["RestartPolicy"]["Name"] == "unless-stopped"
    assert host["LogConfig"] == {"Type": "json-file", "Config": {"max-file": "5", "max-size": "100m"}}
    assert [item["PathOnHost"] for item in host["Devices"]] == [
        *(f"/dev/davinci{index}" for index in range(8)),
        "/dev/davinci_manager",
        "/dev/devmm_svm",
        "/dev/hisi_hdc",
    ]
    mounts = {item["Destination"]: item["RW"] for item in seen["Mounts"]}
    assert mounts["/etc/hccn.conf"] is False
    assert mounts["/opt/data/verification/models"] is False
    assert not any(item.startswith("HCCL") for item in seen["Config"]["Env"])


@pytest.mark.parametrize("number", [PRIMARY, SECONDARY])
def test_files(node, number):
    environment = node(number).file("/etc/ascend-vllm/minimax2_5/service.env")
    assert (environment.user, environment.mode) == ("root", 0o600)
    assert f"HCCL_IF_IP=10.213.0.{number}" in environment.content_string.splitlines()
    assert "HCCL_SOCKET_IFNAME=eth0" in environment.content_string.splitlines()
    assert node(number).file("/etc/ascend-vllm/minimax2_5/launch.sh").mode == 0o755


@pytest.mark.parametrize("number", [PRIMARY, SECONDARY])
def test_host_is_tuned(node, number):
    governors = node(number).check_output("cat /sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor").split()
    assert set(governors) == {"performance"}
    assert node(number).file("/proc/sys/vm/swappiness").content_string.strip() == "0"
    assert node(number).file("/proc/sys/kernel/numa_balancing").content_string.strip() == "0"


def test_only_the_primary_listens_on_the_api_port(node):
    assert node(PRIMARY).socket("tcp://10.213.0.11:20004").is_listening
    assert "20004" not in node(SECONDARY).check_output("ss -ltnH")


def test_the_secondary_is_headless_and_has_its_rank(node):
    command = node(SECONDARY).check_output("pgrep --full --list-full 'vllm serve'")
    assert "--headless" in command
    assert "--data-parallel-start-rank 1" in command
    assert "--host" not in command


def test_the_model_answers(request_json):
    answer = request_json(
        URL + "/v1/chat/completions",
        {
            "model": "minimax25",
            "messages": [{"role": "user", "content": "Hello, who are you?"}],
            "max_tokens": 200,
            "temperature": 0.8,
            "top_p": 0.8,
            "stream": False,
        },
    )
    assert answer["usage"]["completion_tokens"] > 0


def test_both_nodes_serve_one_group(request_json):
    """Requests reach the engines of both nodes: each has produced tokens by its own count."""
    for _ in range(6):
        request_json(URL + "/v1/completions", {"model": "minimax25", "prompt": "Hello", "max_tokens": 4})
    metrics = request_json(URL + "/metrics")
    tokens = {
        engine: float(value)
        for engine, value in re.findall(r'^vllm:generation_tokens_total\{engine="(\d+)".*?\} (\S+)$', metrics, re.M)
    }
    assert sorted(tokens) == ["0", "1"]
    assert all(value > 0 for value in tokens.values()), tokens
