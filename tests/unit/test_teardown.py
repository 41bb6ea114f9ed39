"""What a teardown takes away, and what it leaves: with a stand-in for docker, in a folder of the test."""

import copy
import json

import pytest
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.engine import Engine, EngineError
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.model import processes
from ansible_collections.ascend_ops.vllm.plugins.module_utils._service.teardown import (
    Teardown,
    row,
    text,
)
from ansible_collections.ascend_ops.vllm.plugins.module_utils._state.revisions import kept_image
from ansible_collections.ascend_ops.vllm.plugins.plugin_utils._plan import plan
from test_engine_modules import IMAGE, Docker, run_module
from test_plan import a3

PLAN = processes(plan(a3()))[0]
NAME = PLAN["container"]["name"]
FOLDERS = ("etc/ascend-vllm", "var/lib/ascend-vllm", "run/ascend-vllm")


@pytest.fixture
def docker(tmp_path):
    """An engine with the plan's image and its running container, on a node with all that a deploy lays down."""
    made = Docker(tmp_path)
    made.have_image()
    labels = '{"ascend_ops.vllm.service": "' + NAME + '"}'
    made.put("container.json", (tmp_path / "running").read_text().replace('"LABELS"', labels))
    for folder in FOLDERS:
        (tmp_path / folder / NAME / "generations").mkdir(parents=True)
    (tmp_path / "var/lib/ascend-vllm" / NAME / "deployed.json").write_text(
        json.dumps({"current": {"image": IMAGE}, "previous": {"image": "old:1"}})
    )
    (tmp_path / "etc/ascend-vllm/host-tuning.sh").write_text("")
    (tmp_path / PLAN["weights"][0]["path"].lstrip("/")).mkdir(parents=True)
    return made


def torn(docker, keep=("image",), check=False, node=PLAN):
    return Teardown(Engine(docker.path), node, list(keep), check, str(docker.folder)).run(7)


def there(docker):
    return [folder for folder in FOLDERS if (docker.folder / folder / NAME).exists()]


def test_all_goes_but_the_image(docker):
    seen = torn(docker)
    assert seen["removed"] == [
        "container " + NAME,
        f"/etc/ascend-vllm/{NAME} (launch files)",
        f"/var/lib/ascend-vllm/{NAME} (records of deploys)",
        f"/run/ascend-vllm/{NAME} (what the supervisor saw)",
    ]
    # The plan's, the container's, the last deploy's; the stand-in gives its one image any name.
    assert [item.split(" (")[0] for item in seen["kept"]] == ["image " + name for name in (IMAGE, IMAGE[:-3], "old:1")]
    assert seen["left"] == [PLAN["weights"][0]["path"] + " (weights)"]
    assert not (docker.folder / "container.json").exists() and there(docker) == []
    assert (docker.folder / "etc/ascend-vllm/host-tuning.sh").exists()  # others keep files there
    assert not (docker.folder / "var/lib/ascend-vllm").exists()
    assert [call.split()[0] for call in docker.calls() if not call.startswith(("ps", "images"))] == ["stop", "rm"]
    assert (docker.folder / "image.json").exists()
    again = torn(docker)
    assert again["removed"] == []


def test_the_image_goes_when_asked_to(docker):
    seen = torn(docker, keep=[])
    assert f"image {IMAGE} (" in " ".join(seen["removed"]) and seen["kept"] == []
    assert not (docker.folder / "image.json").exists()


def test_an_image_with_another_name_is_left_under_it(docker):
    docker.put("tags")
    seen = torn(docker, keep=[])
    assert f"image {IMAGE} (" in " ".join(seen["removed"])
    assert [item for item in seen["left"] if "the same content under the name quay.io/" in item]


def test_an_image_that_another_container_uses_stays(docker):
    docker.put("users", NAME + "\nmindie\n")
    seen = torn(docker, keep=[])
    assert (docker.folder / "image.json").exists()
    assert any("used by mindie" in item for item in seen["left"]) and "image" not in " ".join(seen["removed"])


