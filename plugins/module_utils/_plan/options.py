# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of ``vllm serve`` in a plan: merged, moved to where a release reads them, and judged.

Options are mappings of names without dashes to values, in the order of the command line. Hyphens and underscores are the
same in vLLM's options; a mapping keeps the spelling that it has.
"""

from __future__ import annotations

import copy
import json
import re

from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.errors import (
    PlanError,
    listed,
    nearest,
    raise_all,
    shown,
)
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.option_values import judge

# Options that follow from the part of a node in its replica.
ROLE_OPTIONS = ("headless", "data-parallel-start-rank")


# -- reading and merging ------------------------------------------------------------------------------------------


def same_option(name, names):
    """The spelling under which the option *name* is in *names*; *name* without dashes in front where it is not."""
    wanted = name.lstrip("-").replace("_", "-")
    for other in names:
        if other.replace("_", "-") == wanted:
            return other
    return name.lstrip("-")


def value_of(args, name):
    """The value of an option in any spelling; None where it is not set."""
    return args.get(same_option(name, args))


def merge(base, over, fold=False):
    """Lay *over* on *base*: mappings are merged, ``None`` removes a key, everything else replaces.

    A key of *base* keeps its place. With *fold*, keys are option names: ``a_b`` and ``a-b`` are the same, and the
    spelling of *base* stays. Returns a new mapping.
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


def served_name(args):
    """The name that the API answers to, the first of several; None where no option sets one."""
    name = value_of(args, "served-model-name")
    return str(name[0]) if isinstance(name, list) and name else name


def number(args, path):
    """The number at a path such as ``additional_config.enable_fused_mc2``; 0 where there is none."""
    option, _dot, rest = path.partition(".")
    value = value_of(args, option)
    for key in rest.split(".") if rest else []:
        value = value.get(key) if isinstance(value, dict) else None
    try:
        return 0 if isinstance(value, bool) else float(value) if "." in str(value) else int(value)
    except (TypeError, ValueError, OverflowError):
        return 0


def size(args, name, default=1):
    """A parallel size: a whole number from 1.

    :raises PlanError: the option is set to anything else.
    """
    value = value_of(args, name)
    if value is None:
        return default
    if isinstance(value, bool) or not re.match(r"[1-9][0-9]{0,8}\Z", str(value)):
        raise PlanError([f"--{name} is '{value}'; wanted a whole number from 1. Set it in vllm_recipe_args."])
    return int(value)


def port(args, name):
    """A port; None where the option is not set.

    :raises PlanError: the option is set to anything else.
    """
    value = value_of(args, name)
    if value is None:
        return None
    if not re.match(r"[0-9]{1,9}\Z", str(value)) or not 1 <= int(value) <= 65535:
        raise PlanError([f"--{name} is '{value}'; wanted a port from 1 to 65535. Set it in vllm_recipe_args."])
    return int(value)


def computed_errors(args, computed):
    """Options of an operator that the plan decides, as a list of sentences.

    :param computed: options that the plan decides: name to the input that is meant instead.
    """
    errors = []
    for name in args:
        option = name.lstrip("-").replace("_", "-")
        if option in ROLE_OPTIONS:
            errors.append(
                f"vllm_recipe_args contains '{name}', which the plan sets on the nodes that need it. Remove it."
            )
        elif option in computed:
            errors.append(f"vllm_recipe_args contains '{name}', which the plan decides. Remove it: {computed[option]}.")
    return errors


# -- releases -----------------------------------------------------------------------------------------------------


def _position(release, releases):
    return [item["name"] for item in releases["vllm_releases"]].index(release)


def move(env, args, recipe, release, releases):
    """Put what moved from the environment to ``--additional-config`` where the chosen release reads it.

    For the release that the recipe is written for, nothing moves.

    :return: ``(env, args, warnings)``, new mappings.
    :raises PlanError: a variable has a value that the option in its place does not know.
    """
    warnings = []
    for name in list(env):
        moved = _moved(name, release, releases)
        if moved is None:
            continue
        if release != recipe["release"]:
            args = merge(args, _in_config(moved, env[name], release), fold=True)
            env = merge(env, {name: None})
        elif release in moved.get("ignored_by", []) and str(env[name]) != "0":
            warnings.append(_ignored(moved, env[name], release))
    return env, args, warnings


