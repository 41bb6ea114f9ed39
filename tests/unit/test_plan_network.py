"""Addresses of nodes: read, compared and judged; the errors with their whole text."""

import pytest
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan import network
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.model import processes
from ansible_collections.ascend_ops.vllm.plugins.plugin_utils._plan import plan
from test_plan import a2, a3, node

WANTED = "; wanted an IP address that an interface of the node carries. Set ansible_host or vllm_recipe_address to it."

# (address, what is said of it)
UNREACHABLE = [
    ("0.0.0.0", "'0.0.0.0', which stands for every address of a machine"),
    ("::", "'::', which stands for every address of a machine"),
    ("127.0.0.1", "'127.0.0.1', a loopback address, at which a node reaches itself alone"),
    ("127.8.9.1", "'127.8.9.1', a loopback address, at which a node reaches itself alone"),
    ("::1", "'::1', a loopback address, at which a node reaches itself alone"),
    ("224.0.0.9", "'224.0.0.9', a multicast address, which stands for a group of machines"),
    ("ff02::1", "'ff02::1', a multicast address, which stands for a group of machines"),
    ("255.255.255.255", "'255.255.255.255', the broadcast address, which stands for all machines of a network"),
    ("fe80::21", "'fe80::21', a link-local address, which means nothing without its interface"),
    ("node2.example.com", "'node2.example.com'"),
    ("10.0.0", "'10.0.0'"),
    ("10.0.0.021", "'10.0.0.021'"),
    ("10.0.0.21/24", "'10.0.0.21/24'"),
    ("10.0.0.21\n", "'10.0.0.21\n'"),
    ("10.0.0.21%eth0", "'10.0.0.21%eth0'"),
    ("fd00::21%eth0", "'fd00::21%eth0'"),
    ("fe80::21%", "'fe80::21%'"),
    ("a\0b", "'a\0b'"),
]


@pytest.mark.parametrize("address, says", UNREACHABLE)
def test_an_address_that_no_other_node_can_use_is_refused(address, says):
    assert plan([node("a3-node1", "a3", address)]) == {
        "services": [],
        "errors": [f"replica default: node a3-node1: its address is {says}{WANTED}"],
        "warnings": [],
        "index": {},
    }


# (address as an inventory has it, as the plan has it, the URL)
REACHABLE = [
    ("10.213.0.11", "10.213.0.11", "http://10.213.0.11:8000"),
    ("169.254.7.1", "169.254.7.1", "http://169.254.7.1:8000"),
    ("FD00:0:0::21", "fd00::21", "http://[fd00::21]:8000"),
    ("fd00:0000:0000:0000:0000:0000:0000:0021", "fd00::21", "http://[fd00::21]:8000"),
    ("::ffff:10.0.0.21", "10.0.0.21", "http://10.0.0.21:8000"),
    ("fe80::21%bond0.7", "fe80::21%bond0.7", "http://[fe80::21%bond0.7]:8000"),
]


@pytest.mark.parametrize("given, address, url", REACHABLE)
def test_an_address_is_written_as_a_node_shows_it(given, address, url):
    (process,) = processes(plan([node("a3-node1", "a3", given)]))
    assert (process["address"], process["service"]["url"]) == (address, url)


@pytest.mark.parametrize(
    "first, second, seen",
    [
        ("10.0.0.11", "10.0.0.11", "10.0.0.11, which is also that of node a2-node1"),
        ("fd00::11", "FD00:0:0::11", "FD00:0:0::11, which is also that of node a2-node1, which writes it fd00::11"),
        (
            "10.0.0.11",
            "::ffff:10.0.0.11",
            "::ffff:10.0.0.11, which is also that of node a2-node1, which writes it 10.0.0.11",
        ),
    ],
)
def test_one_address_of_two_nodes_is_refused_however_it_is_written(first, second, seen):
    nodes = [node("a2-node1", "a2_primary", first), node("a2-node2", "a2_secondary", second)]
    assert plan(nodes)["errors"] == [
        f"node a2-node2: its address is {seen}; wanted an address of its own for each node. Set ansible_host or "
        "vllm_recipe_address."
    ]


def test_an_address_may_be_in_use_on_two_links():
    nodes = [node("a3-node1", "a3", "fe80::1%eth0", replica="x"), node("a3-node2", "a3", "fe80::1%eth1", replica="y")]
    assert plan(nodes)["errors"] == []


def test_a_replica_has_one_kind_of_addresses():
    nodes = [a2()[0], node("a2-node2", "a2_secondary", "fd00::12")]
    assert plan(nodes)["errors"] == [
        "replica default: has nodes with IPv4 and with IPv6 addresses: a2-node1 (10.0.0.11), a2-node2 (fd00::12); wanted "
        "one kind in a replica, since its nodes connect to each other. Set vllm_recipe_address on the nodes that differ."
    ]
    assert plan(a2(replica="v4") + [node("a3-node1", "a3", "fd00::21", replica="v6")])["errors"] == []


@pytest.mark.parametrize("listen", ["224.0.0.9", "ff02::1", "255.255.255.255", "10.0.0.0/24", "fe80::1%"])
def test_an_api_listens_at_an_address_of_its_node(listen):
    assert plan(a3(listen=listen))["errors"] == [
        f"replica default: node a3-node1: vllm_recipe_listen is \"{listen}\"; wanted 'node', an IP address of the node that "
        "serves the API, or an empty value for what the recipe says."
    ]


@pytest.mark.parametrize("listen, seen", [("FD00:0::1", "fd00::1"), ("0.0.0.0", "0.0.0.0"), ("::", "::")])
def test_what_an_api_listens_at_is_written_in_one_way(listen, seen):
    assert processes(plan(a3(listen=listen)))[0]["listen"] == seen


def test_without_netaddr_the_error_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr(network, "netaddr", None)
    (error,) = plan(a2())["errors"]
    assert error.startswith("the Python library netaddr is missing on this machine (Python /")
    assert "pip install -r requirements.txt" in error and error.endswith("in the environment of Ansible.")
