# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The checks of the nodes' own network, as pure functions over told facts.

Each function returns the same ids whatever the facts are. What was not told is unknown, what does not apply skipped.
"""

from __future__ import annotations

import ipaddress

from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.verdict import verdict
from ansible_collections.ascend_ops.vllm.plugins.module_utils._npu.chips import spans_nodes

MAX_CLOCK_SKEW = 2.0
CERTIFICATE_DAYS = 30
TROUBLESHOOTING = "https://docs.vllm.ai/en/latest/usage/troubleshooting.html#incorrect-network-setup"
# A refusal proves something only where the other end listened at the same time, by at least this many seconds.
OVERLAP = 1.0

CHECKS = {
    "network.interface_up": {
        "why": "Gloo and HCCL bind to the interface that carries the node's address. One that is down, or a bond without "
        "a live member, lets the start hang.",
        "source": TROUBLESHOOTING,
        "read": "State and carrier of the interface that carries the plan's address, from 'ip -o link'.",
        "remedy": "See 'ip link show', cable and switch port; or set vllm_recipe_address to the address of an interface "
        "that is up.",
    },
    "network.hostname": {
        "why": "A library that is told no interface binds to what the node's own name resolves to. Where that is "
        "127.0.0.1 or 127.0.1.1, as many installers leave it, the nodes look for each other on themselves ('Gloo "
        "connectFullMesh failed').",
        "source": "https://github.com/vllm-project/vllm/issues/7074",
        "read": "getent ahosts of the node's own name. A failure where the plan names no interface for Gloo, a warning "
        "where it does.",
        "remedy": "In /etc/hosts give the node's name its own address instead of 127.0.1.1.",
    },
    "network.firewall": {
        "why": "A replica needs more than its API and RPC ports: HCCL's from 60000 on, 16666, and ephemeral ports in "
        "both directions. A firewall that lets two ports through lets the start hang.",
        "source": TROUBLESHOOTING,
        "read": "firewalld and ufw active or not; policy and dropping rules of the input chains from 'iptables-save' and "
        "'nft list ruleset'. It warns: which packets a rule drops is not computed. network.reach tries.",
        "remedy": "Let the nodes of the replica talk freely: 'firewall-cmd --permanent --zone=trusted --add-source=<other "
        "node>' and '--reload', 'ufw allow from <other node>', or the same in iptables.",
    },
    "port.ephemeral": {
        "why": "Ports inside the kernel's range of ephemeral ports are given to any outgoing connection. HCCL's default "
        "range from 60000 on lies inside it: now and then one is taken and the start fails.",
        "source": "https://github.com/vllm-project/vllm-ascend/issues/1955",
        "read": "The plan's ports against net.ipv4.ip_local_port_range and net.ipv4.ip_local_reserved_ports.",
        "remedy": "Reserve them: 'sysctl -w net.ipv4.ip_local_reserved_ports={0}', and the same in /etc/sysctl.d.",
    },
    "tls.certificate": {
        "why": "A certificate that has expired, that a client does not trust or that names another address keeps every client "
        "out, the proofs of a deploy as well. A key that does not fit ends the start after the weights were loaded.",
        "source": "",
        "read": "The files of vllm_recipe_tls on the node that serves the API, and a handshake in memory between a server with "
        "certificate and key and a client that verifies as the proofs do. A warning from 30 days before the end, and for a "
        "key that others can read.",
        "remedy": "See 'openssl x509 -noout -dates -ext subjectAltName -in <certificate>'. The certificate must be valid now "
        "and have the address of the API in its subjectAltName; vllm_recipe_tls.ca must be the authority that signed it, "
        "or be left out.",
    },
    "network.subnet": {
        "why": "Nodes in different subnets talk through a router, with more latency and often a firewall; a wrong "
        "netmask sends packets for the other node to the gateway.",
        "source": TROUBLESHOOTING,
        "read": "Address and prefix length of the interface that carries the plan's address, on all nodes.",
        "remedy": "Choose addresses of one network in vllm_recipe_address, or correct the netmask. Nodes that are routed "
        "on purpose work where network.reach passes.",
    },
    "network.mtu": {
        "why": "With different MTUs small packets pass and large ones vanish: the nodes find each other and the first "
        "large tensor hangs.",
        "source": "",
        "read": "The MTU of the interface that carries the plan's address, on all nodes.",
        "remedy": "Set one MTU on all nodes and on the switch: 'ip link set <interface> mtu <n>', and in the network's "
        "configuration.",
    },
    "network.clock": {
        "why": "Logs of different nodes can only be compared, and timeouts only be understood, where the clocks agree; "
        "certificates are refused where they differ by much.",
        "source": "https://github.com/vllm-project/vllm-ascend/issues/9447",
        "read": "Each secondary compares its clock with the primary's over the connection of network.reach, less half of "
        "the round trip; with a service that runs, over the Date of its HTTP answer.",
        "remedy": "Synchronise the clocks: 'timedatectl set-ntp true', 'chronyc sources'.",
    },
    "network.reach": {
        "why": "A port that is free on the primary can still be out of the secondaries' reach. Then the primary waits "
        "without end and says so only at debug level, and the secondary gives up after minutes.",
        "source": TROUBLESHOOTING,
        "read": "The primary listens on its API and RPC ports, each secondary connects through the network, and the "
        "primary connects back to an ephemeral port of the secondary. All is closed at once.",
        "remedy": "Let the nodes of the replica talk freely (network.firewall, security groups, routes). Try by hand: "
        "'nc -l <port>' on one node, 'nc -vz <address> <port>' on the other.",
    },
}


def judge(node, facts, policy):
    """What a node can tell by itself: network.interface_up, .hostname, .firewall, port.ephemeral and tls.certificate."""
    net = facts.get("net") or {}
    return [
        _interface_up(node, facts, net),
        _hostname(node, net),
        _firewall(node, net),
        _ephemeral(node, net),
        _certificate(node, net),
    ]


def judge_replica(members, facts_by_host, policy):
    """What needs all nodes of a replica: ``{host: [network.subnet, .mtu, .clock, .reach]}``."""
    facts = {node["host"]: facts_by_host.get(node["host"]) or {} for node in members}
    return {
        node["host"]: [
            _subnet(node, members, facts),
            _mtu(node, members, facts),
            _clock(node, members, facts, float(policy.get("max_clock_skew") or MAX_CLOCK_SKEW)),
            _reach(node, members, facts),
        ]
        for node in members
    }


def _result(name, word, seen, wanted, remedy=None):
    return verdict(name, word, seen, wanted, CHECKS[name]["remedy"] if remedy is None else remedy)


def _alone(name, wanted):
    return _result(name, "skipped", "a single node", wanted)


# -- a node by itself -----------------------------------------------------------------------------------------------


def _interface(facts):
    """``(name, what it told)`` of the interface that carries the plan's address."""
    name = (facts.get("network") or {}).get("interface")
    return name, ((facts.get("net") or {}).get("interfaces") or {}).get(name) if name else None


