# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The checks of a node and its NPUs: privileges, chips, device nodes, driver files, addresses, ports."""

from __future__ import annotations

import ipaddress

from ansible_collections.ascend_ops.vllm.plugins.module_utils._checks.check import Check
from ansible_collections.ascend_ops.vllm.plugins.module_utils._checks.owners import (
    REMEDY,
    doubtful_pids,
    engine_silent,
    is_doubtful,
)
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.verdict import (
    FAIL,
    PASS,
    SKIPPED,
    UNKNOWN,
    WARN,
    verdict,
)
from ansible_collections.ascend_ops.vllm.plugins.module_utils._npu.checks import evaluate_npu
from ansible_collections.ascend_ops.vllm.plugins.module_utils._npu.chips import chips_of, spans_nodes

ANY = ("0.0.0.0", "::")
PART_REMEDY = (
    "Set vllm_recipe_devices to the chips that it has, and tensor-parallel-size in vllm_recipe_args to a number that divides "
    "them; or give it all of them."
)
ISSUES = "https://github.com/vllm-project/vllm-ascend/issues/"
CHECKS = {
    "node.rights": Check(
        why="Tuning, containers and device nodes require root; an unprivileged run fails halfway.",
        read="the effective user id of the module",
        remedy="Set ansible_become, or connect as root.",
    ),
    "npu.tool": Check(
        why="Without output from npu-smi nothing is known about the chips, and the driver is probably down.",
        source=ISSUES + "2698",
        read="`npu-smi info`: exit status and output, with a timeout. A failure only if it gives no answer when it is run alone "
        "either, for three times as long; see node.load",
        remedy="The message gives the tool's error code and its meaning: driver not loaded, library path, permissions, chip "
        "in use.",
    ),
    "npu.count": Check(
        why="A dead chip can disappear from the table without an error; the service then fails in its first collective.",
        read="rows in the table of `npu-smi info`, compared with the devices of the plan",
        remedy="`dmesg | grep -i ascend`, `lspci | grep -i d80`; reset the chip or reboot the node.",
    ),
    "npu.product": Check(
        why="A container with an image for another chip starts, and crashes when it loads its kernels.",
        read="chip names and table layout of `npu-smi info`, compared with the node's inventory group",
        remedy="Move the node to the group of its hardware.",
    ),
    "npu.health": Check(
        why="A chip with an alarm hangs or computes wrong results. `npu-smi info -t health` can report OK while the table "
        "shows an alarm.",
        read="the Health column in the table of `npu-smi info`",
        remedy="`npu-smi info -t health -i N` shows the error code; reset the chip, or take the node out of service.",
    ),
    "npu.idle.processes": Check(
        why="A process left over from an earlier service occupies the chip and its HBM; the new one runs out of memory or is "
        "rejected.",
        read="the process table of `npu-smi info`, without the processes of the service itself",
        remedy="Stop the process; if it belongs to a stale service, stop its container.",
    ),
    "npu.idle.hbm": Check(
        why="HBM in use without a listed process is occupied by a container or a dead process.",
        read="HBM usage of each chip, compared with that of an idle chip (about 3.3 GB on a 910B)",
        remedy="`docker ps` and `npu-smi info` show what uses it; if nothing does, reset the chip.",
    ),
    "npu.devices": Check(
        why="Each device node is passed to the container by name; the container cannot be created if one is missing.",
        read="character devices /dev/davinciN, davinci_manager, devmm_svm, hisi_hdc",
        remedy="The driver creates them: check its services and `dmesg | grep -i davinci`.",
    ),
    "driver.files": Check(
        why="The container uses the driver libraries and tools of the host.",
        read="the source paths of the plan's driver mounts",
        remedy="Install the driver, or reinstall it with --full.",
    ),
    "network.address": Check(
        why="HCCL and Gloo bind to the interface with the node's address; a wrong address ends in an HCCL timeout.",
        read="`ip -o addr show`",
        remedy="Set vllm_recipe_address to the node's own address on the network that connects the nodes.",
    ),
    "network.listen": Check(
        why="If the API is configured to listen on an address that the node does not have, the start fails after the weights "
        "are loaded.",
        read="the plan's --host, compared with `ip -o addr show`",
        remedy="Set vllm_recipe_listen to an address of the node or to `node`, or leave it empty.",
    ),
    "fabric.hccn_conf": Check(
        why="Without this file in the container a service that spans nodes starts and returns wrong answers.",
        source=ISSUES + "7711",
        read="/etc/hccn.conf: an address for each chip",
        remedy="Set the addresses of the chips with `hccn_tool -i N -ip -s address … netmask …`, which writes the file.",
    ),
    "port.api": Check(
        why="If the port is in use, the start fails after the weights are loaded.",
        read="listening sockets of the node and their processes; those of the service itself are ignored",
        remedy="Stop the process, or choose another port with vllm_recipe_args.",
    ),
    "port.rpc": Check(
        why="The nodes of a replica rendezvous on this port of the primary.",
        read="as port.api",
        remedy="Stop the process, or set data-parallel-rpc-port.",
    ),
    "port.hccl": Check(
        why="HCCL uses one port per chip, starting at 60000; if one is in use, the start fails with 'address already in use'.",
        read="as port.api",
        remedy="Stop the process, or move the range with HCCL_IF_BASE_PORT in vllm_recipe_env.",
    ),
}


