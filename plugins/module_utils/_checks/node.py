# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The checks of a node itself and of its NPUs: rights, chips, device nodes, driver files, addresses, ports."""

from __future__ import annotations

import ipaddress

from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.verdict import verdict
from ansible_collections.ascend_ops.vllm.plugins.module_utils._npu.checks import judge_npu

ANY = ("0.0.0.0", "::")
ISSUES = "https://github.com/vllm-project/vllm-ascend/issues/"
CHECKS = {
    "node.rights": {
        "why": "Tuning, container and device nodes need root; an ordinary user fails halfway.",
        "source": "",
        "read": "the effective user id of the module",
        "remedy": "Set ansible_become, or connect as root.",
    },
    "npu.tool": {
        "why": "Without an answer of npu-smi nothing is known of the chips, and the driver is likely to be down.",
        "source": ISSUES + "2698",
        "read": "`npu-smi info`, its exit status and what it prints, bounded in time",
        "remedy": "The message names the tool's code and what it means: driver not loaded, library path, rights, a chip held.",
    },
    "npu.count": {
        "why": "A dead chip can vanish from the table without a word; the service then fails at its first collective.",
        "source": "",
        "read": "rows of the table of `npu-smi info` against the devices of the plan",
        "remedy": "`dmesg | grep -i ascend`, `lspci | grep -i d80`; reset the chip or reboot the node.",
    },
    "npu.product": {
        "why": "An image for another chip starts, and dies when it loads its kernels.",
        "source": "",
        "read": "chip names and layout of `npu-smi info` against the node's group",
        "remedy": "Put the node into the group of its hardware.",
    },
    "npu.health": {
        "why": "A chip with an alarm hangs or answers wrongly. `npu-smi info -t health` can say OK beside an alarm in the table.",
        "source": "",
        "read": "the column Health of the table of `npu-smi info`",
        "remedy": "`npu-smi info -t health -i N` for the error code; reset the chip, or take the node out of service.",
    },
    "npu.idle.processes": {
        "why": "A process of an earlier service holds HBM and the chip; the new one runs out of memory or is refused.",
        "source": "",
        "read": "the process table of `npu-smi info`, without the processes of the service itself",
        "remedy": "End the process; when it is a stale service, stop its container.",
    },
    "npu.idle.hbm": {
        "why": "HBM in use by nobody that is listed is held by a container or a dead process.",
        "source": "",
        "read": "HBM use of each chip against an idle chip's (about 3.3 GB on 910B)",
        "remedy": "`docker ps` and `npu-smi info` show by whom; reset the chip when nobody holds it.",
    },
    "npu.devices": {
        "why": "The container is given each device node by name; a missing one keeps it from being made.",
        "source": "",
        "read": "character devices /dev/davinciN, davinci_manager, devmm_svm, hisi_hdc",
        "remedy": "The driver makes them: see the state of its services and `dmesg | grep -i davinci`.",
    },
    "driver.files": {
        "why": "The container shares the host's driver libraries and tools.",
        "source": "",
        "read": "the sources of the plan's driver mounts",
        "remedy": "Install the driver, or reinstall it with --full.",
    },
    "network.address": {
        "why": "HCCL and gloo bind to the interface of the node's address; a wrong one ends in a timeout of HCCL.",
        "source": "",
        "read": "`ip -o addr show`",
        "remedy": "Set vllm_recipe_address to the node's own address on the network that joins the nodes.",
    },
    "network.listen": {
        "why": "An API that is to listen at an address which the node does not carry ends the start after the weights were "
        "loaded.",
        "source": "",
        "read": "the plan's --host against `ip -o addr show`",
        "remedy": "Set vllm_recipe_listen to an address of the node or to `node`, or leave it empty.",
    },
    "fabric.hccn_conf": {
        "why": "Without it in the container a service over several nodes starts and answers wrongly.",
        "source": ISSUES + "7711",
        "read": "/etc/hccn.conf, an address for each chip",
        "remedy": "Set the chips' addresses with `hccn_tool -i N -ip -s address … netmask …`, which writes the file.",
    },
    "port.api": {
        "why": "A taken port ends the start after the weights were loaded.",
        "source": "",
        "read": "listening sockets of the node and whose they are; the service's own do not count",
        "remedy": "Stop the process, or choose another port with vllm_recipe_args.",
    },
    "port.rpc": {
        "why": "The nodes of a replica meet on this port of the primary.",
        "source": "",
        "read": "as port.api",
        "remedy": "Stop the process, or set data-parallel-rpc-port.",
    },
    "port.hccl": {
        "why": "HCCL takes one port per chip from 60000 on; a taken one fails the start with an address already in use.",
        "source": "",
        "read": "as port.api",
        "remedy": "Stop the process, or move HCCL with HCCL_IF_BASE_PORT in vllm_recipe_env.",
    },
}


