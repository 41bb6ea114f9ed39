"""Verdicts on driver and firmware."""

import pytest
from ansible_collections.ascend_ops.vllm.plugins.module_utils._checks import versions
from ansible_collections.ascend_ops.vllm.plugins.module_utils._checks.versions import (
    evaluate_replica,
    numbers,
    within,
)
from ansible_collections.ascend_ops.vllm.plugins.module_utils._npu.checks import parse_driver_version
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.files import releases
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.model import processes
from ansible_collections.ascend_ops.vllm.plugins.plugin_utils._plan import plan
from healthy import EMPTY, catalogue, evaluated, own_facts, put, whole
from hypothesis import given, settings
from hypothesis import strategies as st
from test_plan import a2, a3

NODES = processes(plan(a2()))
N = NODES[0]
CANN = {"driver_min": "25.0", "driver_paired": "26.0.RC1"}


def verdicts_on(change=None, policy=None, node=N):
    return evaluated(versions, node, change, {"driver_min": "25.0"} if policy is None else policy)


def driver(version):
    return put("npu", "driver_version", version)


def test_a_healthy_node_passes_everything():
    for node in (*NODES, processes(plan(a3()))[0]):
        verdicts = verdicts_on(node=node)
        assert {check["verdict"] for check in verdicts.values()} == {"pass"}, verdicts
        assert list(verdicts) == ["npu.driver", "npu.firmware"]


def test_the_catalogue_is_whole():
    catalogue(versions)


@pytest.mark.parametrize(
    "version, policy, word, wanted",
    [
        ("24.1.0", CANN, "warn", "driver 25.0 or later"),
        ("25.5.1", CANN, "warn", "26.0.RC1, which the image's CANN was published with"),
        ("26.0.rc1", CANN, "pass", "25.0"),
        ("26.1.0", CANN, "pass", "25.0"),
        ("25.5.1", {"driver_min": "25.0"}, "pass", "25.0"),
        ("25.5.1", {"driver_min": "25.0", "driver_paired": ""}, "pass", "25.0"),
        ("24.1.0", dict(CANN, min_driver="25.2"), "fail", "driver 25.2 or later"),
        ("25.1.0", dict(CANN, min_driver="25.2"), "fail", "driver 25.2 or later"),
        ("24.1.0", dict(CANN, min_driver="24.1.rc1"), "warn", "24.1.rc1"),
        ("24.1.0", {"min_driver": "24.1.rc1"}, "pass", "24.1.rc1"),
        (None, CANN, "unknown", "25.0"),
        ("rubbish", CANN, "unknown", "25.0"),
        ("24.1.0", {}, "skipped", "CANN"),
        ("24.1.0", {"driver_min": "", "min_driver": ""}, "skipped", "CANN"),
        ("24.1.0", {"min_driver": "the newest"}, "unknown", "the newest"),
    ],
)
def test_driver_against_the_images_cann(version, policy, word, wanted):
    def change(facts):
        facts["npu"]["driver_version"] = facts["driver_package"] = version

    found = verdicts_on(change, policy)["npu.driver"]
    assert (found["verdict"], wanted in found["wanted"]) == (word, True), found
    assert (version or "not reported") in found["seen"]


def test_the_table_of_the_releases_can_be_compared():
    for series, row in releases()["vllm_cann_drivers"].items():
        least, paired = parse_driver_version(str(row["min"])), parse_driver_version(str(row["paired"]))
        assert least and paired and least <= paired, series


def test_the_package_tells_where_npu_smi_does_not():
    assert verdicts_on(put("npu", {"code": "-8005"}))["npu.driver"]["verdict"] == "pass"


def firmware(**changes):
    return lambda facts: facts["host"]["firmware"].update(changes)


# The pair of a recorded session: the driver was made later, and lists the firmware; not the other way round.
RECORDED = {
    "driver": {"version": "24.1.rc1", "package": "24.1.rc1", "compatible": [["7.0.0", "7.2.99"]]},
    "firmware": {
        "version": "7.1.0.11.220",
        "package": "23.0.7",
        "compatible": [["23.0.rc3", "23.0.rc3."], ["23.0.0", "23.0.0."]],
    },
}


def recorded(facts):
    facts["host"].update(RECORDED)
    facts["npu"]["driver_version"] = "24.1.rc1"


@pytest.mark.parametrize(
    "change, word, seen",
    [
        (put("host", "firmware", None), "unknown", "no readable /usr/local/Ascend/firmware/version.info"),
        (firmware(version=None), "unknown", "firmware not reported"),
        (firmware(version="6.4.0"), "pass", "firmware 6.4.0"),  # it lists the driver
        (driver("23.0.rc1"), "pass", "driver 23.0.rc1"),  # which lists the firmware
        (recorded, "pass", "firmware 7.1.0.11.220, driver 24.1.rc1"),
        (
            lambda facts: [driver("23.0.rc1")(facts), firmware(version="6.4.0")(facts)],
            "warn",
            "firmware 6.4.0, driver 23.0.rc1; compatible: 25.5.0 to 25.5.0, 25.5.1 to 25.5.1, 7.0.0 to 7.5.99",
        ),
        (lambda facts: facts["host"].update(driver=None), "pass", "7.5.0.1.129"),
        (lambda facts: [firmware(compatible=[])(facts), facts["host"].update(driver=None)], "unknown", "neither lists"),
    ],
)
def test_firmware_against_the_driver(change, word, seen):
    found = verdicts_on(change)["npu.firmware"]
    assert (found["verdict"], seen in found["seen"]) == (word, True), found


def test_ranges():
    pairs = [["23.0.rc3", "23.0.rc3."], ["23.0.0", "23.0.0."]]
    assert within("23.0.rc3", pairs) and within("23.0.rc3.b030", pairs) and within("23.0.0.1", pairs)
    assert not within("23.0.rc2", pairs) and not within("23.0.1", pairs) and not within("24.1.rc1", pairs)
    assert within("7.2.99.5", [["7.0.0", "7.2.99"]]) and not within("7.3.0", [["7.0.0", "7.2.99"]])
    assert not within("7", [["?", "?"]]) and numbers("23.0.rc3") < numbers("23.0.0")


@settings(deadline=None)
@given(st.text() | st.none(), st.lists(st.tuples(st.text(), st.text())))
def test_any_version_is_within_or_not(version, ranges):
    assert within(version, ranges) in (True, False)


def replica(change=None):
    facts = {node["host"]: own_facts(node) for node in NODES}
    if change:
        change(facts[NODES[1]["host"]])
    return whole(evaluate_replica(NODES, facts, {})[N["host"]], versions)["driver.same"]


def test_one_driver_on_all_nodes():
    assert replica()["verdict"] == "pass"
    found = replica(driver("25.0.0"))
    assert found["verdict"] == "fail" and NODES[1]["host"] + ": 25.0.0" in found["seen"]
    assert "same driver" in found["remedy"]
    assert replica(lambda facts: facts.clear())["verdict"] == "unknown"
    assert evaluate_replica([N], {}, {}) == {N["host"]: []}


@pytest.mark.parametrize("facts", EMPTY)
def test_a_node_that_tells_nothing_passes_nothing(facts):
    checks = whole(versions.evaluate(N, facts, CANN), versions)
    assert {name: check["verdict"] for name, check in checks.items()} == {
        "npu.driver": "unknown",
        "npu.firmware": "unknown",
    }
