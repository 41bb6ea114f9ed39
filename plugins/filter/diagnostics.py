# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters for diagnostics and logs: what the hosts of a play told, and which secrets the controller knows."""

from __future__ import annotations

import os

from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.redact import SHORTEST, secret_values
from ansible_collections.ascend_ops.vllm.plugins.module_utils._support import archive


def known_secrets(secrets, logins=(), environments=()):
    """The secret values that the controller knows, without those that are too short to be looked for.

    :param secrets: mappings like vllm_service_secrets, one per node.
    :param logins: mappings like npu_container_registry_login, one per node.
    :param environments: mappings of environment variables, of which those count that are secrets by their names.
    """
    values = [str(value) for given in secrets for value in dict(given or {}).values()]
    values += [str(dict(login or {}).get("password") or "") for login in logins]
    for environment in environments:
        values += secret_values([(name, str(value)) for name, value in dict(environment or {}).items()])
    return sorted({value for value in values if len(value) >= SHORTEST})


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
            "log_files": log_files,
            "logs_text": lambda told: archive.logs_text(list(told.items())),
            "logs_summary": lambda told, folder="": archive.logs_summary(list(told.items()), folder),
            "here": here,
        }
