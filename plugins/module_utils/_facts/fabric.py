# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What hccn_tool tells of the RoCE port of each chip, and npu-smi of the super-pod. Read, never judged here.

The chips are asked at the same time, each by a thread of its own. A chip that did not answer one question in time is
asked no more, and all of it ends at one deadline: a driver that hangs costs the time-out once.
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

# What is asked of each chip, the most telling first.
QUESTIONS = (
    ("link", parse_link),
    ("ip", parse_ip),
    ("net_health", parse_net_health),
    ("tls", parse_tls),
    ("lldp", parse_lldp),
    ("optical", parse_optical),
)


def gather(plan, options):
    """``{tool, error, chips: {chip: what read_chip tells}, seconds}``.

    :param plan: the node's part of the plan.
    :param options: ``timeout`` (seconds that one command may take), ``hccn_tool`` and ``npu_smi`` (paths).
    """
    timeout = float(options.get("timeout") or 20)
    several_a3 = plan["hardware"] == "a3" and spans_nodes(plan)
    facts = read_chips(chips_of(plan), options.get("hccn_tool"), timeout, vnic=several_a3)
    if several_a3:
        pods = in_parallel(lambda chip: superpod(chip, options.get("npu_smi"), timeout), chips_of(plan), timeout + 3)
        for chip, told in pods.items():
            facts["chips"].setdefault(str(chip), {})["superpod"] = told
    return facts


def read_chips(chips, executable=None, timeout=20.0, vnic=False):
    """Ask all chips at once: ``{tool, error, chips, seconds}``."""
    started = time.monotonic()
    facts = {"tool": find_tool("hccn_tool", executable), "error": "", "chips": {}, "seconds": 0.0}
    if not facts["tool"]:
        facts["error"] = f"there is no file {executable}" if executable else NO_TOOL
        return facts
    deadline = started + 2 * timeout
    told = in_parallel(lambda chip: read_chip(facts["tool"], chip, timeout, deadline, vnic), chips, 2 * timeout + 3)
    late = dict(empty_chip(), problems={"all": "no answer in time"})
    facts["chips"] = {str(chip): told.get(chip) or late for chip in chips}
    facts["seconds"] = round(time.monotonic() - started, 2)
    return facts


def empty_chip():
    """A chip that told nothing."""
    names = ("link", "net_health", "address", "netmask", "tls", "optical", "lldp", "vnic", "superpod")
    return dict(dict.fromkeys(names), problems={})


def read_chip(tool, chip, timeout, deadline, vnic=False):
    """``{link, net_health, address, netmask, tls, optical, lldp, vnic, superpod, problems}``; null is what was not told."""
    result = empty_chip()
    for name, parse in QUESTIONS + ((("vnic", parse_vnic),) if vnic else ()):
        left = min(timeout, deadline - time.monotonic())
        if left <= 0:
            result["problems"][name] = "not asked: the time was up"
            continue
        rc, text, timed_out = run([tool, "-i", str(chip), "-" + name, "-g"], left, driver_env())
        if timed_out:
            result["problems"][name] = f"no answer in {round(left, 1):g} s"
            break
        told = parse(text)
        if told is None:
            result["problems"][name] = shorten(text) or f"no output, exit status {rc}"
        elif name == "ip":
            result.update(told)
        else:
            result[name] = told
    return result


def parse_vnic(text):
    """``-vnic -g`` of an A3: the address that the chip has on the super-pod's own network, ``{link, address}``."""
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
    """``SDID``, ``Super Pod Size``, ``Super Pod ID``, ``Server Index``; zero is a value. None where no id is told."""
    names = (("sdid", "SDID"), ("size", "Super Pod Size"), ("superpod", "Super Pod ID"), ("server", "Server Index"))
    result = {}
    for key, label in names:
        match = re.search(rf"(?:^|[|\s]){label}[ \t]*:[ \t]*([0-9]{{1,12}})\b", text or "", re.I | re.M)
        result[key] = int(match.group(1)) if match else None
    return None if result["superpod"] is None and result["sdid"] is None else result
