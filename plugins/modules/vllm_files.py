#!/usr/bin/python
# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vllm_files
short_description: Write the files of a service
version_added: 0.1.0
description:
  - Writes launch script, environment and secrets of a process plan into the folder of the service, each atomically and
    with its mode, in one round trip. Other files of the folder are left alone.
  - Secrets go to a file of their own, C(secrets.env), and are shown neither in a diff nor in a result.
  - C(process.json) beside them tells what was deployed, without the values of secrets. The service does not read it.
  - Internal to the roles of this collection; it may change without notice.
options:
  process:
    description: The process plan of the node.
    type: dict
    required: true
  interface:
    description: The interface that carries the address of the node. Empty where it is not known.
    type: str
    default: ""
  secrets:
    description:
      - Names and values of the environment variables for C(secrets.env), mode 0600, as lines that a shell reads.
      - An empty mapping removes that file. Without this option it is left alone, and so are the digests of the files that
        the service reads when it starts, such as its certificate (C(watched.sha256)).
    type: dict
author:
  - ascend_ops.vllm contributors (@ascend-ops)
attributes:
  check_mode:
    description: Returns which files would be written or removed.
    support: full
  diff_mode:
    description: Shows each file before and after, of C(secrets.env) only the names.
    support: full
"""

EXAMPLES = r"""
- name: Read the process plan that was deployed
  ansible.builtin.slurp:
    src: /etc/ascend-vllm/minimax2_5/process.json
  register: deployed

- name: Write the files of the plan that was deployed there, as they were
  ascend_ops.vllm.vllm_files:
    process: "{{ (deployed.content | b64decode | from_json).process }}"
    interface: eth0
"""

RETURN = r"""
written:
  description: The names of the files that were written or removed, or would be in check mode; C(process.json) aside.
  returned: success
  type: list
  elements: str
drift:
  description: What differed before, as of M(ascend_ops.vllm.vllm_drift).
  returned: success
  type: list
  elements: dict
drift_text:
  description: The same as lines.
  returned: success
  type: list
  elements: str
  sample: ["max-num-seqs: 32 -> 64"]
mtime:
  description: When the newest of the files was written, in seconds since the epoch; null where there is none.
  returned: success
  type: float
digest:
  description: A digest of the files, C(watched.sha256) and C(process.json) aside.
  returned: success
  type: str
"""

import hashlib

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common import files
from ansible_collections.ascend_ops.vllm.plugins.module_utils._state import desired, drift, observed


def main():
    module = AnsibleModule(
        argument_spec=dict(
            process=dict(type="dict", required=True),
            interface=dict(type="str", default=""),
            secrets=dict(type="dict", no_log=True),
        ),
        supports_check_mode=True,
    )
    process, interface = module.params["process"], module.params["interface"]
    wanted = desired.desired(process, module.params)
    directory, error = wanted["directory"], wanted["files_error"]
    if error:
        module.fail_json(msg=error)
    names = [item["name"] for item in wanted["files"]]
    try:
        seen = observed.files_of(directory, wanted["name"])
        items = [item for entry in drift.of_files(wanted, seen) for item in entry["items"]]
        # First, so that a run that is interrupted here does not look like an edit by hand.
        recorded = files.put(directory, [desired.process_file(process, interface)], module.check_mode)[0]
        written, diff = files.put(directory, wanted["files"], module.check_mode)
        digests = {
            item["name"]: files.digest(item["name"], item["content"])
            for item in wanted["files"]
            if item["content"] is not None and item["name"] != files.WATCHED
        }
    except OSError as error:
        module.fail_json(
            msg=f"cannot write {error.filename or directory}: {error.strerror}. The role needs become, and room on the disk."
        )
    for change in diff:
        lines = drift.lines(item for item in items if item["file"] == change["after_header"])
        if lines:
            change["prepared"] = "\n".join(lines) + "\n"
    module.exit_json(
        changed=bool(written or recorded),
        written=written,
        drift=items,
        drift_text=drift.lines(items),
        diff=diff,
        mtime=files.newest(directory, names),
        digest=hashlib.sha256(repr(sorted(digests.items())).encode("utf-8")).hexdigest(),
    )


if __name__ == "__main__":
    main()
