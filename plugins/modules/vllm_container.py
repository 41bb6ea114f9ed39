#!/usr/bin/python
# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vllm_container
short_description: Create, start, stop or remove the container that serves a model
version_added: 0.1.0
description:
  - Creates the container of a plan. It is replaced only when something of what it is made of changed, which a label on it
    tells; a second run changes nothing. A restart policy that was changed by hand is corrected in place.
  - A container of the same name that this collection did not make is left alone, and the task fails, unless O(adopt).
  - Internal to the roles of this collection; it may change without notice.
extends_documentation_fragment: ascend_ops.vllm.engine
options:
  spec:
    description: The part C(container) of a process plan.
    type: dict
    required: true
  state:
    description:
      - C(present) ensures that the container exists, and does not start it.
      - C(started) starts it, C(stopped) stops it, C(absent) removes it.
    type: str
    choices: [present, started, stopped, absent]
    default: present
  stop_timeout:
    description: Seconds that the container has to end by itself when it is stopped.
    type: int
    default: 60
  adopt:
    description: Replace a container of the same name that this collection did not make. Only for C(state=present).
    type: bool
    default: false
author:
  - ascend_ops.vllm contributors (@ascend-ops)
attributes:
  check_mode:
    description: Returns what would be done, and does nothing.
    support: full
  diff_mode:
    description: Shows what differs, and the command that creates the container.
    support: full
"""

EXAMPLES = r"""
- name: Read the process plan that was deployed
  ansible.builtin.slurp:
    src: /etc/ascend-vllm/minimax2_5/process.json
  register: deployed

- name: Ensure the container of the plan that was deployed there exists
  ascend_ops.vllm.vllm_container:
    spec: "{{ (deployed.content | b64decode | from_json).process.container }}"
"""

RETURN = r"""
container:
  description: The container's state, or null where there is none.
  returned: success
  type: dict
  sample: {"id": "4f5a", "status": "running", "running": true, "started_at": 1760000000, "restart_count": 0}
actions:
  description: What was done, or would be in check mode, in order.
  returned: success
  type: list
  elements: str
  sample: [supervision stopped, stopped, removed, created]
adjusted:
  description: Settings that were corrected without a restart, or would be in check mode.
  returned: success
  type: list
  elements: str
  sample: [restart]
drift:
  description: What differed before, as of M(ascend_ops.vllm.vllm_drift); for C(state=present).
  returned: success
  type: list
  elements: dict
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common import engine
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.engine import (
    LABEL_SERVICE,
    LABEL_SPEC,
    Engine,
    EngineError,
    container_state,
    spec_digest,
)
from ansible_collections.ascend_ops.vllm.plugins.module_utils._state import desired, drift, observed, supervision

SUPERVISION = "supervision stopped"


