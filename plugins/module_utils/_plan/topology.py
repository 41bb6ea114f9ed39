# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the processes of a replica stand: groups, layout, data parallel ranks, chips."""

from __future__ import annotations

from dataclasses import dataclass

from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan import network
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.errors import PlanError, listed, raise_all
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.options import size

HARDWARE_OF_GROUP = {"a3": "a3", "a2_primary": "a2", "a2_secondary": "a2"}
ROLE_OF_GROUP = {"a3": "single", "a2_primary": "primary", "a2_secondary": "secondary"}

_WAY_OUT = "Set vllm_recipe_replica on the nodes of each replica, or correct the groups; --limit must name all nodes of a replica."


@dataclass(frozen=True)
class Member:
    """A node of a replica: what the inventory says of it.

    ``role`` is ``single``, ``primary`` or ``secondary``; ``hardware`` is ``a2`` or ``a3``; ``settings`` are the inputs of
    the role vllm_recipe without their prefix, plus ``recipe``; ``secrets`` are names.
    """

    host: str
    role: str
    hardware: str
    settings: dict
    secrets: tuple

    @property
    def replica(self):
        """The name of the replica that the node belongs to."""
        return str(self.settings.get("replica") or "default")

    @property
    def address(self):
        """The address of the node in its canonical form, or what stands in its place."""
        return network.canonical(str(self.settings.get("address")))

    def devices(self, deployment):
        """The numbers of the ``/dev/davinciN`` that the container gets, a chip each."""
        if self.settings.get("devices"):
            return [int(number) for number in self.settings["devices"]]
        return list(range(int(self.settings.get("chips") or deployment["chips"])))


@dataclass(frozen=True)
class Sizes:
    """The parallel sizes of a replica. A data parallel rank takes ``chips`` chips; ``local`` ranks run on each node."""

    tp: int
    pp: int
    pcp: int
    dp: int
    local: int

    @property
    def chips(self):
        """Chips that one data parallel rank takes."""
        return self.tp * self.pp * self.pcp

    def ranks(self, index):
        """``[first, last, all]``: the data parallel ranks on the node number *index* of a replica, from 0."""
        return [index * self.local, (index + 1) * self.local - 1, self.dp]


def members_of(nodes):
    """The nodes as members of replicas.

    :param nodes: as ``plan.plan`` takes them.
    :return: ``({replica: [Member]}, [error])``, in the order of the nodes.
    """
    replicas = {}
    errors = []
    for node in nodes:
        groups = [group for group in HARDWARE_OF_GROUP if group in node["groups"]]
        if len(groups) != 1:
            seen = f"in the groups {listed(groups)}" if groups else "in no group of this collection"
            errors.append(
                f"node {node['host']}: is {seen}; wanted exactly one of {listed(HARDWARE_OF_GROUP)}. Put the node in one "
                "group of the inventory."
            )
            continue
        member = Member(
            host=node["host"],
            role=ROLE_OF_GROUP[groups[0]],
            hardware=HARDWARE_OF_GROUP[groups[0]],
            settings=node["settings"],
            secrets=tuple(node.get("secrets") or ()),
        )
        replicas.setdefault(member.replica, []).append(member)
    return replicas, errors


def in_order(members):
    """The members of a replica in the order of their ranks: the primary first, the others as the inventory has them."""
    return sorted(members, key=lambda member: member.role == "secondary")


def check_layout(members):
    """Check that the members of a replica can form one: one kind of hardware, one primary, addresses that work.

    :raises PlanError: with what is wrong.
    """
    hardware = sorted({member.hardware for member in members})
    if len(hardware) > 1:
        seen = listed(f"{member.host} ({member.hardware})" for member in members)
        raise PlanError(
            [
                f"has nodes of {' and '.join(hardware)}: {seen}; wanted one kind of hardware in a replica. Set "
                "vllm_recipe_replica to a name of its own for each kind."
            ]
        )
    single, primary, secondary = (
        [member.host for member in members if member.role == role] for role in ("single", "primary", "secondary")
    )
    if len(single) > 1:
        raise PlanError([f"has {len(single)} A3 nodes: {listed(single)}; wanted one. {_WAY_OUT}"])
    if len(primary) > 1:
        raise PlanError([f"has {len(primary)} primaries: {listed(primary)}; wanted one node in a2_primary. {_WAY_OUT}"])
    if secondary and not primary:
        raise PlanError(
            [f"has the secondary {listed(secondary)} and no primary; wanted one node in a2_primary. {_WAY_OUT}"]
        )
    raise_all(network.address_errors(members))


def sizes_of(args, members, deployment):
    """The parallel sizes that the options of ``vllm serve`` give a replica.

    :return: ``(Sizes, [warning])``.
    :raises PlanError: the ranks do not fill the nodes, or a node has too few chips.
    """
    dp = size(args, "data-parallel-size")
    sizes = Sizes(
        tp=size(args, "tensor-parallel-size"),
        pp=size(args, "pipeline-parallel-size"),
        pcp=size(args, "prefill-context-parallel-size"),
        dp=dp,
        local=size(args, "data-parallel-size-local", dp if len(members) == 1 else 1),
    )
    errors = []
    warnings = []
    if sizes.local * len(members) != sizes.dp:
        errors.append(
            f"data-parallel-size is {sizes.dp} with {sizes.local} rank(s) per node, which takes "
            f"{sizes.dp / sizes.local:g} node(s); the replica has {len(members)}: {listed(m.host for m in members)}. Add or "
            "remove nodes in a2_secondary (--limit must name all nodes of a replica), or set data-parallel-size and "
            "data-parallel-size-local in vllm_recipe_args."
        )
    needed = sizes.chips * sizes.local
    for member in members:
        chips = len(member.devices(deployment))
        if needed > chips:
            errors.append(
                f"node {member.host}: needs {needed} chips (tensor parallel {sizes.tp} x pipeline {sizes.pp} x prefill "
                f"context {sizes.pcp} x {sizes.local} local data parallel rank(s)); it has {chips}. Lower the sizes in "
                "vllm_recipe_args, or correct vllm_recipe_chips or vllm_recipe_devices."
            )
        elif needed < chips:
            warnings.append(f"node {member.host}: {needed} of {chips} chips are used.")
    raise_all(errors)
    return sizes, warnings
