# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters for support bundles and logs: texts for the operator, and the secrets that the controller knows."""

from __future__ import annotations

import os

from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.redact import SHORTEST, secret_values
from ansible_collections.ascend_ops.vllm.plugins.module_utils._support import text


def known_secrets(secrets, logins=(), environments=()):
    """The secret values that the controller knows, without those too short to search for.

    :param secrets: mappings like vllm_service_secrets, one per node.
    :param logins: mappings like npu_container_registry_login, one per node.
    :param environments: mappings of environment variables, of which those count whose names are names of secrets.
    """
    values = [str(value) for given in secrets for value in dict(given or {}).values()]
    values += [str(dict(login or {}).get("password") or "") for login in logins]
    for environment in environments:
        values += secret_values([(name, str(value)) for name, value in dict(environment or {}).items()])
    return sorted({value for value in values if len(value) >= SHORTEST})


def log_files(result):
    """``[{"title", "text"}]`` of a node's logs, one a file.

    :param result: what the module node_logs returned.
    """
    return [{"title": title, "text": block.rstrip("\n") + "\n"} for title, block in text.log_blocks(result)]


def here(path):
    """A path relative to the user's working directory, not to the playbook's, made absolute; empty stays empty."""
    return os.path.abspath(os.path.expanduser(path)) if path else ""


class FilterModule:
    """Filters of ascend_ops.vllm."""

    def filters(self):
        return {
            "known_secrets": known_secrets,
            "log_files": log_files,
            "logs_text": text.logs_text,
            "logs_summary": text.logs_summary,
            "here": here,
        }