def _interface_up(node, facts, net):
    check, wanted = "network.interface_up", "the interface with {0} is up".format(node["address"])
    name, told = _interface(facts)
    if not name:
        return _result(check, "unknown", "no interface is known to carry the address; see network.address", wanted)
    if not told or not told.get("state"):
        return _result(check, "unknown", f"the state of {name} is not told", wanted)
    state, carrier = told["state"], told.get("carrier")
    seen = "{0} is {1}{2}".format(name, state, "" if carrier else ", without a carrier")
    # Some drivers never tell a state: then the carrier counts.
    return _result(check, "pass" if carrier and state in ("UP", "UNKNOWN") else "fail", seen, wanted)


def _hostname(node, net):
    check, wanted = "network.hostname", "the node's name is not on loopback"
    told = net.get("hostname") or {}
    addresses = told.get("addresses")
    if addresses is None:
        return _result(check, "unknown", "what the node's name resolves to was not told", wanted)
    seen = "{0} is {1}".format(told.get("name"), ", ".join(addresses) or "not resolved")
    loopback = [address for address in addresses if _is_loopback(address)]
    if addresses and not loopback:
        return _result(check, "pass", seen, wanted)
    if not spans_nodes(node):
        return _result(check, "skipped", f"a single node: {seen}", wanted)
    # With the node's address among them it depends on the order; with a named interface nobody asks.
    named = bool(node["env"].get("GLOO_SOCKET_IFNAME"))
    soft = named or node["address"] in addresses or not addresses
    return _result(check, "warn" if soft else "fail", seen, wanted)


def _is_loopback(address):
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def _firewall(node, net):
    check, wanted = "network.firewall", "nothing between the nodes is dropped"
    if not spans_nodes(node):
        return _alone(check, wanted)
    told = net.get("firewall")
    if not told:
        return _result(check, "unknown", "the node did not tell", wanted)
    odd = [name for name in ("firewalld", "ufw") if told.get(name)]
    parts = [f"{name} is active" for name in odd]
    if told.get("policy") == "DROP":
        parts.append("what no rule lets in is dropped")
    if told.get("drops"):
        parts.append("rules that drop or reject: {0}".format(told["drops"]))
    if parts:
        return _result(check, "warn", "; ".join(parts), wanted)
    if not told.get("source"):
        return _result(check, "unknown", told.get("error") or "not told", wanted)
    return _result(check, "pass", "{0}: everything is let in".format(told["source"]), wanted)


