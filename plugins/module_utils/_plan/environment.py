# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The environment of a process: names and values that a release knows, and what the plan computes itself."""

from __future__ import annotations

import re

from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.secrets import ENV_NAME
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.errors import nearest, quoted, shown, typo_of
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.option_values import forms_of, once
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.values import form

_TOKEN = re.compile(r"\{[A-Za-z]+\}")
# What a shell would replace: $NAME, ${NAME}, $(command). Nothing reads a value as a shell does.
_REFERENCE = re.compile(r"\$(\{?[A-Za-z_][A-Za-z0-9_]*\}?|\()")
PATH_WAY_OUT = "vllm_recipe_env_prepend or vllm_recipe_env_append, which add to what image and CANN set"
# Inputs that are merged into the environment, besides vllm_recipe_env itself.
ADDED = ("env_prepend", "env_append")


@once
def known_forms(release, releases):
    """The environment variables that a vllm-ascend release knows: name to a list of forms."""
    version = next(item["vllm"] for item in releases["vllm_releases"] if item["name"] == release)
    result = forms_of(releases["ascend_environment_values"], release, releases["ascend_values_read"])
    # vLLM's own table of variables tells more than what vllm-ascend reads here and there.
    result.update(forms_of(releases["vllm_environment_values"], version, releases["vllm_values_read"]))
    for group in releases["vllm_environment_known"]:
        result.update({name: [str(text)] for name, text in group["names"].items()})
    result.update({name: [str(text)] for name, text in releases["vllm_environment_bounds"].items() if name in result})
    return result


def judge(env, own, release, releases):
    """What is wrong with an environment, and what may be.

    :param env: name to value, tokens not filled in yet.
    :param own: names that the user vouches for.
    :return: ``([error], [warning])``.
    """
    known = known_forms(release, releases)
    errors = []
    warnings = []
    for name, value in ((str(name), value) for name, value in env.items()):
        if name in own or not ENV_NAME.match(name) or isinstance(value, (dict, list)):
            continue  # judged by node.environment
        if name not in known:
            text, wrong = _unknown(name, known, release, releases)
            (errors if wrong else warnings).extend([text] if text else [])
            if wrong:
                continue
        text = _value_error(name, str(value), known.get(name, ["any"]), release, releases)
        if text:
            errors.append(text)
    return errors, warnings


def _unknown(name, known, release, releases):
    """``(what is said of an unknown name, or an empty string; whether it is refused)``."""
    likely = typo_of(name, known)
    if likely:
        secret = " in vllm_service_secrets" if likely == "VLLM_API_KEY" else ""
        return (
            f"{name} is no environment variable that release {release} knows. Did you mean '{likely}'{secret}? Correct it in "
            "vllm_recipe_env; if the name is meant, add it to vllm_recipe_env_known.",
            True,
        )
    if not name.upper().startswith(tuple(releases["vllm_environment_families"])):
        return "", False
    others = [
        table[name]
        for table in (releases["vllm_environment_values"], releases["ascend_environment_values"])
        if name in table
    ]
    where = ""
    if others:
        spans = list(others[0].values())
        where = f"; it belongs to {spans[0][0]} to {spans[-1][1]}"
    return (
        f"{name} is no environment variable that release {release} knows{where}.{nearest(name, known, 0.75)} If the name is meant, "
        "add it to vllm_recipe_env_known.",
        False,
    )


def _value_error(name, value, texts, release, releases):
    """What is wrong with a value; None for nothing."""
    if _REFERENCE.search(value):
        return (
            f"{name} is {quoted(value)}; no shell replaces what stands after '$'. Wanted the value itself, or "
            f"{PATH_WAY_OUT}. If the program reads the '$' itself, add {name} to vllm_recipe_env_known."
        )
    if name in releases["vllm_environment_paths"]:
        return f"{name} is {quoted(value)}, which takes the place of what image and CANN set. Wanted {PATH_WAY_OUT}."
    ones = [form(text) for text in texts]
    if _TOKEN.search(value) or any(one.fits(value) for one in ones):
        return None
    choices = [choice for one in ones for choice in one.choices]
    return (
        f"{name} is {quoted(value)}; release {release} takes {ones[-1].wanted}.{nearest(value, choices)} Set it in "
        "vllm_recipe_env."
    )


def below_recipe(env, recipe_env, releases):
    """Values that are lower than the recipe's, where the recipe's is what its model needs; a list of sentences."""
    errors = []
    for name in releases["vllm_environment_least"]:
        value, least = str(env.get(name)), str(recipe_env.get(name))
        if re.match(r"[0-9]{1,9}\Z", value) and re.match(r"[0-9]{1,9}\Z", least) and int(value) < int(least):
            errors.append(
                f"{name} is '{value}'; the recipe needs {least}. Remove it from vllm_recipe_env, or write a recipe of your "
                "own for a smaller model or fewer tokens."
            )
    return errors


