# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Replicas one after the other: their order, what failed for whom, which generation they go back to, how it ended."""

from __future__ import annotations

from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.model import processes
from ansible_collections.ascend_ops.vllm.plugins.module_utils._service import rollout
from ansible_collections.ascend_ops.vllm.plugins.module_utils._state import revisions


def _told(hostvars, host, name):
    """What a node registered under a name, or an empty mapping."""
    return (hostvars[host].get(name) if host in hostvars else None) or {}


def failed_steps(mates, hostvars):
    """The nodes for which a step of the run failed so far, whether or not the run went on with them."""
    failed = []
    for host in mates:
        variables = (
            hostvars[host] if host in hostvars else {}
        )  # once: all of a host's variables are put together for it
        told = [variables.get(name) or {} for name in rollout.STEPS]
        if any(step.get("failed") or step.get("unreachable") for step in told):
            failed.append(host)
    return failed


def nothing_to_do(mates, hostvars):
    """Is there nothing for a deploy to do on any node of a replica, and were all of them proven together?"""
    told = [_told(hostvars, host, "__vllm_service_settled") for host in mates]
    return all(one.get("settled") for one in told) and len({one["group"] for one in told}) == 1


def generation_group(mates, hostvars):
    """The id of what the nodes of a replica have together after a deploy; see ``revisions.group_of``."""
    return revisions.group_of(
        [
            {
                "host": host,
                "node": hostvars[host]["__vllm_recipe_node"],
                "files": hostvars[host]["__vllm_service_files"]["digest"],
                "image_id": (hostvars[host]["__npu_container_made"].get("container") or {}).get("image_id"),
            }
            for host in mates
        ]
    )


def way_back(mates, hostvars, last=False):
    """Which generation the nodes of a replica go back to; see ``revisions.way_back``."""
    told = {host: _told(hostvars, host, "__vllm_service_seen") for host in mates}
    return revisions.way_back({host: seen if "live" in seen else {} for host, seen in told.items()}, last)


def with_restored(plan, mates, hostvars):
    """The plan, with what the nodes of a replica ran at the time of the generation that they go back to."""
    return rollout.with_nodes(plan, {host: _told(hostvars, host, "__vllm_service_old").get("node") for host in mates})


def upgrade_failed(mates, hostvars):
    """Did the upgrade fail on any node of a replica? Then it failed for all of them."""
    return any(_told(hostvars, host, "__vllm_upgrade_failed") for host in mates)


def rolling_text(plan, hostvars, verb):
    """How each replica came out of a run; see ``rollout.text``."""
    done = {}
    for node in processes(plan):
        told = _told(hostvars, node["host"], "__vllm_service_do")
        asked = _told(hostvars, node["host"], "__vllm_service_asked")
        back = _told(hostvars, node["host"], "__vllm_service_back")
        done[node["host"]] = {"do": told, "asked": asked, "back": back}
    return rollout.text(plan, done, verb)


class FilterModule:
    """Filters of ascend_ops.vllm."""

    def filters(self):
        return {
            "failed_steps": failed_steps,
            "generation_group": generation_group,
            "nothing_to_do": nothing_to_do,
            "way_back": way_back,
            "with_restored": with_restored,
            "replica_order": rollout.order,
            "replica_batches": rollout.batches,
            "rolling_text": rolling_text,
            "upgrade_failed": upgrade_failed,
            "upgrade_failure": lambda plan, replica, hostvars, gone: rollout.failure(
                plan,
                replica,
                {node["host"]: _told(hostvars, node["host"], "__vllm_upgrade_failed") for node in processes(plan)},
                {node["host"]: _told(hostvars, node["host"], "__vllm_upgrade_back") for node in processes(plan)},
                gone,
            ),
        }
