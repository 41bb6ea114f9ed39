"""The image from a real registry, pulled by a node's own engine."""

import json
import shutil
import subprocess
import time
import urllib.request

import pytest

from .conftest import ad_hoc, lab

REGISTRY = "10.213.0.1:5099"  # the lab's nodes take it without TLS
IMAGE = REGISTRY + "/ascend/tiny:v1"


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    """A registry on this machine, on the lab's own network, that holds one tiny image."""
    if not shutil.which("docker-registry"):
        subprocess.run(["apt-get", "update", "--quiet"], check=True)
        subprocess.run(["apt-get", "install", "--yes", "--no-install-recommends", "docker-registry"], check=True)
    folder = tmp_path_factory.mktemp("registry")
    config = folder / "config.json"
    storage = {"filesystem": {"rootdirectory": str(folder / "data")}}
    config.write_text(json.dumps({"version": "0.1", "storage": storage, "http": {"addr": REGISTRY}}))
    process = subprocess.Popen(
        ["docker-registry", "serve", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        for _ in range(50):
            try:
                urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f"http://{REGISTRY}/v2/", timeout=5)
                break
            except OSError:
                time.sleep(0.2)
        lab(
            "ssh",
            "a2-node1",
            f"tar -C /etc -c hostname | docker import - {IMAGE} && docker push -q {IMAGE} && docker rmi {IMAGE}",
        )
        yield
    finally:
        process.terminate()
        process.wait(20)
        lab("ssh", "a2-node2", f"docker rmi --force {IMAGE}")


def have(image):
    """What the module vllm_image ends with on the second node."""
    return ad_hoc("a2-node2", "vllm_image", name=image, timeout=60)


def test_an_image_is_pulled_once(registry):
    rc, result = have(IMAGE)
    assert (rc, result["changed"], result["source"]) == (0, True, "registry"), result
    rc, result = have(IMAGE)
    assert (rc, result["changed"], result["source"]) == (0, False, "present"), result


def test_an_image_that_the_registry_lacks_is_named(registry):
    rc, result = have(REGISTRY + "/ascend/tiny:v2")
    assert rc != 0
    assert "check name and tag" in result["msg"], result


def test_a_registry_that_cannot_be_reached_points_to_the_archive():
    rc, result = have("10.213.0.1:5098/ascend/tiny:v1")
    assert rc != 0
    assert "npu_container_image_archive" in result["msg"], result
