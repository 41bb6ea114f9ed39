# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """The option of all modules that use the container engine."""

    DOCUMENTATION = r"""
options:
  engine:
    description: Name or path of the engine's command on the node.
    type: str
    default: docker
requirements:
  - The C(docker) command on the node. It needs no Python library.
"""
