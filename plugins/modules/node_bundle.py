#!/usr/bin/python
# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: node_bundle
short_description: Collect the support bundle of a node
version_added: 0.2.0
description:
  - Reads in one call the output of C(npu-smi) and C(hccn_tool), the container with its log, the engine, the
    supervisor, the service's files, journals, kernel messages, network, disks, memory, processes and kernel settings.
  - Every command is bounded in time and in output. What cannot be read is in the index with the reason.
  - Secrets are redacted on the node, before anything is sent. Known values are those in C(secrets.env), in
    C(service.env), in the container's environment and in O(secrets). What looks like a secret is redacted, too.
  - The bundle is built in memory and returned with the module's result, so that it works on a node whose disks are full.
    The controller keeps it in its temporary folder until the end of the run.
  - Internal to the roles of this collection; it may change without notice.
extends_documentation_fragment: [ascend_ops.vllm.engine, ascend_ops.vllm.read_only]
options:
  name:
    description: The container.
    type: str
    required: true
  chips:
    description: Physical ids of the chips to query, the N of C(/dev/davinciN). All chips of the node when not set.
    type: list
    elements: int
  lines:
    description: How many lines of each log to collect, from its end.
    type: int
    default: 2000
  since:
    description: How far to look back in logs, such as V(10m), V(2h) or V(1d). When empty, there is no such bound.
    type: str
    default: ""
  data:
    description: File names and data to add to the bundle as JSON, redacted.
    type: dict
    default: {}
  secrets:
    description: Values to redact, besides those that the node knows. Each needs at least 6 characters.
    type: list
    elements: str
    default: []
  max_bytes:
    description: Bytes that the compressed bundle may have. The largest files lose their first half until it fits.
    type: int
    default: 20971520
  npu_smi:
    description: Path of npu-smi on the node. Searched in the usual places when not set.
    type: path
  hccn_tool:
    description: Path of hccn_tool on the node. Searched in the usual places when not set.
    type: path
  timeout:
    description: Seconds that each command may take.
    type: float
    default: 20.0
author:
  - ascend_ops.vllm contributors (@ascend-ops)
seealso:
  - module: ascend_ops.vllm.node_logs
  - module: ascend_ops.vllm.diagnostics_archive
"""

EXAMPLES = r"""
- name: Collect the support bundle of the node
  ascend_ops.vllm.node_bundle:
    name: minimax2_5
  register: bundle
"""

RETURN = r"""
bundle:
  description: Path of the tar.gz on the controller. It is removed at the end of the run.
  returned: success
  type: str
index:
  description: What is in the bundle, and what is missing.
  returned: success
  type: dict
  contains:
    container: {description: "State of the container, or null.", type: dict}
    causes: {description: Known causes that the container's log shows., type: list}
    notes: {description: Notes on what is incomplete., type: list}
    entries: {description: "One entry for each file: V(path), V(what), and V(bytes), V(cut), V(problems), or V(missing) with the reason.", type: list}
    redactions: {description: How many secrets were redacted., type: int}
    seconds: {description: "How long it took, in seconds.", type: float}
"""

import base64
import os
import re

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.redact import SHORTEST
from ansible_collections.ascend_ops.vllm.plugins.module_utils._support.bundle import collect
from ansible_collections.ascend_ops.vllm.plugins.module_utils._support.logs import seconds_of

CHUNK = 1 << 20


def chunks(archive, secrets):
    """The archive in base64, in pieces that contain none of the secrets, which Ansible would replace with asterisks."""
    text = base64.b64encode(archive).decode("ascii")
    cuts = set(range(CHUNK, len(text), CHUNK))
    for secret in secrets:
        cuts.update(match.start() + 1 for match in re.finditer(f"(?={re.escape(secret)})", text))
    edges = [0] + sorted(cuts) + [len(text)]
    return [text[first:last] for first, last in zip(edges, edges[1:])]


def chips_of_node():
    """Physical ids of all chips of the node."""
    return sorted(int(name[7:]) for name in os.listdir("/dev") if re.match(r"davinci\d+$", name))


def main():
    module = AnsibleModule(
        argument_spec=dict(
            name=dict(type="str", required=True),
            chips=dict(type="list", elements="int"),
            lines=dict(type="int", default=2000),
            since=dict(type="str", default=""),
            data=dict(type="dict", default={}),
            secrets=dict(type="list", elements="str", default=[], no_log=True),
            max_bytes=dict(type="int", default=20971520),
            npu_smi=dict(type="path"),
            hccn_tool=dict(type="path"),
            timeout=dict(type="float", default=20.0),
            engine=dict(type="str", default="docker"),
        ),
        supports_check_mode=True,
    )
    given = dict(module.params)
    limit = given.pop("max_bytes")
    if given["chips"] is None:
        given["chips"] = chips_of_node()
    if any(len(value) < SHORTEST for value in given["secrets"]):
        module.fail_json(
            msg=f"A value in 'secrets' has fewer than {SHORTEST} characters: innocent words would be redacted too. Remove it."
        )
    if given["lines"] < 1 or limit < 1 or given["timeout"] <= 0:
        module.fail_json(msg="'lines', 'max_bytes' and 'timeout' must be more than 0.")
    try:
        seconds_of(given["since"])
    except ValueError as error:
        module.fail_json(msg=str(error))
    archive, index = collect(limit=limit, **given)
    # Without the arguments, which contain what the controller knows already.
    module.exit_json(changed=False, archive=chunks(archive, given["secrets"]), index=index, invocation={})


if __name__ == "__main__":
    main()
