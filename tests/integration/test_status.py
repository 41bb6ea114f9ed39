"""What status.yml tells of a service on two nodes: nothing where there is no drift, and each drift by its name.

The tests go on from what the one before them left: the drifts are mended by one deploy at the end.
"""

import json
import time

import pytest
from ansible_collections.ascend_ops.vllm.plugins.module_utils._service.replica import TOGETHER

from .conftest import answers, lab, playbook

NODES = ("a2-node1", "a2-node2")
FOLDER = "/etc/ascend-vllm/minimax2_5"
TIMER = "ascend-vllm@minimax2_5.timer"
# What must be the same before and after. What the supervisor writes by itself is not among it.
LOOK = (
    "find /etc /usr/local/lib /var/lib/ascend-vllm -path '*ascend-vllm*' -not -path '*__pycache__*' -not -name supervisor.json "
    "-printf '%p %m %s %T@\\n' | sort; "
    "docker inspect -f '{{.Id}} {{.State.StartedAt}} {{.RestartCount}} {{.HostConfig.RestartPolicy.Name}}' minimax2_5; "
    "docker images --quiet; docker ps --all --quiet; docker network ls --quiet; "
    "cat /proc/sys/vm/swappiness /proc/sys/kernel/numa_balancing; systemctl list-units --all --plain --no-legend '*.timer' "
    "| awk '{print $1, $3}'"
)


@pytest.fixture(scope="module", autouse=True)
def as_deployed(deployed):
    """Whatever other tests left: the service is deployed."""
    run = playbook("deploy_a2.yml")
    assert run.rc == 0, run.output


@pytest.fixture
def status(tmp_path):
    """A function that runs status.yml; it gives the run, the replica of the report, and ids of problems by node.

    Each run is seen to change nothing on the nodes that can be reached.
    """

    def ask(*arguments, look=NODES):
        before = [lab("ssh", node, LOOK) for node in look]
        path = tmp_path / "status.json"
        run = playbook("status.yml", "-e", f"vllm_status_file={path}", *arguments)
        assert [lab("ssh", node, LOOK) for node in look] == before
        assert set(run.changed.values()) == {0}, run.output
        assert "Traceback" not in run.output
        report = json.loads(path.read_text())
        (replica,) = report["replicas"]
        assert report["ok"] == replica["ok"] == (bool(replica["serving"]) and not replica["problems"])
        ids = {node: set() for node in NODES}
        for problem in replica["problems"]:
            assert problem["seen"] and problem["do"]
            assert f"{problem['id']}: " in run.output
            for host in problem["host"].split(", "):
                ids[host].add(problem["id"])
        return run, replica, ids

    return ask


def problem(replica, name):
    """The one problem of a kind."""
    (found,) = [item for item in replica["problems"] if item["id"] == name]
    return found


@pytest.mark.parametrize("arguments", [(), ("--check",)], ids=["run", "check"])
def test_a_service_as_deployed_has_no_drift(arguments, status):
    run, replica, _ids = status("-e", "vllm_status_strict=true", *arguments)
    assert run.rc == 0, run.output
    assert replica["problems"] == []
    assert "1 replica: 1 serving without drift, 0 with problems. Next: nothing to do." in run.words
    primary, secondary = replica["nodes"]
    assert primary["probe"]["state"] == "ready" and primary["probe"]["verdicts"][-1]["tokens"] > 0
    assert secondary["probe"] is None
    for node in (primary, secondary):
        assert node["container"]["running"] and node["supervisor"]["active"] and not node["tuning"]["error"]
    assert "docker ps" not in run.output and "VLLM_CPU_KVCACHE_SPACE=1" not in json.dumps(replica)


def test_a_supervisor_that_cannot_write_its_state_is_named_with_the_cause(status):
    place = "/run/ascend-vllm"
    lab(
        "ssh", "a2-node1", f"mount -t tmpfs -o size=4k full {place} && (cat /dev/zero > {place}/full || true); sleep 40"
    )
    try:
        # Not the first node: the folder in which its supervisor keeps the state meanwhile changes at each look of it.
        run, replica, ids = status(look=NODES[1:])
        assert run.rc == 0 and replica["serving"]
        assert ids == {"a2-node1": {"supervisor.memory"}, "a2-node2": set()}
        assert f"cannot write its state: no space left on {place}" in problem(replica, "supervisor.memory")["seen"]
    finally:
        lab("ssh", "a2-node1", f"umount {place}")


def test_a_changed_variable_is_no_edit_by_hand(status):
    arguments = {"tensor-parallel-size": 1, "enforce-eager": True, "max-num-seqs": 77}
    run, replica, ids = status("-e", json.dumps({"lab_args": arguments}))
    assert run.rc == 0
    assert ids == {"a2-node1": {"files.variable"}, "a2-node2": {"files.variable"}}
    assert (
        "a variable, or this collection, changed since /etc/ascend-vllm/minimax2_5/launch.sh was deployed: 1 line; a deploy changes max-num-seqs: 128 -> 77"
        in run.words
    )
    assert replica["serving"] and "1 replica: 0 serving without drift, 1 with problems" in run.words


