"""What goes wrong on real clusters, done to the lab: the run ends early, says why, and harms nothing."""

import json
import re
import subprocess
import threading
import time

import pytest

from .conftest import ROOT, answers, lab, playbook


def refused(run, *wanted):
    """A run that stopped before it changed anything, with all that its message is to say."""
    assert run.rc != 0, run.output
    assert "Traceback" not in run.output
    assert set(run.changed.values()) <= {0}, run.output
    for text in wanted:
        assert text in run.words, f"'{text}' is not in:\n{run.output}"


CASES = {
    "unreachable secondary": (
        "a2-node2",
        ["unreachable"],
        ["a2-node2: node.reachable is fail", "ssh root@10.213.0.12"],
    ),
    "chip missing": (
        "a2-node1",
        ["missing-chip", "3"],
        ["a2-node1: npu.count is fail: seen 7 chips", "missing: NPU 3"],
    ),
    "unhealthy chip": (
        "a2-node2",
        ["unhealthy-chip", "5:Critical"],
        ["a2-node2: npu.health is fail", "NPU 5", "Critical"],
    ),
    "busy chip": ("a2-node1", ["busy-chip"], ["a2-node1: npu.idle.processes is fail", "python3.10"]),
    "driver down": ("a2-node1", ["driver-down"], ["a2-node1: npu.tool is fail", "-8005"]),
    "npu-smi hangs": ("a2-node1", ["npu-smi-hangs"], ["a2-node1: npu.tool is fail"]),
    "weights missing": (
        "a2-node2",
        ["weights-missing"],
        ["a2-node2: weights.served is fail", "/opt/data/verification/models/MiniMax-M2.5", "vllm_recipe_weights_dir"],
    ),
    "weights incomplete": ("a2-node1", ["weights-incomplete"], ["a2-node1: weights.served is fail", "shards"]),
    "weights truncated": ("a2-node1", ["weights-truncated"], ["a2-node1: weights.served is fail", "its header says"]),
    "no device nodes": ("a2-node1", ["no-device-nodes"], ["a2-node1: npu.devices is fail", "/dev/davinci0"]),
    "no hccn.conf": ("a2-node2", ["no-hccn-conf"], ["a2-node2: fabric.hccn_conf is fail", "returns wrong answers"]),
}


@pytest.mark.parametrize("case", CASES)
def test_preflight_stops_a_deploy_and_the_running_service_goes_on(case, broken):
    node, fault, wanted = CASES[case]
    broken(node, *fault)
    refused(playbook("deploy_a2.yml", "-e", "npu_preflight_timeout=5"), *wanted)
    assert answers()


def checked(path):
    """A preflight whose commands may take five seconds, and that stops on nothing: the run, and the first node's checks by id."""
    run = playbook("preflight.yml", "-e", "npu_preflight_timeout=5", "-e", f"npu_preflight_report={path}")
    assert run.rc == 0, run.output
    (report,) = json.loads(path.read_text())
    return run, {check["id"]: check for check in report["nodes"][0]["checks"]}


def test_a_slow_engine_accuses_nobody_while_the_service_runs(broken, tmp_path):
    broken("a2-node1", "engine-slow", "40")
    run, found = checked(tmp_path / "verdicts.json")
    assert not [check for check in found.values() if check["verdict"] == "fail"], run.output
    for name in ("engine.running", "npu.idle.processes", "port.api", "service.stale"):
        assert found[name]["verdict"] == "unknown", found[name]
    assert "the engine did not answer within 5 s" in found["node.load"]["seen"]
    assert answers()


def test_an_engine_that_answers_when_it_is_asked_alone_is_only_slow(broken, tmp_path):
    broken("a2-node1", "engine-slow", "7")
    unused, found = checked(tmp_path / "verdicts.json")
    assert found["engine.running"]["verdict"] == found["npu.idle.processes"]["verdict"] == "pass"
    assert "but when it was asked alone" in found["node.load"]["seen"]


def test_all_failures_are_reported_at_once(broken):
    broken("a2-node1", "missing-chip", "3")
    broken("a2-node2", "weights-missing")
    refused(playbook("preflight.yml"), "a2-node1: npu.count is fail", "a2-node2: weights.served is fail")


