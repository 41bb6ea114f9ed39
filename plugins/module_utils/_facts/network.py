# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Gather the facts of a node's network: interfaces, hostname, clock, kernel ports, firewall, TLS."""

from __future__ import annotations

import os
import re
import socket
import ssl
import stat
import time
from urllib.parse import urlsplit

from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.openai import trust
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.parallel import in_parallel
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.run import find_tool, run, shorten

PROC = "/proc/sys/net/ipv4/"


def gather(plan, options):
    """``{interfaces, hostname, time, local_port_range, reserved_ports, firewall, tls}``; None for what is not known.

    :param plan: the node's part of the plan.
    :param options: ``timeout``: in seconds, for one command.
    """
    timeout = min(float(options.get("timeout") or 20), 10.0)
    queries = {"interfaces": interfaces, "hostname": hostname, "firewall": firewall}
    found = in_parallel(lambda name: queries[name](timeout), list(queries), 4 * timeout)
    return {
        "interfaces": found.get("interfaces"),
        "hostname": found.get("hostname") or {"name": socket.gethostname(), "addresses": None},
        "time": time.time(),
        "local_port_range": port_range(_line(PROC + "ip_local_port_range")),
        "reserved_ports": reserved_ports(_line(PROC + "ip_local_reserved_ports")),
        "firewall": found.get("firewall") or dict(NO_FIREWALL_FACTS),
        "tls": tls(plan["tls"], plan["service"]) if plan.get("tls") else None,
    }


def _line(path):
    try:
        with open(path) as stream:
            return stream.read(1 << 16).strip()
    except (OSError, ValueError):
        return None


# -- interfaces -----------------------------------------------------------------------------------------------------


def interfaces(timeout):
    """``{name: {state, carrier, mtu, addresses}}``, or None if the command ip fails."""
    tool = find_tool("ip")
    if not tool:
        return None
    rc, links, unused = run([tool, "-o", "link", "show"], timeout)
    rc_addresses, addresses, unused = run([tool, "-o", "addr", "show"], timeout)
    return parse_interfaces(links, addresses) if rc == 0 and rc_addresses == 0 else None


def parse_interfaces(links, addresses):
    """From ``ip -o link show`` and ``ip -o addr show``: ``{name: {state, carrier, mtu, addresses: ["A/prefix"]}}``."""
    result = {}
    for line in links.splitlines():
        match = re.match(r"\d+:\s+([^\s:@]+)(?:@\S+)?:\s+<([^>]*)>(.*)", line)
        if not match:
            continue
        mtu = re.search(r"\bmtu (\d{1,9})\b", match.group(3))
        state = re.search(r"\bstate (\S+)", match.group(3))
        result[match.group(1)] = {
            "state": state.group(1) if state else None,
            "carrier": "LOWER_UP" in match.group(2).split(","),
            "mtu": int(mtu.group(1)) if mtu else None,
            "addresses": [],
        }
    for line in addresses.splitlines():
        match = re.match(
            r"\d+:\s+([^\s:@]+)(?:@\S+)?\s+inet6?\s+([0-9a-fA-F.:]+)(?: peer \S+?)?(/\d{1,3})?\s", line + " "
        )
        if match:
            entry = result.setdefault(match.group(1), {"state": None, "carrier": None, "mtu": None, "addresses": []})
            entry["addresses"].append(match.group(2) + (match.group(3) or ""))
    return result


# -- hostname -------------------------------------------------------------------------------------------------------


def hostname(timeout):
    """``{name, addresses}``: what the node's hostname resolves to; [] for nothing, None if there was no answer in time.

    getent resolves like the libraries of the engine, and can be stopped if a name server does not answer.
    """
    name = socket.gethostname()
    tool = find_tool("getent")
    if not tool:
        return {"name": name, "addresses": None}
    rc, text, late = run([tool, "ahosts", name], timeout)
    if late or rc not in (0, 2):
        return {"name": name, "addresses": None}
    found = [line.split()[0] for line in text.splitlines() if re.match(r"[0-9a-fA-F.:]+\s", line)]
    return {"name": name, "addresses": sorted(set(found))}


