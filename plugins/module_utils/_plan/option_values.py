# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The values of the options of ``vllm serve``: their form, their choices, and the keys of JSON options, in each release."""

from __future__ import annotations

import functools

from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.errors import (
    listed,
    nearest,
    shown,
    typo_of,
)
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.values import form, parsed

# Judged with what else they need: sizes by topology, ports with those of the node.
_ELSEWHERE = (
    "tensor-parallel-size",
    "pipeline-parallel-size",
    "prefill-context-parallel-size",
    "data-parallel-size",
    "data-parallel-size-local",
    "port",
    "data-parallel-rpc-port",
)
# Options whose values a file of the user's own can add to, and the option that names this file.
_PLUGINS = {"tool-call-parser": "tool-parser-plugin", "reasoning-parser": "reasoning-parser-plugin"}
# Keys that vLLM hands on without looking at them; vllm-ascend reads those that it knows.
_FREE = "additional-config"


def forms_of(table, version, order):
    """The forms that one release has: name to a list of texts.

    :param table: ``{name: {form: [first release, last release]}}``.
    :param version: the name of a release, as the table has it.
    :param order: the names of all releases in the table, oldest first.
    """
    at = order.index(version)
    result = {}
    for name, spans in table.items():
        here = [text for text, (first, last) in spans.items() if order.index(first) <= at <= order.index(last)]
        if here:
            result[name] = here
    return result


def once(function):
    """Let a function of ``(release, releases)`` compute its result once per release, as long as the data are the same."""
    of, known = [None], {}

    @functools.wraps(function)
    def remembered(release, releases):
        if of[0] is not releases:
            known.clear()
            of[0] = releases
        if release not in known:
            known[release] = function(release, releases)
        return known[release]

    return remembered


@once
def option_forms(release, releases):
    """The forms of options, and of keys of JSON options as ``option.key``, of a vllm-ascend release."""
    version = next(item["vllm"] for item in releases["vllm_releases"] if item["name"] == release)
    result = forms_of(releases["vllm_options_values"], version, releases["vllm_values_read"])
    ascend = forms_of(releases["ascend_options_values"], release, releases["ascend_values_read"])
    for name, texts in ascend.items():
        # Parsers of vllm-ascend come to those of vLLM; all else of vllm-ascend takes their place.
        result[name] = result.get(name, []) + texts if name in _PLUGINS else texts
    result.update({name: [text] for name, text in releases["vllm_options_bounds"].items() if name in result})
    return result


def judge(args, kinds, release, releases):
    """What is wrong with the values of options, and what may be.

    :param args: name without dashes to value, tokens not filled in yet.
    :param kinds: as of ``options.option_kinds``.
    :return: ``([error], [warning])``.
    """
    forms = option_forms(release, releases)
    errors = []
    warnings = []
    for name, value in args.items():
        option = name.replace("_", "-")
        if kinds.get(option) not in ("value", "values") or isinstance(value, bool) or option in _ELSEWHERE:
            continue
        text = _value_error(option, value, kinds[option], args, forms, release)
        if text:
            errors.append(text)
        elif _is_json(forms.get(option, [])):
            found = _key_errors(name, option, parsed(value) if isinstance(value, str) else value, forms, release)
            errors += found[0]
            warnings += found[1]
    return errors, warnings


def _is_json(texts):
    return any(text.startswith("mapping") for text in texts)


def _value_error(option, value, kind, args, forms, release):
    """What is wrong with the value of an option; None for nothing."""
    texts = forms.get(option, ["any"])
    if isinstance(value, list) and kind == "value" and texts != ["any"]:
        return _refused(f"--{option}", value, release, form(texts[0]).wanted)
    plugin = _PLUGINS.get(option)
    if plugin and any(name.replace("_", "-") == plugin and given for name, given in args.items()):
        texts = ["text"]
    known = [form(text) for text in texts]
    for item in value if isinstance(value, list) else [value]:
        if _has_token(item) or any(one.fits(item) for one in known):
            continue
        choices = [choice for one in known for choice in one.choices]
        wanted = f"one of {listed(choices)}" if len(choices) > 1 else known[0].wanted
        more = f" A parser of your own needs --{plugin}." if plugin else ""
        return _refused(f"--{option}", item, release, wanted, nearest(item, choices) + more)
    return None


def _has_token(value):
    """Is a token of the plan in a text, which is filled in later?"""
    return (
        isinstance(value, str)
        and value.startswith("{")
        and value.endswith("}")
        and ":" not in value
        and '"' not in value
    )


def _key_errors(name, option, value, forms, release):
    """``([error], [warning])`` about the keys of a JSON option and their values."""
    errors = []
    warnings = []
    known = _keys(option, forms)
    for key, item in value.items() if known and isinstance(value, dict) else ():
        path = f"{option}.{key}"
        if key not in known:
            text = f"--{name} contains '{key}'; release {release} has no such key there."
            if option != _FREE or typo_of(key, known):
                errors.append(f"{text}{nearest(key, known)} Correct it in vllm_recipe_args.")
            else:
                warnings.append(f"{text} vllm-ascend ignores it.")
        elif item is not None:
            ones = [form(text) for text in forms[path]]
            if not (_has_token(item) or any(one.fits(item) for one in ones)):
                choices = [choice for one in ones for choice in one.choices]
                errors.append(_refused(f"--{name}.{key}", item, release, ones[-1].wanted, nearest(item, choices)))
            elif option == _FREE and isinstance(item, dict):
                errors += _subkey_errors(f"--{name}.{key}", item, _keys(path, forms), release)
    return errors, warnings


def _subkey_errors(path, value, known, release):
    """Keys one level deeper that are nearly known ones."""
    return [
        f"{path} contains '{key}'; release {release} has no such key there.{nearest(key, known)} Correct it in "
        "vllm_recipe_args."
        for key in value
        if key not in known and typo_of(key, known)
    ]


def _keys(option, forms):
    return [
        name[len(option) + 1 :]
        for name in forms
        if name.startswith(option + ".") and "." not in name[len(option) + 1 :]
    ]


def _refused(what, value, release, wanted, more=""):
    return f"{what} is {shown(value)}; release {release} takes {wanted}.{more} Set it in vllm_recipe_args."
