# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The checks of a node's own network. ``network_peers`` compares the nodes of a replica.

A check that does not apply is skipped; a fact that was not reported gives unknown.
"""

from __future__ import annotations

import ipaddress

from ansible_collections.ascend_ops.vllm.plugins.module_utils._checks.check import Check
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.verdict import (
    FAIL,
    PASS,
    SKIPPED,
    UNKNOWN,
    WARN,
    verdict,
)
from ansible_collections.ascend_ops.vllm.plugins.module_utils._npu.chips import spans_nodes

CERTIFICATE_DAYS = 30
TROUBLESHOOTING = "https://docs.vllm.ai/en/latest/usage/troubleshooting.html#incorrect-network-setup"
SINGLE = "a single node"

CHECKS = {
    "network.interface_up": Check(
        why="Gloo and HCCL bind to the interface with the node's address. If it is down, or a bond without an active member, "
        "the start hangs.",
        source=TROUBLESHOOTING,
        read="state and carrier of the interface with the plan's address, from `ip -o link`",
        remedy="Check 'ip link show', cable and switch port; or set vllm_recipe_address to the address of an interface that "
        "is up.",
    ),
    "network.hostname": Check(
        why="A library without a configured interface binds to the address that the node's hostname resolves to. If that is "
        "127.0.0.1 or 127.0.1.1, as many installers configure it, each node looks for the others on itself ('Gloo "
        "connectFullMesh failed').",
        source="https://github.com/vllm-project/vllm/issues/7074",
        read="`getent ahosts` of the node's hostname. A failure if the plan names no interface for Gloo, otherwise a warning.",
        remedy="In /etc/hosts map the node's hostname to its own address instead of 127.0.1.1.",
    ),
    "network.firewall": Check(
        why="A replica needs more than its API and RPC ports: those of HCCL from 60000 on, 16666, and ephemeral ports in both "
        "directions. Behind a firewall that opens two ports the start hangs.",
        source=TROUBLESHOOTING,
        read="whether firewalld and ufw are active; policy and dropping rules of the input chains in `iptables-save` and `nft "
        "list ruleset`. A warning only, since which packets a rule drops is not evaluated; network.reach tests the "
        "connections.",
        remedy="Allow all traffic between the nodes of the replica: 'firewall-cmd --permanent --zone=trusted "
        "--add-source=<other node>' and '--reload', 'ufw allow from <other node>', or the same in iptables.",
    ),
    "port.ephemeral": Check(
        why="The kernel assigns ports in its ephemeral range to any outgoing connection. HCCL's default range, starting at "
        "60000, is inside it: occasionally one is in use and the start fails.",
        source="https://github.com/vllm-project/vllm-ascend/issues/1955",
        read="the plan's ports, compared with net.ipv4.ip_local_port_range and net.ipv4.ip_local_reserved_ports",
        remedy="Reserve them: 'sysctl -w net.ipv4.ip_local_reserved_ports={0}', and the same in /etc/sysctl.d.",
    ),
    "tls.certificate": Check(
        why="With a certificate that has expired, is not trusted by clients or names another address, no client can connect, "
        "and the verification of a deploy fails. With a key that does not match, the start fails after the weights are "
        "loaded.",
        read="the files of vllm_recipe_tls on the node that serves the API, and an in-memory handshake between a server with "
        "this certificate and key and a client that verifies as a deploy does. A warning from 30 days before expiry, and "
        "for a key that other users can read.",
        remedy="Run 'openssl x509 -noout -dates -ext subjectAltName -in <certificate>'. The certificate must be valid now and "
        "name the address of the API in its subjectAltName; vllm_recipe_tls.ca must be the authority that signed it, or be "
        "omitted.",
    ),
}
TLS_REMEDIES = {
    "file": "Copy the file to the node that serves the API, readable by root, or correct vllm_recipe_tls.",
    "pair": "Provide a matching certificate and key, both as PEM, the key without a passphrase.",
    "authority": "vllm_recipe_tls.ca must be a file of certificates as PEM.",
}


def evaluate(node, facts, policy):
    """The verdicts on one node: network.interface_up, .hostname, .firewall, port.ephemeral and tls.certificate."""
    net = facts.get("net") or {}
    return [
        _interface_up(node, facts),
        _hostname(node, net),
        _firewall(node, net),
        _ephemeral(node, net),
        _certificate(node, net),
    ]


def _result(name, word, seen, wanted, remedy=None):
    return verdict(name, word, seen, wanted, CHECKS[name].remedy if remedy is None else remedy)


def interface_of(facts):
    """``(name, facts)`` of the interface with the plan's address; ``(None, None)`` if there is none."""
    name = (facts.get("network") or {}).get("interface")
    return name, ((facts.get("net") or {}).get("interfaces") or {}).get(name) if name else None