# -- kernel ports ---------------------------------------------------------------------------------------------------


def port_range(text):
    """``[first, last]`` of ip_local_port_range, or None."""
    match = re.match(r"(\d{1,5})\s+(\d{1,5})$", (text or "").strip())
    return [int(match.group(1)), int(match.group(2))] if match else None


def reserved_ports(text):
    """``[[first, last], ...]`` of ip_local_reserved_ports; None if it cannot be read."""
    if text is None:
        return None
    found = re.findall(r"(\d{1,5})(?:-(\d{1,5}))?", text)
    return [[int(first), int(last or first)] for first, last in found]


# -- firewall -------------------------------------------------------------------------------------------------------

NO_FIREWALL_FACTS = {
    "firewalld": None,
    "ufw": None,
    "source": None,
    "policy": None,
    "drops": None,
    "error": "not reported",
}


def firewall(timeout):
    """``{firewalld, ufw, source, policy, drops, error}``.

    *policy* (ACCEPT or DROP) applies to a packet to this node that matches no rule; *drops* is the number of rules on its
    way that drop or reject packets. Both are None if no tool could read them; *error* then says why.
    """
    facts = dict(NO_FIREWALL_FACTS, error="")
    systemctl = find_tool("systemctl")
    if systemctl:
        unused, text, late = run([systemctl, "is-active", "firewalld"], timeout)
        word = shorten(text)
        facts["firewalld"] = word == "active" if not late and word in ("active", "inactive", "unknown") else None
    ufw = find_tool("ufw")
    if ufw:
        rc, text, late = run([ufw, "status"], timeout)
        match = re.search(r"^Status: (\w+)", text, re.M)
        facts["ufw"] = match.group(1) == "active" if rc == 0 and match and not late else None
    problems = []
    for name, words, parse in (
        ("iptables-save", ["-t", "filter"], parse_iptables),
        ("nft", ["list", "ruleset"], parse_nft),
    ):
        tool = find_tool(name)
        if not tool:
            problems.append(f"no {name}")
            continue
        rc, text, late = run([tool] + words, timeout)
        rules = parse(text) if rc == 0 and not late else None
        if rules is None:
            problems.append("{0}: {1}".format(name, shorten(text) or f"exit status {rc}"))
            continue
        facts["source"] = name if facts["source"] is None else "{0} and {1}".format(facts["source"], name)
        facts["policy"] = "DROP" if "DROP" in (facts["policy"], rules["policy"]) else "ACCEPT"
        facts["drops"] = max(facts["drops"] or 0, rules["drops"])
    if facts["source"] is None:
        facts["error"] = "; ".join(problems)
    return facts


def parse_iptables(text):
    """``{policy, drops}`` of the chain INPUT and all that it calls, from ``iptables-save -t filter``; None for other text.

    An empty output means that the table was never used: nothing is dropped.
    """
    if text.strip() and not re.search(r"^\*filter\s*$", text, re.M):
        return {"policy": "ACCEPT", "drops": 0} if _only_comments(text) else None
    policy = re.search(r"^:INPUT (\w+)", text, re.M)
    rules = {}
    for line in text.splitlines():
        match = re.match(r"-A (\S+) (.*)", line)
        if match:
            rules.setdefault(match.group(1), []).append(match.group(2))

    def targets(chain):
        for rule in rules.get(chain, ()):
            target = re.search(r"(?:^|\s)-[jg] (\S+)", rule)
            if target and target.group(1) in ("DROP", "REJECT"):
                if not re.search(r"state INVALID\b", rule):
                    yield "drop"
            elif target:
                yield target.group(1)

    return {
        "policy": "DROP" if policy and policy.group(1) != "ACCEPT" else "ACCEPT",
        "drops": _count_drops(["INPUT"], targets),
    }


