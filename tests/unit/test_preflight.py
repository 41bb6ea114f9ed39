"""The verdicts of all domains together: reports, texts, JUnit; facts that cannot be evaluated are never a pass."""

import json
from xml.etree import ElementTree

import pytest
from ansible_collections.ascend_ops.vllm.plugins.filter.preflight import preflight_connections
from ansible_collections.ascend_ops.vllm.plugins.module_utils._checks.preflight import catalogue, evaluate
from ansible_collections.ascend_ops.vllm.plugins.module_utils._checks.report import (
    junit,
    stopping,
    text,
)
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.model import processes
from ansible_collections.ascend_ops.vllm.plugins.plugin_utils._plan import plan
from ansible_collections.ascend_ops.vllm.plugins.plugin_utils._preflight import evaluate as preflight
from ansible_collections.ascend_ops.vllm.plugins.plugin_utils._preflight import saved_facts, slow_connections
from healthy import own_facts
from hypothesis import given, settings
from hypothesis import strategies as st
from test_checks_node import healthy
from test_plan import a2, a3

NODES = processes(plan(a2()))
POLICY = {"min_driver": "", "driver_min": "25.0", "min_python": "3.8"}
UNREACHABLE = "ssh: connect to host 10.0.0.11 port 22: timed out"


def facts_of(nodes):
    return {node["host"]: {**healthy(node), **own_facts(node), "npu": healthy(node)["npu"]} for node in nodes}


def reports(change=None, nodes=NODES):
    facts = facts_of(nodes)
    if change:
        change(facts)
    return evaluate(nodes, facts, POLICY)


def checks(report, host):
    return {check["id"]: check for entry in report["nodes"] if entry["host"] == host for check in entry["checks"]}


def test_a_verdict_is_whole_and_points_to_its_docs():
    (report,) = reports()
    assert (report["schema_version"], report["replica"]) == (1, "default")
    for entry in report["nodes"]:
        for check in entry["checks"]:
            assert set(check) == {"id", "verdict", "seen", "wanted", "remedy", "docs"}
            assert check["docs"] == "docs/checks.md#" + check["id"].replace(".", "")
            assert check["id"] in catalogue() or check["id"].endswith(".facts")
    counted = [check["verdict"] for entry in report["nodes"] for check in entry["checks"]]
    assert report["summary"] == {word: counted.count(word) for word in ("pass", "skipped", "warn", "unknown", "fail")}


def test_each_replica_has_its_report():
    nodes = processes(plan(a2(replica="x") + a3(replica="y")))
    assert [(report["replica"], len(report["nodes"])) for report in reports(nodes=nodes)] == [("x", 2), ("y", 1)]


@pytest.mark.parametrize("reported", [{"error": UNREACHABLE}, None, {}])
def test_unreachable_node(reported):
    (report,) = reports(lambda facts: facts.update({"a2-node1": reported}))
    first = checks(report, "a2-node1")["node.reachable"]
    assert first["verdict"] == "fail"
    assert first["seen"] == (reported or {"error": "the node did not answer"})["error"]
    assert "ssh 10.0.0.11" in first["remedy"]
    others = checks(report, "a2-node1")
    others.pop("node.reachable")
    assert {check["verdict"] for check in others.values()} <= {"unknown", "skipped"}, others


@pytest.mark.parametrize(
    ("login", "command"),
    [
        ({}, "'ssh 10.0.0.11'"),
        ({"user": "admin"}, "'ssh admin@10.0.0.11'"),
        ({"user": "admin", "port": 22}, "'ssh admin@10.0.0.11'"),
        ({"user": "admin", "port": "2222"}, "'ssh -p 2222 admin@10.0.0.11'"),
        ({"port": 2222}, "'ssh -p 2222 10.0.0.11'"),
    ],
)
def test_the_ssh_command_is_the_one_that_ansible_uses(login, command):
    (report,) = reports(lambda facts: facts.update({"a2-node1": dict(login, error=UNREACHABLE)}))
    assert command in checks(report, "a2-node1")["node.reachable"]["remedy"]


# -- one machine under two names ------------------------------------------------------------------------------------


def same_machine(*hosts):
    def change(facts):
        for host in hosts:
            facts[host]["machine_id"] = "5eb63bbbe01eeed0"

    return change


def test_two_hosts_that_are_one_machine_fail_as_that():
    (report,) = reports(same_machine("a2-node1", "a2-node2"))
    for host, other in (("a2-node1", "a2-node2"), ("a2-node2", "a2-node1")):
        found = checks(report, host)["node.machine"]
        assert found["verdict"] == "fail"
        assert found["seen"] == f"is the same machine as {other} (machine id 5eb63bbbe01eeed0)"
        assert found["wanted"] == "a machine of its own"
        assert "ansible_host" in found["remedy"] and "'ansible_connection: ssh'" in found["remedy"]


def test_hosts_of_different_replicas_are_compared_as_well():
    nodes = processes(plan(a2(replica="x") + a3(replica="y")))
    found = reports(same_machine("a2-node2", "a3-node1"), nodes)
    verdicts = {
        entry["host"]: checks(report, entry["host"])["node.machine"]["verdict"]
        for report in found
        for entry in report["nodes"]
    }
    assert verdicts == {"a2-node1": "pass", "a2-node2": "fail", "a3-node1": "fail"}


def test_machines_of_their_own_pass_and_one_that_is_not_known_does_not():
    (report,) = reports()
    assert checks(report, "a2-node1")["node.machine"]["verdict"] == "pass"
    for value in (None, "", 7, ["5eb63bbbe01eeed0"]):
        (report,) = reports(lambda facts, value=value: [fact.update(machine_id=value) for fact in facts.values()])
        found = checks(report, "a2-node1")["node.machine"]
        assert found["verdict"] == "unknown" and "boot_id" in found["remedy"]


