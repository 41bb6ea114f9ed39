# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The checks of the container engine, of the image, and of the containers that are there already."""

from __future__ import annotations

import re

from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.verdict import verdict

ISSUES = "https://github.com/vllm-project/vllm-ascend/issues/"
GB = 10**9
PULLED = 30 * GB  # what an image that is pulled takes, layers and their unpacked content
LEAST = "17.06"  # the first whose `create` knows --mount
THREADS = "20.10.10"  # the first whose seccomp profile knows clone3
MACHINES = {"aarch64": "arm64", "arm64": "arm64", "x86_64": "amd64", "amd64": "amd64"}

CHECKS = {
    "engine.running": {
        "why": "The service runs in a container; without an engine that answers nothing can be deployed.",
        "source": "",
        "read": "`docker version`, bounded in time",
        "remedy": "`systemctl status docker`, `systemctl start docker`; npu_container_engine names another command.",
    },
    "engine.version": {
        "why": "Before 17.06 `docker create` has no --mount. Before 20.10.10 the default seccomp profile answers clone3 "
        "with EPERM, and glibc 2.34 and later, which is in images of Ubuntu 22.04 and openEuler 22.03, then cannot start "
        "a thread. A distribution may have mended its own older package, so that is a warning.",
        "source": "https://github.com/moby/moby/pull/42681",
        "read": "the server's version in `docker version`",
        "remedy": "Update the engine and containerd to 20.10.10 or later.",
    },
    "engine.cgroup": {
        "why": "An engine without a cgroup driver, such as a rootless one, cannot let a container use device nodes.",
        "source": "",
        "read": "CgroupDriver and CgroupVersion of `docker info`",
        "remedy": "Run the engine as root, with the cgroup driver systemd or cgroupfs.",
    },
    "engine.storage": {
        "why": "The image takes 15 to 30 GB; a pull or load that fills the disk fails late, and takes the engine with it.",
        "source": "",
        "read": "bytes free where `docker info` says the engine's data is; the archive's size twice, or 30 GB for a pull",
        "remedy": "`docker system df`, `docker image prune`; or move the engine's data-root to a larger disk.",
    },
    "image.available": {
        "why": "Without the image there is no service, and a node without internet cannot pull it.",
        "source": "",
        "read": "`docker image inspect`; the archive of npu_container_image_archive on the node",
        "remedy": "Copy an archive made by `docker save` to the node and set npu_container_image_archive.",
    },
    "image.architecture": {
        "why": "An image of another architecture ends with `exec format error`. An archive that was saved on a laptop "
        "for an aarch64 server is the usual case.",
        "source": ISSUES + "2521",
        "read": "Architecture in `docker image inspect` against the node's `uname -m`",
        "remedy": "Pull and save the image with `docker pull --platform linux/arm64` (or linux/amd64).",
    },
    "image.hardware": {
        "why": "Tags tell the chip: none for A2, -a3 for A3, -310p. The kernels of an image for another chip do not load.",
        "source": ISSUES + "6676",
        "read": "SOC_VERSION in the image's environment; where there is none, the tag's suffix",
        "remedy": "Remove the image from the node and load the one with the right suffix, or correct vllm_recipe_image.",
    },
    "image.same": {
        "why": "Nodes of one replica with different images disagree over messages and kernels, or wait for each other.",
        "source": "",
        "read": "image id and repository digests of `docker image inspect` on all nodes of the replica",
        "remedy": "Load the same archive on all nodes; `docker rmi` where it differs, and deploy again.",
    },
    "container.name": {
        "why": "This collection never removes a container that it did not make, unless told to adopt it, and the name can be "
        "given once.",
        "source": "",
        "read": "`docker container inspect` and the label ascend_ops.vllm.service",
        "remedy": "Remove or rename the container, set vllm_recipe_container.name, or have it replaced: npu_container_adopt.",
    },
    "container.holds_device": {
        "why": "A chip belongs to the first container that opens it; a second one is refused with -8020 or -8005.",
        "source": ISSUES + "632",
        "read": "the devices (and ASCEND_VISIBLE_DEVICES) of all running containers in `docker inspect`",
        "remedy": "`docker stop` the other container, or give the service other chips.",
    },
}
NOT_TOLD = "the engine did not answer"


