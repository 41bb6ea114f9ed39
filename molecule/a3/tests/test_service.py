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
        *(f"/dev/davinci{index}" for index in range(16)), "/dev/davinci_manager", "/dev/devmm_svm", "/dev/hisi_hdc"]


def test_jemalloc_of_the_image_is_in_use(node):
    pid = node(NODE).check_output("pgrep --full --newest 'vllm serve'")
    environment = node(NODE).check_output("tr '\\0' '\\n' < /proc/%s/environ", int(pid)).splitlines()
    preload = [line for line in environment if line.startswith("LD_PRELOAD=")]
    assert len(preload) == 1
    assert preload[0].endswith("/libjemalloc.so.2")
    assert "libjemalloc.so.2" in node(NODE).check_output("cat /proc/%s/maps", int(pid))


def test_host_is_tuned(node):
    assert node(NODE).file("/proc/sys/vm/swappiness").content_string.strip() == "0"
    assert node(NODE).file("/etc/sysctl.d/90-ascend-vllm.conf").exists


def test_the_model_answers(request_json):
    assert [item["id"] for item in request_json(URL + "/v1/models")["data"]] == ["MiniMax-M2.5"]
    answer = request_json(URL + "/v1/chat/completions", {
        "model": "MiniMax-M2.5", "messages": [{"role": "user", "content": "Hello, who are you?"}], "max_tokens": 32})
    assert answer["usage"]["completion_tokens"] > 0
    assert node_port_answers(request_json)


def node_port_answers(request_json):
    """The port answers from this machine, not only on the node's loopback."""
    return request_json(URL + "/version")["version"] != ""