def test_another_plan_is_told_from_the_deployed_one(status):
    run, _replica, ids = status("-e", "vllm_recipe_release=v0.23.0")
    assert ids["a2-node1"] == {"image.missing", "container.differs", "files.variable", "deployed.differs"}
    assert "the deployed recipe differs: release: v0.20.2rc1 -> v0.23.0" in run.words


def test_another_container_is_told_by_its_part(status):
    run, _replica, ids = status("-e", json.dumps({"vllm_recipe_container": {"shm_size": "2g"}}))
    assert ids == {"a2-node1": {"container.differs"}, "a2-node2": {"container.differs"}}
    assert "differs from the plan: shm_size: 1g -> 2g" in run.words


def test_an_unreachable_node_is_a_row(status, broken):
    broken("a2-node2", "unreachable")
    run, replica, ids = status(look=["a2-node1"])
    assert run.rc == 0, run.output
    assert ids == {"a2-node1": set(), "a2-node2": {"node.unreachable"}} and replica["serving"]
    assert "a2-node2 secondary unreachable" in run.words


def test_drifts_made_by_hand(status):
    for node in NODES:
        lab("ssh", node, f"systemctl stop {TIMER}")
    lab("ssh", "a2-node1", f"sleep 1; echo '# by hand' >> {FOLDER}/launch.sh; chmod 0644 {FOLDER}/service.env")
    lab("ssh", "a2-node2", "echo 60 > /proc/sys/vm/swappiness; docker update --restart no minimax2_5")
    run, replica, ids = status("-e", "vllm_status_strict=true")
    assert run.rc != 0 and "with problems (vllm_status_strict)" in run.words
    assert ids == {
        "a2-node1": {"files.edited", "files.newer", "files.mode", "supervisor.off"},
        "a2-node2": {"tuning.differs", "container.restart_policy", "supervisor.off"},
    }
    assert replica["serving"]
    assert "launch.sh was edited by hand since it was deployed: 1 line" in problem(replica, "files.edited")["seen"]
    assert "vm.swappiness: 60 -> 0" in problem(replica, "tuning.differs")["seen"]
    assert problem(replica, "container.restart_policy")["do"] == "docker update --restart unless-stopped minimax2_5"


def test_a_container_stopped_by_hand(status):
    lab("ssh", "a2-node1", "docker stop --time 5 minimax2_5")
    run, replica, ids = status()
    assert run.rc == 0 and not replica["serving"]
    assert "container.stopped" in ids["a2-node1"] and "service.silent" not in ids["a2-node1"]
    assert "replica default: NOT SERVING" in run.words and "logs.yml" in run.words


def test_a_primary_started_by_hand_does_not_serve_beside_its_old_secondary(status):
    age = "echo $(($(date +%s) - $(date +%s -d $(docker inspect -f '{{.State.StartedAt}}' minimax2_5))))"
    time.sleep(max(0, TOGETHER + 2 - int(lab("ssh", "a2-node2", age))))  # younger ones count as started together
    lab("ssh", "a2-node1", "docker start minimax2_5")
    _run, replica, ids = status()
    assert not replica["serving"]
    assert {"service.silent", "replica.apart"} <= ids["a2-node1"] and "replica.apart" in ids["a2-node2"]
    assert "files.newer" not in ids["a2-node1"]  # what runs now is the edited file


def test_a_container_of_somebody_else(status):
    lab(
        "ssh",
        "a2-node2",
        "docker rm --force minimax2_5; tar -cf - -T /dev/null | docker import --change 'CMD [\"true\"]' - lab-empty; "
        "docker create --name minimax2_5 lab-empty",
    )
    run, replica, ids = status()
    assert run.rc == 0
    assert "container.foreign" in ids["a2-node2"] and "container.foreign" not in ids["a2-node1"]
    assert "somebody else created the container minimax2_5, of the image lab-empty (created)" in run.words
    assert "npu_container_adopt=true" in problem(replica, "container.foreign")["do"]
    refused = playbook("deploy_a2.yml")
    assert refused.rc != 0 and "a2-node2: container.name is fail" in refused.words


def test_an_engine_that_is_down(status, broken):
    broken("a2-node2", "engine-down")
    run, _replica, ids = status(look=["a2-node1"])
    assert run.rc == 0 and "engine.down" in ids["a2-node2"]
    assert "a2-node2 secondary no engine" in run.words and "systemctl start docker" in run.words


def test_after_a_deploy_all_of_it_is_gone(status):
    run = playbook("deploy_a2.yml", "-e", "npu_container_adopt=true")
    assert run.rc == 0, run.output
    lab("ssh", "a2-node2", "docker rmi lab-empty")
    run, replica, _ids = status("-e", "vllm_status_strict=true")
    assert run.rc == 0, run.output
    assert replica["problems"] == [] and answers()
