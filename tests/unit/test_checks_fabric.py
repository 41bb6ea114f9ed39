"""The chips' network: facts from stand-ins for hccn_tool, and verdicts on facts."""

import copy
import json
import time
from pathlib import Path

import pytest
from ansible_collections.ascend_ops.vllm.plugins.module_utils._checks import fabric as checks_fabric
from ansible_collections.ascend_ops.vllm.plugins.module_utils._checks import fabric_peers as checks_fabric_peers
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common import run
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.verdict import WORDS
from ansible_collections.ascend_ops.vllm.plugins.module_utils._facts import fabric as facts_fabric
from ansible_collections.ascend_ops.vllm.plugins.module_utils._npu import chips as npu_chips
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.model import processes
from ansible_collections.ascend_ops.vllm.plugins.plugin_utils._plan import plan
from healthy import catalogue
from hypothesis import given, settings
from hypothesis import strategies as st
from test_plan import a2, a3

FIXTURES = Path(__file__).parent / "fixtures" / "hccn"
A2 = processes(plan(a2()))
SINGLE = processes(plan(a3()))
NODE_IDS = ["fabric.tool", "fabric.link", "fabric.net_health", "fabric.optics"]
REPLICA_IDS = ["fabric.tls", "fabric.switch", "fabric.addresses", "fabric.superpod", "fabric.ping"]


def two_a3():
    """A replica of two A3 nodes, which no recipe has yet."""
    nodes = [
        dict(copy.deepcopy(SINGLE[0]), host=host, address=address, ranks=[rank, rank, 2], role=role)
        for rank, (host, address, role) in enumerate([("x", "10.0.0.21", "primary"), ("y", "10.0.0.22", "secondary")])
    ]
    return nodes


def chip_facts(number, chip):
    return {
        "link": "UP",
        "net_health": "Success",
        "address": f"29.1.{number}.{10 + chip}",
        "netmask": "255.255.0.0",
        "tls": False,
        "optical": {"present": True, "tx_power_mw": 1.1, "rx_power_mw": 1.0, "temperature_c": None},
        "lldp": {"peer": True, "port": "400GE1/1/1", "system": "leaf-1"},
        "vnic": None,
        "superpod": {"sdid": number * 1000 + chip, "superpod": 0, "size": 384, "server": number},
        "problems": {},
    }


def healthy(nodes):
    """{host: facts of a healthy node}."""
    facts = {}
    for number, node in enumerate(nodes, 1):
        chips = {str(chip): chip_facts(number, chip) for chip in npu_chips.chips_of(node)}
        facts[node["host"]] = {
            "fabric": {"tool": "/usr/local/Ascend/driver/tools/hccn_tool", "error": "", "chips": chips, "seconds": 1.0},
            "hccn_conf": {
                chip: {"address": reported["address"], "netmask": "255.255.0.0"} for chip, reported in chips.items()
            },
            "peers": {
                "ping_error": "",
                "pings": [
                    {
                        "chip": int(chip),
                        "host": other["host"],
                        "peer_chip": int(chip),
                        "address": "29.1.0.1",
                        "kind": "ping",
                        "transmitted": 3,
                        "received": 3,
                        "error": "",
                    }
                    for other in nodes
                    if other is not node
                    for chip in chips
                ],
            },
        }
    return facts


def verdicts_on(nodes=A2, change=None, host=None, facts=None):
    """{check: verdict} of the first node."""
    facts = healthy(nodes) if facts is None else facts
    if change:
        change(facts)
    facts = json.loads(json.dumps(facts))
    node = [item for item in nodes if item["host"] == (host or nodes[0]["host"])][0]
    first = checks_fabric.evaluate(node, facts.get(node["host"]) or {}, {})
    second = checks_fabric_peers.evaluate_replica(nodes, facts, {})[node["host"]]
    assert [check["id"] for check in first] == NODE_IDS
    assert [check["id"] for check in second] == REPLICA_IDS
    for check in first + second:
        assert check["verdict"] in WORDS and check["seen"] and check["wanted"], check
        assert check["remedy"] or check["verdict"] == "pass"
    return {check["id"]: check for check in first + second}


