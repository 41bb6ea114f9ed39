# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters for diagnostics and logs: what the hosts of a play told, and which secrets the controller knows."""

from __future__ import annotations

import os

from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.redact import SHORTEST, secret_values
from ansible_collections.ascend_ops.vllm.plugins.module_utils._support import archive


def known_secrets(variables):
    """The secret values in the variables of a host, without those that are too short to be looked for."""
    values = [str(value) for value in dict(variables.get("vllm_service_secrets") or {}).values()]
    values.append(str(dict(variables.get("npu_container_registry_login") or {}).get("password") or ""))
    for environment in (variables.get("vllm_recipe_env"), dict(variables.get("__vllm_recipe_node") or {}).get("env")):
        values.extend(secret_values([(name, str(value)) for name, value in dict(environment or {}).items()]))
    return sorted({value for value in values if len(value) >= SHORTEST})


def all_known_secrets(hosts, hostvars):
    """Those of several hosts."""
    return sorted({value for host in hosts if host in hostvars for value in known_secrets(hostvars[host])})


def told_by(hosts, hostvars, name):
    """``{host: what it registered under a name}``; an empty mapping for a host that was not asked."""
    return {host: dict(hostvars[host].get(name) or {}) if host in hostvars else {} for host in hosts}


def log_files(told):
    """``[{title, text}]`` of a node's logs."""
    return [{"title": title, "text": text.rstrip("\n") + "\n"} for title, text in archive.log_blocks("", told)]


def here(path):
    """A path from where the user stands, not from where the playbook lies; empty stays empty."""
    return os.path.abspath(os.path.expanduser(path)) if path else ""


class FilterModule:
    """Filters of ascend_ops.vllm."""

    def filters(self):
        return {
            "known_secrets": known_secrets,
            "all_known_secrets": all_known_secrets,
            "told_by": told_by,
            "log_files": log_files,
            "logs_text": lambda told: archive.logs_text(list(told.items())),
            "logs_summary": lambda told, folder="": archive.logs_summary(list(told.items()), folder),
            "here": here,
        }
