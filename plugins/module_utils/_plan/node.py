# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What one process of a replica gets: command line, environment, ports, container."""

from __future__ import annotations

from dataclasses import dataclass

from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.secrets import ENV_NAME
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan import network, topology
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.container import TLS_DIR, spec
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.errors import quoted, raise_all, shown
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.model import Process
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.options import (
    port,
    same_option,
    served_name,
    value_of,
)
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.ports import API_PORT, ports_of
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.recipe import Choice, checkpoints_read
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.render import argv

TLS_OPTIONS = ("ssl-certfile", "ssl-keyfile")
# Addresses to which a server binds to be reached at every address of its node.
ANY_ADDRESS = ("0.0.0.0", "::")


@dataclass(frozen=True)
class Shared:
    """What all processes of a replica have in common; ``env`` and ``args`` with their tokens not filled in yet.

    ``weights_dir`` is a path on the nodes, ``primary`` the address of the node that serves the API, ``tls`` the setting.
    """

    choice: Choice
    env: dict
    args: dict
    container: dict
    weights_dir: str
    primary: str
    sizes: topology.Sizes
    tls: dict

    @property
    def model(self):
        """Path of the served checkpoint."""
        return f"{self.weights_dir}/{self.choice.checkpoint['directory']}"

    def tokens(self, address, devices):
        """What the tokens in environment and arguments mean for a process: name without braces to text."""
        return {
            "WeightsDir": self.weights_dir,
            "PrimaryNodeIP": self.primary,
            "NodeIP": address,
            "Devices": numbered(devices),
        }


def process(shared, member, index):
    """The process on one node of a replica.

    :param member: a ``topology.Member``.
    :param index: the number of the node in its replica, from 0; it gives the data parallel ranks.
    :return: a ``model.Process``.
    :raises PlanError: with what is wrong with environment, ports or container.
    """
    serves = member.role != "secondary"
    devices = member.devices(shared.choice.deployment)
    ranks = shared.sizes.ranks(index)
    args = shared.args if serves else secondary_args(shared.args, ranks[0])
    tls = shared.tls if serves else {}
    tokens = shared.tokens(member.address, devices)
    filled = fill(args, tokens)
    raise_all(_meeting_errors(filled, shared.primary))
    return Process(
        host=member.host,
        role=member.role,
        address=member.address,
        ports=ports_of(args, shared.env, len(devices), member.role),
        env=environment(shared.env, tokens),
        model=shared.model,
        args=filled,
        argv=["vllm", "serve", shared.model, *argv(filled)],
        secrets=list(member.secrets),
        container=spec(shared.container, shared.choice.image, devices, shared.weights_dir, tls),
        ranks=ranks,
        weights=checkpoints_read(shared.choice, filled, shared.weights_dir),
        listen=listen_of(filled) if serves else "",
        tls=tls,
    )


def numbered(devices):
    """The chips as the container numbers them, from 0: ``0,1,2``."""
    return ",".join(map(str, range(len(devices))))


def endpoint(shared):
    """What a client of the replica needs to know: ``{"url", "model", "tool_calls", "ca_file"}``."""
    args = fill(shared.args, shared.tokens(shared.primary, []))
    return {
        "url": url_of(args, shared.primary),
        "model": served_name(shared.args) or shared.model,
        "tool_calls": bool(value_of(shared.args, "enable-auto-tool-choice")),
        "ca_file": str(shared.tls.get("ca") or shared.tls.get("certificate") or ""),
    }


def _meeting_errors(args, primary):
    """What is wrong with the address at which the ranks of a recipe meet, in a list."""
    address = value_of(args, "data-parallel-address")
    if address in (None, primary):
        return []
    return [
        f"--data-parallel-address is {quoted(address)}; the ranks of this replica meet at its primary, {primary}. Write "
        "{PrimaryNodeIP} in the recipe."
    ]


# -- arguments ----------------------------------------------------------------------------------------------------


def secondary_args(args, start_rank):
    """The arguments of a secondary, in the guide's order: without an API server, and with its first rank."""
    result = {}
    for name, value in args.items():
        if name == "host":
            result["headless"] = True
        elif name not in ("port", *TLS_OPTIONS):
            result[name] = value
        if name == "data-parallel-size-local":
            result["data-parallel-start-rank"] = start_rank
    result.setdefault("headless", True)
    result.setdefault("data-parallel-start-rank", start_rank)
    return result


def fill(value, tokens):
    """A value with ``{name}`` replaced by the text of each token, in mappings and lists too; a copy of both."""
    if isinstance(value, dict):
        return {key: fill(item, tokens) for key, item in value.items()}
    if isinstance(value, list):
        return [fill(item, tokens) for item in value]
    if isinstance(value, str):
        for name, text in tokens.items():
            value = value.replace("{" + name + "}", text)
    return value


def environment(env, tokens):
    """The environment with its tokens filled in: name to value, both strings.

    :raises PlanError: with each name or value that an environment cannot have.
    """
    errors = []
    result = {}
    for name, value in env.items():
        if not ENV_NAME.match(str(name)):
            errors.append(
                f"'{name}' cannot be the name of an environment variable; wanted letters, digits and '_', not "
                "starting with a digit. Correct it in vllm_recipe_env."
            )
        elif isinstance(value, (dict, list)):
            errors.append(
                f"the environment variable {name} is {shown(value)}; wanted one string or number. Correct it in "
                "vllm_recipe_env."
            )
        else:
            result[name] = fill(str(value), tokens)
    raise_all(errors)
    return result


# -- the API ------------------------------------------------------------------------------------------------------


def serve_at(args, settings):
    """The arguments with what vllm_recipe_listen and vllm_recipe_tls set.

    :raises PlanError: the arguments set the same.
    """
    errors = []
    listen = settings.get("listen")
    if listen and value_of(settings.get("args") or {}, "host") is not None:
        errors.append("vllm_recipe_args contains 'host', which vllm_recipe_listen sets. Remove one of them.")
    errors.extend(
        f"the arguments contain '{name}'; wanted vllm_recipe_tls instead: it also gives the files to the container, checks "
        "them, and lets the checks of the service connect over https."
        for name in TLS_OPTIONS
        if value_of(args, name) is not None
    )
    raise_all(errors)
    result = dict(args)
    if listen:
        result[same_option("host", result)] = "{PrimaryNodeIP}" if listen == "node" else network.canonical(listen)
    if settings.get("tls"):
        result.update({"ssl-certfile": TLS_DIR + "/certificate.pem", "ssl-keyfile": TLS_DIR + "/key.pem"})
    return result


def listen_of(args):
    """The address that the API binds to."""
    return str(value_of(args, "host") or "0.0.0.0")


def url_of(args, primary):
    """The URL of the API; *primary* is the address of its node, for an API that binds to any address.

    :raises PlanError: the port is not one.
    """
    host = listen_of(args)
    if host in ANY_ADDRESS:
        host = primary
    scheme = "https" if value_of(args, "ssl-certfile") else "http"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port(args, 'port') or API_PORT}"