def words(verdicts):
    return {name: check["verdict"] for name, check in verdicts.items()}


def chip(number, **values):
    """A change of the facts of chip *number* of the first A2 node."""
    return lambda facts: facts["a2-node1"]["fabric"]["chips"][str(number)].update(values)


def every(**values):
    """A change of the facts of all chips of both A2 nodes."""

    def change(facts):
        for reported in facts.values():
            for entry in reported["fabric"]["chips"].values():
                entry.update(copy.deepcopy(values))

    return change


def ping(number, **values):
    return lambda facts: facts["a2-node1"]["peers"]["pings"][number].update(values)


def put(*path_and_value):
    *path, last, value = path_and_value

    def change(facts):
        inner = facts["a2-node1"]
        for key in path:
            inner = inner[key]
        inner[last] = value

    return change


def both(*changes):
    def change(facts):
        for one in changes:
            one(facts)

    return change


NO_PEER = {"peer": False, "port": None, "system": None}
FAILED = "Command execute failed!"
BROKEN = [
    (put("fabric", None), "fabric.tool", "unknown", "did not report"),
    (
        put("fabric", {"tool": None, "error": "there is no hccn_tool", "chips": {}}),
        "fabric.tool",
        "fail",
        "no hccn_tool",
    ),
    (
        put("fabric", {"tool": None, "error": "there is no hccn_tool", "chips": {}}),
        "fabric.link",
        "unknown",
        "not reported",
    ),
    (
        chip(3, link=None, net_health=None, address=None, tls=None, problems={"link": FAILED}),
        "fabric.tool",
        "unknown",
        FAILED + " on chip 3",
    ),
    (chip(3, link="DOWN"), "fabric.link", "fail", "DOWN on chip 3"),
    (chip(3, link=None, problems={"link": FAILED}), "fabric.link", "unknown", FAILED + " on chip 3"),
    (chip(2, net_health="Socket failed"), "fabric.net_health", "fail", "Socket failed on chip 2"),
    (chip(2, net_health="Init"), "fabric.net_health", "warn", "Init on chip 2"),
    (chip(2, net_health=None), "fabric.net_health", "unknown", "not reported on chip 2"),
    (chip(1, link="DOWN", optical={"present": False}), "fabric.optics", "fail", "not present on chip 1"),
    (chip(1, optical={"present": False}), "fabric.optics", "pass", "copper"),
    (chip(1, link="DOWN", optical={"present": True, "rx_power_mw": 0.0}), "fabric.optics", "warn", "no light"),
    (chip(1, optical=None), "fabric.optics", "unknown", "not reported on chip 1"),
    (
        chip(0, tls=True),
        "fabric.tls",
        "fail",
        "on on a2-node1: chip 0; off on a2-node1: chips 1 to 7; a2-node2: chips 0",
    ),
    (chip(0, tls=None), "fabric.tls", "unknown", "not reported on a2-node1: chip 0"),
    (every(tls=True), "fabric.tls", "pass", "on on all 16 chips"),
    (every(lldp=NO_PEER), "fabric.switch", "fail", "back to back"),
    (chip(4, lldp=NO_PEER), "fabric.switch", "warn", "no switch seen by chip 4"),
    (chip(4, lldp=None, problems={"lldp": FAILED}), "fabric.switch", "unknown", FAILED + " on chip 4"),
    (chip(0, address="29.1.2.10"), "fabric.addresses", "fail", "29.1.2.10 is on a2-node1: chip 0; a2-node2: chip 0"),
    (chip(5, netmask="255.255.255.0"), "fabric.addresses", "fail", "chip 5: 29.1.1.0/24 here, 29.1.0.0/16 on a2-node2"),
    (chip(5, address="30.0.0.1"), "fabric.addresses", "fail", "hccn.conf says 29.1.1.15"),
    (chip(5, address="0.0.0.0"), "fabric.addresses", "fail", "no address on chip 5"),
    (both(chip(5, address=None), put("hccn_conf", "5", {})), "fabric.addresses", "fail", "no address on chip 5"),
    (chip(5, address=None), "fabric.addresses", "unknown", "chip 5 of a2-node1"),
    (chip(5, netmask=None), "fabric.addresses", "warn", "a netmask of chip 5 was not reported"),
    (put("hccn_conf", None), "fabric.addresses", "pass", "29.1.1.10 to 29.1.1.17"),
    (ping(6, received=0), "fabric.ping", "fail", "chip 6 to a2-node2 chip 6 (29.1.0.1): no answer"),
    (ping(6, received=2), "fabric.ping", "warn", "2 of 3 answered"),
    (ping(6, received=None, transmitted=None, error=FAILED), "fabric.ping", "unknown", FAILED),
    (put("peers", "pings", []), "fabric.ping", "unknown", "the address of its peer was not reported"),
    (put("peers", None), "fabric.ping", "unknown", "no pings were sent"),
    (put("peers", "ping_error", "there is no hccn_tool"), "fabric.ping", "unknown", "no hccn_tool"),
]