def evaluate(node, facts, policy):
    """The verdicts on one node by itself."""
    return [
        _rights(facts),
        *_npu(node, facts),
        _devices(node, facts),
        _driver_files(node, facts),
        _address(node, facts),
        _listen(node, facts),
        _hccn_conf(node, facts),
        *(_port(node, facts, name, value) for name, value in node["ports"].items()),
    ]


def _rights(facts):
    name, root = "node.rights", facts["root"]
    seen = "root" if root else "an unprivileged user"
    return verdict(name, PASS if root else FAIL, seen, "root", CHECKS[name].remedy)


def _npu(node, facts):
    chips, doubtful = chips_of(node), doubtful_pids(facts)
    expected = {
        "chips": len(chips),
        "product": node["hardware"],
        "idle": True,
        "own_pids": [*facts["service_pids"], *doubtful],
    }
    checks = evaluate_npu(planned_chips(facts["npu"], set(chips)), expected)
    for check in checks:
        if check["id"] == "npu.tool" and facts["npu"].get("code") == "timeout" and not _asked_alone(facts):
            check.update(verdict=UNKNOWN.value)  # busy or hanging: that is not known yet
        elif check["id"] == "npu.count" and check["verdict"] == FAIL and _part_of_server(facts, chips):
            check.update(
                remedy=f"The node is a virtual machine that was given {len(facts['chips'])} chips. {PART_REMEDY}"
            )
        elif check["id"] == "npu.idle.processes" and check["verdict"] == PASS and doubtful:
            pids = ", ".join(map(str, sorted(doubtful)[:8]))
            check.update(verdict=UNKNOWN.value, seen=f"PID {pids}: it is not known whose", remedy=REMEDY)
        elif check["id"] == "npu.idle.hbm" and (doubtful or (check["verdict"] == FAIL and engine_silent(facts))):
            check.update(verdict=UNKNOWN.value, seen=check["seen"] + "; it is not known whose", remedy=REMEDY)
        elif check["id"] == "npu.idle.hbm" and facts["service_pids"] and check["verdict"] != PASS:
            check.update(verdict=SKIPPED.value, remedy="The service itself runs on this node.")
    # The driver's version is compared with that of the image, in versions.py.
    return [check for check in checks if check["id"] != "npu.driver"]


def _asked_alone(facts):
    """Whether npu-smi was asked once more, alone and for longer, and gave no answer: then the driver hangs."""
    return any(one["source"] == "npu-smi" and not one["answered"] for one in facts.get("late") or [])


def _part_of_server(facts, chips):
    """Whether the node is a virtual machine with fewer chips than the plan uses."""
    return bool((facts.get("host") or {}).get("virtual")) and len(facts.get("chips") or chips) < len(chips)


def planned_chips(npu, numbers):
    """The chips of the plan, if the node has more: another service may use the rest."""
    devices = npu.get("devices") or []
    if len(devices) <= len(numbers):
        return npu  # the plan uses all chips, so that a missing one must be noticed
    planned = [
        device
        for row, device in enumerate(devices)
        if (row if device.get("phy_id") is None else device["phy_id"]) in numbers
    ]
    return dict(npu, devices=planned) if len(planned) == len(numbers) else npu


def _devices(node, facts):
    missing = [path for path in node["container"]["devices"] if not facts["devices"].get(path)]
    return verdict(
        "npu.devices",
        FAIL if missing else PASS,
        f"missing: {', '.join(missing)}" if missing else f"{len(facts['devices'])} device nodes",
        "all devices of the plan",
        "The driver creates them: check 'systemctl status' of its services and 'dmesg | grep -i davinci'.",
    )


def _driver_files(node, facts):
    missing = [
        mount["source"]
        for mount in node["container"]["mounts"]
        if mount["source"].startswith("/usr/local/") and not facts["paths"].get(mount["source"])
    ]
    # npu-smi is in one of two places, depending on the driver's version.
    tools = [path for path in missing if path.endswith("npu-smi")]
    if len(tools) == 1:
        missing.remove(tools[0])
        tools = []
    required = tools + [path for path in missing if path.endswith("lib64")]
    return verdict(
        "driver.files",
        FAIL if required else WARN if missing else PASS,
        f"missing: {', '.join(missing)}" if missing else "all present",
        "the driver files that the container uses",
        "Install the driver, or reinstall it with --full. Missing files are left out of the container.",
    )


