"""A node after a deploy in check mode: as bare as before."""

import pytest

NODES = (11, 12)


@pytest.mark.parametrize("number", NODES)
def test_nothing_was_changed(node, number):
    bare = node(number)
    assert bare.check_output("docker ps --all --quiet") == ""
    assert bare.check_output("docker images --quiet") == ""
    assert not bare.file("/etc/ascend-vllm").exists
    assert not bare.file("/etc/sysctl.d/90-ascend-vllm.conf").exists
    assert bare.file("/proc/sys/vm/swappiness").content_string.strip() == "60"
