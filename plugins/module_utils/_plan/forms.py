# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The forms that values of settings and recipes can have."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass

from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan import network

_PATH = re.compile(r"/[^,\n]*[^,\n/]\Z")
_DIRECTORY = re.compile(r"/[^,\n]*[^,\n/]/*\Z")


@dataclass(frozen=True)
class Form:
    """``wanted`` names the form in an error; ``fits(value)`` tells whether a value has it, and never fails.

    ``choices`` are the values of a form that lists them; an empty tuple for another.
    """

    wanted: str
    fits: Callable
    choices: tuple = ()


def is_directory(value):
    """Is *value* an absolute path, other than ``/``, that an option of ``docker create`` can carry?"""
    return isinstance(value, str) and bool(_DIRECTORY.match(value))


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


def _is_list_of(one, value):
    return isinstance(value, (list, tuple)) and all(map(one, value))


def _is_tls(value):
    return (
        isinstance(value, dict)
        and (not value or {"certificate", "key"} <= set(value) <= {"certificate", "key", "ca"})
        and all(isinstance(path, str) and _PATH.match(path) for path in value.values())
    )


TEXT = Form("a string", _is_text)
TEXTS = Form("a list of strings", lambda value: _is_list_of(_is_text, value))
COUNT = Form("a whole number", _is_count)
COUNT_FROM_1 = Form("a whole number from 1", lambda value: _is_count(value) and int(value) > 0)
COUNTS = Form(
    "a list of different whole numbers",
    lambda value: _is_list_of(_is_count, value) and len(set(map(int, value))) == len(value),
)
MAPPING = Form("a mapping of names to values", _is_mapping)
ENVIRONMENT = Form("a mapping of names to values", lambda value: isinstance(value, dict))
NAMED = Form(
    "a mapping of names, which are text, to values",
    lambda value: isinstance(value, dict) and all(isinstance(name, str) for name in value),
)
FILLED = Form("a mapping with at least one entry", lambda value: isinstance(value, dict) and bool(value))
MOUNTS = Form("a list of mounts", lambda value: isinstance(value, list))
LISTEN = Form(
    "'node', an IP address of the node that serves the API, or an empty value for what the recipe says",
    lambda value: value == "node" or network.is_local(value),
)
TLS = Form(
    "{certificate: /path, key: /path} and optionally {ca: /path}, all on the node that serves the API",
    _is_tls,
)
