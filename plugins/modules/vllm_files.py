#!/usr/bin/python
# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vllm_files
short_description: Write the small files of a service
version_added: 0.1.0
description:
  - Writes files into one directory of the node, each atomically and with its mode, in one round trip.
  - Other files of the directory are left alone.
  - Secrets go to a file of their own, C(secrets.env), and are shown neither in a diff nor in a result.
options:
  path:
    description: The directory; it is made when it is missing.
    type: path
    required: true
  files:
    description: The files.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name inside the directory.
        type: str
        required: true
      content:
        description: The whole content.
        type: str
        required: true
      mode:
        description: Permissions as an octal number.
        type: str
        required: true
  secrets:
    description:
      - Names and values of the environment variables for C(secrets.env), mode 0600, as lines that a shell reads.
      - An empty mapping removes that file. Without this option it is left alone.
    type: dict
  watch:
    description:
      - Files of the node that the service reads when it starts, such as its certificate. Their digests are written to
        C(watched.sha256), so that another content is a change.
      - An empty list removes that file. Without this option it is left alone.
    type: list
    elements: path
author:
  - ascend_ops.vllm contributors (@ascend-ops)
attributes:
  check_mode:
    description: Says which files would be written or removed.
    support: full
  diff_mode:
    description: Shows each file before and after, of C(secrets.env) only the names.
    support: full
"""

EXAMPLES = r"""
- name: Write launch script and environment
  ascend_ops.vllm.vllm_files:
    path: /etc/ascend-vllm/minimax2_5
    files:
      - {name: launch.sh, mode: "0755", content: "exec vllm serve …"}
"""

RETURN = r"""
written:
  description: The names of the files that were written or removed, or would be in check mode.
  returned: success
  type: list
  elements: str
mtime:
  description: When the newest of the files was written, in seconds since the epoch; null where there is none.
  returned: success
  type: float
digest:
  description: A digest of the files, C(watched.sha256) aside.
  returned: success
  type: str
"""

import hashlib
import os
import re

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common import files, secrets


def main():
    module = AnsibleModule(
        argument_spec=dict(
            path=dict(type="path", required=True),
            files=dict(
                type="list",
                elements="dict",
                required=True,
                options=dict(
                    name=dict(type="str", required=True),
                    content=dict(type="str", required=True),
                    mode=dict(type="str", required=True),
                ),
            ),
            secrets=dict(type="dict", no_log=True),
            watch=dict(type="list", elements="path"),
        ),
        supports_check_mode=True,
    )
    directory = module.params["path"]
    wanted = list(module.params["files"])
    for item in module.params["files"]:
        if not item["name"] or os.path.basename(item["name"]) != item["name"]:
            module.fail_json(msg="the name '{0}' is no plain file name.".format(item["name"]))
        if not re.match(r"[0-7]{3,4}\Z", item["mode"]):
            module.fail_json(
                msg="the mode '{0}' of {1} is no octal number such as 0644.".format(item["mode"], item["name"])
            )
    if module.params["secrets"] is not None:
        try:
            content = secrets.secrets_file(module.params["secrets"])
        except ValueError as error:
            module.fail_json(msg=str(error))
        wanted.append(dict(name=files.SECRETS, content=content, mode="0600"))
    if module.params["watch"] is not None:
        try:
            wanted.append(dict(name=files.WATCHED, content=files.watched(module.params["watch"]), mode="0644"))
        except OSError as error:
            module.fail_json(msg=f"cannot read {error.filename}, which the service is to read: {error.strerror}.")
    try:
        written, diff = files.put(directory, wanted, module.check_mode)
        names = [item["name"] for item in wanted]
        digests = {
            item["name"]: files.digest(item["name"], item["content"])
            for item in wanted
            if item["content"] is not None and item["name"] != files.WATCHED
        }
    except OSError as error:
        module.fail_json(
            msg=f"cannot write {error.filename or directory}: {error.strerror}. The role needs become, and room on the disk."
        )
    module.exit_json(
        changed=bool(written),
        written=written,
        diff=diff,
        mtime=files.newest(directory, names),
        digest=hashlib.sha256(repr(sorted(digests.items())).encode("utf-8")).hexdigest(),
    )


if __name__ == "__main__":
    main()