def judge(node, facts, policy):
    """The verdicts on one node by itself."""
    rights = "root" if facts["root"] else "an ordinary user"
    checks = [
        verdict("node.rights", "pass" if facts["root"] else "fail", rights, "root", CHECKS["node.rights"]["remedy"])
    ]
    checks.extend(_npu(node, facts))
    checks.append(_devices(node, facts))
    checks.append(_driver_files(node, facts))
    checks.append(_address(node, facts))
    checks.append(_listen(node, facts))
    checks.append(_hccn_conf(node, facts))
    checks.extend(_ports(node, facts))
    return checks


def _npu(node, facts):
    davinci = [path for path in node["container"]["devices"] if path[len("/dev/davinci") :].isdigit()]
    told = _own_chips(facts["npu"], {int(path[len("/dev/davinci") :]) for path in davinci})
    expect = {
        "chips": len(davinci),
        "product": node["hardware"],
        "idle": True,
        "own_pids": facts["service_pids"],
    }
    checks = judge_npu(told, expect)
    for check in checks:
        if check["id"] == "npu.idle.hbm" and facts["service_pids"] and check["verdict"] != "pass":
            check.update(verdict="skipped", remedy="Its own service runs on this node.")
    # The driver's version is judged with the image's, in versions.py.
    return [check for check in checks if check["id"] != "npu.driver"]


def _own_chips(npu, numbers):
    """What is told of the chips of the plan, where the node has others besides: another service may run on those."""
    devices = npu.get("devices") or []
    if len(devices) <= len(numbers):
        return npu  # all are meant, and one that vanished is to be missed
    own = [
        device
        for row, device in enumerate(devices)
        if (row if device.get("phy_id") is None else device["phy_id"]) in numbers
    ]
    return dict(npu, devices=own) if len(own) == len(numbers) else npu


def _devices(node, facts):
    missing = [path for path in node["container"]["devices"] if not facts["devices"].get(path)]
    return verdict(
        "npu.devices",
        "fail" if missing else "pass",
        "missing: {0}".format(", ".join(missing)) if missing else "{0} device nodes".format(len(facts["devices"])),
        "all devices of the plan",
        "The driver makes them: 'systemctl status' of the driver's services, 'dmesg | grep -i davinci'.",
    )


def _driver_files(node, facts):
    missing = [
        mount["source"]
        for mount in node["container"]["mounts"]
        if mount["source"].startswith("/usr/local/") and not facts["paths"].get(mount["source"])
    ]
    # npu-smi is in one of two places, as the driver's version has it.
    tools = [path for path in missing if path.endswith("npu-smi")]
    if len(tools) == 1:
        missing.remove(tools[0])
        tools = []
    needed = tools + [path for path in missing if path.endswith("lib64")]
    word = "fail" if needed else "warn" if missing else "pass"
    return verdict(
        "driver.files",
        word,
        "missing: {0}".format(", ".join(missing)) if missing else "all there",
        "the driver's files that the container shares",
        "Install the driver, or reinstall it with --full. What is missing is left out of the container.",
    )


def _address(node, facts):
    network = facts["network"]
    if network["error"]:
        return verdict(
            "network.address",
            "unknown",
            network["error"],
            "the node's addresses",
            "The command 'ip' (package iproute2 or iproute) tells them.",
        )
    if network["interface"]:
        return verdict(
            "network.address",
            "pass",
            "{0} on {1}".format(node["address"], network["interface"]),
            "{0} on an interface".format(node["address"]),
        )
    own = ", ".join(
        "{0} ({1})".format(*item)
        for item in sorted(network["addresses"].items())
        if item[1] != "lo" and not item[0].startswith("fe80")
    )
    return verdict(
        "network.address",
        "fail",
        "the node has {0}".format(own or "no address"),
        "{0} on an interface".format(node["address"]),
        "Set vllm_recipe_address to the node's own address on the network that joins the nodes.",
    )


