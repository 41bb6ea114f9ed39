# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of ``vllm serve`` in a plan: merged, moved to where a release reads them, and judged."""

from __future__ import annotations

import copy
import json
import re

from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.inputs import (
    PlanError,
    listed,
    nearest,
    shown,
)

# Options that follow from a node's part in its replica.
ROLE_OPTIONS = ("headless", "data-parallel-start-rank")


def same_option(name, names):
    """The spelling under which *name* stands in *names*: hyphens and underscores are one in vLLM's options."""
    wanted = name.lstrip("-").replace("_", "-")
    for other in names:
        if other.replace("_", "-") == wanted:
            return other
    return name.lstrip("-")


def merge(base, over, fold=False):
    """Lay *over* on *base*: mappings are merged, ``None`` takes a key away, everything else replaces.

    A key that was there keeps its place. With *fold*, keys are option names: ``a_b`` and ``a-b`` are the same, and
    the spelling of *base* stays.
    """
    result = dict(base)
    for key, value in over.items():
        name = same_option(key, result) if fold else key
        if value is None:
            result.pop(name, None)
        elif isinstance(value, dict) and isinstance(result.get(name), dict):
            result[name] = merge(result[name], value)
        else:
            result[name] = copy.deepcopy(value)
    return result


def without_role_options(args):
    errors = [
        f"vllm_recipe_args holds '{name}', which the plan sets on the nodes that need it. Take it out."
        for name in args
        if name.lstrip("-").replace("_", "-") in ROLE_OPTIONS
    ]
    if errors:
        raise PlanError(errors)
    return args


def value_of(args, name):
    return args.get(same_option(name, args))


def served_name(args):
    """The name that the API answers to; of several, the first."""
    name = value_of(args, "served-model-name")
    return str(name[0]) if isinstance(name, list) and name else name


def move(env, args, recipe, release, releases):
    """Render what moved from environment to configuration the way the chosen release reads it.

    For the release that the recipe is written for, nothing moves. Returns environment, arguments and warnings.
    """
    names = [item["name"] for item in releases["vllm_releases"]]
    warnings = []
    for name in list(env):
        moved = next(
            (
                item
                for item in releases["vllm_moved"]
                if item["env"] == name and names.index(item["since"]) <= names.index(release)
            ),
            None,
        )
        if moved is None:
            continue
        if release == recipe["release"]:
            if release in moved.get("ignored_by", []) and str(env[name]) != "0":
                option, unused, key = moved["into"].partition(".")
                warnings.append(
                    "release {0} accepts {1} and does not act on it. To have it, set vllm_recipe_args: {{{2}: {{{3}: {4}}}}} "
                    "({5}).".format(
                        release,
                        name,
                        option.replace("_", "-"),
                        key,
                        json.dumps(moved["value"].get(str(env[name]))),
                        moved["ignored_source"],
                    )
                )
            continue
        value = moved["value"].get(str(env[name]))
        if value is None:
            raise PlanError(
                [
                    "{0} is '{1}'; release {2} reads it from {3}, whose values are {4}. Correct it in "
                    "vllm_recipe_env.".format(name, env[name], release, moved["into"], listed(moved["value"]))
                ]
            )
        option, unused, path = moved["into"].partition(".")
        for key in reversed(path.split(".")):
            value = {key: value}
        env = merge(env, {name: None})
        args = merge(args, {option.replace("_", "-"): value}, fold=True)
    return env, args, warnings


def check_options(args, env, release, releases):
    names = [item["name"] for item in releases["vllm_releases"]]
    position = names.index(release)
    errors = []
    kinds = option_kinds(releases, release)
    for name, value in args.items():
        option = name.replace("_", "-")
        kind = kinds.get(option)
        if kind is None and option.startswith("no-") and kinds.get(option[3:]) == "bool" and value is True:
            continue
        if kind is None:
            errors.append(
                f"vllm_recipe_args holds '{name}'; vllm serve of release {release} has no option --{option}.{nearest(option, kinds)}"
            )
        elif kind in ("bool", "flag") and not isinstance(value, bool):
            errors.append(
                f"--{option} is {shown(value)}; it takes no value: wanted true or false. Set it in vllm_recipe_args."
            )
        elif kind == "flag" and value is False:
            errors.append(
                f"--{option} is false, and vllm serve has no --no-{option}; wanted null, which takes it away. Set it in "
                "vllm_recipe_args."
            )
        elif kind in ("value", "values") and isinstance(value, bool):
            errors.append(
                f"--{option} is {shown(value)}; wanted a value. Set it in vllm_recipe_args; null takes it away."
            )
    for limit in releases["vllm_option_limits"]:
        if position < names.index(limit["from"]) or any(
            str(env.get(name)) == value for name, value in limit.get("unless_env", {}).items()
        ):
            continue
        value = number(args, limit["option"])
        if value > limit["above"]:
            errors.append(
                "--{0} is {1}; release {2} takes at most {3}: {4} Choose an earlier release with "
                "vllm_recipe_release, or leave out what sets it.".format(
                    limit["option"], value, release, limit["above"], limit["reason"]
                )
            )
    for conflict in releases["vllm_option_conflicts"]:
        values = {name: number(args, name) for name in conflict["above"]}
        if position >= names.index(conflict["from"]) and all(
            values[name] > bound for name, bound in conflict["above"].items()
        ):
            errors.append(
                "{0}; release {1} refuses that: {2} Set one of them to 1 in vllm_recipe_args.".format(
                    " and ".join("--{0} is {1}".format(*item) for item in values.items()), release, conflict["reason"]
                )
            )
    if errors:
        raise PlanError(errors)


def number(args, path):
    """The number at a path such as ``additional_config.enable_fused_mc2``; 0 where there is none."""
    option, unused, rest = path.partition(".")
    value = value_of(args, option)
    for key in rest.split(".") if rest else []:
        value = value.get(key) if isinstance(value, dict) else None
    try:
        return 0 if isinstance(value, bool) else float(value) if "." in str(value) else int(value)
    except (TypeError, ValueError, OverflowError):
        return 0


def option_kinds(releases, release):
    """The long options of ``vllm serve`` in *release*, without their dashes, and what values they take."""
    version = [item["vllm"] for item in releases["vllm_releases"] if item["name"] == release][0]
    return {name: span[2] for name, span in releases["vllm_options"].items() if _version_in(version, span)}


def _version_in(version, span):
    def key(text):
        return tuple(int(part) for part in re.findall(r"\d+", str(text)))

    since, until = (list(span) + [None])[:2]
    return key(since) <= key(version) and (not until or key(version) <= key(until))


def size(args, name, default=1):
    value = value_of(args, name)
    if value is None:
        return default
    if isinstance(value, bool) or not re.match(r"[1-9][0-9]{0,8}\Z", str(value)):
        raise PlanError([f"--{name} is '{value}'; wanted a whole number from 1. Set it in vllm_recipe_args."])
    return int(value)


def port(args, name):
    value = value_of(args, name)
    if value is None:
        return None
    if not re.match(r"[0-9]{1,9}\Z", str(value)) or not 1 <= int(value) <= 65535:
        raise PlanError([f"--{name} is '{value}'; wanted a port from 1 to 65535. Set it in vllm_recipe_args."])
    return int(value)
