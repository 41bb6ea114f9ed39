# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The desired and the observed state of a service on its node, and the drift between them.

=================================  ====================================================================================
``desired``, ``observed``          what a node should have for a process of a plan, and what it has
``drift``                          the differences, one item each: the only comparison
``arguments``, ``container``       both sides as mappings
``compare``, ``status``            what a deploy and status.yml ask of a node
``records``, ``revisions``         what is recorded on a node, to tell what was deployed and to roll back
``supervision``                    the files that supervise a service
``problems``, ``report``,          on the controller alone: what is wrong and what to do, as data and for the screen;
``text``, ``rollback``             the revision that a replica rolls back to
=================================  ====================================================================================

Uses ``_common``, ``_facts``, ``_tuning`` and ``_plan.render``. Node code is Python 3.7.
"""