class Container:
    """One container on one node, and what was done with it."""

    def __init__(self, module):
        self.module = module
        self.spec = module.params["spec"]
        self.name = self.spec["name"]
        self.engine = Engine(module.params["engine"])
        self.actions = []
        self.adjusted = []
        self.drift = []
        self.inspected = self.engine.inspect("container", self.name)
        self.before = None if self.inspected is None else container_state(self.inspected, self.name)
        adopt = module.params["adopt"] and module.params["state"] == "present"
        if self.before is not None and LABEL_SERVICE not in self.before["labels"] and not adopt:
            raise EngineError(
                "there is a container '{0}' that this collection did not make (image {1}). Remove or rename it, choose "
                "another name with vllm_recipe_container.name, or have a deploy replace it with npu_container_adopt: "
                "true.".format(self.name, self.before["image_id"][:19])
            )

    def do(self, action, arguments, timeout=None):
        """Note an action, and run it unless in check mode."""
        self.actions.append(action)
        if not self.module.check_mode:
            self.engine.call(arguments, timeout)

    def stop_supervision(self):
        """Ensure that nobody starts the container while it is changed."""
        if SUPERVISION not in self.actions and any(supervision.timer_is(self.name)):
            self.actions.append(SUPERVISION)
            if not self.module.check_mode:
                supervision.stop(self.name)

    def stop(self):
        """Stop the container, and with it all that runs in it."""
        self.stop_supervision()
        if self.before is not None and self.before["status"] in ("running", "restarting", "paused"):
            seconds = self.module.params["stop_timeout"]
            self.do("stopped", ["stop", "--time", str(seconds), self.name], seconds + 60)

    def remove(self):
        """Remove the container."""
        if self.before is not None:
            self.stop()
            self.do("removed", ["rm", "--force", self.name], 120)

    def create(self):
        """Ensure that the container is as the plan wants it; return the command that creates it."""
        image = self.engine.image(self.spec["image"])
        wanted = desired.container(self.spec)
        mounts = wanted["mounts"]
        if wanted["missing_mounts"]:
            raise EngineError(
                "the node lacks {0}, which the container mounts. Provide it, or correct vllm_recipe_weights_dir and "
                "vllm_recipe_container.mounts.".format(", ".join(wanted["missing_mounts"]))
            )
        if image is None and not self.module.check_mode:
            raise EngineError(
                "the image {0} is not on the node; the task before this one brings it.".format(self.spec["image"])
            )
        digest = spec_digest(self.spec, mounts, image["id"] if image else "")
        command = engine.create_argv(self.spec, mounts, {LABEL_SERVICE: self.name, LABEL_SPEC: digest})
        found = None if self.inspected is None else observed.container_of(self.inspected, self.name)
        self.drift = drift.of_container(wanted, {"engine_error": "", "container": found, "image": image})
        if found is not None and image and found["digest"] == digest:
            self.adjust(found)
            return command
        self.stop_supervision()
        self.remove()
        if not self.module.check_mode:
            for mount in mounts:
                if mount.get("create") and not os.path.isdir(mount["source"]):
                    os.makedirs(mount["source"], 0o755)
        self.do("created", command)
        return command

    def adjust(self, found):
        """Correct what can be corrected while the container runs: its restart policy."""
        if found["restart_policy"] != self.spec["restart"]:
            self.adjusted.append("restart")
            if not self.module.check_mode:
                self.engine.call(["update", "--restart", self.spec["restart"], self.name])


def main():
    module = AnsibleModule(
        argument_spec=dict(
            spec=dict(type="dict", required=True),
            state=dict(type="str", default="present", choices=["present", "started", "stopped", "absent"]),
            stop_timeout=dict(type="int", default=60),
            adopt=dict(type="bool", default=False),
            engine=dict(type="str", default="docker"),
        ),
        supports_check_mode=True,
    )
    state = module.params["state"]
    command = []
    try:
        container = Container(module)
        if state == "present":
            command = container.create()
        elif state == "started":
            if container.before is None and not module.check_mode:
                raise EngineError(f"there is no container '{container.name}' to start; run a deploy.")
            if container.before is None or not container.before["running"]:
                container.do("started", ["start", container.name])
        elif state == "stopped":
            container.stop()
        else:
            container.remove()
        after = (
            container.before
            if module.check_mode or not container.actions
            else container.engine.container(container.name)
        )
    except (EngineError, supervision.SystemdError) as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=f"cannot make {error.filename}: {error.strerror}.")
    result = dict(changed=bool(container.actions or container.adjusted), container=after)
    result.update(actions=container.actions, adjusted=container.adjusted, drift=container.drift)
    if "created" in container.actions:
        result["diff"] = dict(before="", after=" ".join(["docker"] + command).replace(" --", "\n  --") + "\n")
    if result["changed"] and container.drift:
        result.setdefault("diff", {})["prepared"] = "\n".join(drift.lines(container.drift)) + "\n"
    module.exit_json(**result)


if __name__ == "__main__":
    main()
