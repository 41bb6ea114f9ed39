# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Benchmarks of a served model. Uses ``_common``.

On nodes: ``run`` measures. On the controller: ``scenario`` says what, ``judge`` compares with published figures, ``compare``
with other results, ``text`` and ``pages`` show it.
"""
