"""The nodes' network: facts from output of the tools, and verdicts on facts."""

import copy
import json
import os
import socket
import subprocess
import time

import pytest
from ansible_collections.ascend_ops.vllm.plugins.module_utils._checks import network as checks_network
from ansible_collections.ascend_ops.vllm.plugins.module_utils._checks import network_peers as checks_network_peers
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.verdict import WORDS
from ansible_collections.ascend_ops.vllm.plugins.module_utils._facts import network as facts_network
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.model import processes
from ansible_collections.ascend_ops.vllm.plugins.plugin_utils._plan import plan
from certificates import Pki
from healthy import catalogue
from hypothesis import given, settings
from hypothesis import strategies as st
from test_plan import a2, a3

A2 = processes(plan(a2()))
SINGLE = processes(plan(a3()))
NODE_IDS = ["network.interface_up", "network.hostname", "network.firewall", "port.ephemeral", "tls.certificate"]
REPLICA_IDS = ["network.subnet", "network.mtu", "network.clock", "network.reach"]


def port(number, **values):
    return dict({"port": number, "state": "connected", "error": "", "answered": True}, **values)


def healthy(nodes):
    """{host: facts of a healthy node}."""
    facts = {}
    for node in nodes:
        facts[node["host"]] = {
            "network": {"interface": "eth0", "addresses": {}, "error": ""},
            "net": {
                "interfaces": {
                    "eth0": {"state": "UP", "carrier": True, "mtu": 1500, "addresses": [node["address"] + "/24"]}
                },
                "hostname": {"name": node["host"], "addresses": [node["address"]]},
                "time": 0.0,
                "local_port_range": [32768, 60999],
                "reserved_ports": [[60000, 60015]],
                "firewall": {
                    "firewalld": False,
                    "ufw": None,
                    "source": "iptables-save",
                    "policy": "ACCEPT",
                    "drops": 0,
                    "error": "",
                },
            },
        }
    if len(nodes) > 1:
        facts["a2-node1"]["peers"] = {
            "reach": {
                "role": "primary",
                "serving": False,
                "ports": {
                    "api": {"port": 20004, "state": "listened", "error": "", "heard": ["a2-node2"]},
                    "rpc": {"port": 2347, "state": "listened", "error": "", "heard": ["a2-node2"]},
                },
                "back": {"a2-node2": ""},
                "from": 100.0,
                "until": 110.0,
            }
        }
        facts["a2-node2"]["peers"] = {
            "reach": {
                "role": "secondary",
                "serving": False,
                "primary": "a2-node1",
                "ports": {"api": port(20004), "rpc": port(2347)},
                "clock": {"offset": 0.01, "error": 0.001, "source": "listener"},
                "from": 101.0,
                "until": 109.0,
            }
        }
    return facts


def verdicts_on(nodes=A2, change=None, host="a2-node1", facts=None, policy=None):
    facts = healthy(nodes) if facts is None else facts
    if change:
        change(facts)
    facts = json.loads(json.dumps(facts))
    node = [item for item in nodes if item["host"] == host][0]
    first = checks_network.evaluate(node, facts.get(host) or {}, policy or {})
    second = checks_network_peers.evaluate_replica(nodes, facts, policy or {})[host]
    assert [check["id"] for check in first] == NODE_IDS
    assert [check["id"] for check in second] == REPLICA_IDS
    for check in first + second:
        assert check["verdict"] in WORDS and check["seen"] and check["wanted"], check
        assert check["remedy"] or check["verdict"] == "pass"
        assert "{0}" not in check["remedy"] or check["id"] == "port.ephemeral"
    return {check["id"]: check for check in first + second}


def words(verdicts):
    return {name: check["verdict"] for name, check in verdicts.items()}


def put(host, *path_and_value):
    *path, last, value = path_and_value

    def change(facts):
        inner = facts[host]
        for key in path:
            inner = inner[key]
        inner[last] = copy.deepcopy(value)

    return change


