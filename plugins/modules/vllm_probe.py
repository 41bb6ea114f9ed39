#!/usr/bin/python
# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vllm_probe
short_description: Ask a served model for tokens, and watch the container behind it
version_added: 0.1.0
description:
  - Watches the container of a node for a while, and on the node that serves the API asks the model for tokens, until
    it answers, the container dies, or the time is over. Changes nothing.
  - A service counts as ready when a request yields tokens, not when C(/health) answers.
extends_documentation_fragment: [ascend_ops.vllm.engine, ascend_ops.vllm.read_only]
options:
  name:
    description: The container to watch. Empty to ask the model only.
    type: str
    default: ""
  started_at:
    description:
      - When the container was started, in seconds since the epoch, as the module vllm_container returned it.
      - A container that was started anew since then counts as died.
    type: float
    default: 0.0
  url:
    description: Where the API is served. Empty on a node that serves none.
    type: str
    default: ""
  model:
    description: The served name of the model.
    type: str
    default: ""
  api_key:
    description: The key that the service wants, where it wants one.
    type: str
    default: ""
  key_of:
    description: Without O(api_key), the name of a container of this collection on the node, in whose C(secrets.env) the key is.
    type: str
    default: ""
  ca_file:
    description: Path on the node of what an https certificate is verified with. Empty for the system's authorities.
    type: str
    default: ""
  checks:
    description: The proofs to run, in order; all must pass.
    type: list
    elements: str
    choices: [models, chat, tool_call]
    default: [models, chat]
  seconds:
    description: How long to watch and ask again. C(0) for once.
    type: int
    default: 0
  ports:
    description:
      - The ports of the node's plan, C(api), C(rpc) and a range C(hccl). RV(taken) then says who else listens on them.
    type: dict
    default: {}
  request_timeout:
    description: Seconds that one request may take.
    type: int
    default: 60
author:
  - ascend_ops.vllm contributors (@ascend-ops)
"""

EXAMPLES = r"""
- name: Does the model answer?
  ascend_ops.vllm.vllm_probe:
    url: http://192.0.2.11:20004
    model: minimax25
"""

RETURN = r"""
state:
  description: >-
    C(ready), C(waiting), C(dead), or C(refused) where no later request will fare better: the service wants another API
    key, or its certificate is not trusted.
  returned: success
  type: str
verdicts:
  description: One verdict per proof that was run.
  returned: success
  type: list
  elements: dict
  sample: [{"id": "service.chat", "verdict": "pass", "seen": "16 tokens, finish reason length", "wanted": "…", "remedy": ""}]
answer:
  description: What the model said to the chat request.
  returned: success
  type: str
container:
  description: The container's state, or null.
  returned: success
  type: dict
log:
  description: The last lines of a dead container's log; else the last line.
  returned: success
  type: str
causes:
  description: For a dead container, the known causes that its log speaks of.
  returned: success
  type: list
  elements: dict
  sample: [{"id": "port-in-use", "line": "…", "advice": "…"}]
taken:
  description: Listeners on O(ports) that do not run in the container.
  returned: success
  type: list
  elements: dict
  sample: [{"port": 20004, "address": "0.0.0.0", "pid": 4711, "name": "nginx"}]
stage:
  description: What the service is at while it starts, as its log says, such as C(loading weights, 5 of 9 shards); may be empty.
  returned: success
  type: str
last_start:
  description: Seconds that the last verified start took until the first tokens, or null.
  returned: success
  type: float
"""

import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.engine import Engine, EngineError
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.openai import Client
from ansible_collections.ascend_ops.vllm.plugins.module_utils._facts import node
from ansible_collections.ascend_ops.vllm.plugins.module_utils._failure.causes import diagnose
from ansible_collections.ascend_ops.vllm.plugins.module_utils._service import progress
from ansible_collections.ascend_ops.vllm.plugins.module_utils._service.supervise import api_key


def is_dead(container, started_at):
    """Has the container ended since it was started, whether or not the engine started it again?"""
    if container is None or container["status"] in ("exited", "dead", "restarting", "created", "removing"):
        return True
    return bool(started_at and container["started_at"] and container["started_at"] > started_at)


def ask(client, checks):
    """Run the proofs until one fails; return their verdicts."""
    verdicts = []
    for name in checks:
        verdicts.append(getattr(client, name)())
        if verdicts[-1]["verdict"] != "pass":
            break
    return verdicts


def taken(ports, container):
    """Who listens on the ports of a plan and does not run in the container."""
    own = set(node.pids_of(container["id"])) if container and container["running"] else set()
    found = node.listeners(node.wanted_ports(ports), own) or []
    return [{key: item[key] for key in ("port", "address", "pid", "name")} for item in found if not item["own"]]


def look(params, engine, client):
    """One look at container and model."""
    result = dict(
        state="waiting", verdicts=[], answer="", container=None, log="", causes=[], taken=[], stage="", last_start=None
    )
    if params["name"]:
        result["container"] = engine.container(params["name"])
        if is_dead(result["container"], params["started_at"]):
            log = ""
            if result["container"]:
                log = engine.logs(params["name"], 200, params["started_at"])
                code = engine.last_exit(params["name"], params["started_at"]) if params["started_at"] else None
                result["container"]["exit_code"] = result["container"]["exit_code"] if code is None else code
            result.update(state="dead", causes=diagnose(log), log="\n".join(log.splitlines()[-40:]))
            return result
    if client is not None:
        result["verdicts"] = ask(client, params["checks"])
        result["answer"] = "".join(verdict.get("text", "") for verdict in result["verdicts"])
        if all(verdict["verdict"] == "pass" for verdict in result["verdicts"]):
            result["state"] = "ready"
        elif client.refused:
            result["state"] = "refused"
    elif not params["seconds"]:
        result["state"] = "ready"
    return result


def main():
    module = AnsibleModule(
        argument_spec=dict(
            name=dict(type="str", default=""),
            started_at=dict(type="float", default=0.0),
            url=dict(type="str", default=""),
            model=dict(type="str", default=""),
            api_key=dict(type="str", default="", no_log=True),
            key_of=dict(type="str", default="", no_log=False),
            ca_file=dict(type="str", default=""),
            checks=dict(
                type="list", elements="str", default=["models", "chat"], choices=["models", "chat", "tool_call"]
            ),
            seconds=dict(type="int", default=0),
            ports=dict(type="dict", default={}),
            request_timeout=dict(type="int", default=60),
            engine=dict(type="str", default="docker"),
        ),
        supports_check_mode=True,
    )
    params = module.params
    if bool(params["url"]) != bool(params["model"]):
        module.fail_json(
            msg="url is '{0}' and model is '{1}'; wanted both, or neither.".format(params["url"], params["model"])
        )
    if params["key_of"] and not params["api_key"]:
        params["api_key"] = api_key(params["key_of"])
        if params["api_key"]:
            module.no_log_values.add(params["api_key"])
    client = (
        Client(params["url"], params["model"], params["request_timeout"], params["api_key"], params["ca_file"])
        if params["url"]
        else None
    )
    end = time.time() + params["seconds"]
    try:
        engine = Engine(params["engine"])
        while True:
            result = look(params, engine, client)
            if result["state"] != "waiting" or time.time() >= end:
                break
            time.sleep(1)
        if result["state"] == "waiting" and params["name"]:
            log = engine.logs(params["name"], 300, params["started_at"])
            result["log"] = (log.strip().splitlines() or [""])[-1][-200:]
            result["stage"] = progress.stage(log)
            result["last_start"] = progress.last_start(params["name"])
        if params["ports"]:
            result["taken"] = taken(params["ports"], result["container"])
    except EngineError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