def test_a_healthy_pair_passes():
    for host in ("a2-node1", "a2-node2"):
        verdicts = words(verdicts_on(host=host))
        assert verdicts.pop("fabric.superpod") == "skipped"
        assert set(verdicts.values()) == {"pass"}


@pytest.mark.parametrize("change, check, word, seen", BROKEN)
def test_broken(change, check, word, seen):
    found = verdicts_on(change=change)[check]
    assert found["verdict"] == word, found
    assert seen in found["seen"], found


def test_a_broken_node_is_seen_by_its_mate_only_where_both_matter():
    other = words(verdicts_on(change=chip(3, link="DOWN", net_health="Init"), host="a2-node2"))
    assert (other["fabric.link"], other["fabric.net_health"]) == ("pass", "pass")
    assert words(verdicts_on(change=chip(0, tls=True), host="a2-node2"))["fabric.tls"] == "fail"
    assert words(verdicts_on(change=chip(0, address="29.1.2.10"), host="a2-node2"))["fabric.addresses"] == "fail"


def test_back_to_back_is_refused_with_expert_parallelism_only():
    dense = copy.deepcopy(A2)
    for node in dense:
        node["argv"] = [word for word in node["argv"] if word != "--enable-expert-parallel"]
    assert verdicts_on(dense, every(lldp=NO_PEER))["fabric.switch"]["verdict"] == "warn"
    assert verdicts_on(A2, every(lldp=None))["fabric.switch"]["verdict"] == "unknown"


def test_subnets_that_differ_behind_gateways_only_warn():
    def rails(facts):
        for number, reported in enumerate(facts.values()):
            for name, entry in reported["fabric"]["chips"].items():
                entry.update(address=f"10.{number}.{name}.2", netmask="255.255.255.0")
                reported["hccn_conf"][name] = {"address": entry["address"], "gateway": f"10.{number}.{name}.1"}

    assert verdicts_on(change=rails)["fabric.addresses"]["verdict"] == "warn"

    def one_rail(facts):
        rails(facts)
        for number, reported in enumerate(facts.values()):
            for name, entry in reported["fabric"]["chips"].items():
                entry["address"] = reported["hccn_conf"][name]["address"] = f"10.0.{name}.{2 + number}"

    assert verdicts_on(change=one_rail)["fabric.addresses"]["verdict"] == "pass"  # a subnet for each number