def _moved(name, release, releases):
    """Where a release reads what an environment variable said; None where it still reads the variable."""
    position = _position(release, releases)
    for moved in releases["vllm_moved"]:
        if moved["env"] == name and _position(moved["since"], releases) <= position:
            return moved
    return None


def _in_config(moved, value, release):
    """What an environment variable said, as the option of ``vllm serve`` that took its place."""
    result = moved["value"].get(str(value))
    if result is None:
        raise PlanError(
            [
                f"{moved['env']} is '{value}'; release {release} reads it from {moved['into']}, whose values are "
                f"{listed(moved['value'])}. Correct it in vllm_recipe_env."
            ]
        )
    option, *path = moved["into"].split(".")
    for key in reversed(path):
        result = {key: result}
    return {option.replace("_", "-"): result}


def _ignored(moved, value, release):
    option, _dot, key = moved["into"].partition(".")
    return (
        f"release {release} accepts {moved['env']} and ignores it. To enable it, set vllm_recipe_args: "
        f"{{{option.replace('_', '-')}: {{{key}: {json.dumps(moved['value'].get(str(value)))}}}}} "
        f"({moved['ignored_source']})."
    )


def option_kinds(releases, release):
    """The long options of ``vllm serve`` in a release: name without dashes to ``bool``, ``flag``, ``value``, ..."""
    version = next(item["vllm"] for item in releases["vllm_releases"] if item["name"] == release)
    return {name: span[2] for name, span in releases["vllm_options"].items() if _version_in(version, span)}


def _version_in(version, span):
    def key(text):
        return tuple(int(part) for part in re.findall(r"\d+", str(text)))

    since, until = (list(span) + [None])[:2]
    return key(since) <= key(version) and (not until or key(version) <= key(until))


# -- judging ------------------------------------------------------------------------------------------------------


def check_options(args, env, release, releases):
    """Check that a release knows the options and takes their values, alone and together.

    :return: a list of warnings.
    :raises PlanError: with each option that it refuses.
    """
    kinds = option_kinds(releases, release)
    errors = [_kind_error(name, value, kinds, release) for name, value in args.items()]
    wrong, warnings = judge(args, kinds, release, releases)
    errors += wrong
    errors += [_limit_error(limit, args, env, release, releases) for limit in releases["vllm_option_limits"]]
    errors += [_conflict_error(conflict, args, release, releases) for conflict in releases["vllm_option_conflicts"]]
    raise_all([error for error in errors if error])
    return warnings


def _kind_error(name, value, kinds, release):
    """What is wrong with an option that a release does not have, or whose value is of another kind; None for nothing."""
    option = name.replace("_", "-")
    kind = kinds.get(option)
    if kind is None:
        if option.startswith("no-") and kinds.get(option[3:]) == "bool" and value is True:
            return None
        return (
            f"vllm_recipe_args contains '{name}'; vllm serve of release {release} has no option --{option}."
            f"{nearest(option, kinds)}"
        )
    if kind in ("bool", "flag") and not isinstance(value, bool):
        return f"--{option} is {shown(value)}; it takes no value: wanted true or false. Set it in vllm_recipe_args."
    if kind == "flag" and value is False:
        return (
            f"--{option} is false, and vllm serve has no --no-{option}; wanted null, which removes it. Set it in "
            "vllm_recipe_args."
        )
    if kind in ("value", "values") and isinstance(value, bool):
        return f"--{option} is {shown(value)}; wanted a value. Set it in vllm_recipe_args; null removes it."
    return None


def _limit_error(limit, args, env, release, releases):
    """What a release says of an option above its limit; None below it."""
    exempt = any(str(env.get(name)) == value for name, value in limit.get("unless_env", {}).items())
    value = number(args, limit["option"])
    if exempt or value <= limit["above"] or _position(release, releases) < _position(limit["from"], releases):
        return None
    return (
        f"--{limit['option']} is {value}; release {release} takes at most {limit['above']}: {limit['reason']} Choose an "
        "earlier release with vllm_recipe_release, or remove what sets it."
    )


def _conflict_error(conflict, args, release, releases):
    """What a release says of options that it refuses together; None where it takes them."""
    values = {name: number(args, name) for name in conflict["above"]}
    below = any(values[name] <= bound for name, bound in conflict["above"].items())
    if below or _position(release, releases) < _position(conflict["from"], releases):
        return None
    seen = " and ".join(f"--{name} is {value}" for name, value in values.items())
    return f"{seen}; release {release} refuses that: {conflict['reason']} Set one of them to 1 in vllm_recipe_args."