ONE, TWO = "a2-node1", "a2-node2"
ETH = ("net", "interfaces", "eth0")
FIRE = ("net", "firewall")
REACH = ("peers", "reach")
SILENT = port(20004, state="silent", error="no answer in 1 s", answered=False)
STARTING = {"role": "secondary", "serving": True, "primary": ONE, "ports": {}, "clock": None, "from": 1.0, "until": 1.0}
REFUSED = port(20004, state="refused", error="Connection refused", answered=False)


def refused(**primary):
    def change(facts):
        facts[TWO]["peers"]["reach"]["ports"]["api"] = REFUSED
        facts[ONE]["peers"]["reach"].update({name: value for name, value in primary.items() if name != "state"})
        if "state" in primary:
            facts[ONE]["peers"]["reach"]["ports"]["api"]["state"] = primary["state"]

    return change


# host that is looked at, change, check, verdict, what is seen, what the remedy names
BROKEN = [
    (ONE, put(ONE, *ETH, "state", "DOWN"), "network.interface_up", "fail", "eth0 is DOWN", "ip link"),
    (ONE, put(ONE, *ETH, "carrier", False), "network.interface_up", "fail", "without a carrier", "cable"),
    (ONE, put(ONE, *ETH, "state", "UNKNOWN"), "network.interface_up", "pass", "UNKNOWN", ""),
    (ONE, put(ONE, "net", "interfaces", None), "network.interface_up", "unknown", "not reported", ""),
    (ONE, put(ONE, "network", "interface", None), "network.interface_up", "unknown", "network.address", ""),
    (
        ONE,
        put(ONE, "net", "hostname", {"name": "a2-node1", "addresses": ["127.0.1.1"]}),
        "network.hostname",
        "warn",
        "a2-node1 is 127.0.1.1",
        "/etc/hosts",
    ),
    (ONE, put(ONE, "net", "hostname", "addresses", ["::1"]), "network.hostname", "warn", "::1", "/etc/hosts"),
    (ONE, put(ONE, "net", "hostname", "addresses", []), "network.hostname", "warn", "not resolved", "/etc/hosts"),
    (ONE, put(ONE, "net", "hostname", "addresses", None), "network.hostname", "unknown", "not reported", ""),
    (ONE, put(ONE, *FIRE, "firewalld", True), "network.firewall", "warn", "firewalld is active", "firewall-cmd"),
    (ONE, put(ONE, *FIRE, "ufw", True), "network.firewall", "warn", "ufw is active", "ufw allow"),
    (ONE, put(ONE, *FIRE, "policy", "DROP"), "network.firewall", "warn", "match no rule are dropped", "iptables"),
    (ONE, put(ONE, *FIRE, "drops", 2), "network.firewall", "warn", "rules that drop or reject: 2", "iptables"),
    (ONE, put(ONE, *FIRE, "source", None), "network.firewall", "unknown", "not reported", ""),
    (ONE, put(ONE, *FIRE[:1], "firewall", None), "network.firewall", "unknown", "did not report", ""),
    (
        ONE,
        put(ONE, "net", "reserved_ports", [[5000, 5000]]),
        "port.ephemeral",
        "warn",
        "32768 to 60999 are ephemeral; among them hccl 60000 to 60007",
        "ip_local_reserved_ports=5000,60000-60007'",
    ),
    (
        ONE,
        put(ONE, "net", "reserved_ports", [[60000, 60003]]),
        "port.ephemeral",
        "warn",
        "60004 to 60007",
        "60000-60007",
    ),
    (ONE, put(ONE, "net", "local_port_range", [1024, 65535]), "port.ephemeral", "warn", "api 20004, rpc 2347", "20004"),
    (ONE, put(ONE, "net", "local_port_range", [32768, 59999]), "port.ephemeral", "pass", "59999", ""),
    (ONE, put(ONE, "net", "local_port_range", None), "port.ephemeral", "unknown", "did not report", "sysctl"),
    (ONE, put(TWO, *ETH, "addresses", ["10.0.0.12/25"]), "network.subnet", "warn", "10.0.0.0/25", "netmask"),
    (ONE, put(TWO, *ETH, "addresses", []), "network.subnet", "unknown", "a2-node2: not reported", ""),
    (ONE, put(TWO, *ETH, "mtu", 9000), "network.mtu", "warn", "a2-node1: 1500, a2-node2: 9000", "ip link set"),
    (TWO, put(ONE, *ETH, "mtu", None), "network.mtu", "unknown", "a2-node1: not reported", ""),
    (TWO, put(TWO, *REACH, "clock", "offset", -7.5), "network.clock", "warn", "-7.500 s", "timedatectl"),
    (TWO, put(TWO, *REACH, "clock", "error", 4.0), "network.clock", "unknown", "within 4.000 s", ""),
    (TWO, put(TWO, *REACH, "clock", None), "network.clock", "unknown", "could not be compared", ""),
    (
        TWO,
        put(TWO, *REACH, "ports", "api", SILENT),
        "network.reach",
        "fail",
        "api 20004 unreachable: no answer",
        "nc -vz",
    ),
    (
        TWO,
        put(TWO, *REACH, "ports", "rpc", port(2347, state="unreachable", error="No route to host", answered=False)),
        "network.reach",
        "fail",
        "rpc 2347 unreachable: No route to host",
        "network.firewall",
    ),
    (TWO, put(TWO, *REACH, "ports", "api", "answered", False), "network.reach", "pass", "another process answers", ""),
    (
        TWO,
        put(TWO, *REACH, "ports", {"rpc": port(2347, state="skipped", error="starts")}),
        "network.reach",
        "skipped",
        "starts",
        "",
    ),
    (
        TWO,
        put(TWO, *REACH, "ports", "rpc", port(2347, state="skipped", error="starts")),
        "network.reach",
        "pass",
        "api",
        "",
    ),
    (TWO, refused(), "network.reach", "fail", "refused, although the primary listened", "nc -vz"),
    (TWO, refused(until=100.5), "network.reach", "unknown", "not tested at the same time", ""),
    (TWO, refused(state="error"), "network.reach", "unknown", "the primary did not listen", ""),
    (TWO, refused(state="serving"), "network.reach", "fail", "service is running there", ""),
    (TWO, put(TWO, "peers", {"reach": {"error": "no primary"}}), "network.reach", "unknown", "no primary", ""),
    (TWO, put(TWO, *REACH, "ports", {}), "network.reach", "unknown", "not known", ""),
    (TWO, put(TWO, "peers", "reach", dict(STARTING)), "network.reach", "skipped", "is starting", ""),
    (TWO, put(TWO, "peers", None), "network.reach", "unknown", "not tested", ""),
    (
        ONE,
        put(ONE, *REACH, "back", {"a2-node2": "no answer in 1 s"}),
        "network.reach",
        "fail",
        "does not accept a connection back",
        "nc",
    ),
    (ONE, put(ONE, *REACH, "back", {}), "network.reach", "unknown", "a2-node2 did not connect", ""),
    (ONE, put(ONE, *REACH, "ports", "api", "state", "in use"), "network.reach", "unknown", "see port.api", ""),
    (ONE, put(ONE, *REACH, "ports", "rpc", "state", "error"), "network.reach", "unknown", "could not be opened", ""),
    (ONE, put(ONE, *REACH, "serving", True), "network.reach", "skipped", "the service is running", ""),
]


