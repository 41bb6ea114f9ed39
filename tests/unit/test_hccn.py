"""What is read from hccn_tool and /etc/hccn.conf; a missing answer is never a good one."""

import json
from pathlib import Path

import pytest
from ansible_collections.ascend_ops.vllm.plugins.module_utils._npu import hccn
from hypothesis import given, settings
from hypothesis import strategies as st

FIXTURES = Path(__file__).parent / "fixtures" / "hccn"
SESSION = (FIXTURES / "hccn-session-23.0.5.txt").read_text()
PARSERS = [getattr(hccn, name) for name in sorted(dir(hccn)) if name.startswith("parse_")]


def text_of(name):
    return (FIXTURES / name).read_text()


@pytest.mark.parametrize("parse", PARSERS)
@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        None,
        "Command execute failed!",
        "link status:",
        "hccn_tool: command not found",
        "Error: parse parameter failed",
        "recv time out",
    ],
)
def test_no_answer_is_unknown(parse, text):
    assert parse(text) is None


@pytest.mark.parametrize(
    "text, state",
    [
        (text_of("hccn-link-DOWN.txt"), "DOWN"),
        (SESSION, "UP"),
        ("link status: up\r\n", "UP"),
        ("link status: UPDATING", None),
    ],
)
def test_link(text, state):
    assert hccn.parse_link(text) == state


@pytest.mark.parametrize(
    "text, state",
    [
        (SESSION, "Init"),
        ("net health status: Success\r\n", "Success"),
        ("net health status: Socket fail\n", "Socket fail"),
    ],
)
def test_net_health(text, state):
    assert hccn.parse_net_health(text) == state


def test_ip():
    assert hccn.parse_ip(text_of("hccn-ip-910B1.txt")) == {"address": "29.1.112.213", "netmask": "255.255.0.0"}
    assert hccn.parse_ip("ipaddr:10.0.0.2\n") == {"address": "10.0.0.2", "netmask": None}


def test_lldp():
    assert hccn.parse_lldp(text_of("hccn-lldp-910B1-elided.txt")) == {
        "peer": True,
        "port": "400GE1/1/20:2",
        "system": "Versatile Routing Platform Software",
    }
    named = "Port ID TLV\n\tIfname: 10GE1/0/1\nSystem Name TLV\n\tleaf-7\nEnd of LLDPDU TLV\n"
    assert hccn.parse_lldp(named) == {"peer": True, "port": "10GE1/0/1", "system": "leaf-7"}
    assert hccn.parse_lldp("End of LLDPDU TLV\n") == {"peer": False, "port": None, "system": None}
    assert hccn.parse_lldp("no lldp neighbor\n")["peer"] is False
    assert hccn.parse_lldp("Ifname: x\nCommand execute failed!\n") is None


def test_tls():
    assert hccn.parse_tls(SESSION) is False
    assert hccn.parse_tls("dev_id:1, tls switch[1](0:disable, 1:enable), tls alarm time threshold[60]days") is True


def test_optical():
    assert hccn.parse_optical(SESSION) == {
        "present": False,
        "tx_power_mw": 4.4035,
        "rx_power_mw": 1.0189,
        "temperature_c": None,
    }
    module = (
        "optical info:\npresent              : present\ntemperature          : 41 C\nTx Power0            : 1.5 mW\n"
    )
    assert hccn.parse_optical(module) == {
        "present": True,
        "tx_power_mw": 1.5,
        "rx_power_mw": None,
        "temperature_c": 41.0,
    }


@pytest.mark.parametrize(
    "text, loss",
    [
        (text_of("hccn-ping-910B1.txt"), 0.0),
        (
            "device 3 PING 10.0.0.9\nrecv time out seq=0\n3 packets transmitted, 0 received, 100.00% packet loss\n",
            100.0,
        ),
        ("3 packets transmitted, 2 received, 33.33% packet loss", 33.33),
    ],
)
def test_ping(text, loss):
    assert hccn.parse_ping(text)["loss_percent"] == loss


def test_ping_that_sent_nothing_is_unknown():
    assert hccn.parse_ping("0 packets transmitted, 0 received, 0.00% packet loss") is None


def test_hccn_conf():
    conf = hccn.parse_hccn_conf(
        text_of("hccn.conf-910B1-8npu-elided.txt") + "# address_9=1.2.3.4\ntls_enable_7 = 0\r\n"
    )
    assert sorted(conf) == [0, 7]
    assert conf[0] == {
        "address": "29.1.137.205",
        "netmask": "255.255.0.0",
        "netdetect": "29.1.0.1",
        "gateway": "29.1.0.1",
        "send_arp_status": "1",
    }
    assert (conf[7]["address"], conf[7]["tls_enable"]) == ("29.1.170.143", "0")


@settings(deadline=None)
@given(st.text(max_size=200), st.integers(0, 2000), st.integers(0, 2000))
def test_no_text_makes_it_raise(junk, start, end):
    for parse in PARSERS:
        json.dumps(parse(junk))
        json.dumps(parse(SESSION[start:end] + junk))
