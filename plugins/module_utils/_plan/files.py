# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The data files of the planner: recipes, releases, the inputs of the roles. Nothing else in ``_plan`` reads a file."""

from __future__ import annotations

import functools
import os
from pathlib import Path

from ansible.module_utils.common.yaml import yaml_load
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.errors import PlanError, nearest
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.recipe import recipe_errors

try:
    import yaml
except ImportError:  # ansible-test imports all of module_utils with what a node has; no node gets this file
    yaml = None

ROLES = Path(__file__).resolve().parents[3] / "roles"
DATA = ROLES / "vllm_recipe" / "files"
RECIPES = DATA / "recipes"


@functools.lru_cache(maxsize=None)
def _read(path):
    return yaml_load(Path(path).read_text(encoding="utf-8"))


@functools.lru_cache(maxsize=None)
def releases():
    """What is known of the vllm-ascend releases: their options, the values of these, and environment variables.

    The content of releases.yml, vllm_options.yml, vllm_values.yml and values.yml, as one mapping.
    """
    names = ("releases.yml", "vllm_options.yml", "vllm_values.yml", "values.yml")
    return {key: value for name in names for key, value in _read(DATA / name).items()}


@functools.lru_cache(maxsize=None)
def role_options():
    """All inputs of all roles: name to its entry in the argument specs."""
    return {
        name: option
        for path in sorted(ROLES.glob("*/meta/argument_specs.yml"))
        for entry in _read(path)["argument_specs"].values()
        for name, option in (entry.get("options") or {}).items()
    }


@functools.lru_cache(maxsize=None)
def known_inputs():
    """The names of all inputs of all roles, as a tuple."""
    return tuple(role_options())


def recipe_of(name):
    """The data of a recipe, read and checked.

    :param name: a recipe of this collection, or the path of a ``.yml`` or ``.yaml`` file on the controller.
    :raises PlanError: there is no such recipe, or it does not have the wanted form.
    """
    path = Path(name)
    if path.suffix not in (".yml", ".yaml"):
        path = RECIPES / (name + ".yml")
    if not os.path.isfile(path):
        known = sorted(item.stem for item in RECIPES.glob("*.yml"))
        raise PlanError(
            [
                f"vllm_recipe_name is '{name}'; wanted one of {', '.join(known)}, or the path of a .yml file on this machine."
                f"{nearest(name, known)}"
            ]
        )
    try:
        recipe = _read(path)
    except yaml.YAMLError as error:
        raise PlanError([f"the recipe {path}: it is not YAML: {' '.join(str(error).split())}"]) from error
    except (OSError, ValueError) as error:
        raise PlanError([f"the recipe {path}: it cannot be read: {error}"]) from error
    errors = recipe_errors(recipe, [release["name"] for release in releases()["vllm_releases"]])
    if errors:
        raise PlanError([f"the recipe {path}: {text}" for text in errors])
    return recipe
