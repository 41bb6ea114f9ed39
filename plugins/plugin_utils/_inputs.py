# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The inputs of all roles and playbooks: type, range, choices, names. What the planner judges itself is not here."""

from __future__ import annotations

import re

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.ascend_ops.vllm.plugins.module_utils._bench.scenario import scenario_errors
from ansible_collections.ascend_ops.vllm.plugins.module_utils._checks.preflight import catalogue
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.query import query_error
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.errors import listed, nearest, shown
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.forms import Form
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.inventory import SECRET_INPUTS
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.values import form
from ansible_collections.ascend_ops.vllm.plugins.module_utils._support.logs import seconds_of

WANTED = {
    "str": "a text",
    "path": "a path",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "list": "a list",
    "dict": "a mapping of names to values",
}


def _pattern(pattern, wanted):
    return Form(wanted, lambda value: bool(re.match(f"({pattern})\\Z", str(value))))


def _are_sysctls(value):
    return all(
        isinstance(name, str)
        and re.match(r"[a-z0-9_-]+([./][A-Za-z0-9_.-]+)+\Z", name)
        and (item is None or (isinstance(item, (str, int, float)) and not isinstance(item, bool)))
        for name, item in value.items()
    )


def _is_login(value):
    texts = all(isinstance(item, str) and item for item in value.values())
    return not value or (set(value) == {"registry", "username", "password"} and texts)


COUNT = form("int >=1")
FROM_0 = form("int >=0")
PATH = _pattern(r"/[^\x00-\x1f]*", "an absolute path on the nodes")
COMMAND = _pattern(r"[A-Za-z0-9_./+-]+", "the name or the path of a command")
FILE = _pattern(r"[^\x00-\x1f]+", "a path on this machine, in one line")
# What an input must have besides its type; an empty text and an empty list or mapping always do.
FORMS = {
    "npu_container_engine": COMMAND,
    "npu_container_image_archive": PATH,
    "npu_container_registry_login": Form("registry, username and password, each a text", _is_login),
    "npu_container_image_timeout": COUNT,
    "npu_container_stop_timeout": FROM_0,
    "npu_host_tuning_governor": _pattern("[A-Za-z0-9_-]+", "one word, such as performance"),
    "npu_host_tuning_sysctl": Form("names such as vm.swappiness, each with one text or number", _are_sysctls),
    "npu_host_tuning_sched_migration_cost_ns": FROM_0,
    "npu_preflight_report": FILE,
    "npu_preflight_save_facts": FILE,
    "npu_preflight_facts_dir": FILE,
    "npu_preflight_min_driver": _pattern(r"[0-9]+(\.[A-Za-z0-9]+)*", "a version such as 25.5.0"),
    "npu_preflight_npu_smi": PATH,
    "npu_preflight_hccn_tool": PATH,
    "npu_preflight_timeout": COUNT,
    "vllm_benchmark_gate": form("float >=0"),
    "vllm_benchmark_seed": FROM_0,
    "vllm_benchmark_timeout": COUNT,
    "vllm_benchmark_dir": FILE,
    "vllm_diagnostics_dir": FILE,
    "vllm_diagnostics_log_lines": COUNT,
    "vllm_diagnostics_max_mb": COUNT,
    "vllm_diagnostics_timeout": COUNT,
    "vllm_logs_dir": FILE,
    "vllm_logs_lines": COUNT,
    "vllm_plan_file": FILE,
    "vllm_recipe_chips": FROM_0,
    "vllm_recipe_image": _pattern(r"[A-Za-z0-9][A-Za-z0-9._/:@-]*", "the name of an image"),
    "vllm_recipe_image_prefix": _pattern(r"[A-Za-z0-9][A-Za-z0-9._/:-]*", "the beginning of an image's name"),
    "vllm_service_engine": COMMAND,
    "vllm_service_ready_timeout": COUNT,
    "vllm_service_request_timeout": COUNT,
    "vllm_service_stop_timeout": FROM_0,
    "vllm_service_probe_interval": COUNT,
    "vllm_service_probe_timeout": COUNT,
    "vllm_service_probe_failures": COUNT,
    "vllm_service_restart_limit": FROM_0,
    "vllm_service_stable_after": FROM_0,
    "vllm_status_file": FILE,
    "vllm_status_timeout": COUNT,
    "vllm_status_request_timeout": COUNT,
}
# Inputs of playbooks alone, as a role's argument specs would have them.
PLAYBOOKS = {
    "vllm_benchmark_compared": {"type": "str"},
    "vllm_hardware": {"type": "str", "choices": ["a2", "a3"]},
    "vllm_logs_dir": {"type": "str"},
    "vllm_logs_lines": {"type": "int"},
    "vllm_logs_since": {"type": "str"},
    "vllm_plan_file": {"type": "str"},
    "vllm_plan_query": {"type": "str"},
}
QUERIES = ("npu_preflight_query", "vllm_plan_query", "vllm_status_query")
LENGTHS_OF_TIME = ("vllm_diagnostics_since", "vllm_logs_since")


