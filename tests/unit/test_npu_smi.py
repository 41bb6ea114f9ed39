"""What is read from the output of npu-smi. The fixtures' INDEX.tsv says where each comes from."""

import json
from pathlib import Path

import pytest
from ansible_collections.ascend_ops.vllm.plugins.module_utils._npu.details import (
    parse_blocks,
    parse_mapping,
    parse_topo,
)
from ansible_collections.ascend_ops.vllm.plugins.module_utils._npu.failures import explain_failure
from ansible_collections.ascend_ops.vllm.plugins.module_utils._npu.smi import DEVICE_FIELDS, parse_info
from hypothesis import given, settings
from hypothesis import strategies as st

FIXTURES = Path(__file__).parent / "fixtures" / "npu-smi"
INFO_FILES = sorted(path.name for path in FIXTURES.glob("info-*.txt"))
BLANK = dict.fromkeys(DEVICE_FIELDS)


def text_of(name):
    return (FIXTURES / name).read_bytes().decode()


def chip(**values):
    return dict(BLANK, processes=[], **values)


def test_every_fixture_has_its_origin():
    listed = [line.split("\t")[0] for line in text_of("INDEX.tsv").splitlines()[1:]]
    assert listed == sorted(path.name for path in FIXTURES.glob("*.txt"))


@pytest.mark.parametrize(
    "name, versions, ids",
    [
        ("info-310B4-23.0.0-bus-NA-alarm.txt", ("23.0.0", "23.0.0"), [(0, 0)]),
        ("info-310P3-1npu-22.0.2-id2144-powerNA.txt", ("22.0.2", "22.0.4"), [(2144, 0)]),
        ("info-310P3-2npu-25.5.1-noproc.txt", ("25.5.1", "25.5.1"), [(4, 0), (5, 0)]),
        (
            "info-310P3-4duo-25.3.rc1-busy.txt",
            ("25.3.rc1", "25.3.rc1"),
            [(npu, one) for npu in (0, 96, 32768, 32896) for one in (0, 1)],
        ),
        ("info-910A-2npu-1.9.3-no-hugepages.txt", ("1.9.3", "21.0.rc1"), [(4, 0), (5, 0)]),
        ("info-910B1-8npu-23.0.rc2-elided.txt", ("23.0.rc2", "23.0.rc2"), [(0, 0), (1, 0), (7, 0)]),
        ("info-910B2-3of8npu-no-banner-busy-empty-names.txt", (None, None), [(0, 0), (4, 0), (7, 0)]),
        ("info-910B2C-npu12to15-23.0.3-busy.txt", ("23.0.3", "23.0.3"), [(npu, 0) for npu in (12, 13, 14, 15)]),
        ("info-910B3-8npu-24.1.rc1.b030.txt", ("24.1.rc1.b030", "24.1.rc1.b030"), [(npu, 0) for npu in range(8)]),
        ("info-910ProB-2of8npu-24.1.0.txt", ("24.1.0", "24.1.0"), [(0, 0), (1, 0)]),
        (
            "info-950DT-3npu-25.6.rc1-bus-NA-5col.txt",
            ("25.6.rc1.b169", "25.6.rc1.b169"),
            [(0, None), (1, None), (6, None)],
        ),
        ("info-950PR-2of7npu-25.7.rc1.txt", ("25.7.rc1", "25.7.rc1"), [(0, None), (5, None)]),
        ("info-A3-1npu-2die-6col-process-in-container.txt", ("xxx.xxx.xxx", "xxx.xxx.xxx"), [(0, 0), (0, 1)]),
        ("info-A3-2of8npu-26.0.rc1-busy-5col.txt", ("26.0.rc1", "26.0.rc1"), [(0, 0), (0, 1), (5, 0), (5, 1)]),
        (
            "info-A3-8npu16die-24.1.rc3.7-idle.txt",
            ("24.1.rc3.7", "24.1.rc3.7"),
            [(n, one) for n in range(8) for one in (0, 1)],
        ),
    ],
)
def test_versions_and_chips_of_every_layout(name, versions, ids):
    info = parse_info(text_of(name))
    assert (info["tool_version"], info["driver_version"]) == versions
    assert [(device["npu_id"], device["chip_id"]) for device in info["devices"]] == ids
    assert [problem for problem in info["problems"] if not problem.startswith("not part of the table: ")] == []
    assert all(list(device) == list(DEVICE_FIELDS) + ["processes"] for device in info["devices"])
    assert name in INFO_FILES


