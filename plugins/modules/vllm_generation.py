#!/usr/bin/python
# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vllm_generation
short_description: Keep what a node served with when it was proven, and go back to it
version_added: 0.2.0
description:
  - A generation is what a node serves with, its plan, its files with the secrets among them, and its image, kept in
    C(/var/lib/ascend-vllm/NAME/generations) for root alone. The current one and the one before are kept.
  - The image gets a name of its own, C(ascend-vllm-kept/NAME), so that it stays when its other name is given to another one.
extends_documentation_fragment: ascend_ops.vllm.engine
options:
  name:
    description: The container.
    type: str
    required: true
  state:
    description:
      - C(recorded) keeps what runs now, which was just proven, as the current generation. With O(generation) it notes that
        this one runs again.
      - C(restored) puts the files of O(generation) back in place and returns the node's plan of that time. Container and
        service are left alone.
      - C(seen) only tells which generations there are.
    type: str
    choices: [recorded, restored, seen]
    default: recorded
  generation:
    description: C(current), C(previous), or the id of one of them.
    type: str
    default: ""
  node:
    description: The node's plan, to be recorded.
    type: dict
    default: {}
  group:
    description: An id that all nodes of the replica have in common for this proof.
    type: str
    default: ""
  hosts:
    description: The nodes of the replica.
    type: list
    elements: str
    default: []
author:
  - ascend_ops.vllm contributors (@ascend-ops)
attributes:
  check_mode:
    description: Says what would be recorded or written, and does nothing.
    support: full
  diff_mode:
    description: Shows what is recorded, and each file before and after, of C(secrets.env) only the names.
    support: full
"""

EXAMPLES = r"""
- name: Which generations are there?
  ascend_ops.vllm.vllm_generation:
    name: minimax2_5
    state: seen

- name: Put the files of the one before in place
  ascend_ops.vllm.vllm_generation:
    name: minimax2_5
    state: restored
    generation: previous
"""

RETURN = r"""
id:
  description: The id of the generation that was recorded.
  returned: state is recorded
  type: str
generation:
  description: What was restored.
  returned: state is restored
  type: dict
  sample: {"id": "0b1c", "group": "9f3a", "hosts": [node1], "proven_at": 1760000000, "image": "…", "image_id": "sha256:…"}
node:
  description: The node's plan of that time; its image under a name that the engine has it by.
  returned: state is restored
  type: dict
written:
  description: The names of the files that were written or removed, or would be in check mode.
  returned: state is restored
  type: list
  elements: str
mtime:
  description: When the newest of the files was written, in seconds since the epoch.
  returned: state is restored
  type: float
current:
  description: The current generation, or null; in C(error) why it cannot be used.
  returned: state is seen
  type: dict
previous:
  description: The one before, likewise.
  returned: state is seen
  type: dict
live:
  description: Whether files and container of the node are those of the current generation.
  returned: state is seen
  type: bool
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.engine import Engine, EngineError
from ansible_collections.ascend_ops.vllm.plugins.module_utils._state.revisions import GenerationError, Generations


def main():
    module = AnsibleModule(
        argument_spec=dict(
            name=dict(type="str", required=True),
            state=dict(type="str", default="recorded", choices=["recorded", "restored", "seen"]),
            generation=dict(type="str", default=""),
            node=dict(type="dict", default={}),
            group=dict(type="str", default=""),
            hosts=dict(type="list", elements="str", default=[]),
            engine=dict(type="str", default="docker"),
        ),
        supports_check_mode=True,
    )
    params = module.params
    if params["state"] == "restored" and not params["generation"]:
        module.fail_json(msg="generation is empty; wanted current, previous or an id, to know what to restore.")
    if params["state"] == "recorded" and not params["generation"] and not (params["node"] and params["group"]):
        module.fail_json(msg="node or group is empty; wanted both, or the generation that runs again.")
    generations = Generations(Engine(params["engine"]), params["name"], module.check_mode)
    result = {"changed": False}
    try:
        if params["state"] == "seen":
            result.update(generations.look())
        elif params["state"] == "restored":
            result.update(generations.restore(params["generation"]))
            result["changed"] = bool(result["written"])
        elif params["generation"]:
            result["id"], result["changed"] = generations.accept(params["generation"])
        else:
            result["id"], result["changed"] = generations.record(params["node"], params["group"], params["hosts"])
    except (EngineError, GenerationError) as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=f"cannot use {error.filename}: {error.strerror}. It needs become, and room on the disk.")
    module.exit_json(diff=generations.diff, **result)


if __name__ == "__main__":
    main()