def test_a_healthy_pair_passes():
    first, second = words(verdicts_on()), words(verdicts_on(host=TWO))
    assert first.pop("network.clock") == "skipped"
    assert first.pop("tls.certificate") == second.pop("tls.certificate") == "skipped"
    assert set(first.values()) == set(second.values()) == {"pass"}


@pytest.mark.parametrize("host, change, check, word, seen, named", BROKEN)
def test_broken(host, change, check, word, seen, named):
    found = verdicts_on(change=change, host=host)[check]
    assert found["verdict"] == word, found
    assert seen in found["seen"], found
    assert named in found["remedy"], found


def test_a_name_on_loopback_fails_where_no_interface_is_named():
    nodes = copy.deepcopy(A2)
    nodes[0]["env"].pop("GLOO_SOCKET_IFNAME")
    loop = put(ONE, "net", "hostname", "addresses", ["127.0.1.1"])
    assert verdicts_on(nodes, loop)["network.hostname"]["verdict"] == "fail"
    mixed = put(ONE, "net", "hostname", "addresses", ["127.0.1.1", nodes[0]["address"]])
    assert verdicts_on(nodes, mixed)["network.hostname"]["verdict"] == "warn"


def test_the_limit_of_the_clocks_is_a_policy():
    late = put(TWO, *REACH, "clock", "offset", 3.0)
    assert verdicts_on(change=late, host=TWO)["network.clock"]["verdict"] == "warn"
    assert verdicts_on(change=late, host=TWO, policy={"max_clock_skew": 5})["network.clock"]["verdict"] == "pass"