def test_no_fixture_is_left_out():
    marks = test_versions_and_chips_of_every_layout.pytestmark
    assert sorted(case[0] for case in marks[0].args[1]) == INFO_FILES


def last(name):
    return parse_info(text_of(name))["devices"][-1]


def test_values_910b():
    assert last("info-910B3-8npu-24.1.rc1.b030.txt") == chip(
        npu_id=7,
        chip_id=0,
        name="910B3",
        health="OK",
        bus_id="0000:42:00.0",
        power_w=98.2,
        temperature_c=44,
        aicore_percent=0,
        memory_used_mb=0,
        memory_total_mb=0,
        hbm_used_mb=3315,
        hbm_total_mb=65536,
        hugepages_used=0,
        hugepages_total=0,
    )


def test_values_a3_second_chip_prints_no_power():
    assert last("info-A3-8npu16die-24.1.rc3.7-idle.txt") == chip(
        npu_id=7,
        chip_id=1,
        phy_id=15,
        name="Ascend910",
        health="OK",
        bus_id="0000:83:00.0",
        temperature_c=37,
        aicore_percent=0,
        memory_used_mb=0,
        memory_total_mb=0,
        hbm_used_mb=3188,
        hbm_total_mb=65536,
        hugepages_used=0,
        hugepages_total=0,
    )


def test_values_310p_no_hbm_no_power_and_no_blank_before_the_slash():
    devices = parse_info(text_of("info-310P3-4duo-25.3.rc1-busy.txt"))["devices"]
    assert dict(devices[0], processes=[]) == chip(
        npu_id=0,
        chip_id=0,
        name="310P3",
        health="OK",
        bus_id="0000:01:00.0",
        temperature_c=86,
        aicore_percent=0,
        memory_used_mb=35552,
        memory_total_mb=44278,
        hugepages_used=16885,
        hugepages_total=16885,
    )
    assert devices[1]["bus_id"] == devices[0]["bus_id"]


def test_values_310b_bus_id_na():
    assert last("info-310B4-23.0.0-bus-NA-alarm.txt") == chip(
        npu_id=0,
        chip_id=0,
        name="310B4",
        health="Alarm",
        power_w=0.0,
        temperature_c=65,
        aicore_percent=0,
        memory_used_mb=3628,
        memory_total_mb=15609,
        hugepages_used=15,
        hugepages_total=15,
    )


def test_values_910a_without_the_hugepages_column():
    assert last("info-910A-2npu-1.9.3-no-hugepages.txt") == chip(
        npu_id=5,
        chip_id=0,
        name="910A",
        health="OK",
        bus_id="0000:82:00.0",
        power_w=63.8,
        temperature_c=25,
        aicore_percent=0,
        memory_used_mb=2123,
        memory_total_mb=15171,
        hbm_used_mb=0,
        hbm_total_mb=32768,
    )


def test_values_950_four_cells():
    assert last("info-950PR-2of7npu-25.7.rc1.txt") == chip(
        npu_id=5,
        name="Ascend950PR",
        health="OK",
        bus_id="0000:91:00.0",
        power_w=195.2,
        temperature_c=44,
        aicore_percent=0,
        memory_used_mb=0,
        memory_total_mb=0,
        hbm_used_mb=10569,
        hbm_total_mb=131072,
        hugepages_used=0,
        hugepages_total=0,
    )
    second = parse_info(text_of("info-950DT-3npu-25.6.rc1-bus-NA-5col.txt"))["devices"][1]
    assert (second["bus_id"], second["health"], second["aicore_percent"]) == (None, "Warning", 5)


def test_processes_empty_names_and_one_pid_on_two_chips():
    first, second = parse_info(text_of("info-310P3-4duo-25.3.rc1-busy.txt"))["devices"][:2]
    assert first["processes"] == [
        {"pid": 326429, "name": None, "memory_mb": 33842},
        {"pid": 326430, "name": None, "memory_mb": 108},
    ]
    assert second["processes"] == [{"pid": 326430, "name": None, "memory_mb": 34086}]


