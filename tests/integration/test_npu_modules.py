"""npu_info and hccn_info asked of a node, with the lab's stand-ins for the tools."""

from .conftest import ad_hoc


def ask(module, **arguments):
    rc, told = ad_hoc("a2-node1", module, **arguments)
    assert rc == 0, told
    return told


def test_npu_info_with_all_details():
    told = ask("npu_info", details=["mapping", "topology", "common", "usages"])
    assert told["changed"] is False
    assert [device["npu_id"] for device in told["devices"]] == list(range(8))
    details = told["details"]
    assert len(details["mapping"]) == 8
    assert details["topology"]["links"]
    assert [len(details[name][str(npu)]) for name in ("common", "usages") for npu in range(8)] == [1] * 16


def test_hccn_info():
    chips = ask("hccn_info")["chips"]
    assert sorted(chips, key=int) == [str(chip) for chip in range(8)]
    assert {chip["link"] for chip in chips.values()} == {"UP"}
