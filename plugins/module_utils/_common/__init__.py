# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What all other packages build on: commands, the engine, files, secrets, requests.

Uses nothing else of this collection; runs on nodes and on the controller.
"""
