# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that an operator asks for, written on the controller."""

from __future__ import annotations

import json
from pathlib import Path

from ansible.errors import AnsibleActionFail


def write_file(name, path, content):
    """Write a file, mode 0644; its folder is made where it is missing.

    :param name: the input that names the place, for errors.
    :param path: the file; ``~`` is the user's home.
    :param content: text, or data that is written as JSON.
    :raises AnsibleActionFail: it cannot be written.
    """
    file = Path(path).expanduser()
    text = content if isinstance(content, str) else json.dumps(content, indent=4, sort_keys=True) + "\n"
    try:
        file.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        file.chmod(0o644)
    except OSError as error:
        raise AnsibleActionFail(
            f"cannot write {file} on this machine: {error.strerror}. Set {name} to a place that you may write to, and run again."
        ) from error