def _spans(ports):
    """The plan's ports as ``[(name, first, last)]``."""
    return [
        (name, value, value) if isinstance(value, int) else (name, value[0], value[1]) for name, value in ports.items()
    ]


def _ephemeral(node, net):
    check, wanted = "port.ephemeral", "the plan's ports are not given to outgoing connections"
    bounds, reserved = net.get("local_port_range"), net.get("reserved_ports")
    if not bounds or reserved is None:
        return _result(
            check, "unknown", "the kernel does not tell", wanted, "See 'sysctl net.ipv4.ip_local_port_range'."
        )
    exposed, spans = [], []
    for name, first, last in _spans(node["ports"]):
        inside = [
            port
            for port in range(max(first, bounds[0]), min(last, bounds[1]) + 1)
            if not any(low <= port <= high for low, high in reserved)
        ]
        if inside:
            exposed.append(f"{name} {_dashes(inside)}")
            spans.append(f"{first}-{last}" if first != last else str(first))
    seen = "{0} to {1} are ephemeral".format(*bounds)
    if not exposed:
        return _result(check, "pass", seen + (", the plan's ports are reserved" if reserved else ""), wanted)
    kept = [f"{low}-{high}" if low != high else str(low) for low, high in reserved]
    remedy = CHECKS[check]["remedy"].format(",".join(kept + spans))
    return _result(check, "warn", "{0}; among them {1}".format(seen, ", ".join(exposed)), wanted, remedy)


def _dashes(ports):
    return str(ports[0]) if len(ports) == 1 else f"{ports[0]} to {ports[-1]}"


TLS_REMEDIES = {
    "file": "Put the file on the node that serves the API, where root can read it, or correct vllm_recipe_tls.",
    "pair": "Give a certificate and a key that belong together, both as PEM, the key without a passphrase.",
    "authority": "vllm_recipe_tls.ca must be a file of certificates as PEM.",
}


