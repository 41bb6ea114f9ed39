#!/usr/bin/python
# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: node_logs
short_description: Read the last lines of a service's logs on a node
version_added: 0.2.0
description:
  - Returns the last lines of the container's log and of the supervisor's journal, and the known causes of failure that the
    log shows. Secrets are redacted on the node, as by M(ascend_ops.vllm.node_bundle).
extends_documentation_fragment: [ascend_ops.vllm.engine, ascend_ops.vllm.read_only]
options:
  name:
    description: The container.
    type: str
    required: true
  lines:
    description: How many lines of each log to return, from its end. At most 4 MiB of each are returned.
    type: int
    default: 200
  since:
    description: How far to look back, such as V(10m), V(2h) or V(1d). When empty, there is no such bound.
    type: str
    default: ""
  secrets:
    description: Values to redact, besides those that the node knows.
    type: list
    elements: str
    default: []
  timeout:
    description: Seconds that each command may take.
    type: float
    default: 20.0
author:
  - ascend_ops.vllm contributors (@ascend-ops)
seealso:
  - module: ascend_ops.vllm.node_bundle
"""

EXAMPLES = r"""
- name: Read the logs of the last ten minutes
  ascend_ops.vllm.node_logs:
    name: minimax2_5
    since: 10m
"""

RETURN = r"""
container:
  description: V(status), V(exit_code), V(age) in seconds and V(restart_count) of the container, or null.
  returned: success
  type: dict
log:
  description: The container's log.
  returned: success
  type: str
journal:
  description: The supervisor's journal.
  returned: success
  type: str
missing:
  description: Why there is no RV(log) or RV(journal), by their names.
  returned: success
  type: dict
causes:
  description: Known causes that the log shows since the container's last start, the most telling first.
  returned: success
  type: list
  elements: dict
  sample: [{"id": "port-in-use", "line": "…", "meaning": "…", "advice": "…", "consequence": false, "facts": {"port": "8000"}}]
notes:
  description: Notes on what is incomplete.
  returned: success
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.ascend_ops.vllm.plugins.module_utils._support.logs import read_logs, seconds_of


def main():
    module = AnsibleModule(
        argument_spec=dict(
            name=dict(type="str", required=True),
            lines=dict(type="int", default=200),
            since=dict(type="str", default=""),
            secrets=dict(type="list", elements="str", default=[], no_log=True),
            timeout=dict(type="float", default=20.0),
            engine=dict(type="str", default="docker"),
        ),
        supports_check_mode=True,
    )
    if module.params["lines"] < 1 or module.params["timeout"] <= 0:
        module.fail_json(msg="'lines' and 'timeout' must be more than 0.")
    try:
        seconds_of(module.params["since"])
    except ValueError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, **read_logs(**module.params))


if __name__ == "__main__":
    main()