def input_errors(name, value, option):
    """What is wrong with the value of one input; the values of secrets are not shown.

    :param option: its entry in the argument specs.
    :return: a list of sentences.
    """
    if value is None:
        return (
            []
            if option["type"] in ("str", "path") or name.startswith("vllm_recipe_")
            else [_misfit(name, value, option)]
        )
    seen = value
    fits, value = _typed(name, seen, option)
    if not fits:
        return [_misfit(name, seen, option)]
    if value in ("", [], {}):
        return []
    known = FORMS.get(name)
    if known and not known.fits(value):
        return [_sentence(name, seen, known.wanted)]
    if name in QUERIES:
        text = query_error(str(value))
        return [f"{name}: {text}"] if text else []
    if name in LENGTHS_OF_TIME:
        try:
            seconds_of(str(value))
        except ValueError as error:
            return [f"{name}: {error}."]
    return _content_errors(name, value)


def _typed(name, value, option):
    """``(whether a value has the type of its spec, the value as Ansible makes it of this type)``."""
    if option["type"] in ("str", "path") and (isinstance(value, bool) or not isinstance(value, (str, int, float))):
        return False, value
    if option["type"] in ("int", "float") and isinstance(value, bool):
        return False, value
    try:
        checked = ArgumentSpecValidator({name: _bare(option)}).validate({name: value})
    except (OverflowError, ValueError):  # Ansible does not catch what is infinite, or no number
        return False, value
    return (False, value) if checked.error_messages else (True, checked.validated_parameters[name])


def _bare(option):
    """A spec without what only documentation has, and without a default."""
    return {key: option[key] for key in ("type", "elements", "choices") if key in option}


def _misfit(name, value, option):
    wanted = WANTED[option["type"]]
    choices = option.get("choices")
    if option["type"] == "list":
        items = {"str": "texts", "int": "whole numbers", "dict": "mappings"}[option.get("elements", "str")]
        wanted += f" with {listed(choices)}" if choices else f" of {items}"
    elif choices:
        wanted = f"one of {listed(choices)}"
    elif option["type"] == "int" and name in FORMS:
        wanted = FORMS[name].wanted
    near = nearest(value, choices) if choices and isinstance(value, str) else ""
    for item in value if choices and isinstance(value, list) else ():
        near = near or (nearest(item, choices) if item not in choices else "")
    return _sentence(name, value, wanted) + near


def _sentence(name, value, wanted):
    seen = "does not fit" if name in SECRET_INPUTS else f"is {shown(value)}"
    return f"{name} {seen}; wanted {wanted}."


def _content_errors(name, value):
    """What is wrong inside a list or mapping whose type is right."""
    if name == "npu_preflight_ignore":
        checks = [*catalogue(), *{check.split(".")[0] + ".facts": True for check in catalogue()}]
        return [
            f"{name} contains '{check}'; there is no such check.{nearest(check, checks)} docs/checks.md lists them."
            for check in value
            if check not in checks
        ]
    if name == "vllm_benchmark_own":
        return [
            f"{name}: the entry {number} {text}"
            for number, item in enumerate(value, 1)
            for text in scenario_errors(item)
        ]
    return []
