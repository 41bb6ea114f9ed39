# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A replica as a whole: what is decided for it, how it is supervised, rolled out and removed. Uses ``_common``, ``_state`` and ``_failure``."""
