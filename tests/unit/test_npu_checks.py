"""The verdicts on a node's NPUs; a value that was not reported never passes."""

from pathlib import Path

import pytest
from ansible_collections.ascend_ops.vllm.plugins.module_utils._npu.checks import evaluate_npu, parse_driver_version
from ansible_collections.ascend_ops.vllm.plugins.module_utils._npu.failures import explain_failure
from ansible_collections.ascend_ops.vllm.plugins.module_utils._npu.smi import parse_info
from hypothesis import given, settings
from hypothesis import strategies as st

FIXTURES = Path(__file__).parent / "fixtures" / "npu-smi"
IDS = ["npu.tool", "npu.count", "npu.product", "npu.health", "npu.idle.processes", "npu.idle.hbm", "npu.driver"]
WANT_A3 = {"chips": 16, "product": "a3", "min_driver": "24.1.rc3"}
WANT_A2 = {"chips": 4, "product": "a2", "min_driver": "23.0.rc2"}
OWN = [78617, 79095, 79096, 79097]


def text_of(name):
    return (FIXTURES / name).read_bytes().decode()


A3 = text_of("info-A3-8npu16die-24.1.rc3.7-idle.txt")
BUSY = text_of("info-910B2C-npu12to15-23.0.3-busy.txt")


def evaluate(text, **expect):
    """{id: verdict}, after a check of the form of each verdict."""
    verdicts = evaluate_npu(parse_info(text), expect)
    assert [verdict["id"] for verdict in verdicts] == IDS
    for verdict in verdicts:
        assert set(verdict) == {"id", "verdict", "seen", "wanted", "remedy"}
        assert all(isinstance(value, str) for value in verdict.values())
        assert verdict["seen"] and verdict["wanted"]
        assert bool(verdict["remedy"]) == (verdict["verdict"] not in ("pass", "skipped"))
    return {verdict["id"]: verdict for verdict in verdicts}


def words(verdicts):
    return [verdicts[check]["verdict"] for check in IDS]


def test_a_good_idle_node_passes_everything():
    assert words(evaluate(A3, **WANT_A3)) == ["pass"] * 7


def test_nothing_expected_is_skipped_but_health_is_always_checked():
    assert words(evaluate(A3, idle=False)) == ["pass", "skipped", "skipped", "pass", "skipped", "skipped", "skipped"]


def test_a_misspelt_expectation_is_an_error():
    with pytest.raises(ValueError, match="chip$"):
        evaluate_npu(parse_info(A3), {"chip": 8})


def test_a_tool_that_fails_lets_nothing_pass():
    verdicts = evaluate_npu(explain_failure(187, ""), WANT_A3)
    assert [verdict["verdict"] for verdict in verdicts] == ["fail"] + ["unknown"] * 6
    assert "driver" in verdicts[0]["seen"] and "root" in verdicts[0]["remedy"]


def test_a_table_without_rows_lets_nothing_pass():
    empty = "\n".join(A3.split("\n")[:6])
    verdicts = evaluate(empty, **WANT_A3)
    assert words(verdicts) == ["fail", "fail", "unknown", "unknown", "unknown", "unknown", "pass"]
    assert verdicts["npu.count"]["seen"].startswith("0 chips; missing: NPU 0")


def without(text, *needles):
    """Without the rows that hold a needle and, as each chip has two, the rows after them."""
    lines, kept, skip = text.splitlines(True), [], 0
    for line in lines:
        skip = 2 if any(needle in line for needle in needles) else skip
        if not skip:
            kept.append(line)
        skip = max(0, skip - 1)
    return "".join(kept)


def test_a_chip_that_vanished_is_named():
    gone = without(A3, "| 3     Ascend910           | OK            | -  ")
    verdict = evaluate(gone, **WANT_A3)["npu.count"]
    assert (verdict["verdict"], verdict["seen"]) == ("fail", "15 chips; missing: NPU 3 chip 1")
    b3 = without(text_of("info-910B3-8npu-24.1.rc1.b030.txt"), "| 3     910B3", "| 6     910B3")
    assert evaluate(b3, chips=8)["npu.count"]["seen"] == "6 chips; missing: NPU 3, NPU 6"


def test_a_chip_that_vanished_from_sparse_ids_is_not_guessed():
    assert evaluate(BUSY, chips=8)["npu.count"]["seen"] == "4 chips"


def test_a_chip_without_its_first_row_is_not_counted():
    lost = "".join(
        line for line in A3.splitlines(True) if not line.startswith("| 3     Ascend910           | OK            | -")
    )
    verdicts = evaluate(lost, **WANT_A3)
    assert verdicts["npu.count"]["seen"] == "15 chips and 1 of unknown NPU; missing: NPU 3 chip 1"
    assert words(verdicts)[:4] == ["warn", "fail", "unknown", "unknown"]
    assert "0000:93:00.0" in verdicts["npu.health"]["seen"]


