# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The types of a plan: a service holds instances, an instance holds processes, a process stands on a node.

A plan leaves the planner as plain data (:meth:`Plan.to_data`), since it passes through Ansible's variables::

    services:
      - name, hardware, url, model, tool_calls, ca_file, recipe
        instances:
          - name, role
            processes: [{host, role, replica, ...}]     # see Process
    errors: [str]
    warnings: [str]
    index: {host: {service: 0, instance: 0, process: 0}}  # where the process of each host is

The functions below read that data: :func:`processes`, :func:`of_host`, :func:`members`, :func:`member_hosts`.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Process:
    """One ``vllm serve`` on one node.

    ============  =====================================================================================================
    host          the node's name in the inventory
    role          the node's part in its instance: ``single``, ``primary`` or ``secondary``
    address       the IP address at which the other nodes of the instance reach this one
    env           name to value, both strings; ``{NIC}``, ``{IMAGE}`` and ``{JEMALLOC}`` are left for the node
    model         path of the checkpoint on the node and in the container
    args          options of ``vllm serve`` in the order of the command line: name without dashes to a value of JSON;
                  true and false are flags, mappings become JSON, lists several values
    argv          the whole command line as a list of strings, rendered from model and args
    secrets       names of the environment variables whose values come from vllm_service_secrets
    container     what is given to ``docker create``; see ``container.spec``
    ports         ``{"api": port, "rpc": port, "hccl": [first, last]}`` as far as the process listens there
    ranks         ``[first, last, all]``: data parallel ranks of this process, and how many there are
    weights       ``[{"directory", "source", "draft", "path"}]`` of each checkpoint that the process reads
    listen        the address that the API binds to; an empty string for a process without an API
    tls           ``{"certificate", "key", "ca"}``: paths on the node, or an empty mapping
    ============  =====================================================================================================
    """

    host: str
    role: str
    address: str
    env: dict
    model: str
    args: dict
    argv: list
    secrets: list
    container: dict
    ports: dict
    ranks: list
    weights: list
    listen: str
    tls: dict

    def to_data(self, service, instance):
        """The process with all that a node needs to know of its service, so that it can be handed out alone."""
        return {
            "host": self.host,
            "role": self.role,
            "replica": service.name,
            "instance": instance.name,
            "hardware": service.hardware,
            "address": self.address,
            "env": self.env,
            "args": self.args,
            "argv": self.argv,
            "secrets": self.secrets,
            "container": self.container,
            "ports": self.ports,
            "recipe": service.recipe,
            "ranks": self.ranks,
            "weights": self.weights,
            "service": service.endpoint(),
            "listen": self.listen,
            "tls": self.tls,
        }


@dataclass(frozen=True)
class Instance:
    """Processes that start and die as a whole. ``role`` is the part of the instance in its service, such as ``serve``."""

    name: str
    role: str
    processes: tuple


@dataclass(frozen=True)
class Service:
    """What answers at one URL: a replica of the inventory.

    ``name`` is that of the replica; ``hardware`` is ``a2`` or ``a3``; ``model`` the name that the API answers to;
    ``tool_calls`` whether it can call tools; ``ca_file`` a path on the node that serves the API, or an empty string;
    ``recipe`` is ``{"name", "architecture", "release", "checkpoint", "scenarios"}``.
    """

    name: str
    hardware: str
    url: str
    model: str
    tool_calls: bool
    ca_file: str
    recipe: dict
    instances: tuple

    def endpoint(self):
        """What a client of the service needs to know."""
        return {"url": self.url, "model": self.model, "tool_calls": self.tool_calls, "ca_file": self.ca_file}

    def to_data(self):
        """The service as plain data; see the top of this module."""
        instances = [
            {
                "name": instance.name,
                "role": instance.role,
                "processes": [process.to_data(self, instance) for process in instance.processes],
            }
            for instance in self.instances
        ]
        return {
            "name": self.name,
            "hardware": self.hardware,
            **self.endpoint(),
            "recipe": self.recipe,
            "instances": instances,
        }


@dataclass(frozen=True)
class Plan:
    """Services in the order of the inventory, errors and warnings; a service with errors is left out."""

    services: list = field(default_factory=list)
    errors: list = field(default_factory=list)
    warnings: list = field(default_factory=list)

    def to_data(self):
        """The plan as plain data; see the top of this module."""
        return {
            "services": [service.to_data() for service in self.services],
            "errors": list(self.errors),
            "warnings": list(self.warnings),
            "index": {
                process.host: {"service": s, "instance": i, "process": p}
                for s, service in enumerate(self.services)
                for i, instance in enumerate(service.instances)
                for p, process in enumerate(instance.processes)
            },
        }


def processes(plan):
    """All processes of a plan's data, in its order: a list of mappings as of :meth:`Process.to_data`."""
    return [process for service in plan["services"] for process in _of_service(service)]


def of_host(plan, host):
    """The process of *host*, found without a search.

    :raises ValueError: the plan has no process on this host.
    """
    at = _place(plan, host)
    return plan["services"][at["service"]]["instances"][at["instance"]]["processes"][at["process"]]


def members(plan, host):
    """All processes of the service that *host* belongs to, in the plan's order; *host*'s own is among them.

    :raises ValueError: the plan has no process on this host.
    """
    return _of_service(plan["services"][_place(plan, host)["service"]])


def member_hosts(plan, host):
    """The hosts of the service that *host* belongs to, in the plan's order; *host* itself is among them.

    :raises ValueError: the plan has no process on this host.
    """
    return [process["host"] for process in members(plan, host)]


def _of_service(service):
    return [process for instance in service["instances"] for process in instance["processes"]]


def _place(plan, host):
    """Where the process of *host* is: the numbers of its service, instance and process."""
    try:
        return plan["index"][host]
    except KeyError:
        known = ", ".join(plan["index"]) or "none"
        raise ValueError(f"node {host} is not in the plan; the plan has {known}.")
