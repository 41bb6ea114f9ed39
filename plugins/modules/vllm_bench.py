#!/usr/bin/python
# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vllm_bench
short_description: Measure a running service with vllm bench serve
version_added: 0.2.0
description:
  - Runs C(vllm bench serve) in the container of the service, with the service's own environment, against the service, and
    returns what it measured. Each scenario is warmed up first, with prompts that differ from the measured ones.
  - Fails when the service is busy. Removes its files from the container and changes nothing but the cache of the service.
  - Internal to the roles of this collection; it may change without notice.
extends_documentation_fragment: [ascend_ops.vllm.engine]
attributes:
  check_mode:
    support: full
    description: Returns the commands and sends no request.
  diff_mode:
    support: none
    description: There is nothing to compare.
options:
  name:
    description: The container of the service.
    type: str
    required: true
  url:
    description: URL of the API.
    type: str
    required: true
  model:
    description: The served name of the model.
    type: str
    required: true
  tokenizer:
    description: Path of the model inside the container.
    type: str
    required: true
  trust_remote_code:
    description: Whether the tokenizer may run code of its own.
    type: bool
    default: false
  ca_file:
    description: Path on the node of the certificates that verify an https service. When empty, those of the system do.
    type: str
    default: ""
  scenarios:
    description: What to measure, as P(ascend_ops.vllm.benchmark_scenarios#filter) returns it.
    type: list
    elements: dict
    required: true
  sweep:
    description:
      - A search for the highest concurrency that meets a latency. V(scenario) names one of O(scenarios); V(ttft_ms) and
        V(tpot_ms) are the latency in milliseconds, V(statistic) is the statistic that counts, V(first) and V(last) are the
        bounds of the concurrency, V(rounds) is how many prompts each client sends.
    type: dict
    default: {}
  seed:
    description:
      - Chooses the random prompts. With V(0) it is taken from the clock, so that no run finds prompts of an earlier one in
        the cache.
      - A run uses the seed, its warm-up the next one, and a sweep one more for each level.
    type: int
    default: 0
  timeout:
    description: Seconds that one run may take.
    type: int
    default: 7200
author:
  - ascend_ops.vllm contributors (@ascend-ops)
seealso:
  - module: ascend_ops.vllm.vllm_probe
"""

EXAMPLES = r"""
- name: Measure a short workload
  ascend_ops.vllm.vllm_bench:
    name: minimax2_5
    url: http://192.0.2.11:20004
    model: minimax25
    tokenizer: /opt/data/verification/models/MiniMax-M2.5
    scenarios: "{{ ({'name': 'minimax_m2_5'} | ascend_ops.vllm.benchmark_scenarios('a2', own, ['short'])).scenarios }}"
  vars:
    own: [{name: short, input_tokens: 1024, output_tokens: 256, prompts: 32, concurrency: 8}]
"""

RETURN = r"""
commands:
  description: The commands that would run.
  returned: in check mode
  type: list
  elements: list
runs:
  description: >-
    One entry for each scenario: V(scenario), V(command), V(seed), V(started_at), V(seconds), V(figures), V(quantiles) (101
    values of V(ttft), V(tpot) and V(itl) in milliseconds) and V(counters) (growth of the service's own counters).
  returned: success, not in check mode
  type: list
  elements: dict
skipped:
  description: V(name) of each scenario that the service cannot take, with the V(reason).
  returned: success, not in check mode
  type: list
  elements: dict
sweep:
  description: V(points) by concurrency and the V(best) that met the latency, 0 for none; or null.
  returned: success, not in check mode
  type: dict
node:
  description: >-
    What the figures depend on: V(image), V(image_id), V(image_digests), V(container_started_at), V(vllm), V(driver), V(npus),
    V(kernel), V(machine), V(cpus).
  returned: success, not in check mode
  type: dict
"""

import json
import os
import platform
import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.ascend_ops.vllm.plugins.module_utils._bench.run import (
    Bench,
    BenchError,
    command,
    tokens_of,
)
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.engine import (
    Engine,
    EngineError,
    container_state,
)
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.openai import Client
from ansible_collections.ascend_ops.vllm.plugins.module_utils._npu.read import driver_package_version, read_npus
from ansible_collections.ascend_ops.vllm.plugins.module_utils._service.look import api_key


def about(engine, name, client):
    """What figures depend on, of this node: RETURN's ``node``. Raises BenchError without a running container."""
    found = engine.inspect("container", name)
    container = container_state(found, name) if found else None
    if container is None or not container["running"]:
        raise BenchError(f"there is no running container {name} to measure; see status.yml.")
    image = engine.image(container["image_id"]) or {}
    info, unused = read_npus(None, 20.0)
    return {
        "image": found["Config"]["Image"],
        "image_id": container["image_id"],
        "image_digests": image.get("digests", []),
        "container_started_at": container["started_at"],
        "vllm": client.version(),
        "driver": driver_package_version() or "",
        "npus": sorted({device["name"] for device in (info or {}).get("devices", []) if device["name"]}),
        "kernel": platform.release(),
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
    }


def fitting(scenarios, limit):
    """``(scenarios that fit, [{"name", "reason"}] of the others)`` for a service that takes *limit* tokens; 0 for no limit."""
    fit, skipped = [], []
    for scenario in scenarios:
        tokens = tokens_of(scenario)
        if limit and tokens > limit:
            reason = (
                f"its requests have {tokens} tokens and the service takes {limit} (max-model-len). Deploy with a larger "
                "max-model-len in vllm_recipe_args, or choose another scenario"
            )
            if scenario.get("named"):
                raise BenchError("{0}: {1}.".format(scenario["name"], reason))
            skipped.append({"name": scenario["name"], "reason": reason})
        else:
            fit.append(scenario)
    if not fit:
        raise BenchError(
            "no scenario can be run: " + "; ".join("{name}: {reason}".format(**entry) for entry in skipped) + "."
        )
    return fit, skipped


def measure(params, engine):
    """Measure all scenarios: what the module returns."""
    client = Client(params["url"], params["model"], 30, api_key(params["name"]), params["ca_file"])
    node = about(engine, params["name"], client)
    verdict = client.models()
    if verdict["verdict"] != "pass":
        raise BenchError("{seen}; wanted {wanted}. {remedy}".format(**verdict))
    scenarios, skipped = fitting(params["scenarios"], client.max_model_len())
    sweep = params["sweep"]
    wide = [scenario for scenario in scenarios if scenario["name"] == sweep.get("scenario")]
    if sweep and not wide:
        raise BenchError("{0}, of vllm_benchmark_sweep, does not fit the service.".format(sweep.get("scenario")))
    ca = ""
    if params["ca_file"] and params["url"].startswith("https:"):
        with open(params["ca_file"], encoding="utf-8") as stream:
            ca = stream.read()
    seed = params["seed"] or int(time.time())
    with Bench(engine, params["name"], client, params, params["timeout"], ca) as bench:
        return {
            "node": node,
            "skipped": skipped,
            "runs": [bench.run(scenario, seed) for scenario in scenarios],
            "sweep": bench.sweep(wide[0], seed, sweep) if sweep else None,
        }


def main():
    module = AnsibleModule(
        argument_spec=dict(
            name=dict(type="str", required=True),
            url=dict(type="str", required=True),
            model=dict(type="str", required=True),
            tokenizer=dict(type="str", required=True, no_log=False),
            trust_remote_code=dict(type="bool", default=False),
            ca_file=dict(type="str", default=""),
            scenarios=dict(type="list", elements="dict", required=True),
            sweep=dict(type="dict", default={}),
            seed=dict(type="int", default=0),
            timeout=dict(type="int", default=7200),
            engine=dict(type="str", default="docker"),
        ),
        supports_check_mode=True,
    )
    params = module.params
    if module.check_mode:
        commands = [command(scenario, params, params["seed"], "/tmp") for scenario in params["scenarios"]]
        module.exit_json(changed=False, commands=commands)
    try:
        result = measure(params, Engine(params["engine"]))
    except (BenchError, EngineError, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, **json.loads(json.dumps(result)))


if __name__ == "__main__":
    main()
