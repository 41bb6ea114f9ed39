"""What is kept of a proven service, and the way back to it: with a stand-in for docker, in a folder of the test."""

import copy
import hashlib
import json
import os

import pytest
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.engine import Engine
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan import render
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.model import processes
from ansible_collections.ascend_ops.vllm.plugins.module_utils._state import report, revisions
from ansible_collections.ascend_ops.vllm.plugins.module_utils._state.revisions import (
    GenerationError,
    Generations,
    group_of,
    kept_image,
    way_back,
)
from ansible_collections.ascend_ops.vllm.plugins.plugin_utils._plan import plan
from test_engine_modules import IMAGE, IMAGE_ID, Docker, run_module
from test_plan import a3

NODE = processes(plan(a3()))[0]
NAME = NODE["container"]["name"]
HOSTS = [NODE["host"]]
FOLDER = "etc/ascend-vllm/" + NAME


@pytest.fixture
def docker(tmp_path):
    """An engine with the plan's image and its container, on a node with the files of a deploy."""
    made = Docker(tmp_path)
    labels = json.dumps({"ascend_ops.vllm.service": NAME, "ascend_ops.vllm.spec": "spec-1"})
    made.have_image().put("container.json", (tmp_path / "running").read_text().replace('"LABELS"', labels))
    image = json.loads((tmp_path / "container.json").read_text())
    image[0]["Image"] = IMAGE_ID
    made.put("container.json", json.dumps(image))
    (tmp_path / FOLDER).mkdir(parents=True)
    write(tmp_path, "launch.sh", "one\n")
    write(tmp_path, "service.env", "A=1\n", 0o600)
    return made


def write(folder, name, content, mode=0o755):
    path = folder / FOLDER / name
    path.write_text(content)
    path.chmod(mode)


def generations(docker, check=False):
    return Generations(Engine(docker.path), NAME, check, str(docker.folder))


def kept(docker):
    """The folders of generations, and the names that keep their images."""
    folder = docker.folder / "var/lib/ascend-vllm" / NAME / "generations"
    names = (docker.folder / "names").read_text().split() if (docker.folder / "names").exists() else []
    return sorted(os.listdir(folder)) if folder.exists() else [], sorted(name.rpartition(":")[2] for name in names)


def record(docker, group="g1", node=NODE, **options):
    return generations(docker, **options).record(node, group, HOSTS, now=1000)


# -- recording ------------------------------------------------------------------------------------------------------


def test_what_was_proven_is_kept_for_root_alone(docker, tmp_path):
    write(tmp_path, "secrets.env", "VLLM_API_KEY='canary'\n", 0o600)
    identity, changed = record(docker)
    assert changed
    place = tmp_path / "var/lib/ascend-vllm" / NAME / "generations" / identity
    assert place.stat().st_mode & 0o777 == 0o700
    assert {path.name: path.stat().st_mode & 0o777 for path in place.iterdir()} == {
        "launch.sh": 0o755,
        "service.env": 0o600,
        "secrets.env": 0o600,
        "generation.json": 0o600,
    }
    assert json.loads((place / "generation.json").read_text())["node"] == NODE
    record_file = place.parents[1] / "deployed.json"
    assert record_file.stat().st_mode & 0o777 == 0o644
    deployed = json.loads(record_file.read_text())
    assert report.known_record(deployed) == deployed and deployed["previous"] is None
    assert deployed["current"]["id"] == identity and deployed["current"]["image_id"] == IMAGE_ID
    plain = hashlib.sha256(b"VLLM_API_KEY='canary'\n").hexdigest()  # others could try secrets against it
    assert plain not in (place / "generation.json").read_text()
    assert "canary" not in record_file.read_text() + (place / "generation.json").read_text()
    assert kept(docker) == ([identity], [identity])
    assert docker.calls() == [
        f"tag {IMAGE_ID} {kept_image(NAME)}:{identity}",
        "images --format {{.Repository}}:{{.Tag}} " + kept_image(NAME),
    ]


def test_nothing_new_is_not_recorded_again(docker):
    first = record(docker)
    docker.calls()
    assert record(docker) == (first[0], False)
    assert docker.calls() == []
    # Another node of the replica changed: it was proven as another group.
    assert record(docker, group="g2")[1]


