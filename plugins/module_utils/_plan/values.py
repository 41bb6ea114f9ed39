# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The forms that values of options and environment variables can have, as ``vllm_values.yml`` writes them.

A form is a text such as ``int >=1``, ``float >0 <=1``, ``a|b|c`` or ``int or auto``; the head of that file lists them.
"""

from __future__ import annotations

import functools
import json
import re

from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.sizes import size_of
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.errors import typo_of
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.forms import Form

_INTEGER = re.compile(r"[+-]?\d{1,18}\Z", re.ASCII)
_NUMBER = re.compile(r"[+-]?(\d{1,18}\.?\d{0,18}|\.\d{1,18})([eE][+-]?\d{1,2})?\Z", re.ASCII)
_BOUND = re.compile(r"(>=|>|<=|<|%)(\S+)\Z")
_COMPARED = {
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    "%": lambda a, b: a % b == 0,
}
_TRUTH = ("true", "false", "yes", "no", "on", "off", "y", "n", "t", "f", "1", "0")


@functools.lru_cache(maxsize=None)
def form(text):
    """The :class:`Form` that a text names.

    :raises ValueError: the text names no form.
    """
    parts = [_WORDS[text]] if text in _WORDS else [_one(part.strip()) for part in text.split(" or ")]
    return Form(
        " or ".join(part.wanted for part in parts),
        lambda value: any(part.fits(value) for part in parts),
        tuple(choice for part in parts for choice in part.choices),
    )


def _one(text):
    word, *rest = text.split()
    if word in ("int", "float", "size"):
        return _number(word, rest)
    if word == "pairs":
        keys = "".join(rest).split("|")
        return Form(f"key:value pairs with commas between them; keys are {', '.join(keys)}", _pairs(keys))
    if word == "likely":
        return _likely("".join(rest).split("|"))
    if word == "anycase":
        return _choices(" ".join(rest).split("|"), str.lower)
    if text in _WORDS:
        return _WORDS[text]
    if rest:
        raise ValueError(f"'{text}' is no form of a value")
    return _choices(text.split("|"), str)


def _choices(choices, fold):
    choices = list(dict.fromkeys(choices))
    known = [fold(choice) for choice in choices]
    wanted = choices[0] if len(choices) == 1 else "one of " + ", ".join(choices)
    return Form(wanted, lambda value: _is_scalar(value) and fold(_text(value)) in known, tuple(choices))


def _likely(choices):
    """Any text, since others can be added to these choices, but none that is a misspelling of one."""
    return Form(
        "one of " + ", ".join(choices) + ", or a name of your own that is none of them misspelt",
        lambda value: _is_text(value) and (value in choices or typo_of(value, choices) is None),
        tuple(choices),
    )


def _number(word, bounds):
    pairs = [_BOUND.match(bound).groups() for bound in bounds]
    read = {"int": _integer, "float": _float, "size": _size}[word]

    def fits(value):
        number = read(value)
        return number is not None and all(_COMPARED[sign](number, float(bound)) for sign, bound in pairs)

    kinds = {"int": "a whole number", "float": "a number", "size": "a whole number, or one such as 8k or 8K,"}
    words = {">": "above", ">=": "from", "<": "below", "<=": "to", "%": "that is a multiple of"}
    return Form(" ".join([kinds[word], *(f"{words[sign]} {bound}" for sign, bound in pairs)]).rstrip(","), fits)


def _integer(value):
    """The whole number that a value is or spells; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        return None
    return int(value) if _INTEGER.match(str(value).strip()) else None


def _float(value):
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    return float(value) if _NUMBER.match(str(value).strip()) else None


def _size(value):
    """A whole number as vLLM reads one for people: 8k is 8000, 8K is 8192; None for anything else."""
    unit = value.strip()[-1:] if isinstance(value, str) else ""
    if not unit.isalpha():
        return _integer(value)
    return None if "." in value and unit.isupper() else size_of(value)  # vLLM takes no decimals there


def _is_scalar(value):
    return isinstance(value, (str, int, float))


def _text(value):
    return str(value).strip()


def _is_port(value):
    number = _integer(value)
    return number is not None and 1 <= number <= 65535


def _are_ports(value):
    if not _is_scalar(value):
        return False
    if _text(value) == "auto":
        return True
    for part in _text(value).split(","):
        first, dash, last = part.partition("-")
        if not _is_port(first) or (dash and not (_is_port(last) and int(first) <= int(last))):
            return False
    return True


def _pairs(keys):
    def fits(value):
        if not isinstance(value, str):
            return False
        flat = re.sub(r"\[[^\[\]]*\]", "list", value)  # a pair can hold a list of pairs
        pairs = [part.partition(":") for part in flat.split(",")]
        return all(key.strip() in keys and item.strip() for key, _colon, item in pairs)

    return fits


def _is_mapping(value):
    if isinstance(value, str):
        value = parsed(value)
    return isinstance(value, dict)


def _is_json(value):
    return isinstance(value, dict) or (isinstance(value, str) and parsed(value) is not None)


def parsed(text):
    """What a text of JSON says, with numbers such as 8k as vLLM has them; None for anything else, and for ``null``."""
    expanded = re.sub(r'("(?:[^"\\]|\\.)*")|\b\d+(?:\.\d+)?[kKmMgGtT]\b', lambda m: m.group(1) or "1", text)
    try:
        return json.loads(expanded)
    except (ValueError, RecursionError):
        return None


def _is_text(value):
    return _is_scalar(value) and not isinstance(value, bool)


def _is_mapping_or_text(value):
    """A text in braces is meant as JSON; any other is taken as it is."""
    return _is_mapping(value) or (_is_text(value) and not str(value).lstrip().startswith("{"))


_WORDS = {
    "any": Form("any value", lambda value: True),
    "auto": Form("auto", lambda value: isinstance(value, str) and value.strip().lower() == "auto", ("auto",)),
    "bool": Form(
        "true or false",
        lambda value: isinstance(value, bool) or (_is_scalar(value) and _text(value).lower() in _TRUTH),
    ),
    "flag": Form("true or false, without quotes", lambda value: isinstance(value, bool) or value in (0, 1)),
    "json": Form("""JSON in one text, such as '["a"]'""", _is_json),
    "list": Form("a list", lambda value: isinstance(value, list)),
    "mapping": Form("a mapping, or one text with a mapping as JSON", _is_mapping),
    "mapping or text": Form("a mapping, one text with a mapping as JSON, or a text", _is_mapping_or_text),
    "port": Form("a port from 1 to 65535", _is_port),
    "ports": Form("auto, or ports and ranges of ports such as 60000,60050-60100", _are_ports),
    "text": Form("a text or a number", _is_text),
}
