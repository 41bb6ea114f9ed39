# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The checks of the container engine, of the image, and of existing containers."""

from __future__ import annotations

import re

from ansible_collections.ascend_ops.vllm.plugins.module_utils._checks.check import Check
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.verdict import (
    FAIL,
    PASS,
    SKIPPED,
    UNKNOWN,
    WARN,
    verdict,
)

ISSUES = "https://github.com/vllm-project/vllm-ascend/issues/"
GB = 10**9
PULL_BYTES = 30 * GB  # what a pulled image needs: its layers and their unpacked content
OLDEST = "17.06"  # the first version whose `create` has --mount
THREADS = "20.10.10"  # the first version whose seccomp profile knows clone3
MACHINES = {"aarch64": "arm64", "arm64": "arm64", "x86_64": "amd64", "amd64": "amd64"}

CHECKS = {
    "engine.running": Check(
        why="The service runs in a container; nothing can be deployed without an engine that responds.",
        read="`docker version`, with a timeout; without an answer in time it is unknown, as is all that the engine would tell",
        remedy="`systemctl status docker`, `systemctl start docker`; npu_container_engine selects another command.",
    ),
    "engine.version": Check(
        why="Before 17.06 `docker create` has no --mount. Before 20.10.10 the default seccomp profile answers clone3 with "
        "EPERM, and glibc 2.34 and later, as in images based on Ubuntu 22.04 and openEuler 22.03, cannot start a thread. "
        "A distribution may have fixed its own older package, so this is a warning.",
        source="https://github.com/moby/moby/pull/42681",
        read="the server version in `docker version`",
        remedy="Update the engine and containerd to 20.10.10 or later.",
    ),
    "engine.cgroup": Check(
        why="An engine without a cgroup driver, such as a rootless one, cannot give device nodes to a container.",
        read="CgroupDriver and CgroupVersion in `docker info`",
        remedy="Run the engine as root, with the cgroup driver systemd or cgroupfs.",
    ),
    "engine.storage": Check(
        why="The image takes 15 to 30 GB; a pull or load that fills the disk fails late and brings the engine down with it.",
        read="free bytes in the data directory that `docker info` reports; required are twice the size of the archive, or "
        "30 GB for a pull",
        remedy="`docker system df`, `docker image prune`; or move the engine's data-root to a larger disk.",
    ),
    "image.available": Check(
        why="The service cannot start without the image, and a node without internet access cannot pull it.",
        read="`docker image inspect`; the archive of npu_container_image_archive on the node",
        remedy="Copy an archive made with `docker save` to the node and set npu_container_image_archive.",
    ),
    "image.architecture": Check(
        why="An image for another architecture fails with `exec format error`, typically one that was saved on a laptop for "
        "an aarch64 server.",
        source=ISSUES + "2521",
        read="Architecture in `docker image inspect`, compared with the node's `uname -m`",
        remedy="Pull and save the image with `docker pull --platform linux/arm64` (or linux/amd64).",
    ),
    "image.hardware": Check(
        why="The suffix of the tag names the chip: none for A2, -a3 for A3, -310p for 310P. The kernels of an image for "
        "another chip do not load.",
        source=ISSUES + "6676",
        read="SOC_VERSION in the image's environment; without it, the suffix of the tag",
        remedy="Remove the image from the node and load the one with the right suffix, or correct vllm_recipe_image.",
    ),
    "image.same": Check(
        why="Nodes of one replica with different images disagree about messages and kernels, or wait for each other.",
        read="image id and repository digests in `docker image inspect` on all nodes of the replica",
        remedy="Load the same archive on all nodes: `docker rmi` the image where it differs, and deploy again.",
    ),
    "container.name": Check(
        why="A container that this collection did not create is never removed, unless npu_container_adopt is set, and a name "
        "can be used only once.",
        read="`docker container inspect` and the label ascend_ops.vllm.service",
        remedy="Remove or rename the container, set vllm_recipe_container.name, or replace it with npu_container_adopt.",
    ),
    "container.holds_device": Check(
        why="A chip belongs to the first container that opens it; the next one is rejected with -8020 or -8005.",
        source=ISSUES + "632",
        read="the devices, mounts and device requests (and ASCEND_VISIBLE_DEVICES) of all running containers in `docker "
        "inspect`; process.holds_device sees those of other engines, such as Kubernetes'",
        remedy="`docker stop` the other container, or assign other chips to the service.",
    ),
}


