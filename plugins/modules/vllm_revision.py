#!/usr/bin/python
# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vllm_revision
short_description: Record what a node serves with when it was verified, and restore it
version_added: 0.2.0
description:
  - A revision is what a node serves with, its process plan, its files with the secrets among them, and its image, recorded
    in C(/var/lib/ascend-vllm/NAME/revisions) for root alone. The current one and the one before are kept.
  - The image gets a name of its own, C(ascend-vllm-kept/NAME), so that it stays when its other name is given to another one.
  - Internal to the roles of this collection; it may change without notice.
extends_documentation_fragment: ascend_ops.vllm.engine
options:
  name:
    description: The container.
    type: str
    required: true
  state:
    description:
      - C(recorded) records what runs now, which was just verified, as the current revision. With O(revision) it notes that
        this one runs again.
      - C(restored) restores the files of O(revision) and returns the process plan of then. Container and service are left
        alone.
      - C(gathered) only returns which revisions there are.
    type: str
    choices: [recorded, restored, gathered]
    default: recorded
  revision:
    description: C(current), C(previous), or the id of one of them.
    type: str
    default: ""
  process:
    description: The process plan of the node, to be recorded.
    type: dict
    default: {}
  group:
    description: An id that all members of the replica have in common for this verification.
    type: str
    default: ""
  members:
    description: The hosts of the replica.
    type: list
    elements: str
    default: []
  ready_seconds:
    description: Seconds that the start took until the first tokens; 0 where nothing was waited for.
    type: float
    default: 0.0
author:
  - ascend_ops.vllm contributors (@ascend-ops)
attributes:
  check_mode:
    description: Returns what would be recorded or written, and does nothing.
    support: full
  diff_mode:
    description: Shows what is recorded, and each file before and after, of C(secrets.env) only the names.
    support: full
"""

EXAMPLES = r"""
- name: Gather the recorded revisions
  ascend_ops.vllm.vllm_revision:
    name: minimax2_5
    state: gathered

- name: Restore the files of the previous one
  ascend_ops.vllm.vllm_revision:
    name: minimax2_5
    state: restored
    revision: previous
"""

RETURN = r"""
id:
  description: The id of the revision that was recorded.
  returned: state is recorded
  type: str
revision:
  description: What was restored.
  returned: state is restored
  type: dict
  sample: {"id": "0b1c", "group": "9f3a", "hosts": [node1], "proven_at": 1760000000, "image": "…", "image_id": "sha256:…"}
process:
  description: The process plan of then; its image under a name that the engine has it by.
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
  description: The current revision, or null; in C(error) why it cannot be restored.
  returned: state is gathered
  type: dict
previous:
  description: The one before, likewise.
  returned: state is gathered
  type: dict
live:
  description: Whether files and container of the node are those of the current revision.
  returned: state is gathered
  type: bool
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.engine import Engine, EngineError
from ansible_collections.ascend_ops.vllm.plugins.module_utils._state.revisions import RevisionError, Revisions


def main():
    module = AnsibleModule(
        argument_spec=dict(
            name=dict(type="str", required=True),
            state=dict(type="str", default="recorded", choices=["recorded", "restored", "gathered"]),
            revision=dict(type="str", default=""),
            ready_seconds=dict(type="float", default=0.0),
            process=dict(type="dict", default={}),
            group=dict(type="str", default=""),
            members=dict(type="list", elements="str", default=[]),
            engine=dict(type="str", default="docker"),
        ),
        supports_check_mode=True,
    )
    params = module.params
    if params["state"] == "restored" and not params["revision"]:
        module.fail_json(msg="revision is empty; wanted current, previous or an id, to know what to restore.")
    if params["state"] == "recorded" and not params["revision"] and not (params["process"] and params["group"]):
        module.fail_json(msg="process or group is empty; wanted both, or the revision that runs again.")
    revisions = Revisions(Engine(params["engine"]), params["name"], module.check_mode)
    result = {"changed": False}
    try:
        if params["state"] == "gathered":
            result.update(revisions.look())
        elif params["state"] == "restored":
            result.update(revisions.restore(params["revision"]))
            result["changed"] = bool(result["written"])
        elif params["revision"]:
            result["id"], result["changed"] = revisions.accept(params["revision"])
        else:
            result["id"], result["changed"] = revisions.record(
                params["process"], params["group"], params["members"], ready_seconds=params["ready_seconds"] or None
            )
    except (EngineError, RevisionError) as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=f"cannot use {error.filename}: {error.strerror}. It needs become, and room on the disk.")
    module.exit_json(diff=revisions.diff, **result)


if __name__ == "__main__":
    main()
