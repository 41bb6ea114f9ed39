# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The settings of a node: their form, secrets in the wrong place, and what a replica must have the same everywhere."""

from __future__ import annotations

from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.secrets import is_secret
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.environment import ADDED, added_errors
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.errors import PlanError, raise_all, shown, typo_of
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.forms import (
    COUNT,
    COUNTS,
    ENVIRONMENT,
    LISTEN,
    MAPPING,
    TEXT,
    TEXTS,
    TLS,
    is_directory,
)

# The inputs of the role vllm_recipe, by their name without the prefix `vllm_recipe_`.
SETTINGS = {
    "name": TEXT,
    "release": TEXT,
    "scenarios": TEXTS,
    "checkpoint": TEXT,
    "weights_dir": TEXT,
    "image": TEXT,
    "image_prefix": TEXT,
    "image_os": TEXT,
    "args": MAPPING,
    "env": ENVIRONMENT,
    "env_prepend": ENVIRONMENT,
    "env_append": ENVIRONMENT,
    "env_known": TEXTS,
    "container": MAPPING,
    "replica": TEXT,
    "address": TEXT,
    "chips": COUNT,
    "devices": COUNTS,
    "listen": LISTEN,
    "tls": TLS,
}
# Settings of a node. All others must be the same on all nodes of a replica.
OF_A_NODE = ("replica", "address", "chips", "devices")
# Options of vllm serve that carry a secret on the command line, and the environment variable that carries it instead.
SECRET_OPTIONS = {"api-key": "VLLM_API_KEY", "hf-token": "HF_TOKEN"}


def settings_errors(settings):
    """What is wrong with the form of a node's settings; an empty or null setting is fine.

    :param settings: name without prefix to value.
    :return: a list of sentences.
    """
    errors = [
        f"vllm_recipe_{name} is {shown(settings[name])}; wanted {form.wanted}."
        for name, form in SETTINGS.items()
        if settings.get(name) not in (None, "") and not form.fits(settings[name])
    ]
    return errors or [
        *(f"vllm_recipe_{part} {text}" for part, text in secrets_in_plain(settings)),
        *added_errors(settings),
    ]


def secrets_in_plain(part):
    """Secrets in environment and arguments, where every user of a node can read them.

    :param part: a mapping with ``env`` and ``args``, such as settings or a scenario of a recipe.
    :return: ``[(key of the part, the rest of a sentence)]``, without any value.
    """
    found = []
    for key in ("env", *ADDED):
        for name, value in (part.get(key) or {}).items():
            if value in (None, "") or not is_secret(str(name)):
                continue
            likely = typo_of(name, SECRET_OPTIONS.values())
            text = (
                f"contains {name}, which is the name of a secret; wanted it in vllm_service_secrets, whose values appear in "
                "no plan, diff or output."
            )
            found.append((key, text + (f" Did you mean '{likely}'?" if likely else "")))
    for name, value in (part.get("args") or {}).items():
        if is_secret_option(name, value):
            text = (
                f"contains '{name}', which every user of the node could read in the list of processes; wanted "
                f"{SECRET_OPTIONS[_option(name)]} in vllm_service_secrets."
            )
            found.append(("args", text))
    return found


def is_secret_option(name, value):
    """Does an option of ``vllm serve`` carry a secret? ``--hf-token`` without a value does not: it reads the environment."""
    option = _option(name)
    return option in SECRET_OPTIONS and value is not None and not (option == "hf-token" and isinstance(value, bool))


def _option(name):
    return str(name).lstrip("-").replace("_", "-")


def check_settings(members):
    """Check the form of the settings of all members of a replica.

    :param members: a list of ``topology.Member``.
    :raises PlanError: with all that is wrong.
    """
    raise_all([f"node {member.host}: {text}" for member in members for text in settings_errors(member.settings)])


def check_same_settings(members):
    """Check that the members of a replica agree on everything that is not a node's own.

    :raises PlanError: with each setting and node that differs from the first node.
    """
    first, *others = members
    errors = []
    for key in SETTINGS:
        if key in OF_A_NODE:
            continue
        wanted = shown(first.settings.get(key))
        for member in others:
            value = shown(member.settings.get(key))
            if value != wanted:
                errors.append(
                    f"vllm_recipe_{key} is {wanted} on node {first.host} and {value} on node {member.host}; wanted the "
                    "same on all nodes of a replica. Set it for all nodes of the replica, not for one of them."
                )
    raise_all(errors)


def weights_dir_of(settings, deployment):
    """The folder of the checkpoints on the nodes, without a slash at its end.

    :raises PlanError: it is not an absolute path.
    """
    path = str(settings.get("weights_dir") or deployment["weights_dir"])
    if not is_directory(path):
        raise PlanError([f"vllm_recipe_weights_dir is '{path}'; wanted an absolute path on the nodes."])
    return path.rstrip("/")