def test_a_node_out_of_reach_is_not_compared():
    (report,) = reports(lambda facts: facts.update({"a2-node2": {"error": UNREACHABLE, "machine_id": "x"}}))
    assert "node.machine" not in checks(report, "a2-node2")
    assert checks(report, "a2-node1")["node.machine"]["verdict"] == "pass"


def test_what_follows_from_one_machine_is_not_listed_beside_it():
    def change(facts):
        same_machine("a2-node1", "a2-node2")(facts)
        facts["a2-node2"].update(root=False)
        facts["a2-node2"]["network"]["interface"] = None

    seen = reports(change)
    assert checks(seen[0], "a2-node2")["network.address"]["verdict"] == "fail"  # the report has all of it
    stops = [line.split(" is ")[0] for line in stopping(seen, ["fail", "unknown"])]
    assert stops == ["a2-node1: node.machine", "a2-node2: node.machine", "a2-node2: node.rights"]
    ignored = [line.split(" is ")[0] for line in stopping(seen, ["fail"], ["node.machine"])]
    assert "a2-node2: network.address" in ignored and "a2-node1: node.machine" not in ignored


def test_the_machine_comes_first_in_the_report():
    (report,) = reports(same_machine("a2-node1", "a2-node2"))
    for entry in report["nodes"]:
        assert [check["id"] for check in entry["checks"]][:2] == ["node.reachable", "node.machine"]


def test_what_no_domain_reports_is_never_a_pass():
    (report,) = reports(
        lambda facts: [fact.pop(key) for fact in facts.values() for key in ("host", "engine", "npu", "driver_package")]
    )
    for name, check in checks(report, "a2-node1").items():
        if name.startswith(("host.", "engine.", "npu.")):
            assert check["verdict"] in ("unknown", "fail", "skipped"), check


ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=150, deadline=None)
@given(key=st.sampled_from(sorted(facts_of(NODES)["a2-node1"])), value=ODD)
def test_garbled_facts_never_raise(key, value):
    reports(lambda facts: facts["a2-node1"].update({key: value}))


def test_what_stops_and_how_it_reads():
    seen = reports(lambda facts: facts["a2-node1"]["paths"].update({"/usr/local/dcmi": False}))
    (stop,) = [line for line in stopping(seen, ["warn"]) if "driver.files" in line]
    assert stop.startswith("a2-node1: driver.files is warn: seen missing: /usr/local/dcmi; wanted the driver files")
    assert not [line for line in stopping(seen, ["fail"]) if "driver.files" in line]
    lines = text(seen).splitlines()
    assert lines[0] == "a2-node1 (replica default)"
    assert lines[1].startswith("  pass    node.reachable, node.machine, node.rights, ")
    bad = lines.index("  warn    driver.files          missing: /usr/local/dcmi")
    assert lines[bad + 1].strip() == "wanted: the driver files that the container uses"
    assert lines[bad + 2].strip().startswith("do: Install the driver")
    assert lines[bad + 2].endswith("(docs/checks.md#driverfiles)")
    assert "  pass    node.rights           root" in text(seen, show_passed=True).splitlines()


def test_junit():
    seen = reports(lambda facts: facts["a2-node1"].update(root=False, hccn_conf=None, network={"error": "\x00<no ip>"}))
    root = ElementTree.fromstring(junit(seen))
    suites = root.findall("testsuite")
    assert [suite.get("name") for suite in suites] == ["a2-node1 (default)", "a2-node2 (default)"]
    summary = seen[0]["summary"]
    assert sum(int(suite.get("failures")) for suite in suites) == len(root.findall(".//failure")) == summary["fail"]
    assert sum(int(suite.get("errors")) for suite in suites) == len(root.findall(".//error")) == summary["unknown"]
    case = suites[0].find("testcase[@name='node.rights']/failure")
    assert "wanted: root" in case.text


def test_saved_facts(tmp_path):
    (tmp_path / "good.json").write_text(json.dumps({"root": True}))
    (tmp_path / "bad.json").write_text("{")
    (tmp_path / "odd.json").write_text("[]")
    assert saved_facts(str(tmp_path), "good") == {"root": True}
    for host in ("bad", "odd", "absent"):
        assert host + ".json" in saved_facts(str(tmp_path), host)["error"]


@pytest.mark.parametrize(
    ("core", "oldest"), [("2.16.1", "3.7"), ("2.17.14", "3.7"), ("2.19.14", "3.8"), ("2.21.5", "3.9")]
)
def test_the_oldest_python_follows_from_the_controller(core, oldest):
    (report,) = preflight(NODES, facts_of(NODES), "", core)
    assert checks(report, "a2-node1")["host.python"]["wanted"] == f"Python {oldest} or later"


HOSTS = ["n1", "n2", "n3", "n4", "n5"]


@pytest.mark.parametrize(
    "variables, configured, slow",
    [
        ({}, True, ""),
        ({}, False, "n1, n2, n3 and 2 more"),
        ({"n2": ("", "", False)}, True, "n2"),
        ({"n2": ("", "", "no"), "n4": ("", False, "")}, True, "n2, n4"),
        (dict.fromkeys(HOSTS[1:], ("", "", "yes")), False, "n1"),
        (dict.fromkeys(HOSTS, ("local", "", "")), False, ""),
        ({"n1": ("", True, False)}, True, ""),
    ],
)
def test_ssh_without_pipelining_is_warned_of(variables, configured, slow):
    given = [variables.get(host, ("", "", "")) for host in HOSTS]
    said = slow_connections(preflight_connections(HOSTS, *zip(*given)), configured)
    assert said.startswith(f"warning: pipelining is off for {slow}: ") if slow else said == ""
