# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Evaluate the preflight checks over the facts of all nodes, show and write the verdicts, and fail where they say so."""

from __future__ import annotations

from pathlib import Path

from ansible.plugins.action import ActionBase
from ansible.release import __version__ as ansible_core
from ansible_collections.ascend_ops.vllm.plugins.module_utils._checks import report
from ansible_collections.ascend_ops.vllm.plugins.plugin_utils._output import write_file
from ansible_collections.ascend_ops.vllm.plugins.plugin_utils._preflight import evaluate, saved_facts, slow_connections
from ansible_collections.ascend_ops.vllm.plugins.plugin_utils._query import answer
from ansible_collections.ascend_ops.vllm.plugins.plugin_utils._screen import show


class ActionModule(ActionBase):
    """The action of ``ascend_ops.vllm.vllm_preflight``."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        unused, given = self.validate_argument_spec(
            argument_spec={
                "processes": {"type": "list", "elements": "dict", "required": True},
                "facts": {"type": "dict", "required": True},
                "connections": {"type": "dict", "default": {}},
                "pipelining": {"type": "bool", "default": True},
                "min_driver": {"type": "str", "default": ""},
                "fail_on": {"type": "list", "elements": "str", "default": ["fail"]},
                "ignore": {"type": "list", "elements": "str", "default": []},
                "show_passed": {"type": "bool", "default": False},
                "report": {"type": "str", "default": ""},
                "save_facts": {"type": "str", "default": ""},
                "facts_dir": {"type": "str", "default": ""},
                "query": {"type": "str", "default": ""},
            }
        )
        hosts = [process["host"] for process in given["processes"]]
        facts = given["facts"]
        if given["facts_dir"]:
            facts = {host: saved_facts(given["facts_dir"], host) for host in hosts}
        if given["save_facts"]:
            for host in hosts:
                write_file("npu_preflight_save_facts", Path(given["save_facts"]) / f"{host}.json", facts[host])
        reports = evaluate(given["processes"], facts, given["min_driver"], ansible_core)
        shown = answer("npu_preflight_query", given["query"], reports) if given["query"] else None
        show(result, shown or report.text(reports, given["show_passed"]))
        slow = "" if given["facts_dir"] else slow_connections(given["connections"], given["pipelining"])
        if slow:
            show(result, slow)
        if given["report"]:
            as_xml = given["report"].endswith(".xml")
            write_file("npu_preflight_report", given["report"], report.junit(reports) if as_xml else reports)
        stopping = report.stopping(reports, given["fail_on"], given["ignore"])
        if stopping:
            # Without the reports, which were shown already and would be printed again.
            return dict(result, changed=False, failed=True, msg="\n".join(stopping))
        return dict(result, changed=False, reports=reports)
