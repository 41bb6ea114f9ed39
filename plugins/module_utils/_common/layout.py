# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the collection keeps what on a node."""

from __future__ import annotations

# A folder per service below each, named after its container.
SERVICE_DIR = "/etc/ascend-vllm"  # launch script, environment, secrets; the container sees its folder as this one
STATE_DIR = "/run/ascend-vllm"  # what the supervisor saw last
RECORDS_DIR = "/var/lib/ascend-vllm"  # revisions that were verified


def service_directory(spec):
    """The folder of the service's files on the node: what the container sees as the folder of its launch script."""
    inside = spec["command"][-1].rpartition("/")[0]
    return next(mount["source"] for mount in spec["mounts"] if mount["target"] == inside)
