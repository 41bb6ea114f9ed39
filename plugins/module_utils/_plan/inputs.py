# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The form of what the plan is made from: a node's settings and a recipe. What they mean is judged in ``_plan``."""

from __future__ import annotations

import difflib
import ipaddress
import json
import re

from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.secrets import is_secret


class PlanError(Exception):
    """One or more reasons why there is no plan; each names what was seen, what is wanted and the way out."""

    def __init__(self, errors):
        super().__init__("\n".join(errors))
        self.errors = list(errors)


def nearest(word, known):
    """Return `` Did you mean 'x'?`` for the known word nearest to *word*, or an empty string."""
    match = difflib.get_close_matches(str(word), [str(item) for item in known], n=1, cutoff=0.6)
    return f" Did you mean '{match[0]}'?" if match else ""


def listed(items):
    return ", ".join(str(item) for item in items) or "none"


def shown(value):
    """A value as an operator wrote it, near enough; never fails."""
    try:
        return json.dumps(value, sort_keys=True, ensure_ascii=False)
    except (TypeError, ValueError):
        return repr(value)


def _is_text(value):
    return isinstance(value, str) or (isinstance(value, (int, float)) and not isinstance(value, bool))


def _is_count(value):
    return (
        not isinstance(value, bool) and isinstance(value, (int, str)) and bool(re.match(r"^[0-9]{1,9}\Z", str(value)))
    )


def _is_mapping(value):
    """A mapping by names, of what JSON can say."""
    if not isinstance(value, dict) or not all(isinstance(key, str) and key for key in value):
        return False
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        return False
    return True


def _is_address(value):
    try:
        return isinstance(value, str) and bool(ipaddress.ip_address(value))
    except ValueError:
        return False


TEXT = ("a text", _is_text)
COUNT = ("a whole number", _is_count)
COUNT_FROM_1 = ("a whole number from 1", lambda value: _is_count(value) and int(value) > 0)
MAPPING = ("a mapping of names to values", _is_mapping)
ENVIRONMENT = ("a mapping of names to values", lambda value: isinstance(value, dict))
FILLED = ("a mapping with at least one entry", lambda value: isinstance(value, dict) and bool(value))
TEXTS = ("a list of texts", lambda value: isinstance(value, (list, tuple)) and all(map(_is_text, value)))
MOUNTS = ("a list of mounts", lambda value: isinstance(value, list))
PATHS = re.compile(r"/[^,\n]*[^,\n/]\Z")
LISTEN = (
    "'node', an IP address of the node that serves the API, or nothing for the recipe's",
    lambda value: value == "node" or _is_address(value),
)
TLS = (
    "{certificate: /path, key: /path} and where needed {ca: /path}, all on the node that serves the API",
    lambda value: (
        isinstance(value, dict)
        and (not value or {"certificate", "key"} <= set(value) <= {"certificate", "key", "ca"})
        and all(isinstance(path, str) and PATHS.match(path) for path in value.values())
    ),
)
NUMBERS = (
    "a list of different whole numbers",
    lambda value: (
        isinstance(value, (list, tuple)) and all(map(_is_count, value)) and len(set(map(int, value))) == len(value)
    ),
)

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
    "container": MAPPING,
    "replica": TEXT,
    "address": TEXT,
    "chips": COUNT,
    "devices": NUMBERS,
    "listen": LISTEN,
    "tls": TLS,
}
# Options of vllm serve that have their secret on the command line, and the environment variable that has it instead.
SECRET_OPTIONS = {"api-key": "VLLM_API_KEY", "hf-token": "HF_TOKEN"}
# Path of a key, where * is any name; whether it must be there; what it must be.
RECIPE = (
    ("name", True, TEXT),
    ("release", True, TEXT),
    ("releases.first", True, TEXT),
    ("releases.last", True, TEXT),
    ("image", True, TEXT),
    ("checkpoints", True, FILLED),
    ("checkpoints.*.directory", True, TEXT),
    ("checkpoints.*.source", True, TEXT),
    ("checkpoints.*.quantization", False, TEXT),
    ("deployments", True, FILLED),
    ("deployments.*.chips", True, COUNT_FROM_1),
    ("deployments.*.checkpoint", True, TEXT),
    ("deployments.*.weights_dir", True, TEXT),
    ("deployments.*.env", True, ENVIRONMENT),
    ("deployments.*.args", True, MAPPING),
    ("deployments.*.container", True, MAPPING),
    ("deployments.*.container.name", True, TEXT),
    ("deployments.*.container.shm_size", True, TEXT),
    ("deployments.*.container.mounts", False, MOUNTS),
    ("scenarios", True, ENVIRONMENT),
    ("scenarios.*.hardware", True, TEXTS),
    ("scenarios.*.env", False, ENVIRONMENT),
    ("scenarios.*.args", False, MAPPING),
    ("scenarios.*.container", False, MAPPING),
    ("scenarios.*.container.mounts", False, MOUNTS),
)