def test_more_chips_than_expected_warn():
    assert evaluate(A3, chips=8)["npu.count"]["verdict"] == "warn"


@pytest.mark.parametrize(
    "name, a2, a3",
    [
        ("info-910B1-8npu-23.0.rc2-elided.txt", "pass", "fail"),
        ("info-910B2C-npu12to15-23.0.3-busy.txt", "pass", "fail"),
        ("info-910B3-8npu-24.1.rc1.b030.txt", "pass", "fail"),
        ("info-A3-8npu16die-24.1.rc3.7-idle.txt", "fail", "pass"),
        ("info-310P3-4duo-25.3.rc1-busy.txt", "fail", "fail"),
        ("info-910A-2npu-1.9.3-no-hugepages.txt", "fail", "fail"),
        ("info-910ProB-2of8npu-24.1.0.txt", "fail", "fail"),
        ("info-950PR-2of7npu-25.7.rc1.txt", "fail", "fail"),
        ("info-A3-1npu-2die-6col-process-in-container.txt", "unknown", "unknown"),
    ],
)
def test_product(name, a2, a3):
    text = text_of(name)
    assert (
        evaluate(text, product="a2")["npu.product"]["verdict"],
        evaluate(text, product="a3")["npu.product"]["verdict"],
    ) == (a2, a3)


@pytest.mark.parametrize(
    "name, a2, a3",
    [
        ("Ascend 910B3", "pass", "fail"),
        ("910B4-1", "pass", "fail"),
        ("910B2C", "pass", "fail"),
        ("Ascend910_9382", "fail", "pass"),
        ("910_9392", "fail", "pass"),
        ("Ascend910_9579", "fail", "fail"),
        ("910B", "fail", "fail"),
        ("Ascend910", "unknown", "unknown"),
        ("xxx", "unknown", "unknown"),
        ("", "unknown", "unknown"),
    ],
)
def test_product_by_name(name, a2, a3):
    text = BUSY.replace("910B2C", name)
    assert (
        evaluate(text, product="a2")["npu.product"]["verdict"],
        evaluate(text, product="a3")["npu.product"]["verdict"],
    ) == (a2, a3)


def test_one_chip_of_another_product_fails_the_node():
    assert (
        evaluate(BUSY.replace("14    910B2C", "14    310P3"), product="a2")["npu.product"]["seen"]
        == "NPU 14 chip 0: 310P3"
    )


@pytest.mark.parametrize(
    "word, verdict",
    [
        ("OK", "pass"),
        ("ok", "pass"),
        ("Warning", "warn"),
        ("ALARM", "fail"),
        ("Critical", "fail"),
        ("UNKNOWN", "fail"),
        ("NA", "unknown"),
        ("-", "unknown"),
        ("", "unknown"),
        ("Okay", "unknown"),
    ],
)
def test_health(word, verdict):
    verdicts = evaluate(BUSY.replace("| OK            | 92.8", "| %s | 92.8" % word))
    assert verdicts["npu.health"]["verdict"] == verdict
    assert ("NPU 14 chip 0" in verdicts["npu.health"]["seen"]) == (verdict != "pass")


def test_the_worst_health_counts():
    text = BUSY.replace("| OK            | 92.8", "| Warning | 92.8").replace(
        "| OK            | 91.3", "| Alarm | 91.3"
    )
    assert evaluate(text)["npu.health"]["seen"] == "NPU 12 chip 0: Alarm, NPU 14 chip 0: Warning"
    assert evaluate(text)["npu.health"]["verdict"] == "fail"


def test_busy_chips_are_named_with_their_processes():
    verdicts = evaluate(BUSY)
    assert verdicts["npu.idle.processes"]["verdict"] == "fail"
    assert "PID 79095 (python) on NPU 13 chip 0" in verdicts["npu.idle.processes"]["seen"]
    assert verdicts["npu.idle.hbm"]["seen"].startswith("NPU 12 chip 0: 52675 of 65536 MB")


def test_the_services_own_processes_are_not_busy():
    verdicts = evaluate(BUSY, own_pids=OWN)
    assert (verdicts["npu.idle.processes"]["verdict"], verdicts["npu.idle.hbm"]["verdict"]) == ("pass", "pass")
    assert evaluate(BUSY, own_pids=OWN[:3])["npu.idle.processes"]["seen"] == "PID 79097 (python) on NPU 15 chip 0"
    unknown_memory = BUSY.replace("| 49385  ", "| NA     ")
    assert evaluate(unknown_memory, own_pids=OWN)["npu.idle.hbm"]["verdict"] == "unknown"


