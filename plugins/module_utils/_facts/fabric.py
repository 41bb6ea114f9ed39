# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Gather the state of each chip's RoCE port with hccn_tool, and that of the super-pod with npu-smi.

The chips are queried at the same time, each by its own thread. A chip that does not answer one query in time is not
queried any further, and everything ends at one deadline: a driver that hangs costs the timeout once.
"""

from __future__ import annotations

import re
import time

from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.parallel import in_parallel
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.run import (
    driver_env,
    find_tool,
    run,
    shorten,
)
from ansible_collections.ascend_ops.vllm.plugins.module_utils._npu.chips import NO_TOOL, chips_of, spans_nodes
from ansible_collections.ascend_ops.vllm.plugins.module_utils._npu.hccn import (
    parse_ip,
    parse_link,
    parse_lldp,
    parse_net_health,
    parse_optical,
    parse_tls,
)

NO_ANSWER = "no answer in"
OUT_OF_TIME = "not queried: out of time"
# What each chip is queried for, the most important first.
QUESTIONS = (
    ("link", parse_link),
    ("ip", parse_ip),
    ("net_health", parse_net_health),
    ("tls", parse_tls),
    ("lldp", parse_lldp),
    ("optical", parse_optical),
)


def gather(plan, options):
    """``{tool, error, chips: {chip: the result of read_chip}, seconds}``.

    :param plan: the node's part of the plan.
    :param options: ``timeout`` (in seconds, for one command), ``hccn_tool`` and ``npu_smi`` (paths).
    """
    timeout = float(options.get("timeout") or 20)
    several_a3 = plan["hardware"] == "a3" and spans_nodes(plan)
    facts = read_chips(chips_of(plan), options.get("hccn_tool"), timeout, vnic=several_a3)
    if several_a3:
        pods = in_parallel(lambda chip: superpod(chip, options.get("npu_smi"), timeout), chips_of(plan), timeout + 3)
        for chip, pod in pods.items():
            facts["chips"].setdefault(str(chip), {})["superpod"] = pod
    return facts


def read_chips(chips, executable=None, timeout=20.0, vnic=False):
    """Query all chips at once: ``{tool, error, chips, seconds}``; *error* says why there is no tool."""
    started = time.monotonic()
    facts = {"tool": find_tool("hccn_tool", executable), "error": "", "chips": {}, "seconds": 0.0}
    if not facts["tool"]:
        facts["error"] = f"there is no file {executable}" if executable else NO_TOOL
        return facts
    deadline = started + 2 * timeout
    found = in_parallel(lambda chip: read_chip(facts["tool"], chip, timeout, deadline, vnic), chips, 2 * timeout + 3)
    late = dict(empty_chip(), problems={"all": NO_ANSWER + " time"})
    facts["chips"] = {str(chip): found.get(chip) or late for chip in chips}
    facts["seconds"] = round(time.monotonic() - started, 2)
    return facts


def silent(facts):
    """The chips, as texts, that did not answer a query in time, by the result of gather()."""
    return sorted(
        (
            chip
            for chip, entry in facts["chips"].items()
            if any(OUT_OF_TIME in text or text.startswith(NO_ANSWER) for text in (entry.get("problems") or {}).values())
        ),
        key=int,
    )


def ask_silent(plan, facts, options):
    """Query the chips that did not answer in time again, with the ``timeout`` of *options*, and put that into *facts*."""
    chips = [int(chip) for chip in silent(facts)]
    vnic = plan["hardware"] == "a3" and spans_nodes(plan)
    again = read_chips(chips, options.get("hccn_tool"), options["timeout"], vnic)
    for chip, entry in again["chips"].items():
        facts["chips"][chip] = dict(entry, superpod=facts["chips"][chip].get("superpod"))


def empty_chip():
    """The facts of a chip that did not answer."""
    names = ("link", "net_health", "address", "netmask", "tls", "optical", "lldp", "vnic", "superpod")
    return dict(dict.fromkeys(names), problems={})


def read_chip(tool, chip, timeout, deadline, vnic=False):
    """``{link, net_health, address, netmask, tls, optical, lldp, vnic, superpod, problems}`` of a chip.

    A value that is not known is None, and ``problems`` says why: ``{query: reason}``.
    """
    result = empty_chip()
    for name, parse in QUESTIONS + ((("vnic", parse_vnic),) if vnic else ()):
        left = min(timeout, deadline - time.monotonic())
        if left <= 0:
            result["problems"][name] = OUT_OF_TIME
            continue
        rc, text, timed_out = run([tool, "-i", str(chip), "-" + name, "-g"], left, driver_env())
        if timed_out:
            result["problems"][name] = f"{NO_ANSWER} {round(left, 1):g} s"
            break
        value = parse(text)
        if value is None:
            result["problems"][name] = shorten(text) or f"no output, exit status {rc}"
        elif name == "ip":
            result.update(value)
        else:
            result[name] = value
    return result


def parse_vnic(text):
    """``-vnic -g`` of an A3: the address of the chip on the super-pod's own network, ``{link, address}``."""
    address = re.search(r"^[ \t]*vnic ipaddr[ \t]*:[ \t]*([0-9a-f.:]+)\s*$", text or "", re.I | re.M)
    link = re.search(r"^[ \t]*vnic link status[ \t]*:[ \t]*(up|down)\s*$", text or "", re.I | re.M)
    if not address:
        return None
    return {"address": address.group(1), "link": link.group(1).upper() if link else None}


def superpod(chip, npu_smi, timeout):
    """``npu-smi info -t spod-info`` of an A3's chip: ``{sdid, superpod, size, server}``, or None."""
    tool = find_tool("npu-smi", npu_smi)
    if not tool:
        return None
    unused, text, late = run(
        [tool, "info", "-t", "spod-info", "-i", str(chip // 2), "-c", str(chip % 2)], timeout, driver_env()
    )
    return None if late else parse_spod_info(text)


def parse_spod_info(text):
    """``SDID``, ``Super Pod Size``, ``Super Pod ID``, ``Server Index``; zero is a value. None if no id is reported."""
    names = (("sdid", "SDID"), ("size", "Super Pod Size"), ("superpod", "Super Pod ID"), ("server", "Server Index"))
    result = {}
    for key, label in names:
        match = re.search(rf"(?:^|[|\s]){label}[ \t]*:[ \t]*([0-9]{{1,12}})\b", text or "", re.I | re.M)
        result[key] = int(match.group(1)) if match else None
    return None if result["superpod"] is None and result["sdid"] is None else result
