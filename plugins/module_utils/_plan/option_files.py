# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Refuse options of ``vllm serve`` that name a file which the container cannot see."""

from __future__ import annotations

import posixpath
import re

from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.option_files import (
    FILE,
    IN_IMAGE,
    inside,
    named,
    on_host,
)
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.errors import raise_all


def check_option_files(processes, weights_dir):
    """Check that each file that an option names is in a mount, or in a folder that images of vllm-ascend have themselves.

    An image of another name may hold more: there a file is looked for by preflight alone (``files.options``).

    :param processes: the processes of a replica, ``model.Process``.
    :param weights_dir: the folder of the checkpoints on the nodes.
    :raises PlanError: with each option that names another path.
    """
    errors = {}  # in order, each once: most options are the same on all nodes
    for process in processes:
        if not re.search(r"(^|/)vllm-ascend([:@]|$)", process.container["image"]):
            continue
        for option, kind, path in named(process.args):
            if on_host(path, process.container["mounts"]) is None and not any(inside(path, one) for one in IN_IMAGE):
                errors[_error(option, kind, path, weights_dir)] = True
    raise_all(list(errors))


def _error(option, kind, path, weights_dir):
    folder = path if kind != FILE else posixpath.dirname(path)
    return (
        f"--{option} is {path}, which is in no mount of the container; wanted a {kind} that the container sees. Put it on "
        f"all nodes of the replica and mount its folder, with vllm_recipe_container: {{mounts: [{{source: {folder}, target: "
        f"{folder}}}]}}; or put it below {weights_dir}, which is mounted already."
    )
