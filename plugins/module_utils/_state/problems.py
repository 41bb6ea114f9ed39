# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong on one node, one problem per cause, from what the node reports and its plan. Pure; on the controller.

A problem is ``{"id", "host", "seen", "do"}``: what was seen there and what to do about it, as sentences.
"""

from __future__ import annotations

from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.ssh import ssh_remedy
from ansible_collections.ascend_ops.vllm.plugins.module_utils._state.records import RECIPE
from ansible_collections.ascend_ops.vllm.plugins.module_utils._state.text import STALE, duration, short, words

# Seconds that its first check may take, after a deploy for instance: it begins within 2 s and asks the service for tokens.
FIRST_LOOK = 30
# States of the supervisor that call for somebody, whatever the service does.
TROUBLE = ("failing", "restarting", "gave-up", "down")
# How many options and variables one problem lists.
LISTED = 6


def problem(host, name, seen, do):
    """One problem."""
    return {"id": name, "host": host, "seen": seen, "do": do}


def node_problems(process, facts):
    """What is wrong on one node, the causes first.

    :param process: the process plan of the node.
    :param facts: the return value ``status`` of the module vllm_status; or ``{"error": str}``.
    :raises AttributeError, IndexError, KeyError, TypeError, ValueError: the facts are not those of this version.
    """
    host = process["host"]
    if facts.get("error"):
        do = ssh_remedy(process["address"], facts.get("user"), facts.get("port"))
        return [problem(host, "node.unreachable", facts["error"], do)]
    deploy = f"deploy_{process['hardware']}.yml"
    name = process["container"]["name"]
    if not facts["engine_error"] and facts["container"] is None and all(file["missing"] for file in facts["files"]):
        seen = f"nothing is deployed here: there is neither container {name} nor its files"
        if facts["others"]:
            seen += f"; this collection created {', '.join(facts['others'])} here: another vllm_recipe_container.name?"
        return [problem(host, "node.bare", seen, f"Run {deploy}.")]
    found = (
        _of_container(facts, name, deploy, process["container"])
        + _of_files(facts, deploy)
        + _of_process(facts, deploy)
        + _of_secrets(facts, deploy)
        + _of_deployed(process, facts, deploy)
        + _of_tuning(facts, deploy)
        + _of_supervisor(facts, name, deploy)
        + _of_probe(facts, name)
    )
    return [problem(host, *one) for one in found]


def items_of(facts, *sections):
    """The drift of a node in some sections."""
    return [item for item in facts["drift"] if item["section"] in sections]


def listed(items):
    """``max-num-seqs: 32 -> 64, HCCL_BUFFSIZE: 7 -> 1024``."""
    lines = [item["text"] for item in items]
    more = f" and {len(lines) - LISTED} more" if len(lines) > LISTED else ""
    return ", ".join(lines[:LISTED]) + more


def _of_container(facts, name, deploy, spec):
    container, image = facts["container"], spec["image"]
    if facts["engine_error"]:
        do = "Repair the engine on the node; nothing is known of its containers."
        return [("engine.down", facts["engine_error"], do)]
    if container is None:
        seen = f"the container {name} is missing"
        if facts["others"]:
            seen += f"; this collection created {', '.join(facts['others'])} here"
        return [("container.missing", seen, f"Run {deploy}.")]
    if container["foreign"]:
        seen = f"somebody else created the container {name}, of the image {container['image']} ({container['status']})"
        do = (
            f"Find out who needs it. Then remove it ('docker rm -f {name}') and run {deploy}, or replace it with -e "
            "npu_container_adopt=true."
        )
        return [("container.foreign", seen, do)]
    result = []
    if not container["running"]:
        killed = ", killed because the memory was full" if container["oom_killed"] else ""
        error = f", {container['error']}" if container["error"] else ""
        seen = f"the container {name} does not run: {container['status']}, exit code {container['exit_code']}{killed}{error}"
        why = f"Read 'docker logs {name}' for why; then run start.yml."
        for cause in facts["causes"][:1]:
            seen += f". {cause['meaning']} [{cause['id']}] The log says: {cause['line']}"
            why = f"{cause['advice']} Then run start.yml."
        result.append(("container.stopped", seen, why))
    if facts["image"] is None:
        seen = (
            f"the plan's image {image} is not on the node; the container was created from {container['image']} "
            f"({short(container['image_id'])})"
        )
        do = f"{deploy} brings it; without it a lost container cannot be created again."
        result.append(("image.missing", seen, do))
    result.extend(_made_otherwise(facts, name, deploy, spec))
    if facts["missing_mounts"]:
        seen = f"the node lacks {', '.join(facts['missing_mounts'])}, which the container mounts"
        result.append(("container.mounts", seen, "Provide it: a restart of the container fails without."))
    return result


def _made_otherwise(facts, name, deploy, spec):
    """The container is not as planned; the restart policy alone can be corrected while it runs."""
    items = items_of(facts, "container")
    if [(item["path"], item["origin"]) for item in items] == [("restart", "edited")]:
        wanted = spec["restart"]
        seen = f"the restart policy of {name} was changed by hand: {items[0]['was'] or 'none'} -> {wanted}"
        return [("container.restart_policy", seen, f"docker update --restart {wanted} {name}")]
    if not items:
        return []
    do = f"'{deploy} --check --diff' shows what a deploy changes; run it without --check, or reset the variable."
    return [("container.differs", f"the container {name} differs from the plan: {listed(items)}", do)]


def _of_files(facts, deploy):
    result = []
    missing = [file["path"] for file in facts["files"] if file["missing"]]
    if missing:
        result.append(("files.missing", "missing: " + ", ".join(missing), f"Run {deploy}."))
    for file in facts["files"]:
        for change in file["changes"]:
            result.append(_changed(facts, file["path"], change, deploy))
        if not file["missing"] and file["mode"] != file["wanted_mode"]:
            seen = f"{file['path']} has mode {file['mode']} and not {file['wanted_mode']}"
            result.append(("files.mode", seen, f"chmod {file['wanted_mode']} {file['path']}"))
    if facts["files_error"]:
        do = "Compare the node's addresses with the inventory's."
        result.append(("files.unknown", facts["files_error"], do))
    return result


def _changed(facts, path, change, deploy):
    """One way in which a file came to differ, with the options and variables that a deploy changes."""
    origin = change["origin"]
    items = [
        item
        for item in items_of(facts, "arguments", "environment")
        if item["file"] == path and item["origin"] in (origin, "both")
    ]
    lines = f"{change['lines']} line{'' if change['lines'] == 1 else 's'}"
    if items:
        lines += f"; a deploy changes {listed(items)}"
    if origin == "edited":
        do = f"Put what is needed into a variable, then run {deploy}: it replaces the file."
        return ("files.edited", f"{path} was edited by hand since it was deployed: {lines}", do)
    if origin == "variable":
        seen = f"a variable, or this collection, changed since {path} was deployed: {lines}"
        return ("files.variable", seen, f"Run {deploy} to apply it, or reset the variable.")
    seen = f"{path} differs from the plan: {lines}. It was edited by hand, or a variable or this collection changed"
    return ("files.differ", seen, f"'{deploy} --check --diff' shows the lines; without --check it replaces the file.")


def _of_process(facts, deploy):
    """What runs is not what the files say; where the files are newer than what runs, that is the cause."""
    items = items_of(facts, "process")
    newer = [item["file"] for item in items if item["file"]]
    differs = [item for item in items if not item["file"]]
    restart = f"Run {deploy}, or restart.yml when the files are right."
    if differs:
        seen = f"the running process differs from the plan and its files: {listed(differs)}"
        if newer:
            seen += f"; written after the container was started: {', '.join(newer)}"
        return [("process.differs", seen, restart)]
    if newer:
        seen = "written after the container was started, so that it runs something older: " + ", ".join(newer)
        return [("files.newer", seen, restart)]
    return []


def _of_secrets(facts, deploy):
    secrets = facts["secrets"]
    path = secrets["path"]
    result = []
    if not secrets["missing"] and secrets["mode"] != "0600":
        result.append(("secrets.mode", f"{path} has mode {secrets['mode']}: others can read it", f"chmod 0600 {path}"))
    lacks = sorted(set(secrets["wanted"]) - set(secrets["names"]))
    more = sorted(set(secrets["names"]) - set(secrets["wanted"]))
    seen = []
    if lacks:
        seen.append(f"lacks {', '.join(lacks)}")
    if more:
        seen.append(f"has {', '.join(more)}, which vllm_service_secrets of this run has not")
    if seen:
        do = f"Run {deploy}, and status.yml, with the same vault."
        result.append(("secrets.names", f"{path} {' and '.join(seen)}", do))
    return result


def _of_deployed(process, facts, deploy):
    container = facts["container"]
    if facts["engine_error"] or container is None or container["foreign"]:
        return []
    current = (facts["deployed"] or {}).get("current")
    if not current:
        return [("deployed.missing", "no verified deploy is recorded here", f"Run {deploy} to its end.")]
    wanted, found = process["recipe"], current["recipe"]
    differs = [f"{key}: {words(found[key])} -> {words(wanted[key])}" for key in RECIPE if found[key] != wanted[key]]
    if differs:
        do = f"Run {deploy} to apply the plan, or reset the variable."
        return [("deployed.differs", f"the deployed recipe differs: {', '.join(differs)}", do)]
    return []


def _of_tuning(facts, deploy):
    if not facts["tuning"]:
        return []
    if facts["tuning"]["error"]:
        return [("tuning.unknown", facts["tuning"]["error"], "Repair it; see the role npu_host_tuning.")]
    items = items_of(facts, "tuning")
    if not items:
        return []
    do = (
        f"{deploy} sets it again, without a restart. If no npu_host_tuning variable changed, find out what resets it (another "
        "tuning service?)."
    )
    return [("tuning.differs", "; ".join(item["text"] for item in items), do)]


def _of_supervisor(facts, name, deploy):
    supervisor = facts["supervisor"]
    timer = f"ascend-vllm@{name}.timer"
    if not supervisor["wanted"]:
        if not supervisor["active"]:
            return []
        seen = f"{timer} is active, though supervision is turned off in the inventory"
        return [("supervisor.on", seen, f"Run {deploy}.")]
    if supervisor["error"] or not (supervisor["active"] and supervisor["enabled"]):
        return [_unsupervised(facts, timer, deploy)]
    state = supervisor["state"]
    why = "".join(f"; {text}" for text in supervisor.get("trouble") or [])
    do = f"Take that away, then run {deploy}." if why else f"See 'journalctl -u ascend-vllm@{name}'."
    if state is None:
        if supervisor["for"] is not None and supervisor["for"] < FIRST_LOOK:
            return []
        return [("supervisor.silent", f"{timer} is active, and has reported nothing{why}", do)]
    age = facts["time"] - state["checked_at"]
    if age > STALE:
        return [("supervisor.stale", f"the last check of the supervisor was {duration(age)} ago{why}", do)]
    found = []
    if state.get("memory"):
        do = "Make room there, or mount it writable: 'df -h', 'df -i' and 'dmesg' on the node. Repairs go on meanwhile."
        found.append(("supervisor.memory", "the supervisor " + state["memory"], do))
    return found + _watched(state, name, deploy)


def _watched(state, name, deploy):
    """What the supervisor found that calls for somebody."""
    if state["state"] not in TROUBLE:
        return []
    do = f"Read 'docker logs {name}'; the supervisor continues by itself."
    if state["state"] == "gave-up":
        do = f"Read 'docker logs {name}', fix the cause, then run {deploy}."
    seen = f"{state['state']}: {state.get('reason') or 'no reason reported'}"
    return [("supervisor." + state["state"].replace("-", "_"), seen, do)]


def _unsupervised(facts, timer, deploy):
    supervisor = facts["supervisor"]
    if supervisor["error"]:
        how = supervisor["error"]
    elif not supervisor["loaded"]:
        how = "is not installed"
    elif not supervisor["active"]:
        how = "is not active"
    else:
        how = "is not enabled, and does not start after a reboot"
    do = f"Run {deploy}."
    if supervisor["loaded"]:
        running = facts["container"] and facts["container"]["running"]
        do = f"systemctl enable --now {timer}." if running else "start.yml enables it with the service."
    return ("supervisor.off", f"the service is not supervised: {timer} {how}", do)


def _of_probe(facts, name):
    probe = facts["probe"]
    if probe is None or probe["state"] == "ready":
        return []
    if not facts["engine_error"] and not (facts["container"] and facts["container"]["running"]):
        return []  # what is said of the container is the cause
    last = probe["verdicts"][-1]
    do = last["remedy"]
    if do.startswith("Compare served-model-name") and not last["seen"].startswith("serves "):  # no answer, or an error
        do = f"Read 'docker logs {name}' on the node; restart.yml restarts the whole replica."
    if (facts["supervisor"]["state"] or {}).get("state") == "starting":
        do = "It is starting, and may still load its weights: run status.yml again."
    return [("service.silent", f"no tokens: {last['seen']}", do)]