def test_processes_with_a_fifth_column_and_without_a_chip_column():
    info = parse_info(text_of("info-950DT-3npu-25.6.rc1-bus-NA-5col.txt"))
    assert [device["processes"] for device in info["devices"]] == [
        [],
        [],
        [
            {"pid": 3624823, "name": "python", "memory_mb": 61140},
            {"pid": 3624824, "name": "python", "memory_mb": 20000},
        ],
    ]
    assert info["process_npus"] == [0, 1, 6]
    a3 = parse_info(text_of("info-A3-2of8npu-26.0.rc1-busy-5col.txt"))
    assert [len(device["processes"]) for device in a3["devices"]] == [1, 1, 0, 0]


def test_a_missing_table_of_processes_is_told_apart_from_an_empty_one():
    assert parse_info(text_of("info-310P3-2npu-25.5.1-noproc.txt"))["process_npus"] == []
    assert parse_info(text_of("info-910ProB-2of8npu-24.1.0.txt"))["process_npus"] == [0, 1]


A2 = text_of("info-910B2C-npu12to15-23.0.3-busy.txt")
A3 = text_of("info-A3-8npu16die-24.1.rc3.7-idle.txt")


def without_line(text, *starts):
    return "".join(line for line in text.splitlines(True) if not line.startswith(starts))


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace("   ", "\t"),
        lambda text: "\n".join("    " + line + "   " for line in text.split("\n")),
        lambda text: text.replace("\n|", "\n\x1b[0m|"),
        lambda text: without_line(text, "+"),
        lambda text: "".join(line.replace(" ", "") if line.startswith("+") else line for line in text.splitlines(True)),
    ],
    ids=["crlf", "tabs", "indented", "colours", "no rules", "same"],
)
def test_the_layout_of_blanks_does_not_matter(change):
    assert parse_info(change(A3))["devices"] == parse_info(A3)["devices"]


def test_a_terminal_that_broke_the_rows_in_two():
    narrow = "\n".join(line[:80] + "\n" + line[80:] if len(line) > 80 else line for line in A2.split("\n"))
    assert parse_info(narrow) == parse_info(A2)


def test_noise_before_and_after_is_reported_and_harmless():
    noise = "[WARNING]The driver package may not be completely installed, which may cause function abnormal."
    info = parse_info("DrvMngGetConsoleLogLevel failed. (g_conLogLevel=3)\n" + A2 + noise + "\n")
    assert info["devices"] == parse_info(A2)["devices"]
    assert info["problems"] == [
        "not part of the table: DrvMngGetConsoleLogLevel failed. (g_conLogLevel=3)",
        "not part of the table: " + noise,
    ]


def test_a_dead_chip_that_lost_its_first_row():
    info = parse_info(without_line(A2, "| 13    910B2C"))
    assert [device["npu_id"] for device in info["devices"]] == [12, None, 14, 15]
    lost = info["devices"][1]
    assert (lost["health"], lost["chip_id"], lost["bus_id"], lost["hbm_used_mb"]) == (None, 0, "0000:98:00.0", 52665)
    assert info["problems"][0].startswith("a chip without its first row")
    assert info["unplaced_processes"] == [
        {"pid": 79095, "name": "python", "memory_mb": 49379, "npu_id": 13, "chip_id": 0}
    ]


def test_a_dead_chip_that_lost_its_second_row_does_not_take_that_of_the_next():
    text = without_line(A2, "| 0                         | 0000:98", "| 14    910B2C")
    devices = parse_info(text)["devices"]
    assert [(device["npu_id"], device["bus_id"]) for device in devices] == [
        (12, "0000:D9:00.0"),
        (13, None),
        (None, "0000:B9:00.0"),
        (15, "0000:C9:00.0"),
    ]


def test_a_table_without_a_row():
    info = parse_info("\n".join(A2.split("\n")[:6]))
    assert (info["table"], info["devices"], info["problems"]) == (True, [], [])
    assert info["driver_version"] == "23.0.3"


@pytest.mark.parametrize("word", ["NA", "-", "N/A", "n/a", "--"])
def test_what_is_not_printed_is_null(word):
    text = A2.replace("91.3        53                0    / 0 ", "%s  %s  %s / %s" % ((word,) * 4)).replace(
        "0000:D9:00.0", word
    )
    assert parse_info(text)["problems"] == []
    device = parse_info(text)["devices"][0]
    assert [field for field in DEVICE_FIELDS if device[field] is None] == [
        "phy_id",
        "bus_id",
        "power_w",
        "temperature_c",
        "hugepages_used",
        "hugepages_total",
    ]
    assert device["hbm_used_mb"] == 52675