def judge(node, facts, policy):
    """The verdicts on the engine, the image and the containers of one node."""
    engine = facts.get("engine") or {"error": "the node did not tell"}
    checks = [_running(engine)]
    for check, function, wanted in (
        ("engine.version", _version, f"Docker {THREADS} or later"),
        ("engine.cgroup", _cgroup, "a cgroup driver"),
        ("engine.storage", _storage, "room for the image"),
        ("image.available", _available, node["container"]["image"]),
        ("image.architecture", _architecture, "an image for the node's machine"),
        ("image.hardware", _hardware, "an image for {0}".format(node["hardware"])),
        ("container.name", _name, "{0} free".format(node["container"]["name"])),
        ("container.holds_device", _holders, "no other container with the plan's chips"),
    ):
        if engine.get("error"):
            checks.append(verdict(check, "unknown", NOT_TOLD, wanted, "See engine.running."))
        else:
            try:
                word, seen, remedy = function(node, facts, engine)
            except (AttributeError, KeyError, TypeError, ValueError):  # a part of it was not told, or otherwise
                word, seen, remedy = "unknown", "the node did not tell it all", ""
            checks.append(verdict(check, word, seen, wanted, remedy or CHECKS[check]["remedy"]))
    return checks


def _running(engine):
    bad, version = engine.get("error"), engine.get("version")
    return verdict(
        "engine.running",
        "fail" if bad else "pass" if version else "unknown",
        bad or "version {0}".format(version or "not told"),
        "an engine that answers",
        "See 'systemctl status docker' on the node.",
    )


def key(version):
    """The numbers of a version such as 20.10.24+dfsg1, or None."""
    match = re.match(r"v?(\d{1,4})\.(\d{1,4})(?:\.(\d{1,4}))?", version or "")
    return tuple(int(number or 0) for number in match.groups()) if match else None


def _version(node, facts, engine):
    seen = "{0} {1}".format(engine.get("kind") or "docker", engine.get("version") or "of no told version")
    if engine.get("kind") == "podman":
        return "skipped", seen + "; the versions of Docker do not hold for it", ""
    version = key(engine.get("version"))
    if version is None:
        return "unknown", seen, "See 'docker version' on the node."
    if version < key(LEAST):
        return "fail", seen, ""
    if version < key(THREADS) and not node["container"].get("privileged"):
        return "warn", seen, "Where 'thread' and 'Operation not permitted' stand in the log: update the engine."
    return "pass", seen, ""


def _cgroup(node, facts, engine):
    driver = engine.get("cgroup_driver")
    if driver is None:
        return "unknown", "the engine does not tell", "See 'docker info' on the node."
    seen = "{0}, cgroup version {1}".format(driver, engine.get("cgroup_version") or "not told")
    return "pass" if driver in ("systemd", "cgroupfs") else "fail", seen, ""


def _storage(node, facts, engine):
    free = engine.get("free_bytes")
    seen = "{0:.1f} GB free in {1} ({2})".format(
        (free or 0) / GB, engine.get("data_root"), engine.get("storage_driver") or "storage driver not told"
    )
    if engine.get("image"):
        if free is not None and free < GB // 2:
            return "fail", seen + "; the image is there, but containers and logs need some", ""
        return "pass", "the image is there" + ("" if free is None else "; " + seen), ""
    if free is None:
        return "unknown", "the engine's data directory cannot be measured", "See 'docker info' and 'df -h' on the node."
    if facts.get("archive"):
        archive = engine.get("archive_bytes")
        needed = PULLED if archive is None else 2 * archive
        what = "twice the archive's size"
    else:
        needed, what = PULLED, "for an image that is pulled"
    seen += f"; needed {needed / GB:.1f} GB, {what}"
    return "pass" if free >= needed else "fail", seen, ""


def _available(node, facts, engine):
    if engine.get("image"):
        return "pass", str(engine["image"].get("id"))[:19], ""
    if facts.get("archive"):
        return "pass", "not loaded yet; the archive is there", ""
    if facts.get("archive") is None:
        seen = "not on the node; it will be pulled"
        if engine.get("mirrors"):
            seen += ", through " + ", ".join(map(str, engine["mirrors"]))
        return (
            "warn",
            seen,
            "Without internet, copy an archive made by 'docker save' to the node and set npu_container_image_archive.",
        )
    return (
        "fail",
        "neither the image nor the archive is on the node",
        "Copy the archive to the path in npu_container_image_archive on this node.",
    )