def _address(node, facts):
    name, network = "network.address", facts["network"]
    wanted = f"{node['address']} on an interface"
    if network["error"]:
        remedy = "They are read with the command 'ip' (package iproute2 or iproute)."
        return verdict(name, UNKNOWN, network["error"], "the node's addresses", remedy)
    if network["interface"]:
        return verdict(name, PASS, f"{node['address']} on {network['interface']}", wanted)
    own = ", ".join(
        f"{address} ({interface})"
        for address, interface in sorted(network["addresses"].items())
        if interface != "lo" and not address.startswith("fe80")
    )
    return verdict(name, FAIL, f"the node has {own or 'no address'}", wanted, CHECKS[name].remedy)


def _listen(node, facts):
    name, listen = "network.listen", node["listen"]
    wanted = f"{listen or 'an address'} on an interface"
    remedy = CHECKS[name].remedy.replace("`", "'")
    if not listen:
        return verdict(name, SKIPPED, "the node does not serve the API", wanted)
    if listen in ANY:
        return verdict(name, PASS, "listens on all addresses of the node", wanted)
    addresses = facts["network"].get("addresses") or {}
    try:
        found = [interface for address, interface in addresses.items() if _same(address, listen)]
    except ValueError:
        return verdict(name, SKIPPED, f"{listen} is a name; it is not resolved", wanted)
    if not addresses:
        return verdict(name, UNKNOWN, facts["network"]["error"] or "no address was reported", wanted, remedy)
    if found:
        return verdict(name, PASS, f"{listen} on {found[0]}", wanted)
    own = ", ".join(sorted(address for address in addresses if not address.startswith("fe80")))
    return verdict(name, FAIL, f"the node has {own}", wanted, remedy)


def _same(address, other):
    return ipaddress.ip_address(address) == ipaddress.ip_address(other)


def _hccn_conf(node, facts):
    name, conf = "fabric.hccn_conf", facts["hccn_conf"]
    wanted = "/etc/hccn.conf with an address for each chip"
    remedy = (
        "Set the addresses of the chips with 'hccn_tool -i N -ip -s address … netmask …', which writes the file. Without "
        "it a service that spans nodes starts and returns wrong answers."
    )
    bad = FAIL if spans_nodes(node) else WARN
    if conf is None:
        return verdict(name, bad, "no readable /etc/hccn.conf", wanted, remedy)
    with_address = sum(1 for entry in conf.values() if entry.get("address"))
    good = with_address >= len(chips_of(node))
    return verdict(name, PASS if good else bad, f"{with_address} chips with an address", wanted, remedy)


def _port(node, facts, name, value):
    """The verdict on a port or a range of ports of the plan, *value*."""
    check = "port." + name
    first, last = (value, value) if isinstance(value, int) else value
    wanted = f"port {first} free" if first == last else f"ports {first} to {last} free"
    if facts["ports"] is None:
        remedy = "Run 'ss -ltnp' on the node; /proc/net/tcp cannot be read there."
        return verdict(check, UNKNOWN, "the kernel does not show who listens", wanted, remedy)
    listeners = [item for item in facts["ports"] if first <= item["port"] <= last]
    taken = [item for item in listeners if not item["own"] and not (name == "api" and _apart(node, item))]
    if not taken:
        own = any(item["own"] for item in listeners)
        return verdict(check, PASS, "in use by the service itself" if own else "free", wanted)
    # Of an unknown process not even the container is known.
    known = [item for item in taken if not is_doubtful(facts, item.get("container") if item["pid"] else None)]
    seen = ", ".join(
        f"{item['port']} taken by " + (f"pid {item['pid']} ({item['name']})" if item["pid"] else "an unknown process")
        for item in known or taken
    )
    if not known:
        return verdict(check, UNKNOWN, seen + "; it is not known whose it is", wanted, REMEDY)
    remedy = (
        "Stop that process, or choose another port: vllm_recipe_args (port, data-parallel-rpc-port) or vllm_recipe_env "
        "(HCCL_IF_BASE_PORT)."
    )
    return verdict(check, FAIL, seen, wanted, remedy)


def _apart(node, item):
    """Whether a process listens on the port of the API, but on an address on which the API does not."""
    at = item.get("address") or "0.0.0.0"
    try:
        return not {node["listen"], at} & set(ANY) and not _same(at, node["listen"])
    except ValueError:
        return False
