#!/usr/bin/python
# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vllm_probe
short_description: Request tokens from a served model and watch its container
version_added: 0.1.0
description:
  - Watches a container and, on the node that serves the API, requests tokens from the model, until it answers, the
    container dies, or O(seconds) are over. Changes nothing.
  - A service is ready when a request yields tokens, not when C(/health) answers.
extends_documentation_fragment: [ascend_ops.vllm.engine, ascend_ops.vllm.read_only]
options:
  name:
    description: The container to watch. When empty, only the model is asked.
    type: str
    default: ""
  started_at:
    description:
      - When the container was started, in seconds since the epoch, as M(ascend_ops.vllm.vllm_container) returned it.
      - A container that was restarted since then counts as dead. With V(0), only one that does not run does.
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
    description: The API key of the service, where it needs one.
    type: str
    default: ""
  key_of:
    description: A container of this collection on the node, whose C(secrets.env) the key is read from when O(api_key) is empty.
    type: str
    default: ""
  ca_file:
    description: Path on the node of the certificates that verify an https service. When empty, those of the system do.
    type: str
    default: ""
  checks:
    description: The checks to run, in this order. All must pass.
    type: list
    elements: str
    choices: [models, chat, tool_call]
    default: [models, chat]
  seconds:
    description: How many seconds to watch and to retry. With V(0), there is one try.
    type: int
    default: 0
  ports:
    description:
      - Ports of the service, V(api), V(rpc) and a range V(hccl). RV(taken) then lists who else listens on them.
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
- name: Check that the model answers
  ascend_ops.vllm.vllm_probe:
    url: http://192.0.2.11:20004
    model: minimax25

- name: Wait up to ten minutes for the service of a container
  ascend_ops.vllm.vllm_probe:
    name: minimax2_5
    url: http://192.0.2.11:20004
    model: minimax25
    key_of: minimax2_5
    seconds: 600
"""

RETURN = r"""
state:
  description: >-
    V(ready), V(waiting), V(dead), or V(refused) where retries do not help: the service needs another API key, or its
    certificate is not trusted.
  returned: success
  type: str
verdicts:
  description: One verdict for each check that was run.
  returned: success
  type: list
  elements: dict
  sample: [{"id": "service.chat", "verdict": "pass", "seen": "16 tokens, finish reason length", "wanted": "…", "remedy": ""}]
answer:
  description: The model's answer to the chat request.
  returned: success
  type: str
container:
  description: The container's state, or null.
  returned: success
  type: dict
log:
  description: The last 40 lines of a dead container's log; the last line of a starting one's.
  returned: success
  type: str
causes:
  description: Why a dead container died, by its log, CANN's and its exit code, the most telling cause first.
  returned: success
  type: list
  elements: dict
  sample: [{"id": "port-in-use", "line": "…", "meaning": "…", "advice": "…", "consequence": false, "facts": {"port": "8000"}}]
telling:
  description: The most telling lines of the log of a dead container without a known cause.
  returned: success
  type: list
  elements: str
taken:
  description: Listeners on O(ports) that do not run in the container.
  returned: success
  type: list
  elements: dict
  sample: [{"port": 20004, "address": "0.0.0.0", "pid": 4711, "name": "nginx"}]
stage:
  description: The stage of a start, as its log shows, such as V(loading weights, 5 of 9 shards); may be empty.
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
from ansible_collections.ascend_ops.vllm.plugins.module_utils._failure import evidence
from ansible_collections.ascend_ops.vllm.plugins.module_utils._service import progress
from ansible_collections.ascend_ops.vllm.plugins.module_utils._service.look import api_key


def is_dead(container, started_at):
    """Has the container ended since it was started, also where the engine restarted it?"""
    if container is None or container["status"] in ("exited", "dead", "restarting", "created", "removing"):
        return True
    return bool(started_at and container["started_at"] and container["started_at"] > started_at)


def ask(client, checks):
    """Run the checks until one fails; return their verdicts."""
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


def holder(cause):
    """Who holds the port that a cause is about, as a sentence; empty where nobody does."""
    port = cause["facts"].get("port", "") if cause["id"] == "port-in-use" else ""
    found = node.listeners([int(port)], set()) if port.isdigit() else None
    return "".join(" It is held by pid {pid} ({name}).".format(**item) for item in found or [])


def look(params, engine, client):
    """Look at container and model once: what the module returns."""
    result = dict(
        state="waiting",
        verdicts=[],
        answer="",
        container=None,
        log="",
        causes=[],
        telling=[],
        taken=[],
        stage="",
        last_start=None,
    )
    if params["name"]:
        result["container"] = engine.container(params["name"])
        if is_dead(result["container"], params["started_at"]):
            result["state"] = "dead"
            if result["container"]:
                code = engine.last_exit(params["name"], params["started_at"]) if params["started_at"] else None
                result["container"]["exit_code"] = result["container"]["exit_code"] if code is None else code
                result.update(evidence.death(engine, result["container"], params["started_at"]))
                for cause in result["causes"]:
                    cause["meaning"] += holder(cause)
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