def test_a_single_node_has_nobody_to_reach():
    verdicts = words(verdicts_on(SINGLE, host="a3-node1"))
    skipped = [name for name, word in verdicts.items() if word == "skipped"]
    assert skipped == ["network.firewall", "tls.certificate"] + REPLICA_IDS
    loop = put("a3-node1", "net", "hostname", "addresses", ["127.0.1.1"])
    assert verdicts_on(SINGLE, loop, host="a3-node1")["network.hostname"]["verdict"] == "skipped"


@pytest.mark.parametrize("nodes", [A2, SINGLE])
@pytest.mark.parametrize("reported", [{}, None, {"error": "unreachable"}, {"net": {}, "network": {}, "peers": {}}])
def test_missing_facts_are_never_a_pass(nodes, reported):
    verdicts = words(verdicts_on(nodes, host=nodes[0]["host"], facts={node["host"]: reported for node in nodes}))
    assert set(verdicts.values()) <= {"unknown", "skipped"}


def test_every_check_is_documented():
    assert list(checks_network.CHECKS) == NODE_IDS
    assert list(checks_network_peers.CHECKS) == REPLICA_IDS
    catalogue(checks_network)
    catalogue(checks_network_peers)


# -- reading --------------------------------------------------------------------------------------------------------

LINKS = r"""1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue state UNKNOWN mode DEFAULT group default qlen 1000\    link/loopback 00:00:00:00:00:00 brd 00:00:00:00:00:00
2: enp1s0f0: <BROADCAST,MULTICAST,SLAVE,UP,LOWER_UP> mtu 9000 qdisc mq master bond0 state UP mode DEFAULT group default qlen 1000\    link/ether 02:00:00:00:00:01 brd ff:ff:ff:ff:ff:ff
3: docker0: <NO-CARRIER,BROADCAST,MULTICAST,UP> mtu 1500 qdisc noqueue state DOWN mode DEFAULT group default \    link/ether 02:42:00:00:00:01 brd ff:ff:ff:ff:ff:ff
5: eth0@if6: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc noqueue state UP mode DEFAULT group default \    link/ether 02:42:0a:d5:00:0b brd ff:ff:ff:ff:ff:ff link-netnsid 0
"""
ADDRESSES = r"""1: lo    inet 127.0.0.1/8 scope host lo\       valid_lft forever preferred_lft forever
5: eth0    inet 192.0.2.11/24 brd 192.0.2.255 scope global eth0\       valid_lft forever preferred_lft forever
5: eth0    inet6 fe80::42:aff:fed5:b/64 scope link \       valid_lft forever preferred_lft forever
7: tun0    inet 198.51.100.1 peer 198.51.100.2/32 scope global tun0\       valid_lft forever preferred_lft forever
"""


def test_interfaces():
    reported = facts_network.parse_interfaces(LINKS, ADDRESSES)
    assert reported["eth0"] == {
        "state": "UP",
        "carrier": True,
        "mtu": 1500,
        "addresses": ["192.0.2.11/24", "fe80::42:aff:fed5:b/64"],
    }
    assert (reported["docker0"]["state"], reported["docker0"]["carrier"]) == ("DOWN", False)
    assert reported["enp1s0f0"]["mtu"] == 9000
    assert reported["tun0"]["addresses"] == ["198.51.100.1/32"]


