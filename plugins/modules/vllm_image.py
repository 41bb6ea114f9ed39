#!/usr/bin/python
# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vllm_image
short_description: Ensure a container image is on a node
version_added: 0.1.0
description:
  - Looks for an image in the node's engine. Where it is missing, loads it from an archive file or pulls it.
extends_documentation_fragment: ascend_ops.vllm.engine
options:
  name:
    description: The image, with its tag or digest.
    type: str
    required: true
  archive:
    description: Path on the node of an archive made by C(docker save). When empty, the image is pulled from its registry.
    type: str
    default: ""
  login:
    description:
      - Login for a registry that needs one. Used for the pull only; nothing of it stays on the node.
    type: dict
    suboptions:
      registry:
        description: The registry, as in the name of the image, such as V(registry.example.com:5000).
        type: str
        required: true
      username:
        description: The user's name.
        type: str
        required: true
      password:
        description: The user's password, or a token.
        type: str
        required: true
  timeout:
    description: Seconds that loading or pulling may take.
    type: int
    default: 3600
author:
  - ascend_ops.vllm contributors (@ascend-ops)
attributes:
  check_mode:
    description: Reports whether the image would be loaded or pulled.
    support: full
  diff_mode:
    description: There is nothing to compare.
    support: none
"""

EXAMPLES = r"""
- name: Ensure the image is on the node, from an archive
  ascend_ops.vllm.vllm_image:
    name: quay.io/ascend/vllm-ascend:v0.20.2rc1
    archive: /opt/images/vllm-ascend.tar

- name: Ensure the image is on the node, from a private registry
  ascend_ops.vllm.vllm_image:
    name: registry.example.com:5000/ascend/vllm-ascend:v0.20.2rc1
    login:
      registry: registry.example.com:5000
      username: puller
      password: "{{ lookup('ansible.builtin.env', 'REGISTRY_TOKEN') }}"
"""

RETURN = r"""
image:
  description: The image, or null in check mode when it is missing.
  returned: success
  type: dict
  contains:
    id: {description: The image's id., type: str}
    digests: {description: The digests that registries know it by., type: list}
    size: {description: Its size in bytes., type: int}
    architecture: {description: Its architecture., type: str}
  sample: {"id": "sha256:0f1e", "digests": [], "size": 3400000000, "architecture": "arm64"}
source:
  description: Where the image came from, V(present), V(archive) or V(registry).
  returned: success
  type: str
"""

import os
import re
import signal

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.engine import Engine, EngineError


def registry_of(image):
    """The registry that an image comes from."""
    first, slash, unused = image.partition("/")
    return first if slash and re.search(r"[.:]|^localhost$", first) else "docker.io"


def _end(*_unused):
    """End the module by an exception, so that the login is removed on the way out."""
    raise SystemExit(1)


def pull(engine, name, login, timeout):
    """Pull the image, logged in where a login is given. Raises EngineError."""
    if not login:
        engine.call(["pull", name], timeout)
        return
    given = re.sub(r"^https?://", "", login["registry"]).split("/")[0]
    if given.replace("index.docker.io", "docker.io") != registry_of(name):
        raise EngineError(
            f"npu_container_registry_login is for {given}; the image {name} comes from {registry_of(name)}. Correct the login's registry, or the "
            "image with vllm_recipe_image_prefix or vllm_recipe_image."
        )
    # An interrupted run leaves no login behind, either.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end)
    with engine.logged_in(login["registry"], login["username"], login["password"]):
        engine.call(["pull", name], timeout)


def fetch(engine, name, archive, login, timeout):
    """Load or pull the image. Raises EngineError, also when it is still missing afterwards."""
    if not archive:
        pull(engine, name, login, timeout)
        return
    if not os.path.isfile(archive):
        raise EngineError(
            f"the image {name} is not on the node, and neither is the archive {archive}. Copy the archive there ('docker save "
            "-o' where the image is, then rsync), or set npu_container_image_archive to its path."
        )
    output = engine.call(["load", "--input", archive], timeout)[1]
    if engine.image(name) is None:
        loaded = re.findall(r"Loaded image(?: ID)?: (\S+)", output)
        raise EngineError(
            "the archive {0} contains {1} and not {2}. Set npu_container_image_archive to the right archive, or "
            "vllm_recipe_image to the image in it.".format(archive, ", ".join(loaded) or "no named image", name)
        )


def main():
    module = AnsibleModule(
        argument_spec=dict(
            name=dict(type="str", required=True),
            archive=dict(type="str", default=""),
            login=dict(
                type="dict",
                options=dict(
                    registry=dict(type="str", required=True),
                    username=dict(type="str", required=True),
                    password=dict(type="str", required=True, no_log=True),
                ),
            ),
            timeout=dict(type="int", default=3600),
            engine=dict(type="str", default="docker"),
        ),
        supports_check_mode=True,
    )
    name, archive = module.params["name"], module.params["archive"]
    engine = Engine(module.params["engine"])
    try:
        image = engine.image(name)
        source = "present"
        if image is None:
            source = "archive" if archive else "registry"
            if not module.check_mode:
                fetch(engine, name, archive, module.params["login"], module.params["timeout"])
                image = engine.image(name)
    except EngineError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=source != "present", image=image, source=source)


if __name__ == "__main__":
    main()
