# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why a service died. Uses ``_common``; runs on nodes and on the controller.

``catalogue`` has the causes as data, ``log`` reads a log into lines with their process and level, ``search`` finds the root cause.
"""