IPTABLES = """# Generated by iptables-save v1.8.9 (nf_tables)
*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:DOCKER-USER - [0:0]
-A FORWARD -j DOCKER-USER
-A DOCKER-USER -j DROP
-A INPUT -m conntrack --ctstate INVALID -j DROP
{0}COMMIT
"""
NFT = """table inet firewalld {{
\tchain filter_INPUT {{
\t\ttype filter hook input priority filter + 10; policy {0};
\t\tct state {{ established, related }} accept
\t\tct state invalid drop
\t\tjump filter_INPUT_ZONES
{1}\t}}
\tchain filter_INPUT_ZONES {{
\t\tiifname "eth0" goto filter_IN_public
\t}}
\tchain filter_IN_public {{
\t\ttcp dport 22 accept
{2}\t}}
\tchain filter_FORWARD {{
\t\ttype filter hook forward priority filter; policy drop;
\t\treject with icmpx admin-prohibited
\t}}
}}
"""


@pytest.mark.parametrize(
    "rules, policy, drops",
    [
        ("", "ACCEPT", 0),
        ("-A INPUT -p tcp -m tcp --dport 20004 -j DROP\n", "ACCEPT", 1),
        ("-A INPUT -j ufw-in\n-A ufw-in -p tcp -j REJECT --reject-with tcp-reset\n-A ufw-in -g INPUT\n", "ACCEPT", 1),
        ("-A ufw-in -j DROP\n", "ACCEPT", 0),
    ],
)
def test_iptables(rules, policy, drops):
    assert facts_network.parse_iptables(IPTABLES.format(rules)) == {"policy": policy, "drops": drops}


def test_iptables_policy():
    text = IPTABLES.format("").replace(":INPUT ACCEPT", ":INPUT DROP")
    assert facts_network.parse_iptables(text)["policy"] == "DROP"
    assert facts_network.parse_iptables("") == {"policy": "ACCEPT", "drops": 0}
    assert facts_network.parse_iptables("iptables-save: Permission denied (you must be root)\n") is None


@pytest.mark.parametrize(
    "policy, first, second, wanted",
    [
        ("accept", "", "", ("ACCEPT", 0)),
        ("drop", "", "", ("DROP", 0)),
        ("accept", "\t\treject with icmpx admin-prohibited\n", "", ("ACCEPT", 1)),
        ("accept", "", "\t\ttcp dport 20004 drop\n", ("ACCEPT", 1)),
    ],
)
def test_nft(policy, first, second, wanted):
    reported = facts_network.parse_nft(NFT.format(policy, first, second))
    assert (reported["policy"], reported["drops"]) == wanted
    assert facts_network.parse_nft("Error: Operation not permitted") is None


def test_ports_of_the_kernel():
    assert facts_network.port_range("32768\t60999") == [32768, 60999]
    assert facts_network.port_range(None) is None and facts_network.port_range("many") is None
    assert facts_network.reserved_ports("") == [] and facts_network.reserved_ports(None) is None
    assert facts_network.reserved_ports("5000,60000-60015") == [[5000, 5000], [60000, 60015]]


@pytest.fixture
def tools(tmp_path, monkeypatch):
    """Stand-ins that are found first; a tool without one is missing."""

    def make(name, body):
        path = tmp_path / name
        path.write_text("#!/bin/sh\n" + body)
        path.chmod(0o755)

    def find(name, explicit=None):
        return str(tmp_path / name) if (tmp_path / name).exists() else None

    monkeypatch.setattr(facts_network, "find_tool", find)
    return make


