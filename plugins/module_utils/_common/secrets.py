# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The secrets of a service: their names, their file on a node, and what is wrong with them."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.redact import secret_name

ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


def is_secret(name):
    """Is this environment variable a secret, by its name? Not ``MAX_TOKENS``, ``TOKENIZERS_PARALLELISM``, ``KEY_FILE``."""
    return secret_name(name.lower()) > 0


def masked(name, value):
    """The value of an environment variable as it may be printed: masked for a secret."""
    return "********" if is_secret(name) and value else value


def secrets_errors(secrets):
    """What is wrong with the names and values of secrets, as texts, which never contain a value."""
    if not isinstance(secrets, dict):
        return ["vllm_service_secrets is no mapping; wanted names of environment variables and their values."]
    errors = []
    for name, value in secrets.items():
        if not isinstance(name, str) or not ENV_NAME.match(name):
            # What is no name may be a value in the wrong place.
            errors.append(
                "vllm_service_secrets holds a name that no environment variable can have; wanted letters, digits and '_', "
                "not starting with a digit, such as VLLM_API_KEY."
            )
        elif not isinstance(value, str):
            errors.append(
                f"vllm_service_secrets.{name} is of the type {type(value).__name__}; wanted a text: put it in quotes."
            )
        elif not value.strip() or re.search(r"[\x00-\x1f\x7f]", value):
            errors.append(
                f"vllm_service_secrets.{name} is empty or holds a line break or another control character; wanted one line of "
                "text. 'ansible-vault encrypt_string' takes the line break with it when a secret is typed or piped with "
                "one: use printf %s."
            )
    return errors


def secrets_given(secrets):
    """What a plan may know of vllm_service_secrets: ``{"names": [str], "errors": [str]}``, without a value."""
    if isinstance(secrets, Mapping):
        # A value from a vault is a text of a class of its own in some versions of ansible-core.
        secrets = {
            name: str(value) if "Encrypted" in type(value).__name__ else value for name, value in secrets.items()
        }
    errors = secrets_errors(secrets)
    return {"names": [] if errors else sorted(secrets), "errors": errors}


def secrets_file(secrets):
    """The content of secrets.env, lines that a shell reads; None for no secrets. Raises ValueError for bad ones."""
    errors = secrets_errors(secrets)
    if errors:
        raise ValueError(" ".join(errors))
    lines = ["{0}='{1}'\n".format(name, value.replace("'", "'\"'\"'")) for name, value in sorted(secrets.items())]
    return "".join(lines) or None