def test_a_single_node_is_never_failed_for_roce():
    assert set(words(verdicts_on(SINGLE)).values()) == {"pass", "skipped"}

    def bare(facts):
        for entry in facts["a3-node1"]["fabric"]["chips"].values():
            entry.update(link="DOWN", net_health="Init", address=None, optical={"present": False}, lldp=None, tls=None)

    verdicts = verdicts_on(SINGLE, bare)
    assert set(words(verdicts).values()) <= {"pass", "skipped"}
    assert "over HCCS" in verdicts["fabric.link"]["seen"] and "DOWN" in verdicts["fabric.link"]["seen"]
    tool = verdicts_on(
        SINGLE, lambda facts: facts["a3-node1"].update(fabric={"error": "none", "tool": None, "chips": {}})
    )
    assert tool["fabric.tool"]["verdict"] == "warn"


def test_a3_nodes_of_one_super_pod():
    nodes = two_a3()
    verdicts = words(verdicts_on(nodes))
    assert verdicts.pop("fabric.switch") == "skipped"
    assert set(verdicts.values()) == {"pass"}

    def first(**values):
        return lambda facts: facts["x"]["fabric"]["chips"]["3"].update(values)

    def pod(**values):
        return first(superpod=dict({"sdid": 77, "superpod": 0, "size": 384, "server": 1}, **values))

    assert verdicts_on(nodes, pod(superpod=4))["fabric.superpod"]["seen"] == "super-pod 0: x, y; super-pod 4: x"
    assert verdicts_on(nodes, pod(superpod=4))["fabric.superpod"]["verdict"] == "fail"
    assert verdicts_on(nodes, pod(sdid=2003))["fabric.superpod"]["verdict"] == "fail"
    assert verdicts_on(nodes, first(superpod=None))["fabric.superpod"]["verdict"] == "unknown"
    assert verdicts_on(nodes, first(link="DOWN"))["fabric.link"]["verdict"] == "warn"  # HCCS may do


@pytest.mark.parametrize("nodes", [A2, SINGLE, two_a3()])
@pytest.mark.parametrize("reported", [{}, None, {"error": "unreachable"}, {"fabric": {}, "peers": {}}])
def test_missing_facts_are_never_a_pass(nodes, reported):
    verdicts = words(verdicts_on(nodes, facts={node["host"]: reported for node in nodes}))
    assert "pass" not in verdicts.values() and "fail" not in verdicts.values()


def test_every_check_is_documented():
    assert list(checks_fabric.CHECKS) == NODE_IDS
    assert list(checks_fabric_peers.CHECKS) == REPLICA_IDS
    catalogue(checks_fabric)
    catalogue(checks_fabric_peers)


# -- reading --------------------------------------------------------------------------------------------------------


def tool(tmp_path, body, name="hccn_tool"):
    path = tmp_path / name
    path.write_text("#!/bin/sh\n" + body)
    path.chmod(0o755)
    return str(path)


SPOD = "\tSDID                           : 16777216\n\tSuper Pod Size                 : 384\n\tSuper Pod ID                   : 0\n\tServer Index                   : 4\n"
ANSWERS = f"""case "$3" in
-link) echo 'link status: UP';; -net_health) echo 'net health status: Success';;
-ip) printf 'ipaddr:192.0.2.1%s\\nnetmask:255.255.255.0\\n' $2;; -lldp) cat {FIXTURES}/hccn-lldp-910B1-elided.txt;;
-tls) echo "dev_id:$2, tls switch[1](0:disable, 1:enable)";; -vnic) printf 'vnic link status: UP\\nvnic ipaddr: 198.51.100.%s\\nvnic netmask: 255.255.255.0\\n' $2;;
*) echo 'Command execute failed!'; exit 1;;
esac
"""


def test_gather(tmp_path):
    node = copy.deepcopy(A2[0])
    facts = facts_fabric.gather(node, {"timeout": 5, "hccn_tool": tool(tmp_path, ANSWERS)})
    assert json.loads(json.dumps(facts)) == facts
    assert (facts["error"], sorted(facts["chips"])) == ("", [str(number) for number in range(8)])
    entry = facts["chips"]["3"]
    assert (entry["link"], entry["net_health"], entry["tls"]) == ("UP", "Success", True)
    assert (entry["address"], entry["netmask"]) == ("192.0.2.13", "255.255.255.0")
    assert entry["lldp"]["peer"] is True and entry["optical"] is None
    assert entry["problems"] == {"optical": "Command execute failed!"}