ABSENT = "the image is not on the node yet"


def _architecture(node, facts, engine):
    if not engine.get("image"):
        return "skipped", ABSENT, ""
    architecture = engine["image"].get("architecture")
    machine = (facts.get("host") or {}).get("machine")
    if not architecture or not machine:
        return (
            "unknown",
            "image {0}, machine {1}".format(architecture or "not told", machine or "not told"),
            "Compare 'docker image inspect' and 'uname -m' on the node.",
        )
    seen = f"image {architecture}, machine {machine}"
    system = engine["image"].get("os")
    if system not in (None, "", "linux"):
        return "fail", f"{seen}, system {system}", ""
    if machine not in MACHINES:
        return "unknown", seen, "This machine is not known here: compare it with the image's architecture."
    return "pass" if MACHINES[machine] == architecture else "fail", seen, ""


def product_of_soc(soc):
    """The hardware that a SOC_VERSION such as ascend910b1 or ascend910_9391 is for, or None."""
    name = (soc or "").lower().replace("ascend", "")
    for start, product in (("910b", "a2"), ("910_93", "a3"), ("910c", "a3"), ("310p", "310p"), ("950", "a5")):
        if name.startswith(start):
            return product
    return None


def product_of_tag(image):
    """The hardware that a tag of vllm-ascend is for; None for another image, or one without a tag."""
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
        product, seen = product_of_tag(image), "tag {0}".format(image.rpartition(":")[2])
    if product is None:
        return "skipped", "neither the image nor its tag tells the chip", ""
    return "pass" if product == node["hardware"] else "fail", f"{seen}: for {product}", ""


def _name(node, facts, engine):
    name = node["container"]["name"]
    if engine.get("foreign"):
        seen = "a container of this name that this collection did not make"
        if facts.get("adopt"):
            return (
                "warn",
                seen + "; a deploy replaces it (npu_container_adopt)",
                "Leave npu_container_adopt out to keep it.",
            )
        return (
            "fail",
            seen,
            f"Remove or rename it ('docker rm -f {name}'), set vllm_recipe_container.name, or have it replaced with "
            "npu_container_adopt: true.",
        )
    return "pass", "made by this collection" if engine.get("container") else "free", ""


def _holders(node, facts, engine):
    others = engine.get("others")
    if others is None:
        return "unknown", "the engine does not list its containers", "See 'docker ps' on the node."
    planned = set(node["container"]["devices"])
    running = [one for one in others if one.get("running")]
    holding = [
        "{0} ({1}) has {2}".format(one["name"], one["image"], short(set(one["devices"]) & planned))
        for one in running
        if set(one["devices"]) & planned
    ]
    if holding:
        return "fail", "; ".join(holding[:4]), ""
    free = [one["name"] for one in running if one.get("privileged")]
    # A privileged one may open any chip; whether it does is told by npu.idle.processes.
    return "pass", "none" + ("; privileged: {0}".format(", ".join(free[:4])) if free else ""), ""


def short(devices):
    """Some chips as an operator reads them."""
    listed = sorted(devices, key=lambda path: (len(path), path))
    more = len(listed) - 3
    return ", ".join(listed[:3]) + (f" and {more} more" if more > 0 else "")


def judge_replica(members, facts_by_host, policy):
    """Is it one image on all nodes of a replica? ``{host: [verdict]}``."""
    if len(members) < 2:
        return {node["host"]: [] for node in members}
    told = []
    for node in members:
        engine = (facts_by_host.get(node["host"]) or {}).get("engine") or {}
        told.append((node["host"], bool(engine) and not engine.get("error"), engine.get("image")))
    seen = ", ".join(
        "{0}: {1}".format(host, str(image.get("id"))[:19] if image else "not there yet" if answered else "not told")
        for host, answered, image in told
    )
    images = [image for unused, unused_too, image in told]
    if not all(answered for unused, answered, unused_too in told):
        word = "unknown"
    elif not all(images):
        word = "skipped"
    else:
        digests = [{digest.rpartition("@")[2] for digest in image.get("digests") or []} for image in images]
        same = len({image.get("id") for image in images}) == 1 or bool(set.intersection(*digests))
        word = "pass" if same else "fail"
    made = verdict("image.same", word, seen, "one image on all nodes", CHECKS["image.same"]["remedy"])
    return {node["host"]: [dict(made)] for node in members}
