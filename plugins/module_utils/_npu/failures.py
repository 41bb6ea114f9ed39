# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Explain why npu-smi gave no table: from its exit status and output to a code, a meaning and a remedy."""

from __future__ import annotations

import re
from typing import Dict, Optional

from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.run import (
    RC_NOT_EXECUTABLE,
    RC_NOT_FOUND,
    RC_TIMEOUT,
)

# The meaning and the remedy of the tool's own error codes. The exit status is the code & 255.
_CODES = {
    -8001: (
        "the driver rejected a parameter of the request",
        "Check that npu-smi and the driver are of the same release (/usr/local/Ascend/driver/version.info).",
    ),
    -8002: ("npu-smi is not permitted to do this", "Run it as root (become: true)."),
    -8005: (
        "npu-smi cannot reach the NPU driver: the driver is not loaded, or this user is not permitted to use it",
        "Run as root (become: true). Check 'lsmod | grep drv_' and 'ls -l /dev/davinci_manager'; if they show nothing, "
        "install the NPU driver, or reboot after installing it. In a container, mount the devices and the driver.",
    ),
    -8006: (
        "the driver did not answer npu-smi in time",
        "Check 'dmesg | grep -i ascend'; reset the NPU or reboot the node.",
    ),
    -8007: ("no NPU has this id", "Use an id that 'npu-smi info -l' lists."),
    -8008: (
        "the NPU is missing",
        "Check 'lspci | grep -i d80' and 'dmesg | grep -i ascend' for a lost card; reset it or reboot the node.",
    ),
    -8009: (
        "the call to the driver failed",
        "Check 'dmesg | grep -i ascend'; reload the driver or reboot the node.",
    ),
    -8012: ("the NPU is not ready yet", "Wait until the driver has started the chips, then retry."),
    -8013: ("npu-smi cannot do this in a container", "Run it on the host."),
    -8020: (
        "the NPU is in use: another container has opened the devices",
        "Find it with 'docker ps' and stop it, or give each container its own /dev/davinciN. Run npu-smi on the host.",
    ),
    -8255: (
        "this NPU or driver does not support the request",
        "Check that npu-smi matches the product and the driver.",
    ),
    -9005: (
        "npu-smi cannot read the board type: often in a container that lacks a part of the driver",
        "Run it on the host. In a container mount /usr/local/dcmi, /etc/ascend_install.info, "
        "/usr/local/Ascend/driver/version.info and /usr/local/Ascend/driver/lib64.",
    ),
}
_CODE_BY_STATUS = {code & 255: code for code in sorted(_CODES)}
_MESSAGES = (
    (re.compile(r"because the device is used", re.I), -8020),
    (re.compile(r"dcmi (module|model) initialized? failed", re.I), -8005),
)
_CODE_IN_TEXT = re.compile(r"(?<![\w.-])-[89][0-9]{3}(?![\w.])")
_LOADER = re.compile(
    r"error while loading shared libraries: *([^\s:]+)"
    r"|([^\s:/]{1,99}\.so[^\s:]{0,99}): cannot open shared object",
    re.I,
)


def explain_failure(rc: Optional[int], text: str) -> Dict[str, str]:
    """What a call of npu-smi without a usable table means: ``{code, meaning, remedy}``, all strings.

    :param rc: the exit status; negative for a signal, 124 for a timeout, None if it is not known.
    :param text: the output of the tool, which decides where it contains an error code.
    """
    text = (text or "")[:20000]
    code = _tool_code(text)
    if code is not None:
        return _by_code(code)
    return _not_started(rc, text) or _by_status(rc)


def _not_started(rc: Optional[int], text: str) -> Optional[Dict[str, str]]:
    """The failures before the tool talks to a driver, or without any NPU; None for others."""
    loader = _LOADER.search(text)
    if loader:
        return _failure(
            "loader",
            "npu-smi cannot start: the library %s is not found" % (loader.group(1) or loader.group(2)),
            "Add /usr/local/Ascend/driver/lib64, its common/ and its driver/ to LD_LIBRARY_PATH, "
            "or install the NPU driver that contains them.",
        )
    if rc == RC_TIMEOUT:
        return _failure(
            "timeout",
            "npu-smi did not answer in time",
            "Raise the timeout if the node is busy. If it never answers, the driver hangs: check "
            "'dmesg | grep -i ascend', reset the NPU or reboot the node.",
        )
    if rc == RC_NOT_FOUND or re.search(r"command not found|npu-smi[^\n]{0,99}: (not found|No such file)", text):
        return _failure(
            "not-found",
            "npu-smi was not found",
            "Install the NPU driver, or set 'executable' to the path of npu-smi.",
        )
    if rc == RC_NOT_EXECUTABLE:
        return _failure(
            "not-executable",
            "npu-smi exists but cannot be executed",
            "Run as root (become: true) and check the file's mode and architecture.",
        )
    if re.search(r"There is no NPU", text, re.I):
        return _failure(
            "no-npu",
            "the driver is loaded and lists no NPU",
            "Check 'lspci | grep -i d80' and 'dmesg | grep -i ascend' for lost cards.",
        )
    return None


def _by_status(rc: Optional[int]) -> Dict[str, str]:
    if rc in _CODE_BY_STATUS:
        return _by_code(_CODE_BY_STATUS[rc])
    if rc is not None and (rc < 0 or 128 < rc < 160):
        return _failure(
            "crashed",
            "npu-smi was terminated by signal %d" % (-rc if rc < 0 else rc - 128),
            "Run it by hand on the node and check 'dmesg'. Check that it is of the same release as the driver.",
        )
    if not rc:
        return _failure(
            "no-table",
            "npu-smi reported success, but printed no table of NPUs",
            "Run 'npu-smi info' by hand on the node, and check that 'executable' is the real tool.",
        )
    return _failure(
        "unknown",
        "npu-smi failed with exit status %s" % rc,
        "Run 'npu-smi info' by hand on the node and check 'dmesg'.",
    )


def _tool_code(text: str) -> Optional[int]:
    match = _CODE_IN_TEXT.search(text)
    if match:
        return int(match.group())
    for pattern, code in _MESSAGES:
        if pattern.search(text):
            return code
    return None


def _by_code(code: int) -> Dict[str, str]:
    unlisted = ("npu-smi failed with its code %d" % code, "Look the code up in the driver's DCMI manual.")
    meaning, remedy = _CODES.get(code, unlisted)
    return _failure(str(code), meaning, remedy)


def _failure(code: str, meaning: str, remedy: str) -> Dict[str, str]:
    return {"code": code, "meaning": meaning, "remedy": remedy}