def test_a_process_on_a_chip_that_is_not_listed_is_busy():
    gone = without(BUSY, "| 13    910B2C")
    assert (
        evaluate(gone, own_pids=[78617, 79096, 79097])["npu.idle.processes"]["seen"] == "PID 79095 (python) on NPU 13"
    )


def test_a_missing_table_of_processes_is_unknown():
    assert evaluate(text_of("info-910B3-8npu-24.1.rc1.b030.txt"))["npu.idle.processes"]["verdict"] == "unknown"
    cut = A3[: A3.index("| No running processes found in NPU 6")]
    assert evaluate(cut, **WANT_A3)["npu.idle.processes"]["verdict"] == "unknown"


def test_hbm_limit_and_null():
    text = text_of("info-910B1-8npu-23.0.rc2-elided.txt")
    assert evaluate(text)["npu.idle.hbm"]["verdict"] == "pass"
    assert (
        evaluate(text, max_idle_hbm_mb=4174)["npu.idle.hbm"]["seen"]
        == "NPU 0 chip 0: 4175 of 65536 MB, NPU 1 chip 0: 4175 of 65536 MB"
    )
    assert evaluate(text.replace("4174 / 65536", "NA   / NA   "))["npu.idle.hbm"]["verdict"] == "unknown"
    assert evaluate(text_of("info-310P3-2npu-25.5.1-noproc.txt"))["npu.idle.hbm"]["verdict"] == "unknown"


def test_driver_versions_in_order():
    order = [
        "20.2.2.spc001",
        "22.0.2",
        "23.0.rc2",
        "23.0.3",
        "24.1.rc1",
        "24.1.rc1.b030",
        "24.1.rc2",
        "24.1.rc3",
        "24.1.rc3.7",
        "24.1.0",
        "24.1.0.3",
        "25.0.rc1.1",
        "25.2.0",
        "25.5.1",
        "25.6.rc1.b169",
        "25.10.0",
        "26.0.RC2",
    ]
    keys = [parse_driver_version(version) for version in order]
    assert None not in keys
    assert keys == sorted(keys) and len(set(keys)) == len(keys)


@pytest.mark.parametrize(
    "text", [None, "", "xxx.xxx.xxx", "V100R001C15", "24.1.", "24.1.rc", "24.1.rc1-dirty", "1" * 5000]
)
def test_what_is_no_driver_version(text):
    assert parse_driver_version(text) is None


@pytest.mark.parametrize(
    "least, verdict", [("24.1.rc3.7", "pass"), ("24.1.rc4", "fail"), ("24.1.0", "fail"), ("new", "unknown")]
)
def test_driver(least, verdict):
    assert evaluate(A3, min_driver=least)["npu.driver"]["verdict"] == verdict


def test_a_driver_that_is_not_told_is_unknown():
    assert (
        evaluate(A3.replace("Version: 24.1.rc3.7", "Version: NA        "), min_driver="23.0.0")["npu.driver"]["verdict"]
        == "unknown"
    )
    assert evaluate(A3.replace("24.1.rc3.7 ", "xxx.xxx "), min_driver="23.0.0")["npu.driver"]["verdict"] == "unknown"


ALARM = A3.replace(
    "| 7     Ascend910           | OK            | -  ", "| 7     Ascend910           | Alarm         | -  "
)
HOLDING = A3.replace("| No running processes found in NPU 7 ", "| 7 1 | 4711 | python | 60000 |")
OLD = A3.replace("Version: 24.1.rc3.7 ", "Version: 24.1.rc2   ")


def all_pass(text, expect=None):
    return set(words(evaluate(text, **(expect or WANT_A3)))) == {"pass"}


def test_the_broken_nodes_below_do_not_pass_whole():
    assert all_pass(A3)
    assert not any(all_pass(text) for text in (ALARM, HOLDING, OLD, BUSY))


@settings(max_examples=200, deadline=None)
@given(st.sampled_from([ALARM, HOLDING, OLD, A3]), st.data())
def test_a_cut_never_makes_a_node_pass(text, data):
    cut = data.draw(st.integers(0, len(text) - 1))
    lost = text[cut:].strip("+= \r\n")
    assert not all_pass(text[:cut]) or (text is A3 and lost in ("", "|"))


@settings(max_examples=200, deadline=None)
@given(st.sampled_from([ALARM, HOLDING, OLD]), st.data())
def test_lost_lines_never_make_a_node_pass(text, data):
    lines = text.splitlines(True)
    lost = data.draw(st.sets(st.integers(0, len(lines) - 1), max_size=12))
    assert not all_pass("".join(line for number, line in enumerate(lines) if number not in lost))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200), st.integers(0, 7000), st.integers(0, 7000))
def test_junk_never_raises(junk, start, end):
    whole = HOLDING.encode()
    evaluate((whole[:start] + junk + whole[end:]).decode("utf-8", "replace"), **WANT_A3)
