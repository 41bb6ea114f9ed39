"""Two nodes after a whole teardown: as before the deploy.

Left by intent: the weights, what the container wrote to /root/.cache, the image's archive, another name that the image has
from its archive, the system's own logs.
"""

import pytest

NODES = (11, 12)


@pytest.mark.parametrize("number", NODES)
def test_the_node_is_as_before_the_deploy(node, listing, number):
    torn = node(number)
    before = torn.check_output("cat /root/before-deploy.txt").splitlines()
    after = listing(torn).splitlines()
    assert [line for line in after if line not in before] == []
    assert [line for line in before if line not in after] == []


@pytest.mark.parametrize("number", NODES)
def test_nothing_bears_the_name_of_this_collection(node, number):
    """Holds even where the listing of before was made after a teardown."""
    torn = node(number)
    assert (
        torn.check_output("find / -xdev -name '*ascend-vllm*' -not -path '/proc/*' -not -path '/var/lib/docker/*'")
        == ""
    )
    assert torn.check_output("find /run -name '*ascend-vllm*'") == ""
    assert "ascend-vllm" not in torn.check_output("systemctl list-unit-files; systemctl list-units --all")
    assert torn.check_output("docker ps --all --quiet --filter label=ascend_ops.vllm.service") == ""