def evaluate(node, facts, policy):
    """The verdicts on the engine, the image and the containers of one node."""
    engine = facts.get("engine") or {"error": "the node did not report its engine"}
    checks = [_running(engine)]
    for check, function, wanted in (
        ("engine.version", _version, f"Docker {THREADS} or later"),
        ("engine.cgroup", _cgroup, "a cgroup driver"),
        ("engine.storage", _storage, "space for the image"),
        ("image.available", _available, node["container"]["image"]),
        ("image.architecture", _architecture, "an image for the node's architecture"),
        ("image.hardware", _hardware, f"an image for {node['hardware']}"),
        ("container.name", _name, f"{node['container']['name']} free"),
        ("container.holds_device", _holders, "no other container with the chips of the plan"),
    ):
        if engine.get("error"):
            checks.append(verdict(check, UNKNOWN, "the engine did not respond", wanted, "See engine.running."))
            continue
        try:
            word, seen, remedy = function(node, facts, engine)
        except (AttributeError, KeyError, TypeError, ValueError):  # a part is missing, or of another kind
            word, seen, remedy = UNKNOWN, "the node's report is incomplete", ""
        checks.append(verdict(check, word, seen, wanted, remedy or CHECKS[check].remedy))
    return checks


# -- the engine: each function returns (verdict, seen, remedy), with an empty remedy for the catalogue's ---------------


def _running(engine):
    error, version = engine.get("error"), engine.get("version")
    word = UNKNOWN if engine.get("late") else FAIL if error else PASS if version else UNKNOWN
    seen = error or f"version {version or 'not reported'}"
    remedy = "Run 'systemctl status docker' on the node."
    if engine.get("late"):
        remedy = "The node may be busy: see node.load. " + remedy
    return verdict("engine.running", word, seen, "an engine that responds", remedy)


def key(version):
    """The numbers of a version such as 20.10.24+dfsg1 as a tuple of three, or None."""
    match = re.match(r"v?(\d{1,4})\.(\d{1,4})(?:\.(\d{1,4}))?", version or "")
    return tuple(int(number or 0) for number in match.groups()) if match else None


def _version(node, facts, engine):
    seen = f"{engine.get('kind') or 'docker'} {engine.get('version') or 'of unknown version'}"
    if engine.get("kind") == "podman":
        return SKIPPED, seen + "; Docker's version numbers do not apply", ""
    version = key(engine.get("version"))
    if version is None:
        return UNKNOWN, seen, "Run 'docker version' on the node."
    if version < key(OLDEST):
        return FAIL, seen, ""
    if version < key(THREADS) and not node["container"].get("privileged"):
        return WARN, seen, "If the log shows 'thread' and 'Operation not permitted', update the engine."
    return PASS, seen, ""


def _cgroup(node, facts, engine):
    driver = engine.get("cgroup_driver")
    if driver is None:
        return UNKNOWN, "the engine did not report it", "Run 'docker info' on the node."
    seen = f"{driver}, cgroup version {engine.get('cgroup_version') or 'not reported'}"
    return PASS if driver in ("systemd", "cgroupfs") else FAIL, seen, ""


def _storage(node, facts, engine):
    free = engine.get("free_bytes")
    driver = engine.get("storage_driver") or "storage driver not reported"
    seen = f"{(free or 0) / GB:.1f} GB free in {engine.get('data_root')} ({driver})"
    if engine.get("image"):
        if free is not None and free < GB // 2:
            return FAIL, seen + "; the image is present, but containers and logs need space", ""
        return PASS, "the image is present" + ("" if free is None else "; " + seen), ""
    if free is None:
        return UNKNOWN, "the engine's data directory cannot be read", "Run 'docker info' and 'df -h' on the node."
    required, reason = PULL_BYTES, "for an image that is pulled"
    if facts.get("archive"):
        archive = engine.get("archive_bytes")
        required, reason = PULL_BYTES if archive is None else 2 * archive, "twice the size of the archive"
    seen += f"; required {required / GB:.1f} GB, {reason}"
    return PASS if free >= required else FAIL, seen, ""


# -- the image ---------------------------------------------------------------------------------------------------------


def _available(node, facts, engine):
    if engine.get("image"):
        return PASS, str(engine["image"].get("id"))[:19], ""
    if facts.get("archive"):
        return PASS, "not loaded yet; the archive is present", ""
    if facts.get("archive") is not None:
        remedy = "Copy the archive to the path in npu_container_image_archive on this node."
        return FAIL, "neither the image nor the archive is on the node", remedy
    seen = "not on the node; it will be pulled"
    if engine.get("mirrors"):
        seen += ", through " + ", ".join(map(str, engine["mirrors"]))
    remedy = "Without internet access, copy an archive made with 'docker save' to the node and set npu_container_image_archive."
    return WARN, seen, remedy