def test_gather(tools):
    tools("ip", f"[ $2 = link ] && printf '%s' '{LINKS}' || printf '%s' '{ADDRESSES}'\n")
    tools("getent", 'echo "127.0.1.1 STREAM $2"; echo "127.0.1.1 DGRAM"\n')
    tools("systemctl", "echo active\n")
    tools("ufw", "echo Status: active\n")
    tools("iptables-save", "cat << 'END'\n" + IPTABLES.format("-A INPUT -j DROP\n") + "END\n")
    tools("nft", "echo 'Error: no' >&2; exit 1\n")
    reported = facts_network.gather(A2[0], {"timeout": 5})
    assert json.loads(json.dumps(reported)) == reported
    assert reported["interfaces"]["eth0"]["mtu"] == 1500
    assert reported["hostname"] == {"name": socket.gethostname(), "addresses": ["127.0.1.1"]}
    assert reported["firewall"] == {
        "firewalld": True,
        "ufw": True,
        "source": "iptables-save",
        "policy": "ACCEPT",
        "drops": 1,
        "error": "",
    }
    assert abs(reported["time"] - time.time()) < 5


def test_gather_without_a_tool(tools):
    reported = facts_network.gather(A2[0], {"timeout": 5})
    assert reported["interfaces"] is None and reported["hostname"]["addresses"] is None
    assert reported["firewall"]["source"] is None and "no iptables-save" in reported["firewall"]["error"]


def test_gather_with_hanging_tools(tools):
    for name in ("ip", "getent", "systemctl", "ufw", "iptables-save", "nft"):
        tools(name, "sleep 60\n")
    started = time.monotonic()
    reported = facts_network.gather(A2[0], {"timeout": 0.4})
    assert time.monotonic() - started < 4
    assert reported["interfaces"] is None and reported["hostname"]["addresses"] is None
    assert reported["firewall"]["firewalld"] is None and reported["firewall"]["source"] is None


@pytest.mark.parametrize("answer, firewalld", [("inactive", False), ("unknown", False), ("failed to connect", None)])
def test_firewalld(tools, answer, firewalld):
    tools("systemctl", f"echo '{answer}'; exit 3\n")
    assert facts_network.firewall(5)["firewalld"] is firewalld


LINES = st.lists(st.sampled_from((LINKS + ADDRESSES + IPTABLES + NFT).splitlines()) | st.text(max_size=60), max_size=20)


@settings(max_examples=100, deadline=None)
@given(LINES)
def test_any_text_is_read_without_a_crash(lines):
    text = "\n".join(lines)
    json.dumps(facts_network.parse_interfaces(text, text))
    for parse in (facts_network.parse_iptables, facts_network.parse_nft):
        reported = parse(text)
        assert reported is None or (reported["policy"] in ("ACCEPT", "DROP") and reported["drops"] >= 0)
    facts_network.port_range(text)
    facts_network.reserved_ports(text)


# -- TLS ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def pki(tmp_path):
    return Pki(tmp_path)


def with_tls(pems, ca=""):
    """The plan's node, and the facts of its certificate."""
    given = {"certificate": pems[0], "key": pems[1]}
    if ca:
        given["ca"] = ca
    node = processes(plan(a3(tls=given)))[0]
    return node, facts_network.tls(node["tls"], node["service"])


def certificate(pems, ca="", change=None):
    node, reported = with_tls(pems, ca)
    facts = {"net": {"tls": reported, "time": time.time()}}
    if change:
        change(facts["net"])
    checks = checks_network.evaluate(node, json.loads(json.dumps(facts)), {})
    return [check for check in checks if check["id"] == "tls.certificate"][0]


def test_good_certificates(pki):
    authority = pki.authority()
    for pems, ca in (
        (pki.self_signed("10.0.0.21"), ""),
        (pki.signed(authority, "10.0.0.21"), authority[0]),
        (pki.signed(authority, "10.0.0.21"), ""),
    ):
        seen = certificate(pems, ca)
        assert (seen["verdict"], seen["seen"]) == ("pass", "valid for 98 more days"), seen