def test_files_stay_when_asked_to(docker):
    seen = torn(docker, keep=["files", "image"])
    assert seen["removed"] == ["container " + NAME] and there(docker) == list(FOLDERS)
    assert [item for item in seen["kept"] if "launch files" in item]


def test_check_mode_takes_nothing(docker):
    seen = torn(docker, keep=[], check=True)
    assert len(seen["removed"]) == 7 and there(docker) == list(FOLDERS)
    assert (docker.folder / "container.json").exists() and (docker.folder / "image.json").exists()
    assert [call for call in docker.calls() if call.split()[0] in ("stop", "rm")] == []


def test_a_container_of_somebody_else_stops_it_before_anything_is_gone(docker):
    docker.put("container.json", (docker.folder / "running").read_text().replace('"LABELS"', "null"))
    with pytest.raises(EngineError, match="did not make .*nothing was taken away"):
        torn(docker, keep=[])
    assert there(docker) == list(FOLDERS) and (docker.folder / "container.json").exists()


def test_a_dead_engine_stops_it(docker):
    docker.put("down", "Cannot connect to the Docker daemon at unix:///var/run/docker.sock.")
    with pytest.raises(EngineError, match="systemctl start docker"):
        torn(docker)
    assert there(docker) == list(FOLDERS)
    seen = run_module("vllm_teardown", plan=PLAN, engine=docker.path, check=True)
    assert "systemctl start docker" in seen["msg"]


def test_another_name_is_told(docker):
    (docker.folder / "container.json").unlink()
    docker.put("others", "older\n")
    seen = torn(docker)
    assert seen["others"] == ["older"] and "container older, another one" in seen["left"][0]


def test_a_folder_of_another_name_is_not_removed(docker):
    node = copy.deepcopy(PLAN)
    node["container"]["mounts"][-1]["source"] = "/etc/ascend-vllm"
    seen = torn(docker, node=node)
    assert (docker.folder / "etc/ascend-vllm" / NAME).exists()
    assert any("not a folder that is named after the container" in item for item in seen["left"])


SERVICE = {"removed": ["container x"], "kept": [], "left": [], "others": []}
SETTINGS = [
    {"name": "vm.swappiness", "verdict": "changed", "note": ""},
    {"name": "governor", "verdict": "kept", "note": "left alone, changed by somebody since it was set"},
]


def test_a_row_tells_all():
    seen = row(SERVICE, {"changed": True}, {"changed": True, "settings": SETTINGS}, ["image"])
    assert seen["removed"] == [
        "supervision (timer, unit and what it saw)",
        "container x",
        "host tuning (vm.swappiness put back)",
    ]
    assert seen["left"] == ["governor: left alone, changed by somebody since it was set"]
    assert row(SERVICE, {}, {"skipped": True}, ["tuning"])["kept"] == ["host tuning"]
    assert "older on this node still wants it" in row(dict(SERVICE, others=["older"]), {}, {}, [])["left"][0]


def test_text():
    shown = text({"n1": {"removed": ["a", "b"], "kept": [], "left": ["c"]}, "n2": {}})
    assert shown.splitlines() == [
        "n1",
        "  removed   a",
        "  removed   b",
        "  kept      nothing",
        "  left      c",
        "n2",
        "  failed    see above; mend it, and run the teardown again",
    ]


@pytest.mark.parametrize("keep, goes", [(["image"], True), ([], True), (["files"], False)])
def test_names_that_kept_images_for_generations_go_with_the_records(keep, goes, docker):
    name = kept_image(NAME) + ":0123"
    docker.put("names", name + "\n")
    assert "image name " + name in torn(docker, keep=["image"], check=True)["removed"]
    assert (docker.folder / "names").read_text() == name + "\n"
    seen = torn(docker, keep=keep)
    assert ("image name " + name in seen["removed"]) is goes
    assert (docker.folder / "names").read_text() == ("" if goes else name + "\n")