def _certificate(node, net):
    check = "tls.certificate"
    wanted = "a valid certificate for the address of {0}, and its key".format(node["service"]["url"])
    if not node.get("tls"):
        return _result(check, "skipped", "the API is not served over https by this node", wanted)
    told = net.get("tls")
    if not told:
        return _result(check, "unknown", "the node did not tell", wanted)
    if told["stage"]:
        return _result(check, "fail", told["error"], wanted, TLS_REMEDIES.get(told["stage"]))
    days = int((told["expires"] - net["time"]) // 86400)
    seen = f"valid for {days} more days"
    if days < CERTIFICATE_DAYS:
        remedy = "Put a new one in its place and deploy, which restarts the replica with it."
        return _result(check, "warn", seen, f"at least {CERTIFICATE_DAYS} days", remedy)
    if int(told["key_mode"], 8) & 0o077:
        key = node["tls"]["key"]
        seen = "{0} has mode {1}: others can read it".format(key, told["key_mode"])
        return _result(check, "warn", seen, "a key for its owner alone", f"chmod 0600 {key}")
    return _result(check, "pass", seen, wanted)


# -- a replica ------------------------------------------------------------------------------------------------------


def _own_network(node, facts):
    """The network of a node's address by the node's own prefix length, or None."""
    told = _interface(facts)[1] or {}
    for entry in told.get("addresses") or ():
        address, unused, prefix = str(entry).partition("/")
        if address == node["address"] and prefix:
            try:
                return ipaddress.ip_network(entry, strict=False)
            except ValueError:
                return None
    return None


def _compare(check, node, members, values, wanted, differs):
    """One verdict on a value that all nodes must share."""
    if len(members) < 2 or not spans_nodes(node):
        return _alone(check, wanted)
    seen = ", ".join("{0}: {1}".format(host, "not told" if value is None else value) for host, value in values.items())
    told = {value for value in values.values() if value is not None}
    word = differs if len(told) > 1 else "unknown" if None in values.values() else "pass"
    return _result(check, word, seen, wanted)


def _subnet(node, members, facts):
    networks = {other["host"]: _own_network(other, facts[other["host"]]) for other in members}
    return _compare("network.subnet", node, members, networks, "one network for all nodes", "warn")


def _mtu(node, members, facts):
    values = {other["host"]: (_interface(facts[other["host"]])[1] or {}).get("mtu") for other in members}
    return _compare("network.mtu", node, members, values, "one MTU on all nodes", "warn")


def _clock(node, members, facts, limit):
    check, wanted = "network.clock", f"at most {limit:g} s from the primary's clock"
    if not spans_nodes(node) or len(members) < 2:
        return _alone(check, wanted)
    if node["role"] == "primary":
        return _result(check, "skipped", "the others are compared with this node's clock", wanted)
    reach = _peers(facts[node["host"]]).get("reach") or {}
    clock = reach.get("clock")
    if not clock and reach.get("serving") and node["service"]["url"].startswith("https:"):
        return _result(check, "skipped", "the service runs, and tells its time over https alone", wanted)
    if not clock:
        return _result(check, "unknown", "the clocks could not be compared; see network.reach", wanted)
    offset, error = float(clock["offset"]), float(clock["error"])
    seen = f"{offset:+.3f} s (within {error:.3f} s)"
    # What lies within the error of the measurement on either side of the limit is not known.
    word = "pass" if abs(offset) + error <= limit else "warn" if abs(offset) - error > limit else "unknown"
    return _result(check, word, seen, wanted)


def _peers(facts):
    return facts.get("peers") or {}


def _reach(node, members, facts):
    check, wanted = "network.reach", "primary and secondaries reach each other's ports"
    if not spans_nodes(node) or len(members) < 2:
        return _alone(check, wanted)
    told = _peers(facts[node["host"]]).get("reach")
    if not told or told.get("error"):
        return _result(check, "unknown", (told or {}).get("error") or "the ports were not tried", wanted)
    if told["role"] == "primary":
        return _reach_back(check, wanted, told, [other for other in members if other["host"] != node["host"]])
    primary = _peers(facts.get(told["primary"]) or {}).get("reach")
    words, parts = [], []
    for name, entry in told["ports"].items():
        word, seen = _port(entry, told, primary, name)
        words.append(word)
        parts.append("{0} {1} {2}".format(name, entry["port"], seen))
    if not parts and told.get("serving"):
        return _result(check, "skipped", "the service is starting and does not listen yet", wanted)
    if not parts:
        return _result(check, "unknown", "the primary's ports are not known", wanted)
    word = next(word for word in ("fail", "unknown", "pass", "skipped") if word in words)
    return _result(check, word, "{0}: {1}".format(told["primary"], "; ".join(parts)), wanted)


def _port(entry, told, primary, name):
    """One port of the primary as a secondary saw it: ``(word, seen)``."""
    state = entry["state"]
    if state == "connected":
        if entry.get("answered"):
            return "pass", "reached"
        return "pass", f"reached (something else answers there; see port.{name} of the primary)"
    if state == "skipped":
        return "skipped", "not tried: {0}".format(entry["error"])
    if state in ("silent", "unreachable"):
        return "fail", "out of reach: {0}".format(entry["error"])
    if state != "refused":
        return "unknown", entry["error"] or "not tried"
    listened = ((primary or {}).get("ports") or {}).get(name) or {}
    if listened.get("state") == "serving":
        return "fail", "refused, although the service is said to run there"
    if listened.get("state") == "listened":
        common = min(told["until"], primary["until"]) - max(told["from"], primary["from"])
        if common >= OVERLAP:
            return "fail", "refused, although the primary listened"
        return "unknown", "refused; the nodes did not try at the same time (forks below the number of nodes?)"
    return "unknown", "refused; the primary did not listen ({0})".format(listened.get("error") or "not told")


def _reach_back(check, wanted, told, others):
    """The primary's view: did the secondaries come, and could it connect back?"""
    if told.get("serving"):
        return _result(check, "skipped", "the service runs; the secondaries tried its port", wanted)
    bad, untold = [], []
    for other in others:
        host = other["host"]
        if host not in told["back"]:
            untold.append(f"{host} was not heard")
        elif told["back"][host]:
            bad.append("{0} does not let this node connect back: {1}".format(host, told["back"][host]))
    for name, entry in told["ports"].items():
        if entry["state"] == "error":
            untold.append("port {0} could not be opened: {1}".format(entry["port"], entry["error"]))
        elif entry["state"] == "in use":
            untold.append("port {0} is in use; see port.{1}".format(entry["port"], name))
    if bad:
        return _result(check, "fail", "; ".join(bad + untold), wanted)
    if untold:
        return _result(check, "unknown", "; ".join(untold), wanted)
    return _result(check, "pass", "{0} connected, and back".format(", ".join(sorted(told["back"]))), wanted)