def _listen(node, facts):
    check = "network.listen"
    listen = node["listen"]
    wanted = "{0} on an interface".format(listen or "an address")
    remedy = "Set vllm_recipe_listen to an address of the node or to 'node', or leave it empty."
    if not listen:
        return verdict(check, "skipped", "the node serves no API", wanted)
    if listen in ANY:
        return verdict(check, "pass", "listens at all addresses of the node", wanted)
    addresses = facts["network"].get("addresses") or {}
    try:
        found = [interface for address, interface in addresses.items() if _same(address, listen)]
    except ValueError:
        return verdict(check, "skipped", f"{listen} is a name; it is not looked up", wanted)
    if not addresses:
        return verdict(check, "unknown", facts["network"]["error"] or "no address was told", wanted, remedy)
    if found:
        return verdict(check, "pass", f"{listen} on {found[0]}", wanted)
    own = ", ".join(sorted(address for address in addresses if not address.startswith("fe80")))
    return verdict(check, "fail", f"the node has {own}", wanted, remedy)


def _same(address, other):
    return ipaddress.ip_address(address) == ipaddress.ip_address(other)


def _hccn_conf(node, facts):
    conf = facts["hccn_conf"]
    wanted = "/etc/hccn.conf with an address for each chip"
    remedy = (
        "Set the chips' addresses with 'hccn_tool -i N -ip -s address … netmask …', which writes the file. Without it "
        "a service over several nodes starts and answers wrongly."
    )
    several = node["ranks"][2] > node["ranks"][1] - node["ranks"][0] + 1
    word = "fail" if several else "warn"
    if conf is None:
        return verdict("fabric.hccn_conf", word, "no readable /etc/hccn.conf", wanted, remedy)
    with_address = [chip for chip, entry in conf.items() if entry.get("address")]
    good = len(with_address) >= sum(1 for path in node["container"]["devices"] if path[len("/dev/davinci") :].isdigit())
    return verdict(
        "fabric.hccn_conf",
        "pass" if good else word,
        f"{len(with_address)} chips with an address",
        wanted,
        remedy,
    )


def _apart(node, item):
    """Does somebody listen on the API's port at an address at which the API does not?"""
    at = item.get("address") or "0.0.0.0"
    try:
        return not {node["listen"], at} & set(ANY) and not _same(at, node["listen"])
    except ValueError:
        return False


def _ports(node, facts):
    checks = []
    for name, value in node["ports"].items():
        first, last = (value, value) if isinstance(value, int) else value
        wanted = f"port {first} free" if first == last else f"ports {first} to {last} free"
        if facts["ports"] is None:
            checks.append(
                verdict(
                    "port." + name,
                    "unknown",
                    "the kernel does not tell who listens",
                    wanted,
                    "See 'ss -ltnp' on the node; /proc/net/tcp cannot be read there.",
                )
            )
            continue
        taken = [
            item
            for item in facts["ports"]
            if first <= item["port"] <= last and not item["own"] and not (name == "api" and _apart(node, item))
        ]
        own = [item for item in facts["ports"] if first <= item["port"] <= last and item["own"]]
        if taken:
            seen = ", ".join(
                "{0} taken by {1}".format(
                    item["port"],
                    "pid {0} ({1})".format(item["pid"], item["name"]) if item["pid"] else "an unknown process",
                )
                for item in taken
            )
            checks.append(
                verdict(
                    "port." + name,
                    "fail",
                    seen,
                    wanted,
                    "Stop that process, or choose another port: vllm_recipe_args (port, data-parallel-rpc-port) or "
                    "vllm_recipe_env (HCCL_IF_BASE_PORT).",
                )
            )
        else:
            checks.append(verdict("port." + name, "pass", "in use by the service itself" if own else "free", wanted))
    return checks