CHANGES = {
    "a file": lambda docker, node: write(docker.folder, "launch.sh", "two\n"),
    "a secret": lambda docker, node: write(docker.folder, "secrets.env", "HF_TOKEN='x'\n"),
    "the container": lambda docker, node: node["container"].update(shm_size="2g"),
    "the image behind its name": lambda docker, node: docker.put(
        "container.json", (docker.folder / "container.json").read_text().replace("262a41", "362a41")
    ),
    "the recipe's words": lambda docker, node: node["recipe"].update(release="v9"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_changed_is_a_generation_of_its_own(change, docker):
    node = copy.deepcopy(NODE)
    first = record(docker)
    CHANGES[change](docker, node)
    second, changed = record(docker, node=node)
    assert changed and second != first[0]
    assert generations(docker).deployed()["previous"]["id"] == first[0]


def test_two_generations_are_kept(docker, tmp_path):
    made = []
    for text in ("one", "two", "three"):
        write(tmp_path, "launch.sh", text)
        made.append(record(docker)[0])
    assert kept(docker) == (sorted(made[1:]), sorted(made[1:]))
    deployed = generations(docker).deployed()
    assert [deployed["current"]["id"], deployed["previous"]["id"]] == made[:0:-1]


def test_what_a_broken_off_run_left_goes(docker, tmp_path):
    (tmp_path / "var/lib/ascend-vllm" / NAME / "generations" / ".half").mkdir(parents=True)
    docker.put("names", kept_image(NAME) + ":0123\n")
    identity, _changed = record(docker)
    assert kept(docker) == ([identity], [identity])


def test_a_damaged_generation_is_recorded_anew(docker, tmp_path):
    write(tmp_path, "launch.sh", "zero\n")
    before, _changed = record(docker)
    write(tmp_path, "launch.sh", "one\n")
    identity, _changed = record(docker)
    place = tmp_path / "var/lib/ascend-vllm" / NAME / "generations" / identity
    (place / "service.env").write_text("B=2\n")
    assert record(docker) == (identity, True)
    assert (place / "service.env").read_text() == "A=1\n"
    assert generations(docker).deployed()["previous"]["id"] == before


def test_check_mode_keeps_nothing_and_shows_it(docker):
    seen = generations(docker, check=True)
    identity, changed = seen.record(NODE, "g1", HOSTS)
    assert changed and kept(docker) == ([], []) and docker.calls() == []
    assert identity in seen.diff[0]["after"] and identity not in seen.diff[0]["before"]
    assert not (docker.folder / "var").exists()


def test_what_cannot_be_recorded(docker, tmp_path):
    (tmp_path / FOLDER / "launch.sh").unlink()
    with pytest.raises(GenerationError, match="there is no /etc/ascend-vllm/.*/launch.sh to record; deploy again"):
        record(docker)
    (tmp_path / "container.json").unlink()
    with pytest.raises(GenerationError, match=f"there is no container '{NAME}' to record"):
        record(docker)


@pytest.mark.parametrize("name, wanted", [("minimax2_5", "minimax2-5"), ("My.Name_", "my-name")])
def test_a_name_that_an_image_can_have(name, wanted):
    assert kept_image(name) == "ascend-vllm-kept/" + wanted


# -- going back -----------------------------------------------------------------------------------------------------


def two(docker):
    """Two generations; the second one has a secret."""
    first = record(docker)[0]
    write(docker.folder, "launch.sh", "two\n")
    write(docker.folder, "secrets.env", "VLLM_API_KEY='canary'\n", 0o600)
    return first, record(docker)[0]


def test_the_files_of_before_come_back_and_later_secrets_go(docker, tmp_path):
    first, second = two(docker)
    checked = generations(docker, check=True).restore("previous")
    assert checked["written"] == ["launch.sh", "secrets.env"] and (tmp_path / FOLDER / "secrets.env").exists()
    seen = generations(docker)
    done = seen.restore("previous")
    assert (done["generation"]["id"], done["node"], done["written"]) == (first, NODE, ["launch.sh", "secrets.env"])
    assert "canary" not in json.dumps(seen.diff)
    assert (tmp_path / FOLDER / "launch.sh").read_text() == "one\n"
    assert not (tmp_path / FOLDER / "secrets.env").exists()
    assert done["mtime"] > checked["mtime"]
    assert generations(docker).restore("previous")["written"] == []
    assert generations(docker).restore(second)["written"] == ["launch.sh", "secrets.env"]
    assert (tmp_path / FOLDER / "secrets.env").stat().st_mode & 0o777 == 0o600


def test_current_and_previous_change_places(docker):
    first, second = two(docker)
    assert generations(docker).accept(second) == (second, False)
    assert generations(docker, check=True).accept(first) == (first, True)
    assert generations(docker).deployed()["current"]["id"] == second
    assert generations(docker).accept(first, now=2000) == (first, True)
    deployed = generations(docker).deployed()
    assert [deployed[word]["id"] for word in ("current", "previous")] == [first, second]
    assert deployed["current"]["proven_at"] == 2000
    assert kept(docker) == (sorted([first, second]), sorted([first, second]))
    write(docker.folder, "launch.sh", "one\n")
    (docker.folder / FOLDER / "secrets.env").unlink()
    assert record(docker) == (first, False)  # a deploy of the old variables finds nothing to record


def test_an_image_whose_name_was_given_away_is_had_by_its_kept_name(docker, tmp_path):
    record(docker)
    calls = []
    engine = Engine(docker.path)
    real = engine.image

    def image(name):
        calls.append(name)
        return dict(real(name), id="sha256:other") if name == IMAGE else real(name)

    engine.image = image
    seen = Generations(engine, NAME, root=str(tmp_path))
    node = seen.restore("current")["node"]
    assert node["container"]["image"] == kept_image(NAME) + ":" + seen.deployed()["current"]["id"]
    assert dict(node["container"], image=IMAGE) == NODE["container"]


def test_what_cannot_be_gone_back_to(docker, tmp_path):
    with pytest.raises(GenerationError, match="no current generation of .* no deploy was proven to answer here"):
        generations(docker).restore("current")
    identity, _changed = record(docker)
    with pytest.raises(GenerationError, match="no previous generation of .* nothing else was proven"):
        generations(docker).restore("previous")
    with pytest.raises(GenerationError, match=f"there is no generation 77 of {NAME}; there are: {identity}."):
        generations(docker).restore("77")
    (tmp_path / "image.json").unlink()
    with pytest.raises(GenerationError, match="the image .* is not on the node any more. Bring it back"):
        generations(docker).restore("current")
    docker.have_image()
    (tmp_path / "var/lib/ascend-vllm" / NAME / "generations" / identity / "launch.sh").write_text("else")
    with pytest.raises(GenerationError, match="is damaged or missing"):
        generations(docker).restore("current")
    assert (tmp_path / FOLDER / "launch.sh").read_text() == "one\n"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"current": 7}', '{"current": {"id": "1"}}'])
def test_a_record_that_is_none(text, docker, tmp_path):
    (tmp_path / "var/lib/ascend-vllm" / NAME).mkdir(parents=True)
    (tmp_path / "var/lib/ascend-vllm" / NAME / "deployed.json").write_text(text)
    assert generations(docker).deployed() == {"current": None, "previous": None}
    assert record(docker)[1]


def test_what_is_there_is_told(docker, tmp_path):
    assert generations(docker).look() == {"current": None, "previous": None, "live": False}
    first, second = two(docker)
    seen = generations(docker).look()
    assert (seen["live"], seen["current"]["error"], seen["previous"]["id"]) == (True, "", first)
    write(tmp_path, "launch.sh", "three\n")
    assert generations(docker).look()["live"] is False
    write(tmp_path, "launch.sh", "two\n")
    (tmp_path / "container.json").write_text((tmp_path / "container.json").read_text().replace("spec-1", "spec-2"))
    assert generations(docker).look()["live"] is False
    (tmp_path / "var/lib/ascend-vllm" / NAME / "generations" / first / "generation.json").unlink()
    assert "is damaged or missing" in generations(docker).look()["previous"]["error"]


def test_the_module_says_what_is_missing():
    assert "generation is empty" in run_module("vllm_generation", name=NAME, state="restored")["msg"]
    assert "node or group is empty" in run_module("vllm_generation", name=NAME)["msg"]
    seen = run_module("vllm_generation", name="none-" + NAME, state="seen", engine="/nowhere/docker")
    assert (seen["changed"], seen["current"], seen["live"]) == (False, None, False)
    seen = run_module("vllm_generation", name=NAME, node=NODE, group="g", hosts=HOSTS, engine="/nowhere/docker")
    assert "there is no command '/nowhere/docker'" in seen["msg"]


# -- on the controller ----------------------------------------------------------------------------------------------


def member(host="n1", files="f", image_id="i", **node):
    return {"host": host, "files": files, "image_id": image_id, "node": dict(NODE, **node)}


def test_the_id_of_a_group_is_of_what_all_its_nodes_have():
    first = group_of([member(), member("n2")])
    assert group_of([member("n2"), member()]) == first
    assert group_of([member(), member("n2", url="not what makes a service")]) == first
    for other in (member("n2", files="g"), member("n2", image_id="j"), member("n3"), member("n2", recipe={})):
        assert group_of([member(), other]) != first


def seen(live=True, current="b", previous="a", hosts=("n1", "n2"), **errors):
    """What a node tells; its generations are named after their group."""
    told = {"live": live}
    for word, group in (("current", current), ("previous", previous)):
        told[word] = group and {
            "id": "id-" + group,
            "group": group,
            "hosts": list(hosts),
            "error": errors.get(word, ""),
        }
    return told


WAYS = {
    "to the one before": ({}, {}, "a"),
    "a run was broken off": ({"live": False}, {}, "b"),
    "broken off while it was recorded": ({"current": "c", "previous": "b"}, {"live": False}, "b"),
    "recorded on both, seen as current": ({"current": "c", "previous": "b"}, {"current": "c", "previous": "b"}, "b"),
    "broken off, nothing before": ({"live": False, "previous": None}, {"previous": None}, "b"),
    "recorded on one, both live": ({"current": "c", "previous": "b"}, {}, "b"),
}


@pytest.mark.parametrize("case", WAYS)
def test_the_way_back(case):
    first, second, group = WAYS[case]
    told = {"n1": seen(**first), "n2": seen(**second)}
    way = way_back(told)
    assert (way["errors"], way["ids"]) == ([], {"n1": "id-" + group, "n2": "id-" + group})
    assert way_back(dict(reversed(list(told.items()))))["ids"] == way["ids"]


def test_the_way_back_of_an_upgrade_is_what_was_proven_last():
    assert way_back({"n1": seen(), "n2": seen()}, True)["ids"] == {"n1": "id-b", "n2": "id-b"}


NO_WAYS = {
    "nothing proven": ({"current": None, "previous": None}, {}, "no deploy was proven to answer on n1"),
    "nothing before": ({"previous": None}, {"previous": None}, "nothing was proven before what runs now"),
    "one has nothing before": ({}, {"previous": None}, "no generation that all of them were proven with together"),
    "of other groups": ({"previous": "x"}, {"previous": "y"}, "group b and group x; n2: group b and group y"),
    "other nodes then": (
        {"hosts": ["n1", "n3"]},
        {"hosts": ["n1", "n3"]},
        "was proven on n1, n3 together; the replica is n1, n2",
    ),
}


@pytest.mark.parametrize("case", NO_WAYS)
def test_no_way_back(case):
    first, second, said = NO_WAYS[case]
    assert said in " ".join(way_back({"n1": seen(**first), "n2": seen(**second)})["errors"])


def test_no_way_back_to_what_is_damaged_or_untold():
    told = seen()
    told["previous"]["error"] = "the image is gone"
    assert way_back({"n1": seen(), "n2": told})["errors"] == ["n2: the image is gone"]
    assert way_back({"n1": seen(), "n2": {}})["errors"] == ["n2 could not be asked what was proven before."]


def test_files_of_a_generation_are_those_of_a_deploy():
    made = {item["name"]: item["mode"] for item in render.node_files(NODE, "eth0")}
    assert dict(revisions.FILES, **made) == dict(revisions.FILES)
