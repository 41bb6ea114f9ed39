"""Each preflight check detects its fault, and does not report it on a healthy node."""

import functools
import json

import pytest

from .conftest import ROOT, lab, playbook
from .proofs import PROOFS


@pytest.fixture(scope="module", autouse=True)
def without_a_service(deployed):
    """Images are loaded and no service is running; afterwards it is started again."""
    assert playbook("stop.yml").rc == 0
    yield
    assert playbook("start.yml").rc == 0


def verdicts(path):
    """{node: {check: verdict}} of a report."""
    return {
        entry["host"]: {check["id"]: check for check in entry["checks"]}
        for report in json.loads(path.read_text())
        for entry in report["nodes"]
    }


@functools.lru_cache(maxsize=None)
def verdicts_of(batch, folder):
    """The verdicts with a batch of faults; batch 0 is the healthy lab."""
    faults = {(proof.node, proof.fault) for proof in PROOFS.values() if proof.batch == batch}
    path = folder / f"{batch}.json"
    try:
        for node, fault in sorted(faults):
            lab("break", node, *fault)
        run = playbook("preflight.yml", "-e", f"npu_preflight_report={path}", "-e", "npu_preflight_timeout=10")
    finally:
        for node in {node for node, _ in faults}:
            lab("mend", node)
    assert "Traceback" not in run.output, run.output
    assert (run.rc != 0) == bool(faults), run.output
    assert set(run.changed.values()) <= {0}, run.output
    return verdicts(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("verdicts")


def test_the_healthy_lab_passes_everything(folder):
    found = {
        (node, name): check["verdict"]
        for node, checks in verdicts_of(0, folder).items()
        for name, check in checks.items()
        if check["verdict"] not in ("pass", "skipped")
    }
    assert found == {}


@pytest.mark.parametrize("name", PROOFS)
def test_check_finds_its_fault(name, folder):
    proof = PROOFS[name]
    seen = verdicts_of(proof.batch, folder)[proof.seen_on or proof.node][name]
    assert seen["verdict"] == proof.verdict, seen
    assert seen["seen"], seen
    assert seen["wanted"], seen
    assert seen["remedy"], seen
    assert proof.says in seen["seen"] + seen["wanted"] + seen["remedy"], seen


def test_saved_facts_are_evaluated_without_the_nodes(folder):
    asked, again = folder / "asked.json", folder / "again.json"
    save = playbook(
        "preflight.yml", "-e", f"npu_preflight_save_facts={folder}/facts", "-e", f"npu_preflight_report={asked}"
    )
    assert save.rc == 0, save.output
    lab("break", "a2-node1", "unreachable")
    try:
        replay = playbook(
            "preflight.yml", "-e", f"npu_preflight_facts_dir={folder}/facts", "-e", f"npu_preflight_report={again}"
        )
    finally:
        lab("mend", "a2-node1")
    assert replay.rc == 0, replay.output
    assert json.loads(asked.read_text()) == json.loads(again.read_text())


def test_without_rights_it_says_so():
    run = playbook("preflight.yml", "-e", "ansible_become=true", "-e", "ansible_become_user=nobody")
    assert run.rc != 0
    assert "Traceback" not in run.output
    assert "a2-node1: node.rights is fail: seen an unprivileged user; wanted root. Set ansible_become" in run.words


def test_two_names_of_one_machine_are_refused_as_that(inventory):
    groups = {"a2_primary": ["a2-node1"], "a2_secondary": ["a2-node2"]}
    wrong = {"ansible_host": "10.213.0.11", "vllm_recipe_address": "10.213.0.12"}
    run = playbook("preflight.yml", inventory=inventory(groups, a2_node2=wrong))
    assert run.rc != 0
    assert "Traceback" not in run.output
    assert "a2-node2: node.machine is fail: seen is the same machine as a2-node1" in run.words
    assert "Correct ansible_host of one of them" in run.words
    assert "network.address is fail" not in run.words


def test_a_file_that_an_option_names_must_be_in_a_mount_and_on_every_node():
    options = '{"vllm_recipe_args": {"tensor-parallel-size": 1, "chat-template": "%s"}}'
    run = playbook("preflight.yml", "-e", options % "/opt/t/x.jinja")
    assert run.rc != 0 and "Gather node facts" not in run.output
    assert "--chat-template is /opt/t/x.jinja, which is in no mount of the container" in run.words

    template = "/opt/data/verification/models/x.jinja"
    lab("ssh", "a2-node1", f"echo x > {template}")
    try:
        run = playbook("preflight.yml", "-e", options % template)
    finally:
        lab("ssh", "a2-node1", f"rm {template}")
    assert run.rc != 0 and "Traceback" not in run.output
    assert f"a2-node2: files.options is fail: seen --chat-template: {template} is not there" in run.words
    assert "a2-node1: files.options is fail" not in run.words


def test_junit_report(folder):
    path = folder / "verdicts.xml"
    run = playbook("preflight.yml", "-e", f"npu_preflight_report={path}")
    assert run.rc == 0, run.output
    assert path.read_text().count("<testsuite ") == 2


def test_a_preflight_is_a_handful_of_round_trips():
    """Tasks that run on a node: one for its own facts, one for what the nodes find out about each other."""
    tasks = (ROOT / "roles" / "npu_preflight" / "tasks" / "main.yml").read_text()
    assert tasks.count("module: node_facts") == tasks.count("module: peer_facts") == 1
    assert tasks.count("ascend_ops.vllm.gather:") == 2
