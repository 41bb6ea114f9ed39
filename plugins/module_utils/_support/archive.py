# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The support bundles of all nodes as one archive with an index. Runs on the controller."""

from __future__ import annotations

import io
import json
import os
import tarfile
import time
from pathlib import Path

from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.verdict import WORDS
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.model import processes
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.text import plan_data
from ansible_collections.ascend_ops.vllm.plugins.module_utils._support.text import (
    FAILED_EARLIER,
    container_line,
    file_name,
    index_text,
    short,
)

SCHEMA_VERSION = 1
GOOD_STATES = ("serving", "joined", "starting", "waiting")
MEMBER = 64 * 1024 * 1024  # bytes that one file of a node may have, unpacked


# -- reading a node's bundle ----------------------------------------------------------------------------------------


def members(path):
    """``(name, bytes)`` of the regular files of a node's bundle; names that lead elsewhere are dropped."""
    with tarfile.open(path, "r:gz") as archive:
        for member in archive:
            parts = member.name.split("/")
            if member.isfile() and member.size <= MEMBER and ".." not in parts and "" not in parts:
                yield member.name, archive.extractfile(member).read()


def json_member(path, name):
    """A JSON file of a node's bundle as data, or None."""
    for found, data in members(path):
        if found == name:
            try:
                return json.loads(data.decode("utf-8"))
            except ValueError:
                return None
    return None


# -- the index ------------------------------------------------------------------------------------------------------


def first_looks(nodes, reports):
    """What stands out, the most telling first: ``[{"host", "text", "file"}]``.

    :param nodes: entries of the index, as :func:`node_entry` makes them.
    :param reports: preflight reports.
    """
    looks = []

    def add(rank, host, text, file=""):
        looks.append((rank, len(looks), {"host": host, "text": text, "file": file}))

    for node in nodes:
        host = node["host"]
        if not node["collected"]:
            add(0, host, f"nothing was collected: {node['error']}")
            continue
        container = node["container"]
        if not container or container.get("status") != "running":
            add(1, host, f"the container: {container_line(container)}", "container/inspect.json")
        state = node.get("supervised") or {}
        if state and state.get("state") not in GOOD_STATES:
            add(1, host, "the supervisor: {state}, {reason}".format(**state), "supervisor/state.json")
        for cause in node["causes"]:
            add(2, host, "the log shows {id}: {line} -- {meaning} {advice}".format(**cause), "container/log.txt")
        for note in node["notes"]:
            add(6, host, note)
    rank = {"fail": 3, "unknown": 4, "warn": 5}
    for host, check in _checks(reports):
        if check["verdict"] in rank and check["id"] != "node.reachable":
            text = "{id} is {verdict}: seen {seen}; wanted {wanted}. {remedy}".format(**check)
            add(rank[check["verdict"]], host, text, "../../preflight.json")
    return [look for _rank, _number, look in sorted(looks, key=lambda item: item[:2])]


def _checks(reports):
    return [(node["host"], check) for report in reports for node in report["nodes"] for check in node["checks"]]


def verdict_counts(reports, host):
    """``"30 pass, 1 fail"`` of a node."""
    words = [check["verdict"] for other, check in _checks(reports) if other == host]
    return ", ".join(f"{words.count(word)} {word}" for word in WORDS if words.count(word)) or "not evaluated"


def node_entry(node, result):
    """A node's entry of the index.

    :param node: the node's process of the plan.
    :param result: what the module node_bundle returned; empty for a node that failed before.
    """
    index = result.get("index") or {}
    collected = bool(result.get("bundle"))
    return {
        "host": node["host"],
        "role": node["role"],
        "replica": node["replica"],
        "address": node["address"],
        "collected": collected,
        "error": "" if collected else short(result.get("msg") or FAILED_EARLIER, 500),
        "container": index.get("container"),
        "causes": index.get("causes") or [],
        "notes": index.get("notes") or [],
        "entries": index.get("entries") or [],
        "redactions": index.get("redactions", 0),
        "seconds": index.get("seconds"),
    }


def build(plan, results, raw_facts, judge, versions, redactor, now=None):
    """``(stamp, index, files)``: all that the archive contains besides the nodes' own files.

    :param results: host to what the module node_bundle returned.
    :param raw_facts: host to its facts; used for nodes whose bundle has none.
    :param judge: a function of host to facts that returns the preflight reports.
    :param versions: name to version of what made the archive.
    :param redactor: with the secrets that the controller knows.
    :param now: seconds since the epoch, of the stamp; the current time when None.
    """
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
    nodes = []
    facts = {}
    for node in processes(plan):
        host = node["host"]
        entry = node_entry(node, results.get(host) or {})
        bundled = None
        if entry["collected"]:
            bundled = json_member(results[host]["bundle"], "facts.json")
            entry["supervised"] = json_member(results[host]["bundle"], "supervisor/state.json")
            entry["entries"] = [item for item in entry["entries"] if item["path"] != "facts.json"]
        unbundled = raw_facts.get(host) or {"error": entry["error"] or "no facts were gathered"}
        facts[host] = bundled or redactor.data(unbundled)
        nodes.append(entry)
    reports = redactor.data(judge(facts))
    index = redactor.data(
        {
            "schema_version": SCHEMA_VERSION,
            "created": stamp,
            "versions": versions,
            "first": first_looks(nodes, reports),
            "nodes": [dict(node, verdicts=verdict_counts(reports, node["host"])) for node in nodes],
        }
    )
    files = {
        "INDEX.md": index_text(index),
        "index.json": as_json(index),
        "plan.json": as_json(redactor.data(plan_data(plan))),
        "preflight.json": as_json(reports),
    }
    for host, content in facts.items():
        files[f"facts/{file_name(host)}.json"] = as_json(content)
    return stamp, index, files


def as_json(data):
    """Data as the text of a JSON file."""
    return json.dumps(data, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


# -- the archive ----------------------------------------------------------------------------------------------------


def write(folder, stamp, files, bundles):
    """Write the archive, mode 0600, as a whole or not at all, and return its path. Raises OSError and tarfile.TarError.

    :param folder: made with mode 0700 where it does not exist.
    :param files: path in the archive to text.
    :param bundles: host to the path of its bundle.
    """
    folder = Path(folder)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    name = f"ascend-vllm-{stamp}"
    path = folder / f"{name}.tar.gz"
    part = folder / f"{name}.tar.gz.{os.getpid()}.part"
    try:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
            with tarfile.open(fileobj=stream, mode="w:gz", compresslevel=6) as archive:
                top = tarfile.TarInfo(name)
                top.type, top.mode, top.mtime = tarfile.DIRTYPE, 0o700, int(time.time())
                archive.addfile(top)
                for file in sorted(files):
                    _add(archive, f"{name}/{file}", files[file].encode("utf-8", "replace"))
                for host in sorted(bundles):
                    for member, data in members(bundles[host]):
                        if member != "facts.json":
                            _add(archive, f"{name}/nodes/{file_name(host)}/{member}", data)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return str(path)


def _add(archive, name, data):
    member = tarfile.TarInfo(name)
    member.size, member.mode, member.mtime = len(data), 0o600, int(time.time())
    archive.addfile(member, io.BytesIO(data))