def _only_comments(text):
    return all(not line.strip() or line.startswith("#") for line in text.splitlines())


def parse_nft(text):
    """``{policy, drops}`` of all chains that hook input and those they call, from ``nft list ruleset``; None for other text."""
    if text.strip() and not re.search(r"^table ", text, re.M):
        return {"policy": "ACCEPT", "drops": 0} if _only_comments(text) else None
    chains, table, chain, policy, hooks = {}, "", None, "ACCEPT", []
    for line in text.splitlines():
        words = line.strip()
        if words.startswith("table "):
            table = words.rstrip("{ ")
        match = re.match(r"chain (\S+)", words)
        if match:
            chain = (table, match.group(1))
            chains[chain] = []
        elif words == "}":
            chain = None
        elif chain:
            if re.search(r"\bhook input\b", words):
                hooks.append(chain)
                if re.search(r"\bpolicy drop\b", words):
                    policy = "DROP"
            else:
                chains[chain].append(words)

    def targets(name):
        for rule in chains.get(name, ()):
            called = re.search(r"\b(?:jump|goto) (\S+)", rule)
            if called:
                yield name[0], called.group(1)
            elif re.search(r"\b(drop|reject)\b", rule) and not re.search(r"\bct state (?:\{ )?invalid\b", rule):
                yield "drop"

    return {"policy": policy, "drops": _count_drops(hooks, targets)}


def _count_drops(chains, targets):
    """The number of drops in the chains and in all that they call, each chain counted once."""
    drops, seen, waiting = 0, set(), list(chains)
    while waiting:
        chain = waiting.pop()
        if chain in seen:
            continue
        seen.add(chain)
        for target in targets(chain):
            if target == "drop":
                drops += 1
            else:
                waiting.append(target)
    return drops


# -- TLS ------------------------------------------------------------------------------------------------------------


def tls(given, service):
    """Whether a client that verifies the certificate could connect to the service: ``{stage, error, expires, key_mode}``.

    Server and client connect in memory. *stage* is the step that failed: file, pair, authority, verify; empty if none
    did. *expires* is in seconds since the epoch.

    :param given: paths: ``certificate``, ``key``, ``ca`` (optional).
    :param service: ``url`` and ``ca_file`` of the service.
    """
    facts = {"stage": "", "error": "", "expires": None, "key_mode": None}
    try:
        facts["stage"] = "file"
        for name in ("certificate", "key", "ca"):
            if name in given:
                with open(given[name], "rb") as stream:
                    stream.read(1)
        facts["key_mode"] = "{0:04o}".format(stat.S_IMODE(os.stat(given["key"]).st_mode))
        facts["stage"] = "pair"
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        # An empty password, so that a key with a passphrase fails instead of prompting.
        server.load_cert_chain(given["certificate"], given["key"], password=lambda: "")
        facts["stage"] = "authority"
        client = trust(service["ca_file"])
        facts["stage"] = "verify"
        peer = _shake_hands(server, client, urlsplit(service["url"]).hostname)
        facts["expires"] = ssl.cert_time_to_seconds(peer["notAfter"])
        facts["stage"] = ""
    except (OSError, ValueError, KeyError, TypeError) as error:  # ssl's errors are OSErrors
        path = getattr(error, "filename", None)
        text = f"{path}: {error.strerror}" if path else getattr(error, "verify_message", "") or str(error)
        facts["error"] = " ".join(text.split())[:300]
    return facts


def _shake_hands(server, client, name):
    """The certificate of the server, after a handshake in memory; raises the error of the client."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = [
        client.wrap_bio(to_client, to_server, server_hostname=name),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    for _round in range(10):
        waiting = 0
        for side in sides:
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                waiting += 1
        if not waiting:
            return sides[0].getpeercert()
    raise ValueError("the handshake does not finish")
