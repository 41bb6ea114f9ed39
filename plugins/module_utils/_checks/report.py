# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Show the verdicts to operators and other programs: as a table, as sentences, as JUnit XML."""

from __future__ import annotations

import re
import textwrap
from xml.etree import ElementTree

from ansible_collections.ascend_ops.vllm.plugins.module_utils._checks.machine import MACHINE
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.verdict import (
    FAIL,
    PASS,
    SKIPPED,
    UNKNOWN,
    WARN,
    WORDS,
)

# Characters that XML cannot represent.
_CONTROL = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_JUNIT = {FAIL: "failure", UNKNOWN: "error", SKIPPED: "skipped", WARN: "system-out"}
_INDENT = " " * 32
# What looks wrong on a node that is the same machine as another.
CONSEQUENCES = ("network.", "port.", "fabric.")


def text(reports, show_passed=False):
    """The reports as a table, the worst verdicts of each node last; passed checks by name alone unless asked for."""
    lines = []
    for report in reports:
        for entry in report["nodes"]:
            lines.append(f"{entry['host']} (replica {report['replica']})")
            lines.extend(_node_lines(entry["checks"], show_passed))
            lines.append("")
        counts = [f"{number} {word}" for word, number in report["summary"].items() if number]
        lines.append(f"replica {report['replica']}: {', '.join(counts)}")
    return "\n".join(lines)


def _node_lines(checks, show_passed):
    lines = []
    passed = [check["id"] for check in checks if check["verdict"] == PASS]
    if passed and not show_passed:
        lines.extend(
            textwrap.wrap(
                ", ".join(passed),
                110,
                initial_indent="  pass    ",
                subsequent_indent="          ",
                break_on_hyphens=False,
            )
        )
    for check in sorted(checks, key=lambda item: WORDS.index(item["verdict"])):
        if check["verdict"] == PASS and not show_passed:
            continue
        lines.append(f"  {check['verdict']:<8}{check['id']:<22}{check['seen']}")
        if check["verdict"] in (WARN, UNKNOWN, FAIL):
            lines.append(f"{_INDENT}wanted: {check['wanted']}")
            lines.append(f"{_INDENT}do: {check['remedy']} ({check['docs']})")
    return lines


def stopping(reports, words, ignore=()):
    """The verdicts that stop a deploy, as sentences.

    In a replica in which a node is the same machine as another, addresses, ports and the chips' network look wrong as
    well: that is not listed.

    :param words: the verdicts that stop, such as ``["fail", "unknown"]``.
    :param ignore: ids of checks that never stop.
    """
    sentences = []
    for report in reports:
        stops = [
            (entry["host"], check)
            for entry in report["nodes"]
            for check in entry["checks"]
            if check["verdict"] in words and check["id"] not in ignore
        ]
        if any(check["id"] == MACHINE and check["verdict"] == FAIL for _host, check in stops):
            stops = [(host, check) for host, check in stops if not check["id"].startswith(CONSEQUENCES)]
        sentences += [
            f"{host}: {check['id']} is {check['verdict']}: seen {check['seen']}; wanted {check['wanted']}. "
            f"{check['remedy']}"
            for host, check in stops
        ]
    return sentences


def junit(reports):
    """JUnit XML: a suite per node, a case per check. ``fail`` is a failure, ``unknown`` an error; a warning passes."""
    root = ElementTree.Element("testsuites", name="ascend_ops.vllm preflight")
    for report in reports:
        for entry in report["nodes"]:
            words = [check["verdict"] for check in entry["checks"]]
            suite = ElementTree.SubElement(
                root,
                "testsuite",
                name=f"{entry['host']} ({report['replica']})",
                tests=str(len(words)),
                failures=str(words.count(FAIL)),
                errors=str(words.count(UNKNOWN)),
                skipped=str(words.count(SKIPPED)),
            )
            for check in entry["checks"]:
                case = ElementTree.SubElement(suite, "testcase", classname=entry["host"], name=check["id"])
                _add_outcome(case, check)
    return ElementTree.tostring(root, encoding="unicode")


def _add_outcome(case, check):
    kind = _JUNIT.get(check["verdict"])
    if not kind:
        return
    element = ElementTree.SubElement(case, kind)
    if kind != "system-out":
        element.set("message", _CONTROL.sub("?", check["seen"]))
    element.text = _CONTROL.sub("?", "seen: {seen}\nwanted: {wanted}\ndo: {remedy}".format(**check))
