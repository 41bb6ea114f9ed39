# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Addresses of nodes: read, compared and judged with netaddr. Runs on the controller."""

from __future__ import annotations

import re
import sys

from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.errors import PlanError, listed

try:
    import netaddr
except ImportError:  # library_errors() says so
    netaddr = None

_SCOPE = re.compile(r"[A-Za-z0-9_.-]+\Z")
_WAY_OUT = "wanted an IP address that an interface of the node carries. Set ansible_host or vllm_recipe_address to it."


def library_errors():
    """The error of a controller without netaddr, in a list; an empty list where it is installed."""
    if netaddr is not None:
        return []
    return [
        f"the Python library netaddr is missing on this machine (Python {sys.executable}); wanted it, since the plan "
        "checks the addresses of the nodes with it. Run 'pip install -r requirements.txt' in the collection, or "
        "'pip install netaddr', in the environment of Ansible."
    ]


def parse(value):
    """``(netaddr.IPAddress, scope)`` of an address in full, or None for anything else.

    The scope is the interface of a link-local IPv6 address such as ``fe80::1%eth0``, and an empty string where there is
    none. An IPv4 address that is written as an IPv6 one (``::ffff:10.0.0.1``) is the IPv4 address.

    :raises PlanError: netaddr is not installed.
    """
    if netaddr is None:
        raise PlanError(library_errors())
    if not isinstance(value, str):
        return None
    text, percent, scope = value.partition("%")
    try:
        address = netaddr.IPAddress(text, flags=netaddr.INET_PTON)
    except (netaddr.AddrFormatError, ValueError, TypeError):
        return None
    if address.is_ipv4_mapped():
        address = address.ipv4()
    if percent and not (_SCOPE.match(scope) and address.version == 6 and address.is_link_local()):
        return None
    return address, scope


def canonical(value):
    """An address in the one form that a node shows it in, such as ``fd00::21`` for ``FD00:0:0::21``.

    What is not an address is returned as a string.
    """
    parsed = parse(value)
    if parsed is None:
        return str(value)
    address, scope = parsed
    return f"{address}%{scope}" if scope else str(address)


def is_local(value):
    """Can a server bind to this address? True for any address except one that stands for a group of machines."""
    parsed = parse(value)
    return parsed is not None and not parsed[0].is_multicast() and parsed[0] != netaddr.IPAddress("255.255.255.255")


def address_errors(members):
    """What is wrong with the addresses of the members of a replica.

    :param members: a list of ``topology.Member``.
    :return: a list of sentences: no address at all, one that no other machine can reach the node at, or IPv4 and IPv6
        in one replica.
    """
    errors = [
        f"node {member.host}: {_fault(member.address)}; {_WAY_OUT}" for member in members if _fault(member.address)
    ]
    return errors or _mixed(members)


def _fault(value):
    """What keeps other machines from reaching a node at this address, as a clause; an empty string for nothing."""
    parsed = parse(value)
    if parsed is None:
        return f"its address is '{value}'"
    address, scope = parsed
    if int(address) == 0:
        why = "which stands for every address of a machine"
    elif address.is_loopback():
        why = "a loopback address, at which a node reaches itself alone"
    elif address.is_multicast():
        why = "a multicast address, which stands for a group of machines"
    elif address == netaddr.IPAddress("255.255.255.255"):
        why = "the broadcast address, which stands for all machines of a network"
    elif address.version == 6 and address.is_link_local() and not scope:
        why = "a link-local address, which means nothing without its interface"
    else:
        return ""
    return f"its address is '{value}', {why}"


def _mixed(members):
    """The error of a replica that has both IPv4 and IPv6 addresses, in a list."""
    versions = {member.host: parse(member.address)[0].version for member in members}
    if len(set(versions.values())) < 2:
        return []
    seen = listed(f"{member.host} ({member.address})" for member in members)
    return [
        f"has nodes with IPv4 and with IPv6 addresses: {seen}; wanted one kind in a replica, since its nodes connect to "
        "each other. Set vllm_recipe_address on the nodes that differ."
    ]


def duplicate_errors(nodes):
    """The errors of nodes that have the same address, also where it is written in another way.

    :param nodes: pairs of host and address, of the whole inventory.
    """
    errors = []
    seen = {}
    for host, address in nodes:
        key = canonical(address)
        other, written = seen.setdefault(key, (host, address))
        if other != host:
            also = "" if written == address else f", which writes it {written}"
            errors.append(
                f"node {host}: its address is {address}, which is also that of node {other}{also}; wanted an address of "
                "its own for each node. Set ansible_host or vllm_recipe_address."
            )
    return errors