@pytest.mark.parametrize("name", ["Ascend 910B3", "Ascend910_9382", "xxx", "910B4-1"])
def test_names(name):
    device = parse_info(A2.replace("12    910B2C", "12    " + name))["devices"][0]
    assert (device["npu_id"], device["name"], device["health"]) == (12, name, "OK")


@pytest.mark.parametrize("word", ["ok", "WARNING", "Alarm", "critical", "UNKNOWN", "Broken"])
def test_health_words_are_kept_as_printed(word):
    text = A2.replace("| OK            | 91.3", "| %s | 91.3" % word)
    assert [device["health"] for device in parse_info(text)["devices"]] == [word, "OK", "OK", "OK"]


def test_columns_are_found_by_their_titles():
    text = A2.replace("Power(W)    Temp(C) ", "Temp(C)     Fan(%)    Power(W)")
    text = text.replace("91.3        53 ", "53     70    91.3")
    device = parse_info(text)["devices"][0]
    assert (device["power_w"], device["temperature_c"]) == (91.3, 53)


def test_values_that_do_not_fit_their_titles_are_null_and_a_problem():
    info = parse_info(A2.replace("91.3        53   ", "91.3   "))
    assert info["devices"][0]["power_w"] is None
    assert info["problems"][0].startswith("2 values under 3 titles: | 12    910B2C")
    info = parse_info(A2.replace("0           0    / 0          52675", "4294967295  0    / 0          52675"))
    assert (info["devices"][0]["aicore_percent"], info["devices"][0]["hbm_used_mb"]) == (None, 52675)
    assert info["problems"][0].startswith("aicore_percent cannot be 4294967295")


def test_a_name_with_a_bar_and_a_row_of_no_process():
    text = A2.replace("| python                   | 49385 ", "| a|b   | 49385 ").replace(
        "| 79095         | python", "| NA | NA "
    )
    devices = parse_info(text)["devices"]
    assert devices[0]["processes"] == [{"pid": 78617, "name": "a|b", "memory_mb": 49385}]
    assert devices[1]["processes"] == []


def test_a_list_of_processes_that_was_cut_off_is_not_told():
    lines = A2.split("\n")
    end = next(number for number, line in enumerate(lines) if line.startswith("| 13      0"))
    assert parse_info("\n".join(lines[: end + 1]))["process_npus"] == [12]
    assert parse_info("\n".join(lines[: end + 2]))["process_npus"] == [12, 13]
    idle = A3[: A3.index("No running processes found in NPU 3") + len("No running processes found in")]
    assert parse_info(idle)["process_npus"] == [0, 1, 2]


def test_nobody_runs_on_any_npu():
    head = A2[: A2.index("| 12      0  ")]
    assert parse_info(head + "| No running processes found      |\n")["process_npus"] == [12, 13, 14, 15]


def test_a_second_table_is_not_counted():
    info = parse_info(A2 + A2)
    assert len(info["devices"]) == 4
    assert [len(device["processes"]) for device in info["devices"]] == [1, 1, 1, 1]
    assert info["problems"][0].startswith("a second table follows")


def test_a_chip_that_is_listed_twice_counts_once():
    info = parse_info(A2.replace("| 13    910B2C", "| 12    910B2C"))
    assert [device["npu_id"] for device in info["devices"]] == [12, 14, 15]
    assert "a chip that is listed twice: NPU 12 chip 0" in info["problems"]


@pytest.mark.parametrize(
    "rc, text, code, says",
    [
        (187, text_of("fail-8005-g_conLogLevel.txt"), "-8005", "driver"),
        (187, "", "-8005", "driver"),
        (172, text_of("fail-8020-ret4.txt"), "-8020", "another container"),
        (172, "", "-8020", "another container"),
        (211, text_of("fail-9005-container.txt"), "-8020", "another container"),
        (211, "npu get board type failed. ret is -9005\n", "-9005", "board type"),
        (211, "", "-9005", "board type"),
        (190, "", "-8002", "permitted"),
        (193, "", "-8255", "support"),
        (1, "ret is -8777", "-8777", "-8777"),
        (127, text_of("fail-libc_sec.txt"), "loader", "libc_sec.so"),
        (
            127,
            "npu-smi: error while loading shared libraries: libdrvdsmi_host.so: cannot open shared object file",
            "loader",
            "libdrvdsmi_host.so",
        ),
        (127, text_of("fail-command-not-found-ci.txt"), "not-found", "not found"),
        (127, "", "not-found", "not found"),
        (126, "", "not-executable", "cannot be executed"),
        (124, "", "timeout", "in time"),
        (0, "There is no NPU card on this server.\n", "no-npu", "no NPU"),
        (0, "hello", "no-table", "no table"),
        (0, "", "no-table", "no table"),
        (-11, "", "crashed", "signal 11"),
        (139, "", "crashed", "signal 11"),
        (3, "", "unknown", "exit status 3"),
        (None, None, "no-table", "no table"),
    ],
)
def test_failures(rc, text, code, says):
    failure = explain_failure(rc, text)
    assert (failure["code"], says in failure["meaning"]) == (code, True), failure
    assert failure["remedy"].endswith(".")


