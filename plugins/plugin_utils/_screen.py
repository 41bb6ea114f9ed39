# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Text that a task shows to the operator."""

from __future__ import annotations

from ansible import constants as C
from ansible.utils.display import Display

CALLBACK = "ascend_ops.vllm.operator"
# The part of a task's result that holds the text for the callback.
KEY = "vllm_text"


def show(result, text):
    """Show *text* with the result of a task.

    The collection's own callback prints it below the task's heading. Others do not know of it, and may print a heading only
    when a result comes in: there it is printed at once.
    """
    if C.config.get_config_value("DEFAULT_STDOUT_CALLBACK") == CALLBACK:
        result[KEY] = f"{result[KEY]}\n{text}" if result.get(KEY) else text
    else:
        Display().display(text)
