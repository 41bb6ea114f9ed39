# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command with which an operator logs in to a node."""

from __future__ import annotations


def ssh_command(address, user=None, port=None):
    """``ssh -p PORT USER@ADDRESS``, without the parts that are not known or are the default (port 22)."""
    login = f"{user}@{address}" if user else str(address)
    return f"ssh -p {port} {login}" if port and str(port) != "22" else f"ssh {login}"


def ssh_remedy(address, user=None, port=None):
    """What to do about a node that cannot be reached, as a sentence."""
    return f"Check power, network and SSH key: '{ssh_command(address, user, port)}'."
