# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ports of a process."""

from __future__ import annotations

import re

from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.errors import PlanError, raise_all
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.options import port

API_PORT = 8000  # where vllm serve listens without --port
HCCL_BASE_PORT = 60000  # where HCCL listens without HCCL_IF_BASE_PORT

_OPTIONS = {"api": "port", "rpc": "data-parallel-rpc-port"}


def ports_of(args, env, chips, role):
    """The ports on which a process listens, as far as it has them.

    :param chips: how many chips it has; HCCL takes a port for each.
    :param role: ``single``, ``primary`` or ``secondary``; a secondary has no API.
    :return: ``{"api": port, "rpc": port, "hccl": [first, last]}``.
    :raises PlanError: a port that is not one, or two that are the same.
    """
    ports = {}
    if role != "secondary":
        ports["api"] = port(args, "port") or API_PORT
        rpc = port(args, "data-parallel-rpc-port")
        if rpc:
            ports["rpc"] = rpc
    ports["hccl"] = _hccl(env, chips)
    if ports.get("api") is not None and ports.get("api") == ports.get("rpc"):
        raise PlanError(
            [
                f"port and data-parallel-rpc-port are both {ports['api']}. Give one of them another port in "
                "vllm_recipe_args."
            ]
        )
    first, last = ports["hccl"]
    raise_all(
        [
            f"{option} is {ports[name]}, inside the HCCL ports {first} to {last}. Give it another port in "
            "vllm_recipe_args, or move HCCL with HCCL_IF_BASE_PORT."
            for name, option in _OPTIONS.items()
            if name in ports and first <= ports[name] <= last
        ]
    )
    return ports


def _hccl(env, chips):
    """``[first, last]`` of the ports of HCCL."""
    base = str(env.get("HCCL_IF_BASE_PORT", HCCL_BASE_PORT))
    highest = 65536 - chips
    if not re.match(r"[0-9]{1,9}\Z", base) or not 1024 <= int(base) <= highest:
        raise PlanError(
            [
                f"HCCL_IF_BASE_PORT is '{base}'; wanted 1024 to {highest}, since each of {chips} chips takes one port from "
                "there on. Set it in vllm_recipe_env."
            ]
        )
    return [int(base), int(base) + chips - 1]
