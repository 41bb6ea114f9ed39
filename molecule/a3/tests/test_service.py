"""One A3 node after a deploy."""

NODE = 51
URL = "http://10.213.0.51:8000"


def test_container(node, container):
    seen = container(node(NODE), "vllm-ascend")
    host = seen["HostConfig"]
    assert seen["State"]["Running"] is True
    assert seen["Config"]["Image"] == "quay.io/ascend/vllm-ascend:v0.20.2rc1-a3"
    assert host["Privileged"] is False
    assert host["NetworkMode"] == "host"
    assert [item["PathOnHost"] for item in host["Devices"]] == [
        *(f"/dev/davinci{index}" for index in range(16)),
        "/dev/davinci_manager",
        "/dev/devmm_svm",
        "/dev/hisi_hdc",
    ]


def test_jemalloc_of_the_image_is_in_use(node):
    pid = node(NODE).check_output("pgrep --full --newest 'vllm serve'")
    assert "/libjemalloc.so.2" in node(NODE).check_output("grep -z ^LD_PRELOAD= /proc/%s/environ | tr '\\0' ' '", pid)
    assert "libjemalloc.so.2" in node(NODE).check_output("cat /proc/%s/maps", pid)


def test_host_is_tuned(node):
    assert node(NODE).file("/proc/sys/vm/swappiness").content_string.strip() == "0"
    assert node(NODE).file("/etc/sysctl.d/90-ascend-vllm.conf").exists


def test_the_model_answers(request_json):
    assert [item["id"] for item in request_json(URL + "/v1/models")["data"]] == ["MiniMax-M2.5"]
    answer = request_json(
        URL + "/v1/chat/completions",
        {"model": "MiniMax-M2.5", "messages": [{"role": "user", "content": "Hello, who are you?"}], "max_tokens": 32},
    )
    assert answer["usage"]["completion_tokens"] > 0
