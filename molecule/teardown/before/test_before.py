"""A node before the deploy: what it is like is kept on it, to compare."""

import pytest

NODES = (11, 12)
IMAGE = "quay.io/ascend/vllm-ascend:v0.20.2rc1"


@pytest.mark.parametrize("number", NODES)
def test_the_node_is_bare(node, listing, number):
    bare = node(number)
    assert bare.check_output("docker ps --all --quiet") == ""
    assert IMAGE not in bare.check_output("docker images --format '{{.Repository}}:{{.Tag}}'").split()
    assert not bare.file("/etc/ascend-vllm").exists
    text = listing(bare)
    assert "/etc/hccn.conf" in text and "docker.service" in text
    listing(bare, "/root/before-deploy.txt")
    assert bare.file("/root/before-deploy.txt").content_string.strip() == text.strip()