def test_mapping():
    chips = parse_mapping(text_of("mapping-910B-8npu-mcu-rows.txt"))
    assert len(chips) == 8
    assert chips[7] == {"npu_id": 7, "slot_id": None, "chip_id": 0, "logic_id": 7, "phy_id": None, "name": "Ascend xxx"}
    a3 = "\tNPU ID     Chip ID     Chip Logic ID     Chip Phy-ID     Chip Name\r\n\t7  1  15  15  Ascend910\r\n"
    assert parse_mapping(a3)[0] == {
        "npu_id": 7,
        "slot_id": None,
        "chip_id": 1,
        "logic_id": 15,
        "phy_id": 15,
        "name": "Ascend910",
    }
    assert parse_mapping("There is no NPU card on this server.\n") == []


def test_topo():
    topo = parse_topo(text_of("topo-910B3-8npu-HCCS-24.1.rc1.b030.txt"))
    assert topo["links"]["NPU0"] == {"NPU%d" % npu: "HCCS" for npu in range(1, 8)}
    assert topo["cpu_affinity"]["NPU7"] == "48-71"
    assert parse_topo("nonsense") == {"links": {}, "cpu_affinity": {}}


PIECES = st.one_of(
    st.text(max_size=30),
    st.sampled_from([line + "\n" for name in INFO_FILES for line in text_of(name).split("\n")]),
    st.sampled_from(
        ["|", "+", "=", "-", "/", "\n", "\r\n", "\t", " 0 ", "NA", "OK", "NPU 1", "Process id", "Bus-Id", "Health"]
    ),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(PIECES, max_size=40).map("".join))
def test_no_text_makes_it_raise(text):
    info = parse_info(text)
    json.dumps([info, parse_mapping(text), parse_topo(text), explain_failure(1, text)])
    for device in info["devices"]:
        assert set(device) == set(DEVICE_FIELDS) | {"processes"}
        assert (
            any(
                device[field] is not None
                for field in ("npu_id", "name", "chip_id", "bus_id", "hbm_used_mb", "memory_used_mb")
            )
            or info["problems"]
        )


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300), st.integers(0, 4000), st.sampled_from(INFO_FILES))
def test_bytes_that_are_no_text(junk, at, name):
    whole = (FIXTURES / name).read_bytes()
    parse_info((whole[:at] + junk + whole[at:]).decode("utf-8", "replace"))


@pytest.mark.parametrize(
    "piece", ["-", "|", "| ", "a/", "9", "+=", "| 1 ", "0 / ", "npu-smi ", "\n|", "No running ", "ret "]
)
def test_a_huge_text_takes_no_time(piece):
    size = 250000 // len(piece)  # of a text this long, a pattern that looks back takes minutes
    head = "\n".join(A2.split("\n")[:6])
    for text in (piece * size, head + "\n|" + piece * size, head + "\n|" + piece * size + "|"):
        parse_info(text)
        explain_failure(1, text)


def test_blocks_of_common_and_usages():
    (common,) = parse_blocks(text_of("common-910B-mcu-block.txt"))
    assert (common["Chip ID"], common["HBM Usage Rate(%)"], common["NPU Real-time Power(W)"]) == (0, 0, 69.0)
    (usages,) = parse_blocks(text_of("usages-910B1-23.0.rc2.txt"))
    assert (usages["Chip ID"], usages["HBM Capacity(MB)"], usages["HBM Usage Rate(%)"]) == (0, 65536, 4)
    assert parse_blocks("") == parse_blocks("dcmi module initialize failed. ret is -8005") == []
