# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run npu-smi on a node and read the driver's version; shared by the modules npu_info, npu_check and node_facts."""

from __future__ import annotations

import re
from typing import Any, Dict, List, Optional, Tuple

from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.run import (
    DRIVER,
    RC_NOT_FOUND,
    driver_env,
    find_tool,
    run,
)
from ansible_collections.ascend_ops.vllm.plugins.module_utils._npu.details import (
    parse_blocks,
    parse_mapping,
    parse_topo,
)
from ansible_collections.ascend_ops.vllm.plugins.module_utils._npu.failures import explain_failure
from ansible_collections.ascend_ops.vllm.plugins.module_utils._npu.smi import parse_info

ARGUMENTS = {
    "executable": {"type": "path"},
    "timeout": {"type": "float", "default": 20.0},
}


def read_npus(executable: Optional[str], timeout: float) -> Tuple[Optional[Dict[str, Any]], Optional[Dict[str, Any]]]:
    """Run ``npu-smi info``: ``(info, None)``, or ``(None, failure)`` if it printed no table.

    *info* is the result of parse_info, *failure* is ``{code, meaning, remedy, rc, output}``. The output decides, not the
    exit status alone: the tool prints its errors on stdout, and a complete table is valid whatever the exit status.

    :param executable: path of the tool; searched if it is None.
    :param timeout: in seconds.
    """
    path = find_tool("npu-smi", executable)
    if not path:
        failure = dict(explain_failure(RC_NOT_FOUND, ""), rc=RC_NOT_FOUND, output="")
        if executable:
            failure["meaning"] = f"there is no file {executable}"
            failure["remedy"] = (
                "Set 'executable' to the path of npu-smi on the node, or omit it to search for the tool."
            )
        return None, failure
    rc, text, timed_out = run([path, "info"], timeout, driver_env())
    info = parse_info(text)
    if timed_out or not info["table"] or (rc != 0 and not info["devices"]):
        failure = dict(explain_failure(rc, text), rc=rc, output=text[:2000])
        if timed_out:
            failure["meaning"] += " (%g s)" % timeout
        return None, failure
    if rc != 0:
        info["problems"].append(f"npu-smi printed a table, but exited with status {rc}")
    if not info["devices"]:
        info["problems"].append("npu-smi printed a table without chips")
    return info, None


DETAILS = ("mapping", "topology", "common", "usages")


def read_details(executable: Optional[str], timeout: float, npus: List[int], wanted: List[str]) -> Dict[str, Any]:
    """What npu-smi reports beyond the table, for each of DETAILS in *wanted*; None if the tool does not answer.

    mapping and topology are queried once, common and usages for each NPU: ``{npu_id: [one dict per chip]}``.
    """
    path = find_tool("npu-smi", executable)

    def query(*arguments: str) -> Optional[str]:
        rc, text, timed_out = run([str(path), "info", *arguments], timeout, driver_env())
        return None if rc or timed_out else text

    def parsed(text: Optional[str], parse: Any) -> Any:
        return None if text is None else parse(text) or None

    details: Dict[str, Any] = {}
    for name in wanted:
        if name == "mapping":
            details[name] = parsed(query("-m"), parse_mapping)
        elif name == "topology":
            details[name] = parsed(query("-t", "topo"), parse_topo)
        else:
            details[name] = {str(npu): parsed(query("-t", name, "-i", str(npu)), parse_blocks) for npu in npus}
    return details


def driver_package_version(path: str = DRIVER + "/version.info") -> Optional[str]:
    """The version of the installed driver package, or None if it cannot be read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            match = re.search(r"^\s*Version\s*=\s*(\S+)", stream.read(65536), re.M)
    except OSError:
        return None
    return match.group(1) if match else None


def failure_message(failure: Dict[str, Any]) -> str:
    """One message from a failure of read_npus: what happened, what it means and what to do."""
    seen = " ".join(failure["output"].split())[:300]
    return "%s [%s, exit status %s]. %s%s" % (
        failure["meaning"][:1].upper() + failure["meaning"][1:],
        failure["code"],
        failure["rc"],
        failure["remedy"],
        " It printed: %s" % seen if seen else "",
    )
