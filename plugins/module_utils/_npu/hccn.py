# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Parse what hccn_tool prints, and /etc/hccn.conf.

Each function returns the parsed value, or None if it is unknown: a missing answer, such as "Command execute failed", says
nothing about the chip's network and must not be mistaken for a good one.
"""

from __future__ import annotations

import re
from typing import Any, Dict, Optional


def _find(pattern: str, text: str) -> Optional[str]:
    match = re.search(pattern, text or "", re.I | re.M)
    return match.group(1).strip() if match else None


def parse_link(text: str) -> Optional[str]:
    """``-link -g``: UP or DOWN."""
    state = _find(r"^\s*link status[ \t]*:[ \t]*(up|down)\s*$", text)
    return state.upper() if state else None


def parse_net_health(text: str) -> Optional[str]:
    """``-net_health -g``: Success, or the problem in the tool's words (Init, Fault, Socket fail, Unreachable, ...)."""
    return _find(r"^[ \t]*net health status[ \t]*:[ \t]*(\S[^\r\n]*)", text)


def parse_ip(text: str) -> Optional[Dict[str, Optional[str]]]:
    """``-ip -g``: {address, netmask}."""
    address = _find(r"^[ \t]*ipaddr[ \t]*:[ \t]*([0-9a-f.:]+)\s*$", text)
    if not address:
        return None
    return {"address": address, "netmask": _find(r"^[ \t]*netmask[ \t]*:[ \t]*([0-9a-f.:]+)\s*$", text)}


def parse_lldp(text: str) -> Optional[Dict[str, Any]]:
    """``-lldp -g``: {peer, port, system} of the switch at the other end; peer is False if the answer names none."""
    text = text or ""
    if re.search(r"command execute failed", text, re.I):
        return None
    port = _find(r"^[ \t]*Ifname[ \t]*:[ \t]*(\S[^\r\n]*)", text)
    mac = _find(r"^[ \t]*MAC[ \t]*:[ \t]*(\S[^\r\n]*)", text)
    system = _find(r"^[ \t]*System Name TLV[ \t]*\r?\n[ \t]*(\S[^\r\n]*)", text) or _find(
        r"^[ \t]*System Description TLV[ \t]*\r?\n[ \t]*(\S[^\r\n]*)", text
    )
    if port or mac or system:
        return {"peer": True, "port": port, "system": system}
    if re.search(r"End of LLDPDU|\bno (lldp|neighbou?r|peer)", text, re.I):
        return {"peer": False, "port": None, "system": None}
    return None


def parse_tls(text: str) -> Optional[bool]:
    """``-tls -g``: whether the TLS switch is on."""
    switch = _find(r"\btls switch\s*\[\s*([01])\s*\]", text)
    return None if switch is None else switch == "1"


def parse_optical(text: str) -> Optional[Dict[str, Any]]:
    """``-optical -g``: {present, tx_power_mw, rx_power_mw, temperature_c}."""
    present = _find(r"^[ \t]*present[ \t]*:[ \t]*(not present|present)\s*$", text)
    if not present:
        return None
    number = r"[ \t]*:[ \t]*(-?[0-9]+(?:\.[0-9]+)?)"
    values = {
        "tx_power_mw": _find(r"^[ \t]*Tx Power[0-9]?" + number + r"[ \t]*mW", text),
        "rx_power_mw": _find(r"^[ \t]*Rx Power[0-9]?" + number + r"[ \t]*mW", text),
        "temperature_c": _find(r"^[ \t]*temperature" + number, text),
    }
    result: Dict[str, Any] = {"present": present.lower() == "present"}
    result.update((name, None if value is None else float(value)) for name, value in values.items())
    return result


def parse_ping(text: str) -> Optional[Dict[str, Any]]:
    """``-ping -g address X``: {transmitted, received, loss_percent}."""
    match = re.search(r"\b([0-9]{1,9}) packets transmitted, ([0-9]{1,9}) (?:packets )?received", text or "", re.I)
    if not match or match.group(1) == "0":
        return None
    sent, received = int(match.group(1)), int(match.group(2))
    return {"transmitted": sent, "received": received, "loss_percent": round(100.0 * (sent - received) / sent, 2)}


def parse_hccn_conf(text: str) -> Optional[Dict[int, Dict[str, str]]]:
    """/etc/hccn.conf: {chip: {address, netmask, gateway, ...}}; None if no line is about a chip."""
    chips: Dict[int, Dict[str, str]] = {}
    for key, chip, value in re.findall(r"^[ \t]*([A-Za-z][A-Za-z_]*)_([0-9]{1,4})[ \t]*=([^\r\n]*)", text or "", re.M):
        chips.setdefault(int(chip), {})[key.lower()] = value.strip()
    return chips or None
