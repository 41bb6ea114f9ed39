# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Recipes: their form, and what settings choose of one: release, deployment, scenarios, checkpoint, image."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.environment import added_errors
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.errors import (
    PlanError,
    listed,
    nearest,
    raise_all,
    shown,
)
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.forms import (
    COUNT_FROM_1,
    FILLED,
    MAPPING,
    MOUNTS,
    NAMED,
    TEXT,
    TEXTS,
)
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.inputs import secrets_in_plain

# Path of a key, where * is any name; whether it must be there; the form of its value.
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
    ("deployments.*.env", True, NAMED),
    ("deployments.*.env_prepend", False, NAMED),
    ("deployments.*.env_append", False, NAMED),
    ("deployments.*.args", True, MAPPING),
    ("deployments.*.container", True, MAPPING),
    ("deployments.*.container.name", True, TEXT),
    ("deployments.*.container.shm_size", True, TEXT),
    ("deployments.*.container.mounts", False, MOUNTS),
    ("scenarios", True, NAMED),
    ("scenarios.*.hardware", True, TEXTS),
    ("scenarios.*.env", False, NAMED),
    ("scenarios.*.env_prepend", False, NAMED),
    ("scenarios.*.env_append", False, NAMED),
    ("scenarios.*.args", False, MAPPING),
    ("scenarios.*.container", False, MAPPING),
    ("scenarios.*.container.mounts", False, MOUNTS),
)


# -- the form of a recipe -----------------------------------------------------------------------------------------


def recipe_errors(recipe, releases):
    """What a recipe lacks, or has in another form than wanted.

    :param recipe: the content of the recipe's file.
    :param releases: the names of the known vllm-ascend releases.
    :return: a list of sentences, to be read after the name of the recipe and a colon.
    """
    if not isinstance(recipe, dict):
        return [f"it is {'empty' if recipe is None else 'a ' + type(recipe).__name__}; wanted a mapping."]
    return _form_errors(recipe) or _part_errors(recipe) or _release_errors(recipe, releases)


def _form_errors(recipe):
    errors = {}  # in order, each once
    for path, needed, form in RECIPE:
        for where, found, value in _walk(recipe, path.split("."), ""):
            if not found or value is None:
                if needed:
                    errors[f"{where} is missing; wanted {form.wanted}."] = True
            elif not form.fits(value):
                errors[f"{where} is {shown(value)}; wanted {form.wanted}."] = True
    return list(errors)


def _part_errors(recipe):
    errors = []
    for kind in ("deployments", "scenarios"):
        for name, part in recipe[kind].items():
            errors += [f"{kind}.{name}.{key} {text}" for key, text in secrets_in_plain(part)]
            errors += added_errors(part, f"{kind}.{name}.")
    return errors


def _release_errors(recipe, releases):
    return [
        f"releases.{key} is {shown(recipe['releases'][key])}; known vllm-ascend releases are {listed(releases)}."
        for key in ("first", "last")
        if recipe["releases"][key] not in releases
    ]


def _walk(data, keys, before):
    """``(path, whether it is there, value)`` for each place that a path with ``*`` means."""
    if keys[0] == "*":
        names = data if isinstance(data, dict) else {}
        return [found for name in names for found in _walk(data[name], keys[1:], f"{before}{name}.")]
    if not isinstance(data, dict) or (len(keys) > 1 and data.get(keys[0]) is None):
        return [] if "*" in keys else [(before + ".".join(keys), False, None)]
    if len(keys) == 1:
        return [(before + keys[0], keys[0] in data, data.get(keys[0]))]
    return _walk(data[keys[0]], keys[1:], f"{before}{keys[0]}.")


# -- what settings choose of a recipe -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Choice:
    """What the settings of a replica choose of a recipe.

    ``recipe``, ``deployment``, ``checkpoint`` and ``overlays`` (the chosen scenarios, in their order) are parts of the
    recipe's data as they are there; ``release`` and ``image`` are names.
    """

    recipe: dict
    release: str
    deployment: dict
    scenarios: tuple
    overlays: tuple
    checkpoint_name: str
    checkpoint: dict
    image: str

    def summary(self):
        """What is told of the recipe in a plan."""
        return {
            "name": self.recipe["name"],
            "architecture": self.recipe.get("architecture"),
            "release": self.release,
            "checkpoint": self.checkpoint_name,
            "scenarios": list(self.scenarios),
        }


def choose(settings, hardware, releases):
    """Choose of a recipe what the settings of a replica name.

    :param settings: the settings of the replica's first node, ``recipe`` among them.
    :param hardware: ``a2`` or ``a3``.
    :param releases: the content of releases.yml.
    :return: a :class:`Choice`.
    :raises PlanError: a name that the recipe does not have, or that does not fit the hardware.
    """
    recipe = settings["recipe"]
    release = _release(settings, recipe, releases)
    deployment = _deployment(recipe, hardware)
    overlays = _overlays(settings, recipe, hardware)
    checkpoint = _checkpoint(settings, recipe, deployment)
    return Choice(
        recipe=recipe,
        release=release,
        deployment=deployment,
        scenarios=tuple(settings.get("scenarios") or ()),
        overlays=tuple(overlays),
        checkpoint_name=checkpoint,
        checkpoint=recipe["checkpoints"][checkpoint],
        image=_image(settings, recipe, hardware, release),
    )


