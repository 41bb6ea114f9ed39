"""What is inside an image: its layers read as an overlay shows them, CANN and operators found in them, and the verdicts."""

import os

import pytest
from ansible_collections.ascend_ops.vllm.plugins.module_utils._checks import image as checks_image
from ansible_collections.ascend_ops.vllm.plugins.module_utils._checks import versions
from ansible_collections.ascend_ops.vllm.plugins.module_utils._facts.image import Layers, cann, environment, roots
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.model import processes
from ansible_collections.ascend_ops.vllm.plugins.plugin_utils._plan import plan
from ansible_collections.ascend_ops.vllm.plugins.plugin_utils._preflight import evaluate
from healthy import catalogue, evaluated, own_facts, put
from test_plan import a2, a3

A2, A3 = processes(plan(a2()))[0], processes(plan(a3()))[0]
POLICY = {"cann": "9.0.0"}


def tree(folder, *names):
    """Files (with their path as content) and, where a name ends in a slash, folders."""
    for name in names:
        path = folder / name
        if name.endswith("/"):
            path.mkdir(parents=True, exist_ok=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(name)
    return str(folder)


def layers(tmp_path, *contents):
    """Layers with these files, the uppermost first."""
    return Layers([tree(tmp_path / f"layer{number}", *names) for number, names in enumerate(contents)])


def whiteout(path):
    try:
        os.mknod(path, 0o600 | 0o020000, os.makedev(0, 0))
    except OSError:
        pytest.skip("this user cannot make device nodes")


def test_the_uppermost_layer_counts_and_folders_are_merged(tmp_path):
    image = layers(tmp_path, ["a/x"], ["a/x", "a/y", "b/z"])
    assert image.find("/a/x").startswith(str(tmp_path / "layer0"))
    assert image.names("/a") == ["x", "y"] and image.names("/") == ["a", "b"]
    assert image.text("/b/z") == "b/z" and image.text("/b") is image.text("/c") is image.names("/b/z") is None


def test_links_are_followed_inside_the_image_only(tmp_path):
    image = layers(tmp_path, ["opt/"], ["real/1.0/f"])
    (tmp_path / "layer0/opt/latest").symlink_to("/real/1.0")
    (tmp_path / "layer0/opt/up").symlink_to("../../../../../real")
    (tmp_path / "layer0/opt/loop").symlink_to("loop")
    (tmp_path / "layer0/opt/host").symlink_to(str(tmp_path))
    assert image.text("/opt/latest/f") == image.text("/opt/up/1.0/f") == "real/1.0/f"
    assert image.find("/opt/loop") is image.find("/opt/host/layer0") is image.find("/opt/nothing/f") is None


def test_a_link_of_a_layer_below_does_not_lead_to_the_host(tmp_path):
    """A folder above, a link to a folder of the host below: what the host has there is not in the image."""
    outside = tree(tmp_path / "outside", "secret")
    image = layers(tmp_path, ["a/x"], ["b"])
    (tmp_path / "layer1/a").symlink_to(outside)
    assert image.find("/a/secret") is None and image.names("/a") == ["x"]


def test_what_a_layer_removed_is_gone(tmp_path):
    image = layers(tmp_path, ["a/"], ["a/x", "a/y"])
    whiteout(str(tmp_path / "layer0/a/x"))
    assert image.find("/a/x") is None and image.names("/a") == ["y"]


def test_an_opaque_folder_hides_those_below(tmp_path):
    image = layers(tmp_path, ["a/new"], ["a/old", "b"])
    try:
        os.setxattr(str(tmp_path / "layer0/a"), "trusted.overlay.opaque", b"y")
    except OSError:
        pytest.skip("this file system or user cannot mark a folder opaque")
    assert image.names("/a") == ["new"] and image.find("/a/old") is None and image.find("/b")


def described(tmp_path, *contents, driver="overlay2", env=()):
    """The engine's description of an image with these layers."""
    paths = [tree(tmp_path / f"layer{number}", *names) for number, names in enumerate(contents)]
    data = {"UpperDir": paths[0], "LowerDir": ":".join(paths[1:]), "MergedDir": "/x"}
    return {"GraphDriver": {"Name": driver, "Data": data}, "Config": {"Env": list(env)}}


KERNEL = "opp/built-in/op_impl/ai_core/tbe/kernel"


def vllm_ascend(tmp_path, home="usr/local/Ascend/cann-9.0.0", link="usr/local/Ascend/cann", **options):
    found = described(
        tmp_path,
        ["vllm-workspace/"],
        [
            f"{home}/{KERNEL}/ascend910b/ops_math/f",
            f"{home}/{KERNEL}/ascend910b/ops_oam/f",
            f"{home}/{KERNEL}/config/x/y",
        ],
        [f"{home}/aarch64-linux/ascend_toolkit_install.info"],
        **options,
    )
    (tmp_path / "layer2" / home / "aarch64-linux/ascend_toolkit_install.info").write_text(
        "package_name=Ascend-cann-toolkit\nversion=9.0.0\ninnerversion=V100R001C25\n"
    )
    (tmp_path / "layer2" / link).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "layer2" / link).symlink_to("/" + home)
    return found