def test_certificate_and_key_in_one_file(pki, tmp_path):
    both = tmp_path / "both.pem"
    both.touch(0o600)
    both.write_text("".join(open(path).read() for path in pki.self_signed("10.0.0.21")))
    assert certificate((str(both), str(both)))["verdict"] == "pass"


def bad(name, pki, tmp_path):
    """(certificate and key, ca) with one thing wrong."""
    authority = pki.authority()
    good = pki.signed(authority, "10.0.0.21")
    other = pki.signed(authority, "10.0.0.22")
    secret = tmp_path / "secret.key"
    if name == "a key with a passphrase":
        words = ["openssl", "pkey", "-aes256", "-passout", "pass:x", "-in", good[1], "-out", str(secret)]
        subprocess.run(words, check=True, capture_output=True)
    return {
        "no certificate": (("/nowhere/c.pem", good[1]), ""),
        "no key": ((good[0], "/nowhere/k.pem"), ""),
        "no ca": (good, "/nowhere/ca.pem"),
        "a folder": ((str(tmp_path), good[1]), ""),
        "another key": ((good[0], other[1]), ""),
        "a key with a passphrase": ((good[0], str(secret)), ""),
        "swapped": ((good[1], good[0]), ""),
        "a ca that is none": (good, good[1]),
        "another ca": (good, pki.authority()[0]),
        "another address": (other, authority[0]),
        "expired": (pki.signed(authority, "10.0.0.21", days=-1), authority[0]),
    }[name]


@pytest.mark.parametrize(
    "name, says, remedy",
    [
        ("no certificate", "/nowhere/c.pem: No such file", "Copy the file to the node"),
        ("no key", "/nowhere/k.pem: No such file", "Copy the file to the node"),
        ("no ca", "/nowhere/ca.pem: No such file", "Copy the file to the node"),
        ("a folder", "Is a directory", "Copy the file to the node"),
        ("another key", "key values mismatch", "matching certificate and key"),
        ("a key with a passphrase", "", "without a passphrase"),
        ("swapped", "", "matching certificate and key"),
        ("a ca that is none", "", "must be a file of certificates"),
        ("another ca", "unable to get local issuer certificate", "vllm_recipe_tls.ca must be the authority"),
        ("another address", "not valid for '10.0.0.21'", "subjectAltName"),
        ("expired", "certificate has expired", "must be valid now"),
    ],
)
def test_bad_certificates(name, says, remedy, pki, tmp_path):
    pems, ca = bad(name, pki, tmp_path)
    seen = certificate(pems, ca)
    assert seen["verdict"] == "fail", seen
    assert seen["seen"] and says in seen["seen"] and remedy in seen["remedy"], seen


def test_a_certificate_that_ends_soon_is_a_warning(pki):
    seen = certificate(pki.self_signed("10.0.0.21", days=29))
    assert (seen["verdict"], seen["seen"]) == ("warn", "valid for 28 more days") and "deploy" in seen["remedy"]
    assert certificate(pki.self_signed("10.0.0.21", days=31))["verdict"] == "pass"


def test_a_key_that_others_can_read_is_a_warning(pki):
    pems = pki.self_signed("10.0.0.21")
    os.chmod(pems[1], 0o644)
    seen = certificate(pems)
    assert (seen["verdict"], seen["remedy"]) == ("warn", f"Run 'chmod 0600 {pems[1]}'.")


def test_a_certificate_of_which_nothing_was_told(pki):
    seen = certificate(pki.self_signed("10.0.0.21"), change=lambda net: net.update(tls=None))
    assert seen["verdict"] == "unknown"


def test_with_https_the_clock_of_a_service_that_runs_is_not_compared():
    nodes = processes(plan(a2(tls={"certificate": "/c", "key": "/k"})))

    def change(facts):
        for host in facts:
            facts[host]["peers"]["reach"]["serving"] = True
        facts["a2-node2"]["peers"]["reach"]["clock"] = None

    assert verdicts_on(nodes, change, "a2-node2")["network.clock"]["verdict"] == "skipped"
    assert verdicts_on(A2, change, "a2-node2")["network.clock"]["verdict"] == "unknown"