def _architecture(node, facts, engine):
    if not engine.get("image"):
        return SKIPPED, "the image is not on the node yet", ""
    architecture = engine["image"].get("architecture")
    machine = (facts.get("host") or {}).get("machine")
    seen = f"image {architecture or 'not reported'}, machine {machine or 'not reported'}"
    if not architecture or not machine:
        return UNKNOWN, seen, "Compare 'docker image inspect' and 'uname -m' on the node."
    system = engine["image"].get("os")
    if system not in (None, "", "linux"):
        return FAIL, f"{seen}, system {system}", ""
    if machine not in MACHINES:
        return UNKNOWN, seen, "This architecture is not known here: compare it with that of the image."
    return PASS if MACHINES[machine] == architecture else FAIL, seen, ""


def product_of_soc(soc):
    """The hardware that a SOC_VERSION such as ascend910b1 or ascend910_9391 stands for, or None."""
    name = (soc or "").lower().replace("ascend", "")
    for start, product in (("910b", "a2"), ("910_93", "a3"), ("910c", "a3"), ("310p", "310p"), ("950", "a5")):
        if name.startswith(start):
            return product
    return None


def product_of_tag(image):
    """The hardware that a tag of vllm-ascend stands for; None for another image, or one without a tag."""
    match = re.search(r"vllm-ascend:([\w.-]+)$", image)
    if not match:
        return None
    words = match.group(1).split("-")
    for word in ("a3", "310p", "a5"):
        if word in words:
            return word
    return "a2"


def _hardware(node, facts, engine):
    image = node["container"]["image"]
    soc = (engine.get("image") or {}).get("soc")
    product, seen = product_of_soc(soc), f"SOC_VERSION {soc}"
    if product is None:
        product, seen = product_of_tag(image), f"tag {image.rpartition(':')[2]}"
    if product is None:
        return SKIPPED, "neither the image nor its tag names the chip", ""
    return PASS if product == node["hardware"] else FAIL, f"{seen}: for {product}", ""


# -- containers --------------------------------------------------------------------------------------------------------


def _name(node, facts, engine):
    name = node["container"]["name"]
    if not engine.get("foreign"):
        return PASS, "created by this collection" if engine.get("container") else "free", ""
    seen = "a container of this name that this collection did not create"
    if facts.get("adopt"):
        remedy = "Remove npu_container_adopt from the inventory to keep it."
        return WARN, seen + "; a deploy replaces it (npu_container_adopt)", remedy
    remedy = (
        f"Remove or rename it ('docker rm -f {name}'), set vllm_recipe_container.name, or replace it with "
        "npu_container_adopt: true."
    )
    return FAIL, seen, remedy


def _holders(node, facts, engine):
    others = engine.get("others")
    if others is None:
        return UNKNOWN, "the engine does not list its containers", "Run 'docker ps' on the node."
    planned = set(node["container"]["devices"])
    running = [one for one in others if one.get("running")]
    conflicts = [
        f"{one['name']} ({one['image']}) uses {short(set(one['devices']) & planned)}"
        for one in running
        if set(one["devices"]) & planned
    ]
    if conflicts:
        return FAIL, "; ".join(conflicts[:4]), ""
    # A privileged container may open any chip; npu.idle.processes shows whether it does.
    privileged = [one["name"] for one in running if one.get("privileged")]
    return PASS, "none" + (f"; privileged: {', '.join(privileged[:4])}" if privileged else ""), ""


def short(devices):
    """Some device paths for a message, sorted by chip: the first three and how many more."""
    listed = sorted(devices, key=lambda path: (len(path), path))
    more = len(listed) - 3
    return ", ".join(listed[:3]) + (f" and {more} more" if more > 0 else "")


def evaluate_replica(members, facts_by_host, policy):
    """Whether all nodes of a replica have the same image: ``{host: [verdict]}``."""
    if len(members) < 2:
        return {node["host"]: [] for node in members}
    name, images, parts, answered = "image.same", [], [], True
    for node in members:
        engine = (facts_by_host.get(node["host"]) or {}).get("engine") or {}
        known = bool(engine) and not engine.get("error")
        answered = answered and known
        image = engine.get("image")
        images.append(image)
        state = str(image.get("id"))[:19] if image else "not present yet" if known else "not reported"
        parts.append(f"{node['host']}: {state}")
    if not answered:
        word = UNKNOWN
    elif not all(images):
        word = SKIPPED
    else:
        word = PASS if _same_image(images) else FAIL
    result = verdict(name, word, ", ".join(parts), "one image on all nodes", CHECKS[name].remedy)
    return {node["host"]: [dict(result)] for node in members}


def _same_image(images):
    digests = [{digest.rpartition("@")[2] for digest in image.get("digests") or []} for image in images]
    return len({image.get("id") for image in images}) == 1 or bool(set.intersection(*digests))
