#!/usr/bin/python
# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vllm_teardown
short_description: Uninstall the service of a node, and report what is left
version_added: 0.1.0
description:
  - Stops and removes the container of a plan, removes the service's files, the records of its deploys and, when asked to,
    its images, in one round trip.
  - A container of the same name that this collection did not make is left alone, and the task fails. An image that
    another container uses stays.
  - Internal to the roles of this collection; it may change without notice.
extends_documentation_fragment: ascend_ops.vllm.engine
options:
  plan:
    description: The process plan of the node. Only names and paths of it are used.
    type: dict
    required: true
  keep:
    description: What is kept. C(files) are the launch files and the records of deploys.
    type: list
    elements: str
    choices: [files, image]
    default: [image]
  stop_timeout:
    description: Seconds that the container has to end by itself.
    type: int
    default: 60
author:
  - ascend_ops.vllm contributors (@ascend-ops)
seealso:
  - module: ascend_ops.vllm.vllm_container
attributes:
  check_mode:
    description: Returns what would be removed, and removes nothing.
    support: full
  diff_mode:
    description: There is nothing to compare.
    support: none
"""

EXAMPLES = r"""
- name: Read the process plan that was deployed
  ansible.builtin.slurp:
    src: /etc/ascend-vllm/minimax2_5/process.json
  register: deployed

- name: Uninstall the service that was deployed there, with its image
  ascend_ops.vllm.vllm_teardown:
    plan: "{{ (deployed.content | b64decode | from_json).process }}"
    keep: []
"""

RETURN = r"""
removed:
  description: What was removed, or would be in check mode.
  returned: success
  type: list
  elements: str
  sample: [container minimax2_5]
kept:
  description: What was kept because it was asked for.
  returned: success
  type: list
  elements: str
left:
  description: What else of the service is on the node, such as the weights.
  returned: success
  type: list
  elements: str
others:
  description: The names of other containers on the node that this collection created.
  returned: success
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.engine import Engine, EngineError
from ansible_collections.ascend_ops.vllm.plugins.module_utils._service.teardown import Teardown


def main():
    module = AnsibleModule(
        argument_spec=dict(
            plan=dict(type="dict", required=True),
            keep=dict(type="list", elements="str", choices=["files", "image"], default=["image"]),
            stop_timeout=dict(type="int", default=60),
            engine=dict(type="str", default="docker"),
        ),
        supports_check_mode=True,
    )
    params = module.params
    teardown = Teardown(Engine(params["engine"]), params["plan"], params["keep"], module.check_mode)
    try:
        result = teardown.run(params["stop_timeout"])
    except EngineError as error:
        done = "Removed so far: {0}.".format(", ".join(teardown.removed)) if teardown.removed else ""
        module.fail_json(msg=" ".join([str(error), done]).strip(), removed=teardown.removed)
    except OSError as error:
        module.fail_json(
            msg=f"cannot remove {error.filename}: {error.strerror}. Run with become, and repair the file system.",
            removed=teardown.removed,
        )
    module.exit_json(changed=bool(result["removed"]), **result)


if __name__ == "__main__":
    main()
