# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ports, addresses and the nodes of a replica among each other."""

from __future__ import annotations

from ansible_collections.ascend_ops.vllm.plugins.module_utils._failure.cause import FOLLOWS, GENERAL, Cause

CAUSES = (
    Cause(
        "port-in-use",
        "port taken",
        "A port that the service needs is taken<<: {port}>>.",
        "'ss -ltnp<< sport = :{port}>>' on the node shows by whom; stop it, or choose another port in vllm_recipe_args (port, "
        "data-parallel-rpc-port) or vllm_recipe_env (HCCL_IF_BASE_PORT).",
        patterns=(
            r"(bind\w* (to|on) |addr='tcp://)\S*?:(?P<port>\d{2,5})\b.*(already in use|errno: ?98|EADDRINUSE)",
            r"(Address already in use|EADDRINUSE).*?\baddr='tcp://[^']*:(?P<port>\d{2,5})'",
            r"\(['\"][\d.:a-f]+['\"], (?P<port>\d{2,5})\).*address already in use|port: (?P<port>\d+).*EADDRINUSE",
            r"listen tcp\d? \S*:(?P<port>\d+): bind: address already in use|listen start failed, port\[(?P<port>\d+)\]",
            r"specific port\[(?P<port>\d+)\] fail|[Pp]ort (?P<port>\d{2,5}) is (already )?(in use|occupied|used)",
            r"Address already in use|already bound|bound already|EADDRINUSE|errno:? ?98\b",
        ),
        codes=("EJ0003", "EI0019", "EI0020"),
        details=(
            r"tcp://\S*?:(?P<port>\d{2,5})\b",
            r"listen\w* .{0,20}port\[(?P<port>\d{2,5})\]",
            r"bind to \S*?:(?P<port>\d{2,5})\b",
        ),
        examples=(
            "OSError: [Errno 98] Address already in use",
            "zmq.error.ZMQError: Address already in use (addr='tcp://10.0.0.11:2347')",
        ),
        source="Linux; CANN, HCCP errors",
    ),
    Cause(
        "port-permission",
        "port taken",
        "The process may not listen on port {port}.",
        "Choose a port above 1023 in vllm_recipe_args, or a container whose user is root (vllm_recipe_container.user).",
        patterns=(r"\('[^']*', (?P<port>\d+)\).*permission denied",),
        examples=("[Errno 13] error while attempting to bind on address ('0.0.0.0', 80): permission denied",),
        source="Linux",
    ),
    Cause(
        "address-not-here",
        "address not on this node",
        "The process binds an address that this node does not have<<: {address}>>.",
        "Compare vllm_recipe_address and vllm_recipe_listen of the host with 'ip -br address' on it; take HCCL_IF_IP and data-parallel-address "
        "out of overrides, the plan sets both.",
        patterns=(
            r"\('(?P<address>[^']+)', \d+\).*cannot assign requested|listen tcp\d? (?P<address>\S+):\d+: bind: cannot assign",
            r"Cannot assign requested address|EADDRNOTAVAIL|errno:? ?99\b",
            r"(HCCL_IF_IP|ip) ?\[?(?P<address>[\d.]+)\]?.{0,40}(not (found|exist|local)|is not on)",
        ),
        details=(r"tcp://(?P<address>[\d.]+):\d+", r"bind\w* (to|on) \[?(?P<address>[\d.]+)\]?:\d+"),
        examples=("OSError: [Errno 99] Cannot assign requested address",),
        source="Linux",
    ),
    Cause(
        "name-not-resolved",
        "name not resolved",
        "A host name does not resolve<<: {name}>>.",
        "'getent hosts NAME' in the container and on the node: give addresses instead of names (vllm_recipe_address, vllm_recipe_listen), or "
        "add the node's own name to /etc/hosts.",
        patterns=(
            r"gaierror|Name or service not known|Temporary failure in name resolution|nodename nor servname"
            r"|(Could not|Failed to) resolve (host|hostname)?:? ?(?P<name>[\w.-]+)?|(Unable to|cannot) resolve"
            r"|host ?name (?P<name>\S+) (cannot|could not) be resolved",
        ),
        examples=("socket.gaierror: [Errno -2] Name or service not known",),
        source="Linux",
    ),
    Cause(
        "interface",
        "interface",
        "A network interface that the process was given is not on this node<<: {name}>>.",
        "'ip -br address' on the node; the plan takes the interface of the host's address. Take GLOO_SOCKET_IFNAME, TP_SOCKET_IFNAME and "
        "HCCL_SOCKET_IFNAME out of vllm_recipe_env.",
        patterns=(
            r"Unable to find (address for|interface):? ?(?P<name>[\w.-]+)?|\b(interface|ifname"
            r"|nic)\W+(?P<name>[\w.-]+)?.{0,30}(not found|does not exist|no such)"
            r"|ZMQError: No such device( \(addr='tcp://(?P<name>[\w.-]+))?|unsupported gloo device",
            r"(get|find)\w* host ?ip .{0,30}fail|SOCKET_IFNAME.{0,60}(invalid|not found|no .{0,20}match|fail)",
        ),
        examples=(
            "RuntimeError: [enforce fail at gloo/transport/tcp/device.cc:84] ifa != nullptr. Unable to find address for: eth9",
        ),
        source="gloo; HCCL",
    ),
    Cause(
        "primary-unreachable",
        "route, firewall",
        "This node cannot reach the primary<<, {host} port {port}>>.",
        "The primary must run; then the port must pass its firewall ('nc -vz<< {host} {port}>>' from this node), and both must be in one network.",
        patterns=(
            r"client socket has (timed out|failed).*connect to \(?(?P<host>[\w.:-]+), (?P<port>\d+)",
            r"No route to host|Network is unreachable|(connect\w*|socket).{0,80}(timed out"
            r"|Connection refused).{0,60}(?P<host>\d+\.\d+\.\d+\.\d+)[:, ]+(?P<port>\d+)",
        ),
        details=(r"connect to \(?(?P<host>[\w.:-]+), (?P<port>\d+)",),
        examples=(
            "torch.distributed.DistNetworkError: The client socket has timed out after 1800000ms while trying to connect to (10.9.8.7, 38321).",
        ),
        source="PyTorch; verl issue 849",
    ),
    Cause(
        "peer-missing",
        "peer missing",
        "The nodes of the replica did not find each other.",
        "Check that all of them run, the primary first, and that its RPC port can be reached from the secondaries through the firewall.",
        patterns=(
            r"Did not receive response from front-end process|Timed out waiting for coordinator|DistStoreError"
            r"|retrieving hcclUniqueId|store->get\(.*got error|Timed out after .* waiting for clients|connectFullMesh failed",
        ),
        rank=GENERAL,
        examples=(
            "torch.distributed.DistStoreError: Timed out after 601 seconds waiting for clients. 1/2 clients joined.",
        ),
        source="vLLM, data parallel; PyTorch",
    ),
    Cause(
        "connection-lost",
        "peer failed",
        "The connection to another process of the replica broke; that one ended first.",
        "Look at the other processes and nodes for an earlier error: logs.yml shows all.",
        patterns=(
            r"Connection reset by peer|Broken pipe|Connection closed by peer|Connection refused|\bEOFError\b(?!: Ran)|recvValue failed|Socket closed"
            r"|RemoteDisconnected|Timed out waiting \d+ms for (recv|send) operation|DistNetworkError: failed to (recv|send)"
            r"|RPC call to \w+ timed out|died with exit code|ConnectionError\b",
        ),
        rank=FOLLOWS,
        examples=("RuntimeError: [gloo/transport/tcp/pair.cc:547] Connection closed by peer [10.0.0.12]:41526",),
        source="Linux; gloo",
    ),
)
