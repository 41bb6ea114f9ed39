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
  - Returns the ends of the container's log and of the supervisor's journal, without secrets, and the known causes of
    trouble that the log speaks of. Secrets are taken out on the node, as by M(ascend_ops.vllm.node_bundle).
extends_documentation_fragment: [ascend_ops.vllm.engine, ascend_ops.vllm.read_only]
options:
  name:
    description: The container.
    type: str
    required: true
  lines:
    description: How many lines to take of each log, from its end. At most 4 MiB of each come.
    type: int
    default: 200
  since:
    description: How far to look back, such as V(10m), V(2h) or V(1d). Empty for no such bound.
    type: str
    default: ""
  secrets:
    description: Values to take out, beside those that the node has.
    type: list
    elements: str
    default: []
  timeout:
    description: Seconds that one command may take.
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
  description: State of the container, or null.
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
  description: Why there is no C(log) or C(journal).
  returned: success
  type: dict
causes:
  description: The known causes that the log speaks of.
  returned: success
  type: list
  elements: dict
  sample: [{"id": "port-in-use", "line": "…", "advice": "…"}]
notes:
  description: What else is to be known.
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