def test_cann_in_a_new_image(tmp_path):
    assert cann(vllm_ascend(tmp_path)) == {"read": True, "version": "9.0.0", "kernels": {"ascend910b": 1}}


def test_cann_in_an_old_image(tmp_path):
    home, link = "usr/local/Ascend/ascend-toolkit/9.0.0", "usr/local/Ascend/ascend-toolkit/latest"
    assert cann(vllm_ascend(tmp_path, home, link))["version"] == "9.0.0"


def test_cann_where_the_environment_says(tmp_path):
    found = vllm_ascend(
        tmp_path, "opt/cann/9", "opt/cann/here", env=["ASCEND_TOOLKIT_HOME=/opt/cann/here", "HF_TOKEN=x"]
    )
    assert cann(found)["kernels"] == {"ascend910b": 1}
    assert environment(found) == {"ASCEND_TOOLKIT_HOME": "/opt/cann/here"}


def test_the_version_of_the_operators_where_the_toolkit_has_no_record(tmp_path):
    found = described(tmp_path, ["usr/local/Ascend/cann/opp/version.info"])
    (tmp_path / "layer0/usr/local/Ascend/cann/opp/version.info").write_text("Version=7.7\nversion_dir=8.1.RC1\n")
    assert cann(found) == {"read": True, "version": "8.1.RC1", "kernels": None}


@pytest.mark.parametrize("found", [{}, {"GraphDriver": None}, {"GraphDriver": {"Name": "overlay2", "Data": None}}])
def test_an_image_without_layers_cannot_be_read(found):
    assert roots(found) == [] and cann(found) == {"read": False, "version": None, "kernels": None}


def test_another_storage_driver_cannot_be_read(tmp_path):
    assert not cann(vllm_ascend(tmp_path, driver="devicemapper"))["read"]


# -- the verdicts ---------------------------------------------------------------------------------------------------


def verdicts(node=A2, change=None):
    return {name: (one["verdict"], one["seen"]) for name, one in evaluated(checks_image, node, change, POLICY).items()}


def test_the_catalogue_is_whole():
    catalogue(checks_image)


def test_the_right_images_pass():
    assert {word for node in (A2, A3) for word, _seen in verdicts(node).values()} == {"pass"}


IMAGE = ("engine", "image", "cann")
CASES = [
    (put(*IMAGE, "kernels", {"ascend910_93": 5}), "image.kernels", "fail", "ascend910_93 (5 folders)"),
    (put(*IMAGE, "kernels", {"ascend910b": 0}), "image.kernels", "fail", "ascend910b (0 folders)"),
    (put(*IMAGE, "kernels", {"ascend910b": 5, "ascend910_93": 5}), "image.kernels", "pass", "ascend910b (5"),
    (put(*IMAGE, "kernels", None), "image.kernels", "skipped", "no operators"),
    (put(*IMAGE, "version", "8.5.1"), "image.cann", "warn", "CANN 8.5.1"),
    (put(*IMAGE, "version", "9.0.1"), "image.cann", "pass", "CANN 9.0.1"),
    (put(*IMAGE, "version", None), "image.cann", "skipped", "no CANN"),
    (put("engine", "image", None), "image.kernels", "skipped", "not on the node yet"),
    (put("engine", "image", "cann", None), "image.kernels", "skipped", "does not keep"),
    (put("engine", "error", "x"), "image.kernels", "unknown", "did not respond"),
]


@pytest.mark.parametrize("change, check, word, seen", CASES)
def test_verdict(change, check, word, seen):
    found = verdicts(change=change)[check]
    assert found[0] == word and seen in found[1], found


def test_the_driver_is_compared_with_the_cann_that_the_image_really_has():
    drivers = {"9.0": {"min": "25.0", "paired": ""}, "9.1": {"min": "25.2", "paired": ""}}
    policy = {"driver_min": "25.0", "cann_drivers": drivers}
    change = put("npu", "driver_version", "25.0.0")
    assert evaluated(versions, A2, change, policy)["npu.driver"]["verdict"] == "pass"

    def newer(facts):
        change(facts)
        facts["engine"]["image"]["cann"]["version"] = "9.1.0"

    found = evaluated(versions, A2, newer, policy)["npu.driver"]
    assert (found["verdict"], found["wanted"]) == ("warn", "driver 25.2 or later")


def test_the_release_of_the_plan_says_which_cann_is_wanted():
    facts = own_facts(A2)
    facts["engine"]["image"]["cann"]["version"] = "8.5.1"
    (report,) = evaluate([A2], {A2["host"]: facts})
    (found,) = [check for check in report["nodes"][0]["checks"] if check["id"] == "image.cann"]
    assert (found["verdict"], found["wanted"]) == ("warn", "CANN 9.0.0")
