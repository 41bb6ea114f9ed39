# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which benchmarks to run against a replica: those of the recipe, which have published figures, and the operator's own.

Runs on the controller.
"""

from __future__ import annotations

import difflib
import re

from ansible_collections.ascend_ops.vllm.plugins.module_utils._bench.run import STATISTICS

# What makes two runs the same work.
WORK = (
    "dataset",
    "input_tokens",
    "prefix_tokens",
    "suffix_tokens",
    "prefixes",
    "output_tokens",
    "prompts",
    "concurrency",
    "request_rate",
    "extra_args",
)
LENGTHS = {"random": ("input_tokens",), "prefix_repetition": ("prefix_tokens", "suffix_tokens")}
# What of a service's command splits the model over chips. Without one of them vLLM takes 1.
TOPOLOGY = (
    "tensor-parallel-size",
    "pipeline-parallel-size",
    "data-parallel-size",
    "prefill-context-parallel-size",
    "decode-context-parallel-size",
)
# Metric of published figures -> whether more is better.
PUBLISHED = {
    "output_tokens_per_s": True,
    "total_tokens_per_s": True,
    "prefix_hit_rate": True,
    "mean_ttft_ms": False,
    "mean_tpot_ms": False,
    "mean_itl_ms": False,
}
KEYS = ("name", "topology", "source", "note", "warmup_prompts", "published") + WORK
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}\Z")


def _whole(value, least=1):
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0


def as_number(value):
    """A number that older Ansible passed as text, as a number again; anything else as it is."""
    if isinstance(value, str):
        for kind in (int, float):
            try:
                return kind(value)
            except ValueError:
                pass
    return value


def scenario_errors(given):
    """What is wrong with a scenario, as a list of texts."""
    if not isinstance(given, dict):
        return [f"is {given!r}; wanted a mapping with name, dataset, lengths and prompts"]
    return _key_errors(given) + _work_errors(given) + _published_errors(given)


def _key_errors(given):
    errors = []
    for key in given:
        if key not in KEYS:
            near = difflib.get_close_matches(str(key), KEYS, 1)
            hint = f"did you mean '{near[0]}'?" if near else f"wanted one of {', '.join(KEYS)}."
            errors.append(f"has '{key}', which is not known; {hint}")
    if not _NAME.match(str(given.get("name", ""))):
        errors.append(f"has the name '{given.get('name', '')}'; wanted letters, digits, '.', '_' and '-'.")
    return errors


def _work_errors(given):
    """What is wrong with the work: data, lengths, numbers of requests."""
    errors = []
    dataset = given.get("dataset", "random")
    if dataset not in LENGTHS:
        errors.append(f"has the dataset '{dataset}'; wanted {' or '.join(sorted(LENGTHS))}.")
    for key in (*LENGTHS.get(dataset, ()), "output_tokens", "prompts"):
        if not _whole(given.get(key)):
            errors.append(f"has {key} {given.get(key)!r}; wanted a whole number from 1 on.")
    for key in ("prefixes", "concurrency"):
        if given.get(key) is not None and not _whole(given[key]):
            errors.append(f"has {key} {given[key]!r}; wanted a whole number from 1 on, or null.")
    if given.get("warmup_prompts") is not None and not _whole(given["warmup_prompts"], 0):
        errors.append(f"has warmup_prompts {given['warmup_prompts']!r}; wanted a whole number, 0 for none.")
    if given.get("request_rate") is not None and not _number(given["request_rate"]):
        errors.append(f"has request_rate {given['request_rate']!r}; wanted requests per second, or null.")
    for lengths in (LENGTHS[name] for name in LENGTHS if name != dataset):
        errors += [f"has {key}, which the dataset {dataset} does not take." for key in lengths if given.get(key)]
    extra = given.get("extra_args") or []
    if not isinstance(extra, list) or not all(isinstance(word, (str, int, float)) for word in extra):
        errors.append(f"has extra_args {extra!r}; wanted a list of words.")
    return errors


def _published_errors(given):
    """What is wrong with the published figures and with the topology that they were measured on."""
    errors = []
    published = given.get("published") or {}
    if not isinstance(published, dict):
        errors.append(f"has published {published!r}; wanted figures by name.")
        published = {}
    for key, value in published.items():
        if key not in PUBLISHED or not _number(value):
            known = ", ".join(sorted(PUBLISHED))
            errors.append(f"has the published figure {key} {value!r}; wanted a positive number for one of {known}.")
    for key, value in (given.get("topology") or {}).items():
        if key not in TOPOLOGY or not _whole(value):
            errors.append(f"has topology {key} {value!r}; wanted a whole number for one of {', '.join(TOPOLOGY)}.")
    return errors


def normal(given, origin):
    """A scenario with all its keys.

    Its warm-up has as many prompts as run at once, so that it reaches the same batches.

    :param origin: ``recipe`` or ``own``.
    """
    given = dict(given)
    prompts, concurrency = given["prompts"], given.get("concurrency")
    at_once = min(prompts, concurrency or prompts)
    result = {key: given.get(key) for key in KEYS}
    result.update(
        dataset=given.get("dataset", "random"),
        prefixes=given.get("prefixes") or (1 if given.get("dataset") == "prefix_repetition" else None),
        extra_args=[str(word) for word in given.get("extra_args") or []],
        published=given.get("published") or {},
        topology=given.get("topology") or {},
        source=given.get("source") or "",
        note=given.get("note") or "",
        origin=origin,
        warmup_prompts=at_once if given.get("warmup_prompts") is None else given["warmup_prompts"],
    )
    return result


def choose(published, own, names):
    """The scenarios to run: ``{"scenarios": [...], "errors": [str]}``.

    :param published: the recipe's, for the hardware.
    :param own: the operator's; they replace those of the recipe that have the same name.
    :param names: which of them; empty for all. Such a scenario has ``named``: it is an error when the service cannot take it.
    """
    errors = []
    known = {}
    for origin, entries in (("recipe", published), ("own", own)):
        for index, entry in enumerate(entries or []):
            entry = _with_numbers(entry)
            wrong = scenario_errors(entry)
            if wrong:
                label = entry.get("name", index + 1) if isinstance(entry, dict) else index + 1
                source = "benchmark of the recipe" if origin == "recipe" else "scenario of vllm_benchmark_own"
                errors.extend(f"{source} '{label}' {text}" for text in wrong)
            else:
                known[entry["name"]] = normal(entry, origin)
    for name in names or ():
        if name not in known and not errors:
            near = difflib.get_close_matches(str(name), list(known), 1)
            hint = f" Did you mean '{near[0]}'?" if near else ""
            there = ", ".join(known) or "none (set vllm_benchmark_own)"
            errors.append(f"vllm_benchmark_scenarios names '{name}'; there is {there}.{hint}")
    if not known and not errors:
        errors.append("the recipe has no benchmarks for this hardware; define one with vllm_benchmark_own.")
    if errors:
        return {"scenarios": [], "errors": errors}
    return {"scenarios": [dict(known[name], named=bool(names)) for name in (names or known)], "errors": []}


def _with_numbers(entry):
    if not isinstance(entry, dict):
        return entry
    result = {
        key: as_number(value) if key not in ("name", "source", "note") else str(value) for key, value in entry.items()
    }
    for key in ("published", "topology"):
        if isinstance(result.get(key), dict):
            result[key] = {name: as_number(value) for name, value in result[key].items()}
    return result


SWEEP = {"scenario": "", "ttft_ms": 0, "tpot_ms": 0, "statistic": "p99", "first": 1, "last": 256, "rounds": 4}


def choose_sweep(given, scenarios):
    """``(sweep, errors)``: the sweep with all its keys, an empty dictionary for none, and what is wrong with it as texts."""
    if not given:
        return {}, []
    where = "vllm_benchmark_sweep has "
    errors = [
        f"{where}'{key}', which is not known; wanted {', '.join(sorted(SWEEP))}." for key in given if key not in SWEEP
    ]
    sweep = dict(
        SWEEP,
        **{key: as_number(value) if key not in ("scenario", "statistic") else value for key, value in given.items()},
    )
    names = [scenario["name"] for scenario in scenarios]
    if sweep["scenario"] not in names:
        errors.append(f"{where}the scenario '{sweep['scenario']}'; wanted one that is run: {', '.join(names)}.")
    for key in ("ttft_ms", "tpot_ms"):
        if sweep[key] and not _number(sweep[key]):
            errors.append(where + f"{key} {sweep[key]!r}; wanted milliseconds.")
    if not sweep["ttft_ms"] and not sweep["tpot_ms"]:
        errors.append(where + "neither ttft_ms nor tpot_ms; wanted the latency to meet.")
    if sweep["statistic"] not in STATISTICS:
        errors.append(f"{where}the statistic '{sweep['statistic']}'; wanted {' or '.join(STATISTICS)}.")
    whole = True
    for key in ("first", "last", "rounds"):
        if not _whole(sweep[key]):
            whole = False
            errors.append(where + f"{key} {sweep[key]!r}; wanted a whole number from 1 on.")
    if whole and sweep["first"] > sweep["last"]:
        errors.append(f"{where}first {sweep['first']} and last {sweep['last']}; wanted a rising range.")
    return sweep, errors


def option(argv, name, default=None):
    """The value of an option in the words of a command, spelled with ``-`` or ``_``, with ``=`` or as two words."""
    for word, following in zip(argv, argv[1:] + [None]):
        if word.startswith("--"):
            label, equals, value = word[2:].partition("=")
            if label.replace("_", "-") == name:
                return value if equals else following
    return default


def topology_of(argv):
    """``{option: number}`` of what splits the model: all of TOPOLOGY."""
    return {name: int(option(argv, name, 1)) for name in TOPOLOGY}


def other_topology(scenario, actual):
    """How the topology of published figures differs from the actual one, as texts; empty where it is the same or unknown."""
    return [
        f"{name} {actual[name]} (published with {wanted})"
        for name, wanted in sorted(dict(dict.fromkeys(TOPOLOGY, 1), **scenario["topology"]).items())
        if scenario["topology"] and actual[name] != wanted
    ]