def _release(settings, recipe, releases):
    release = str(settings.get("release") or recipe["release"])
    names = [item["name"] for item in releases["vllm_releases"]]
    if release not in names:
        raise PlanError(
            [
                f"vllm_recipe_release is '{release}'; known vllm-ascend releases are {listed(names)}."
                f"{nearest(release, names)}"
            ]
        )
    first, last = recipe["releases"]["first"], recipe["releases"]["last"]
    if not names.index(first) <= names.index(release) <= names.index(last):
        raise PlanError(
            [
                f"vllm_recipe_release is '{release}'; the recipe {recipe['name']} is for the vllm-ascend releases {first} to "
                f"{last}. Choose one of them, or write a recipe for {release}."
            ]
        )
    return release


def _deployment(recipe, hardware):
    if hardware not in recipe["deployments"]:
        raise PlanError(
            [
                f"the recipe {recipe['name']} has no deployment for {hardware}; it has {listed(recipe['deployments'])}. "
                "Choose another recipe with vllm_recipe_name."
            ]
        )
    return recipe["deployments"][hardware]


def _overlays(settings, recipe, hardware):
    """The chosen scenarios of a recipe; they must exist, fit the hardware and not contradict each other."""
    overlays = []
    errors = []
    set_by = {}
    for name in settings.get("scenarios") or []:
        overlay = recipe["scenarios"].get(name)
        if overlay is None:
            errors.append(
                f"vllm_recipe_scenarios contains '{name}'; the recipe {recipe['name']} has {listed(recipe['scenarios'])}."
                f"{nearest(name, recipe['scenarios'])}"
            )
        elif hardware not in overlay["hardware"]:
            errors.append(
                f"vllm_recipe_scenarios contains '{name}', which is for {listed(overlay['hardware'])}; these nodes are "
                f"{hardware}. Remove it."
            )
        else:
            errors.extend(_conflicts(name, overlay, set_by))
            overlays.append(overlay)
    raise_all(errors)
    return overlays


def _conflicts(name, overlay, set_by):
    """Where a scenario sets what an earlier one set to another value; *set_by* remembers what was set by which."""
    errors = []
    for kind in ("env", "args"):
        for key, value in (overlay.get(kind) or {}).items():
            other, before = set_by.setdefault((kind, key), (name, value))
            if before != value:
                errors.append(
                    f"the scenarios '{other}' and '{name}' conflict: they set {key} to {shown(before)} and {shown(value)}. "
                    "Choose one of them."
                )
    return errors


def _checkpoint(settings, recipe, deployment):
    name = settings.get("checkpoint") or deployment["checkpoint"]
    served = [key for key, value in recipe["checkpoints"].items() if not value.get("draft")]
    if name not in served:
        raise PlanError(
            [
                f"vllm_recipe_checkpoint is '{name}'; the recipe {recipe['name']} serves {listed(served)}."
                f"{nearest(name, served)}"
            ]
        )
    return name


def _image(settings, recipe, hardware, release):
    """The image in full: that of the settings, or the recipe's with the tag for hardware and distribution."""
    if settings.get("image"):
        image = str(settings["image"])
    else:
        tag = release + ("-a3" if hardware == "a3" else "")
        if settings.get("image_os") == "openeuler":
            tag += "-openeuler"
        image = f"{settings.get('image_prefix') or ''}{recipe['image']}:{tag}"
    made_for = _made_for(image)
    if made_for not in (None, hardware):
        tags = "with -a3" if hardware == "a3" else "without -a3 and -310p"
        raise PlanError(
            [
                f"the image {image} is made for {made_for}; these nodes are {hardware}. Wanted a tag {tags}; set "
                "vllm_recipe_image, or leave it empty to have it chosen."
            ]
        )
    return image


def _made_for(image):
    """The hardware that an image of vllm-ascend is made for, by its tag; None where the name does not tell."""
    path, digest, _rest = image.partition("@")
    name = path.rpartition("/")[2]  # a colon before the last slash is a registry's port
    name, _colon, tag = name.partition(":")
    if not name.endswith("vllm-ascend") or (digest and not tag):
        return None
    if "-310p" in tag:
        return "310p"
    return "a3" if re.search(r"-a3(-|$)", tag) else "a2"


def checkpoints_read(choice, args, weights_dir):
    """The checkpoints that a process reads: the served one, and the draft model where the command line names its path.

    :param args: the options of ``vllm serve``, with their tokens filled in.
    :return: ``[{"directory", "source", "draft", "path"}]``.
    """
    command = json.dumps(args)
    read = [choice.checkpoint] + [
        other
        for other in choice.recipe["checkpoints"].values()
        if other.get("draft") and f'"{weights_dir}/{other["directory"]}"' in command
    ]
    return [
        {
            "directory": item["directory"],
            "source": item["source"],
            "draft": bool(item.get("draft")),
            "path": f"{weights_dir}/{item['directory']}",
        }
        for item in read
    ]