def judge_secrets(names, own, release, releases):
    """What is wrong with the names of secrets, and what may be: ``([error], [warning])``, without any value.

    :param names: of vllm_service_secrets.
    :param own: names that the user vouches for.
    """
    known = [*known_forms(release, releases), *releases["vllm_environment_secrets"]]
    errors = []
    warnings = []
    for name in names:
        computed = releases["vllm_environment_computed"].get(name)
        likely = None if name in own or name in known else typo_of(name, known)
        if computed:
            errors.append(
                f"vllm_service_secrets contains {name}, which the plan decides. Remove it: {computed['meant']}."
            )
        elif likely:
            errors.append(
                f"vllm_service_secrets contains {name}, which release {release} does not know. Did you mean '{likely}'? If the "
                "name is meant, add it to vllm_recipe_env_known."
            )
        elif name not in own and name not in known and name.startswith(tuple(releases["vllm_environment_families"])):
            warnings.append(
                f"vllm_service_secrets contains {name}, which release {release} does not know.{nearest(name, known, 0.75)} If the "
                "name is meant, add it to vllm_recipe_env_known."
            )
    return errors, warnings


def with_added(env, parts):
    """An environment with what is put in front of its variables and behind them, joined with ``:``.

    A variable that the environment does not set has ``{IMAGE}`` in its middle, for what image and CANN set.

    :param parts: mappings with ``env_prepend`` and ``env_append``, the later ones further outside.
    """
    before, after = {}, {}
    for part in parts:
        for key, sides in zip(ADDED, (before, after)):
            for name, value in (part.get(key) or {}).items():
                texts = value if isinstance(value, list) else [value]
                if value is None:
                    sides.pop(name, None)
                elif sides is before:
                    sides[name] = [*texts, *sides.get(name, [])]
                else:
                    sides[name] = [*sides.get(name, []), *texts]
    result = dict(env)
    for name in dict.fromkeys([*before, *after]):
        middle = str(env[name]) if name in env else "{IMAGE}"
        result[name] = ":".join([*before.get(name, []), middle, *after.get(name, [])])
    return result


def computed_errors(env, tokens, computed):
    """Variables of a process that differ from what the plan computes for it, as a list of sentences.

    :param env: name to value, tokens not filled in yet; ``{NIC}`` is left for the node.
    :param tokens: what ``NodeIP``, ``PrimaryNodeIP`` and ``Devices`` mean for the process.
    :param computed: the rules, as in values.yml.
    """
    wanted_of = {"address": tokens["NodeIP"], "chips": tokens["Devices"], "interface": "{NIC}", "nothing": None}
    errors = []
    for name, rule in computed.items():
        if env.get(name) is None:
            continue
        value = str(env[name])
        for token, text in tokens.items():
            value = value.replace("{" + token + "}", text)
        wanted = wanted_of[rule["is"]]
        if value == wanted or (rule["is"] == "chips" and _same_chips(value, wanted)):
            continue
        what = {
            "address": f"the plan sets it to the node's address, {wanted}",
            "interface": "the interface that carries the node's address is found on the node",
            "chips": f"the plan gives the process its chips, {wanted} as the container numbers them",
            "nothing": "it is not set by hand",
        }[rule["is"]]
        errors.append(f"{name} is {quoted(value)}; {what}. Remove it from vllm_recipe_env: {rule['meant']}.")
    return errors


def _same_chips(value, wanted):
    return [part.strip() for part in value.split(",")] == wanted.split(",")


def added_errors(part, prefix="vllm_recipe_"):
    """What is wrong with ``env_prepend`` and ``env_append`` of settings or of a part of a recipe, as a list of sentences.

    :param prefix: what stands before the names of the keys in the sentences.
    """
    errors = []
    for key in ADDED:
        for name, value in (part.get(key) or {}).items():
            if value is None:
                continue
            parts = value if isinstance(value, list) else [value]
            if not ENV_NAME.match(str(name)):
                errors.append(
                    f"{prefix}{key} contains '{name}', which cannot be the name of an environment variable; wanted "
                    "letters, digits and '_', not starting with a digit."
                )
            elif not parts or not all(
                isinstance(part, str) and part and not re.search(r"[\x00-\x1f\x7f]", part) for part in parts
            ):
                errors.append(
                    f"{prefix}{key}.{name} is {shown(value)}; wanted one text, or a list of texts, such as /opt/lib."
                )
            elif any(_REFERENCE.search(part) for part in parts):
                errors.append(
                    f"{prefix}{key}.{name} is {shown(value)}; no shell replaces what stands after '$'. Wanted only what is "
                    "added: the rest is what the image sets."
                )
            elif (part.get("env") or {}).get(name) is not None:
                errors.append(
                    f"{name} is both in {prefix}env and in {prefix}{key}; wanted it in one of them: the first takes "
                    "the place of what the image sets, the second adds to it."
                )
    return errors