LAYOUTS = {
    "two primaries": ({"a2_primary": ["a2-node1", "a2-node2"]}, ["the inventory has no host in a2_secondary"]),
    "no secondary": ({"a2_primary": ["a2-node1"]}, ["the inventory has no host in a2_secondary"]),
    "groups misspelt": (
        {"a2-primary": ["a2-node1"], "a2-secondary": ["a2-node2"]},
        ["no host in a2_primary", "Did you mean 'a2-primary'?"],
    ),
    "in both groups": (
        {"a2_primary": ["a2-node1", "a2-node2"], "a2_secondary": ["a2-node2"]},
        ["node a2-node2: is in the groups a2_primary, a2_secondary"],
    ),
    "wrong hardware": ({"a3": ["a2-node1"]}, ["the inventory has no host in a2_primary"]),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_wrong_groups_are_refused_before_a_node_is_asked(layout, inventory):
    groups, wanted = LAYOUTS[layout]
    run = playbook("deploy_a2.yml", inventory=inventory(groups))
    refused(run, *wanted)
    assert "Gather node facts" not in run.output


def test_an_address_that_no_interface_carries(inventory):
    groups = {"a2_primary": ["a2-node1"], "a2_secondary": ["a2-node2"]}
    run = playbook("deploy_a2.yml", inventory=inventory(groups, a2_node2={"vllm_recipe_address": "10.213.0.99"}))
    refused(
        run,
        "a2-node2: network.address is fail",
        "10.213.0.12 (eth0)",
        "10.213.0.99 on an interface",
        "vllm_recipe_address",
    )


def test_a_replica_cut_by_limit_is_refused():
    refused(playbook("deploy_a2.yml", "--limit", "a2-node1,localhost"), "--limit must name all nodes")


def test_a_primary_restarted_by_hand_is_brought_back_with_its_whole_replica():
    lab("ssh", "a2-node1", "docker restart -t 5 minimax2_5")
    started = lab("ssh", "a2-node2", "docker inspect -f '{{.State.StartedAt}}' minimax2_5")
    time.sleep(3)
    run = playbook("deploy_a2.yml")
    assert run.rc == 0, run.output
    assert answers()
    assert lab("ssh", "a2-node2", "docker inspect -f '{{.State.StartedAt}}' minimax2_5") != started


def test_a_service_that_cannot_start_fails_at_once_with_its_cause():
    run = playbook(
        "deploy_a2.yml", "-e", '{"vllm_recipe_args": {"tensor-parallel-size": 1, "max-model-len": 99999999}}'
    )
    assert run.rc != 0
    assert "before the service answered" in run.words
    assert "[model-length] The log says: Value error, User-specified max_model_len (99999999)" in run.words
    assert "exit code 1" in run.words
    for node in ("a2-node1", "a2-node2"):
        assert lab("ssh", node, "docker ps --quiet").strip() == ""


def test_a_secondary_that_dies_ends_the_waiting_of_the_primary():
    def kill():
        for _ in range(120):
            if lab("ssh", "a2-node2", "docker ps --quiet --filter name=minimax2_5").strip():
                time.sleep(5)
                lab("ssh", "a2-node2", "docker kill minimax2_5")
                return
            time.sleep(1)

    playbook("stop.yml")
    killer = threading.Thread(target=kill)
    killer.start()
    run = playbook("deploy_a2.yml", timeout=180)
    killer.join()
    assert run.rc != 0
    assert "a2-node2: the container minimax2_5 died (exit code 137)" in run.words
    assert "a2-node1: stopped waiting, since a2-node2 will not come up" in run.words
    assert lab("ssh", "a2-node1", "docker ps --quiet").strip() == ""


def test_a_taken_port_is_named_with_its_holder(broken):
    """The service does not run at this point: the tests before this one ended it."""
    broken("a2-node1", "port-taken", "20004")
    refused(playbook("deploy_a2.yml"), "a2-node1: port.api is fail: seen 20004 taken by pid", "port 20004 free")


def test_a_start_looks_at_its_ports_first(broken):
    """The service still does not run."""
    broken("a2-node1", "port-taken", "20004")
    refused(playbook("start.yml"), "a2-node1: ports of the service are taken: 20004 by pid", "Nothing was started")
    assert lab("ssh", "a2-node2", "docker ps --quiet").strip() == ""


def test_a_container_of_somebody_else_is_left_alone():
    playbook("teardown.yml", "-e", "vllm_teardown_confirm=yes")
    lab("ssh", "a2-node1", "docker create --name minimax2_5 quay.io/ascend/vllm-ascend:v0.20.2rc1 sleep 1")
    try:
        refused(playbook("deploy_a2.yml"), "a2-node1: container.name is fail", "docker rm -f minimax2_5")
        run = playbook("teardown.yml", "-e", "vllm_teardown_confirm=yes")
        assert "did not make" in run.words
        assert lab("ssh", "a2-node1", "docker ps --all --quiet --filter name=minimax2_5").strip() != ""
    finally:
        lab("ssh", "a2-node1", "docker rm minimax2_5")


def test_a_deploy_after_all_that_brings_the_service_back_and_shows_what_matters():
    run = playbook("deploy_a2.yml")
    assert run.rc == 0, run.output
    assert answers()
    headings = re.findall(r"^TASK \[(.*?)\]", run.output, re.M)
    assert 12 < len(headings) <= 25, headings
    assert not [name for name in headings if "Validating arguments" in name] and "skipping:" not in run.output
    assert "replica default: start (nothing runs yet)" in run.output


TAGS = {
    "tuning": ["Tune the host"],
    "preflight": ["Evaluate preflight checks"],
    "verify": ["Verify that the service answers"],
}


@pytest.mark.parametrize("tag", TAGS)
def test_a_tag_runs_its_part_alone(tag):
    run = playbook("deploy_a2.yml", "--tags", tag)
    assert run.rc == 0 and set(run.changed.values()) == {0}, run.output
    for name in sum(TAGS.values(), []):
        assert (name in run.output) == (name in TAGS[tag]), run.output


@pytest.mark.parametrize(
    "name, tag, wanted",
    [
        (
            "deploy_a2.yml",
            "tunin",
            "there is no tag 'tunin'; the tags are preflight, tuning, container, service, verify. Did",
        ),
        ("status.yml", "tuning", "there is no tag 'tuning'; this playbook has no tags"),
    ],
)
def test_a_tag_that_does_not_exist_is_refused(name, tag, wanted):
    refused(playbook(name, "--tags", tag), wanted)


def test_plan_needs_no_node_that_can_be_reached():
    completed = subprocess.run(
        ["ansible-playbook", str(ROOT / "playbooks/plan.yml"), "-i", str(ROOT / "inventories/fleet")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert completed.returncode == 0, completed.stdout + completed.stderr
    assert completed.stdout.count("vllm serve ") == 5
