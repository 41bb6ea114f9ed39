# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The desired state of one process on its node: container, files, arguments, environment. The only place that renders it."""

from __future__ import annotations

from ansible_collections.ascend_ops.vllm.plugins.module_utils._common import files as common_files
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common import layout, secrets
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.engine import mounts_here
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan import render
from ansible_collections.ascend_ops.vllm.plugins.module_utils._state import arguments, records
from ansible_collections.ascend_ops.vllm.plugins.module_utils._state.container import wanted_settings


def desired(process, context):
    """What a node should have for a process of a plan.

    :param process: the process plan.
    :param context: what the plan leaves to the node: ``interface`` (that carries the node's address, or an empty string);
        ``secrets`` (name to value; missing where they are not compared); ``masked``: the process plan has no values of
        secrets, so that these are not compared.
    :return: ``{"name", "directory", "spec", "settings", "mounts", "missing_mounts", "arguments", "files", "files_error",
        "masked"}``. *settings* is of the container, as in ``container``; *mounts* are those that the node can make;
        *arguments* as of ``arguments.args_from_argv``, None for a plan that serves nothing; *files* is ``[{"name", "mode",
        "content"}]``, content None for a file that should not exist, and None where *files_error* says why they cannot be
        rendered.
    """
    result = dict(
        container(process["container"]), arguments=None, files=None, files_error="", masked=bool(context.get("masked"))
    )
    if arguments.serve_words(process["argv"]) is not None:
        result["arguments"] = arguments.args_from_argv(process["argv"])
    try:
        result["files"] = service_files(process, context.get("interface"), context.get("secrets"))
    except ValueError as error:
        result["files_error"] = str(error)
    except OSError as error:
        result["files_error"] = (
            f"cannot read {error.filename}, which the service reads when it starts: {error.strerror}."
        )
    return result


def container(spec):
    """The part of :func:`desired` that concerns the container alone, from the part ``container`` of a process plan."""
    mounts, missing = mounts_here(spec)
    return {
        "name": spec["name"],
        "directory": layout.service_directory(spec),
        "spec": spec,
        "settings": wanted_settings(spec, mounts),
        "mounts": mounts,
        "missing_mounts": missing,
    }


def service_files(process, interface, given=None):
    """The files of a service on its node: ``[{"name", "mode", "content"}]``, content None for one that should not exist.

    :param interface: the interface that carries the node's address; empty where it is not known.
    :param given: the secrets, name to value; None to leave their file and ``watched.sha256`` out.
    :raises ValueError: the environment names the interface, and it is not known; or a secret is none.
    :raises OSError: the certificate cannot be read.
    """
    files = render.node_files(process, interface or None)
    if given is not None:
        files.append({"name": common_files.SECRETS, "mode": "0600", "content": secrets.secrets_file(given)})
        files.append({"name": common_files.WATCHED, "mode": "0644", "content": watched(process)})
    return files


def watched(process):
    """The content of ``watched.sha256``: digests of files that the service reads when it starts; None for no such files.

    :raises OSError: such a file cannot be read.
    """
    tls = process.get("tls") or {}
    return common_files.watched([tls["certificate"]] if tls.get("certificate") else [])


def process_file(process, interface):
    """The file that tells what was deployed, ``{"name", "mode", "content"}``; the container does not read it."""
    return {"name": records.PROCESS, "mode": "0600", "content": records.process_text(process, interface)}
