# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan: recipe and inventory in, services, instances and processes out.

Uses ``_common``. Runs on the controller; ``render`` runs on nodes too and imports nothing else of this package.

=============  ========================================================================================================
``plan``       the planner: pure, from nodes and releases to a plan
``model``      the types of a plan, and accessors of its data
``inventory``  groups and variables of an inventory, and its nodes with their recipes
``inputs``     the settings of a node: form, secrets, the same on all nodes of a replica
``recipe``     the form of a recipe, and what settings choose of it: release, deployment, scenarios, checkpoint, image
``topology``   groups, layout of a replica, ranks and chips
``network``    addresses
``options``    the options of ``vllm serve``
``node``       what one process gets: command line, environment, address of the API
``ports``      the ports of a process
``container``  the container of a process
``render``     launch script and environment file
``text``       a plan for the screen and for other programs
``files``      the only part that reads files: recipes, releases, argument specs
``forms``      the forms of values; ``errors``: what an error is made of
=============  ========================================================================================================
"""