def test_gather_of_several_a3_asks_the_super_pod(tmp_path):
    smi = tool(
        tmp_path,
        "[ \"$2 $3\" = '-t spod-info' ] && [ $5 -lt 8 ] && [ $7 -lt 2 ] && printf '%s' '" + SPOD + "'\n",
        "npu-smi",
    )
    facts = facts_fabric.gather(two_a3()[0], {"timeout": 5, "hccn_tool": tool(tmp_path, ANSWERS), "npu_smi": smi})
    assert facts["chips"]["15"]["superpod"] == {"sdid": 16777216, "superpod": 0, "size": 384, "server": 4}
    assert facts["chips"]["15"]["vnic"] == {"address": "198.51.100.15", "link": "UP"}
    single = facts_fabric.gather(SINGLE[0], {"timeout": 5, "hccn_tool": tool(tmp_path, ANSWERS), "npu_smi": smi})
    assert single["chips"]["15"]["superpod"] is None and single["chips"]["15"]["vnic"] is None


@pytest.mark.parametrize(
    "text", ["", "????", "Super Pod Size : 384", "This device does not support querying spod-info."]
)
def test_no_super_pod(text):
    assert facts_fabric.parse_spod_info(text) is None


def test_super_pod_in_a_table():
    assert facts_fabric.parse_spod_info("| Super Pod ID     : 3          | Pod ID : 1     |")["superpod"] == 3


def test_a_hanging_tool_costs_the_timeout_once(tmp_path):
    started = time.monotonic()
    facts = facts_fabric.read_chips(range(8), tool(tmp_path, "sleep 60\n"), 0.6)
    assert time.monotonic() - started < 3
    assert facts["chips"]["7"]["problems"] == {"link": "no answer in 0.6 s"}
    assert facts["chips"]["7"]["link"] is None


def test_one_chip_that_hangs_does_not_cost_the_others(tmp_path):
    facts = facts_fabric.read_chips(range(3), tool(tmp_path, '[ "$2" = 1 ] && sleep 60\n' + ANSWERS), 1)
    assert [facts["chips"][name]["link"] for name in ("0", "1", "2")] == ["UP", None, "UP"]


@pytest.mark.parametrize(
    "body", ["exit 0", "printf '\\377\\376 link status: MAYBE'", "yes x | head -c 3000000", "kill -9 $$"]
)
def test_garbage_is_not_told(tmp_path, body):
    facts = facts_fabric.read_chips([0], tool(tmp_path, body + "\n"), 5)
    entry = facts["chips"]["0"]
    assert all(entry[name] is None for name in ("link", "net_health", "address", "tls", "lldp", "optical"))
    assert entry["problems"]["link"] and max(map(len, entry["problems"].values())) < 200


def test_no_tool():
    assert facts_fabric.read_chips([0], "/nowhere/hccn_tool")["error"] == "there is no file /nowhere/hccn_tool"


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=300))
def test_any_text_is_read_without_a_crash(text):
    for parse in (facts_fabric.parse_vnic, facts_fabric.parse_spod_info, run.shorten):
        parse(text)


VALUES = (
    st.none() | st.sampled_from(["UP", "DOWN", "Init", "Success", "", "29.1.1.1", "255.0.255.0", "x"]) | st.booleans()
)


@settings(max_examples=100, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["link", "net_health", "address", "netmask", "tls"]), VALUES | st.integers(), max_size=5
    )
)
def test_odd_values_do_not_crash(values):
    values = {key: value if key == "tls" or value is None else str(value) for key, value in values.items()}
    verdicts_on(change=every(**values))