def settings_errors(settings):
    """What of a node's settings has not the form that is wanted; an empty or null setting has."""
    errors = [
        f"vllm_recipe_{name} is {shown(settings[name])}; wanted {wanted}."
        for name, (wanted, fits) in SETTINGS.items()
        if settings.get(name) not in (None, "") and not fits(settings[name])
    ]
    if not errors:
        errors = ["vllm_recipe_{0} {1}".format(*found) for found in secrets_in_plain(settings)]
    return errors


def secrets_in_plain(part):
    """``[(env or args, sentence)]`` on secrets in environment and arguments, which everybody may see; without values."""
    found = []
    for name, value in (part.get("env") or {}).items():
        if value not in (None, "") and is_secret(str(name)):
            said = (
                "holds {0}, whose name is that of a secret; wanted it in vllm_service_secrets, whose values are in no plan, "
                "diff or output."
            )
            found.append(("env", said.format(name)))
    for name, value in (part.get("args") or {}).items():
        option = str(name).lstrip("-").replace("_", "-")
        if option in SECRET_OPTIONS and value is not None and not (option == "hf-token" and isinstance(value, bool)):
            said = (
                "holds '{0}', which every user of the node would see among the processes; wanted {1} in "
                "vllm_service_secrets."
            )
            found.append(("args", said.format(name, SECRET_OPTIONS[option])))
    return found


def recipe_errors(recipe, releases):
    """What a recipe lacks, or has in another form than is wanted; *releases* are the names of the known ones."""
    if not isinstance(recipe, dict):
        return ["is {0}; wanted a mapping.".format(type(recipe).__name__ if recipe is not None else "empty")]
    errors = []
    for path, needed, (wanted, fits) in RECIPE:
        for where, found, value in _walk(recipe, path.split("."), ""):
            if not found or value is None:
                if needed:
                    errors.append(f"lacks {where}; wanted {wanted}.")
            elif not fits(value):
                errors.append(f"has {where} as {shown(value)}; wanted {wanted}.")
    if not errors:
        errors = [
            "in {0}.{1}.{2} {3}".format(kind, name, *found)
            for kind in ("deployments", "scenarios")
            for name, part in recipe[kind].items()
            for found in secrets_in_plain(part)
        ]
    if not errors:
        errors = [
            "has releases.{0} as {1}; known vllm-ascend releases are {2}.".format(
                key, shown(recipe["releases"][key]), ", ".join(releases)
            )
            for key in ("first", "last")
            if recipe["releases"][key] not in releases
        ]
    return list(dict.fromkeys(errors))


def _walk(data, keys, before):
    """``(path, whether it is there, value)`` for each place that a path with ``*`` means."""
    if keys[0] == "*":
        return (
            [found for name in data for found in _walk(data[name], keys[1:], f"{before}{name}.")]
            if isinstance(data, dict)
            else []
        )
    if not isinstance(data, dict) or (len(keys) > 1 and data.get(keys[0]) is None):
        return [] if "*" in keys else [(before + ".".join(keys), False, None)]
    if len(keys) == 1:
        return [(before + keys[0], keys[0] in data, data.get(keys[0]))]
    return _walk(data[keys[0]], keys[1:], f"{before}{keys[0]}.")
