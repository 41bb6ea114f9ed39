# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Desired and observed state of a node's service, and the drift between them. Uses ``_common``, ``_facts``, ``_tuning`` and ``_plan.render``."""
