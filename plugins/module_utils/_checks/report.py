# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verdicts as an operator and other programs read them: a table, sentences, JUnit XML."""

from __future__ import annotations

import re
import textwrap
from xml.etree import ElementTree

from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.verdict import WORDS

# What XML cannot hold.
_CONTROL = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def text(reports, show_passed=False):
    """The reports as an operator reads them: per node, the worst last; passed checks by name alone unless asked for."""
    lines = []
    for report in reports:
        for entry in report["nodes"]:
            lines.append("{0} (replica {1})".format(entry["host"], report["replica"]))
            passed = [check["id"] for check in entry["checks"] if check["verdict"] == "pass"]
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
            for check in sorted(entry["checks"], key=lambda item: WORDS.index(item["verdict"])):
                if check["verdict"] == "pass" and not show_passed:
                    continue
                lines.append("  {0:<8}{1:<22}{2}".format(check["verdict"], check["id"], check["seen"]))
                if check["verdict"] in ("warn", "unknown", "fail"):
                    lines.append("  {0:<30}wanted: {1}".format("", check["wanted"]))
                    lines.append("  {0:<30}do: {1} ({2})".format("", check["remedy"], check["docs"]))
            lines.append("")
        lines.append(
            "replica {0}: {1}".format(
                report["replica"],
                ", ".join("{0} {1}".format(report["summary"][word], word) for word in WORDS if report["summary"][word]),
            )
        )
    return "\n".join(lines)


def stopping(reports, words, ignore=()):
    """The verdicts that stop a deploy, as sentences; *ignore* are ids of checks that do not."""
    return [
        "{0}: {1} is {2}: seen {3}; wanted {4}. {5}".format(
            entry["host"], check["id"], check["verdict"], check["seen"], check["wanted"], check["remedy"]
        )
        for report in reports
        for entry in report["nodes"]
        for check in entry["checks"]
        if check["verdict"] in words and check["id"] not in ignore
    ]


def junit(reports):
    """JUnit XML: a suite per node, a case per check. A failure is a fail, an error an unknown; a warning passes."""
    root = ElementTree.Element("testsuites", name="ascend_ops.vllm preflight")
    for report in reports:
        for entry in report["nodes"]:
            words = [check["verdict"] for check in entry["checks"]]
            suite = ElementTree.SubElement(
                root,
                "testsuite",
                name="{0} ({1})".format(entry["host"], report["replica"]),
                tests=str(len(words)),
                failures=str(words.count("fail")),
                errors=str(words.count("unknown")),
                skipped=str(words.count("skipped")),
            )
            for check in entry["checks"]:
                case = ElementTree.SubElement(suite, "testcase", classname=entry["host"], name=check["id"])
                told = _CONTROL.sub("?", "seen: {seen}\nwanted: {wanted}\ndo: {remedy}".format(**check))
                kind = {"fail": "failure", "unknown": "error", "skipped": "skipped", "warn": "system-out"}.get(
                    check["verdict"]
                )
                if kind:
                    element = ElementTree.SubElement(case, kind)
                    if kind != "system-out":
                        element.set("message", _CONTROL.sub("?", check["seen"]))
                    element.text = told
    return ElementTree.tostring(root, encoding="unicode")
