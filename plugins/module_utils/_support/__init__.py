# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The support bundle. May use all packages below it.

On nodes: ``bundle`` collects, ``sources`` says what, ``parts`` reads, ``container`` and ``logs`` are about the service. On the
controller: ``archive`` and ``text``.
"""
