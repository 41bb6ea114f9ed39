# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The checks of what is inside the image: CANN and its compiled operators, read from the image's layers without starting it."""

from __future__ import annotations

from ansible_collections.ascend_ops.vllm.plugins.module_utils._checks.check import Check
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.verdict import (
    FAIL,
    PASS,
    SKIPPED,
    UNKNOWN,
    WARN,
    verdict,
)

# The folder of compiled operators for the chips of each hardware, as CANN names it.
KERNELS = {"a2": "ascend910b", "a3": "ascend910_93"}

CHECKS = {
    "image.kernels": Check(
        why="An image has the compiled operators of one kind of chip. On another, or with an image that has the compiler alone, "
        "every operator fails (aclnn 561000 to 561103, `AclOpKernelInit failed`), whatever the tag says.",
        source="https://github.com/vllm-project/vllm-ascend/issues/6676",
        read="the folders in opp/built-in/op_impl/ai_core/tbe/kernel of CANN, in the layers of the image (storage driver "
        "overlay2): ascend910b for A2, ascend910_93 for A3",
        remedy="Load the image for this hardware (A3: a tag with -a3), or install the CANN kernels of this chip in your own "
        "image.",
    ),
    "image.cann": Check(
        why="A release of vllm-ascend is built for one series of CANN. An image with another one fails in missing symbols or "
        "operators, and needs another driver than the tag lets expect.",
        source="https://docs.vllm.ai/projects/ascend/en/main/community/versioning_policy.html",
        read="ascend_toolkit_install.info of CANN in the layers of the image, compared with the CANN of vllm_recipe_release in "
        "releases.yml; npu.driver uses the same version",
        remedy="Use the image of the release, or set vllm_recipe_release to the one that the image has.",
    ),
}


def evaluate(node, facts, policy):
    """The verdicts on the content of the image of one node.

    :param policy: ``cann``: the version of CANN that the release is built for, or empty.
    """
    engine = facts.get("engine") or {}
    image = engine.get("image")
    if engine.get("error") or not engine:
        why = UNKNOWN, "the engine did not respond", "See engine.running."
    elif not image:
        why = SKIPPED, "the image is not on the node yet", ""
    elif not (image.get("cann") or {}).get("read"):
        why = SKIPPED, "the engine does not keep its images in folders that can be read", ""
    else:
        return [_kernels(node, image["cann"]), _cann(image["cann"], (policy or {}).get("cann"))]
    word, seen, remedy = why
    return [
        verdict("image.kernels", word, seen, _wanted(node), remedy),
        verdict("image.cann", word, seen, "the CANN of the release", remedy),
    ]


def _wanted(node):
    return f"operators for {KERNELS.get(node['hardware'], node['hardware'])}"


def _kernels(node, cann):
    name, kernels = "image.kernels", cann.get("kernels")
    if kernels is None:
        return verdict(name, SKIPPED, "no operators of CANN in the image", _wanted(node))
    seen = ", ".join(f"{kind} ({count} folders)" for kind, count in sorted(kernels.items())) or "none"
    good = kernels.get(KERNELS.get(node["hardware"]))
    return verdict(name, PASS if good else FAIL, seen, _wanted(node), CHECKS[name].remedy)


def _cann(cann, released):
    name, version = "image.cann", cann.get("version")
    if not version:
        return verdict(name, SKIPPED, "no CANN in the usual places of the image", "the CANN of the release")
    wanted = f"CANN {released}" if released else "the CANN of the release"
    if not released:
        return verdict(name, SKIPPED, f"CANN {version}; that of the release is not known", wanted)
    good = series(version) == series(released)
    return verdict(name, PASS if good else WARN, f"CANN {version}", wanted, CHECKS[name].remedy)


def series(version):
    """The series of a version of CANN: 9.0 of 9.0.1 and of 9.0.0.beta1."""
    return ".".join(str(version).split(".")[:2])
