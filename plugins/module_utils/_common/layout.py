# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The folders that the collection uses on a node."""

from __future__ import annotations

# A folder per service below each, named after its container.
SERVICE_DIR = "/etc/ascend-vllm"  # launch script, environment, secrets; mounted into the container
STATE_DIR = "/run/ascend-vllm"  # last state of the supervisor
RECORDS_DIR = "/var/lib/ascend-vllm"  # verified revisions


def service_directory(spec):
    """The folder of the service's files on the node: the source of the mount that the launch script is in."""
    inside = spec["command"][-1].rpartition("/")[0]
    return next(mount["source"] for mount in spec["mounts"] if mount["target"] == inside)