def _interface_up(node, facts):
    check, wanted = "network.interface_up", f"the interface with {node['address']} is up"
    name, interface = interface_of(facts)
    if not name:
        return _result(check, UNKNOWN, "no interface is known to have the address; see network.address", wanted)
    if not interface or not interface.get("state"):
        return _result(check, UNKNOWN, f"the state of {name} was not reported", wanted)
    state, carrier = interface["state"], interface.get("carrier")
    seen = f"{name} is {state}{'' if carrier else ', without a carrier'}"
    # Some drivers never report a state: then the carrier decides.
    return _result(check, PASS if carrier and state in ("UP", "UNKNOWN") else FAIL, seen, wanted)


def _hostname(node, net):
    check, wanted = "network.hostname", "a hostname that does not resolve to loopback"
    hostname = net.get("hostname") or {}
    addresses = hostname.get("addresses")
    if addresses is None:
        return _result(check, UNKNOWN, "the addresses of the hostname were not reported", wanted)
    seen = f"{hostname.get('name')} is {', '.join(addresses) or 'not resolved'}"
    if addresses and not any(_is_loopback(address) for address in addresses):
        return _result(check, PASS, seen, wanted)
    if not spans_nodes(node):
        return _result(check, SKIPPED, f"{SINGLE}: {seen}", wanted)
    # If the node's address is among them, the order decides; with a configured interface nothing resolves the name.
    configured = bool(node["env"].get("GLOO_SOCKET_IFNAME"))
    soft = configured or node["address"] in addresses or not addresses
    return _result(check, WARN if soft else FAIL, seen, wanted)


def _is_loopback(address):
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def _firewall(node, net):
    check, wanted = "network.firewall", "no packets between the nodes are dropped"
    if not spans_nodes(node):
        return _result(check, SKIPPED, SINGLE, wanted)
    firewall = net.get("firewall")
    if not firewall:
        return _result(check, UNKNOWN, "the node did not report it", wanted)
    parts = [f"{name} is active" for name in ("firewalld", "ufw") if firewall.get(name)]
    if firewall.get("policy") == "DROP":
        parts.append("packets that match no rule are dropped")
    if firewall.get("drops"):
        parts.append(f"rules that drop or reject: {firewall['drops']}")
    if parts:
        return _result(check, WARN, "; ".join(parts), wanted)
    if not firewall.get("source"):
        return _result(check, UNKNOWN, firewall.get("error") or "not reported", wanted)
    return _result(check, PASS, f"{firewall['source']}: everything is accepted", wanted)


def _ephemeral(node, net):
    check, wanted = "port.ephemeral", "the plan's ports are not assigned to outgoing connections"
    bounds, reserved = net.get("local_port_range"), net.get("reserved_ports")
    if not bounds or reserved is None:
        remedy = "Run 'sysctl net.ipv4.ip_local_port_range' on the node."
        return _result(check, UNKNOWN, "the kernel did not report its range", wanted, remedy)
    exposed, spans = [], []
    for name, value in node["ports"].items():
        first, last = (value, value) if isinstance(value, int) else value
        inside = [
            port
            for port in range(max(first, bounds[0]), min(last, bounds[1]) + 1)
            if not any(low <= port <= high for low, high in reserved)
        ]
        if inside:
            exposed.append(f"{name} {inside[0]}" if len(inside) == 1 else f"{name} {inside[0]} to {inside[-1]}")
            spans.append(_span(first, last))
    seen = f"{bounds[0]} to {bounds[1]} are ephemeral"
    if not exposed:
        return _result(check, PASS, seen + (", the plan's ports are reserved" if reserved else ""), wanted)
    remedy = CHECKS[check].remedy.format(",".join([_span(low, high) for low, high in reserved] + spans))
    return _result(check, WARN, f"{seen}; among them {', '.join(exposed)}", wanted, remedy)


def _span(first, last):
    return f"{first}-{last}" if first != last else str(first)


def _certificate(node, net):
    check = "tls.certificate"
    wanted = f"a valid certificate for the address of {node['service']['url']}, and its key"
    if not node.get("tls"):
        return _result(check, SKIPPED, "this node does not serve the API over https", wanted)
    tls = net.get("tls")
    if not tls:
        return _result(check, UNKNOWN, "the node did not report it", wanted)
    if tls["stage"]:
        return _result(check, FAIL, tls["error"], wanted, TLS_REMEDIES.get(tls["stage"]))
    days = int((tls["expires"] - net["time"]) // 86400)
    seen = f"valid for {days} more days"
    if days < CERTIFICATE_DAYS:
        remedy = "Replace the certificate and deploy, which restarts the replica with it."
        return _result(check, WARN, seen, f"at least {CERTIFICATE_DAYS} days", remedy)
    if int(tls["key_mode"], 8) & 0o077:
        key = node["tls"]["key"]
        seen = f"{key} has mode {tls['key_mode']}: other users can read it"
        return _result(check, WARN, seen, "a key that only its owner can read", f"Run 'chmod 0600 {key}'.")
    return _result(check, PASS, seen, wanted)
