# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The bundles of all nodes as one archive with an index, and the texts about logs. Runs on the controller."""

from __future__ import annotations

import io
import json
import os
import re
import tarfile
import time

from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.verdict import WORDS
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.model import processes
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.text import plan_data

SCHEMA_VERSION = 1
GOOD_STATES = ("serving", "joined", "starting", "waiting")
SHOWN = 12  # lines of what to look at first, on the screen
MEMBER = 64 * 1024 * 1024  # the most that one file of a node may have, unpacked


def file_name(host):
    """A host's name as that of a file or folder."""
    return re.sub(r"[^\w.:@-]", "_", host).lstrip(".") or "_"


# -- reading a node's bundle ----------------------------------------------------------------------------------------


def members(path):
    """``(name, bytes)`` of the regular files of a node's bundle; names that lead elsewhere are left out."""
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


# -- what to look at first ------------------------------------------------------------------------------------------


def container_line(container):
    """The state of a container in words."""
    if not container:
        return "no container"
    words = [container.get("status") or "unknown"]
    if container.get("status") not in ("running", "created"):
        words.append("exit code {0}".format(container.get("exit_code")))
    if container.get("oom_killed"):
        words.append("killed for lack of memory")
    if container.get("restart_count"):
        words.append("restarted {0} times".format(container["restart_count"]))
    return ", ".join(words)


def first_looks(nodes, reports):
    """What stands out, the most telling first: ``[{host, text, file}]``."""
    looks = []

    def add(rank, host, text, file=""):
        looks.append((rank, len(looks), {"host": host, "text": text, "file": file}))

    for node in nodes:
        host = node["host"]
        if not node["collected"]:
            add(0, host, "nothing was collected: {0}".format(node["error"]))
            continue
        container = node["container"]
        if not container or container.get("status") != "running":
            add(1, host, f"the container: {container_line(container)}", "container/inspect.json")
        state = node.get("supervised") or {}
        if state and state.get("state") not in GOOD_STATES:
            add(1, host, "the supervisor: {state}, {reason}".format(**state), "supervisor/state.json")
        for cause in node["causes"]:
            add(2, host, "the log speaks of {id}: {line} -- {advice}".format(**cause), "container/log.txt")
        for note in node["notes"]:
            add(5, host, note)
    for report in reports:
        for entry in report["nodes"]:
            for check in entry["checks"]:
                if check["verdict"] in ("fail", "unknown", "warn") and check["id"] != "node.reachable":
                    add(
                        3 + ("fail", "unknown", "warn").index(check["verdict"]),
                        entry["host"],
                        "{id} is {verdict}: seen {seen}; wanted {wanted}. {remedy}".format(**check),
                        "../../preflight.json",
                    )
    return [look for unused, unused, look in sorted(looks, key=lambda item: item[:2])]


def verdict_counts(reports, host):
    """``"30 pass, 1 fail"`` of a node."""
    words = [
        check["verdict"]
        for report in reports
        for entry in report["nodes"]
        if entry["host"] == host
        for check in entry["checks"]
    ]
    return ", ".join(f"{words.count(word)} {word}" for word in WORDS if words.count(word)) or "not judged"


# -- the index ------------------------------------------------------------------------------------------------------


def index_of(stamp, nodes, reports, versions):
    """The index as data."""
    return {
        "schema_version": SCHEMA_VERSION,
        "created": stamp,
        "versions": versions,
        "first": first_looks(nodes, reports),
        "nodes": [dict(node, verdicts=verdict_counts(reports, node["host"])) for node in nodes],
    }


def _cell(text):
    return " ".join(str(text).split()).replace("|", "\\|")


def index_text(index):
    """The index as an operator reads it, in Markdown."""
    lines = [
        "# Diagnostics of {0} nodes, {1}".format(len(index["nodes"]), index["created"]),
        "",
        "Secrets were taken out on the nodes. Look through it all the same before you hand it on: it holds host names, "
        "addresses, process lists and what the service logged.",
        "",
        "## Look here first",
        "",
    ]
    for look in index["first"]:
        place = " (`nodes/{0}/{1}`)".format(file_name(look["host"]), look["file"]) if look["file"] else ""
        place = " (`preflight.json`)" if look["file"].startswith("..") else place
        lines.append("- **{0}**: {1}{2}".format(look["host"], " ".join(look["text"].split()), place))
    if not index["first"]:
        lines.append("Nothing stands out: all containers run, all checks pass, no log speaks of a known cause.")
    lines.extend(
        [
            "",
            "## What is where",
            "",
            "| file | what |",
            "| --- | --- |",
            "| `index.json` | this index as data |",
            "| `plan.json` | what each node was to run, without secrets |",
            "| `preflight.json` | the verdicts on what the nodes told |",
            "| `facts/` | what the nodes told; judge it again with `ansible-playbook playbooks/preflight.yml -i INVENTORY "
            "-e npu_preflight_facts_dir=$PWD/facts` |",
            "| `nodes/HOST/` | the files of each node |",
            "",
            "Made with "
            + ", ".join("{0} {1}".format(name, index["versions"][name]) for name in sorted(index["versions"]))
            + ".",
        ]
    )
    for node in index["nodes"]:
        lines.extend(["", "## {host}: {role} of replica {replica}, {address}".format(**node), ""])
        if not node["collected"]:
            lines.append("Nothing was collected: {0}".format(" ".join(node["error"].split())))
            continue
        lines.append("Container: {0}. Checks: {1}.".format(container_line(node["container"]), node["verdicts"]))
        there = [entry for entry in node["entries"] if "missing" not in entry]
        lines.extend(["", "| file | bytes | what | notes |", "| --- | --- | --- | --- |"])
        for entry in there:
            notes = list(entry.get("problems") or [])
            if entry.get("cut"):
                notes.insert(0, "{0} bytes at its start were left out".format(entry["cut"]))
            lines.append(
                "| {0} | {1} | {2} | {3} |".format(
                    _cell(entry["path"]), entry.get("bytes", ""), _cell(entry["what"]), _cell("; ".join(notes))
                )
            )
        absent = [entry for entry in node["entries"] if "missing" in entry]
        if absent:
            lines.extend(["", "Not there:", "", "| file | what | why |", "| --- | --- | --- |"])
            lines.extend(
                "| {0} | {1} | {2} |".format(_cell(entry["path"]), _cell(entry["what"]), _cell(entry["missing"]))
                for entry in absent
            )
    return "\n".join(lines) + "\n"


def short(text, width):
    """A text in one line of at most *width* signs."""
    text = " ".join(str(text).split())
    return text if len(text) <= width else text[: width - 1] + "…"


def summary(index, path):
    """One screen: each node, what to look at first, where the archive is."""
    width = max([len(node["host"]) for node in index["nodes"]] + [4])
    lines = ["diagnostics of {0} nodes".format(len(index["nodes"]))]
    for node in index["nodes"][:20]:
        if node["collected"]:
            absent = len([entry for entry in node["entries"] if "missing" in entry])
            told = "container {0}; {1} files, {2} not there; checks: {3}".format(
                container_line(node["container"]), len(node["entries"]) - absent, absent, node["verdicts"]
            )
        else:
            told = "nothing was collected: " + node["error"]
        lines.append("  {0:<{1}}  {2}".format(node["host"], width, short(told, 160)))
    if len(index["nodes"]) > 20:
        lines.append("  and {0} more".format(len(index["nodes"]) - 20))
    lines.append("look here first" if index["first"] else "nothing stands out")
    for look in index["first"][:SHOWN]:
        lines.append("  {0:<{1}}  {2}".format(look["host"], width, short(look["text"], 150)))
    if len(index["first"]) > SHOWN:
        lines.append("  and {0} more in INDEX.md".format(len(index["first"]) - SHOWN))
    folder = os.path.basename(path)[: -len(".tar.gz")]
    lines.extend(
        [
            f"archive  {path}",
            f"read it  tar -xzf {path} -C /tmp && less /tmp/{folder}/INDEX.md",
            f"judge    ansible-playbook playbooks/preflight.yml -i INVENTORY -e npu_preflight_facts_dir=/tmp/{folder}/facts",
        ]
    )
    return "\n".join(lines)


# -- the archive ----------------------------------------------------------------------------------------------------


def node_entry(node, told):
    """A node's part of the index, from its part of the plan and what the module node_bundle returned."""
    index = told.get("index") or {}
    return {
        "host": node["host"],
        "role": node["role"],
        "replica": node["replica"],
        "address": node["address"],
        "collected": bool(told.get("bundle")),
        "error": ""
        if told.get("bundle")
        else short(told.get("msg") or "it was not asked; it failed earlier in this run", 500),
        "container": index.get("container"),
        "causes": index.get("causes") or [],
        "notes": index.get("notes") or [],
        "entries": index.get("entries") or [],
        "redactions": index.get("redactions", 0),
        "seconds": index.get("seconds"),
    }


def build(plan, told, raw_facts, judge, versions, redactor, now=None):
    """``(stamp, index, files)``: all that the archive holds beside the nodes' own files.

    :param told: host to what the module node_bundle returned.
    :param raw_facts: host to what the preflight learned; taken for nodes whose bundle holds no facts.
    :param judge: a function of host to facts that gives the reports of the preflight.
    :param redactor: with the secrets that the controller knows.
    """
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
    nodes = []
    facts = {}
    for node in processes(plan):
        host = node["host"]
        entry = node_entry(node, told.get(host) or {})
        kept = None
        if entry["collected"]:
            kept = json_member(told[host]["bundle"], "facts.json")
            entry["supervised"] = json_member(told[host]["bundle"], "supervisor/state.json")
            entry["entries"] = [item for item in entry["entries"] if item["path"] != "facts.json"]
        facts[host] = kept or redactor.data(
            raw_facts.get(host) or {"error": entry["error"] or "nothing was heard of it"}
        )
        nodes.append(entry)
    reports = redactor.data(judge(facts))
    index = redactor.data(index_of(stamp, nodes, reports, versions))
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
    return json.dumps(data, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def write(folder, stamp, files, bundles):
    """Write the archive, whole or not at all, and return its path.

    :param bundles: host to the path of its bundle.
    """
    os.makedirs(folder, mode=0o700, exist_ok=True)
    name = "ascend-vllm-" + stamp
    path = os.path.join(folder, name + ".tar.gz")
    part = f"{path}.{os.getpid()}.part"
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
        os.replace(part, path)
    finally:
        if os.path.exists(part):
            os.unlink(part)
    return path


def _add(archive, name, data):
    member = tarfile.TarInfo(name)
    member.size, member.mode, member.mtime = len(data), 0o600, int(time.time())
    archive.addfile(member, io.BytesIO(data))


# -- logs -----------------------------------------------------------------------------------------------------------


def log_blocks(host, told):
    """``[(title, text)]`` of a node's logs; the text says why where there is none."""
    if "log" not in told:
        return [("container", "({0})".format(short(told.get("msg") or "it was not asked", 300)))]
    missing = told.get("missing") or {}
    return [
        (
            title,
            (told[key].rstrip("\n") + "\n" if told[key].strip() else "")
            + (f"({missing[key]})" if key in missing else ""),
        )
        for title, key in (("container", "log"), ("supervisor", "journal"))
    ]


def logs_text(logs):
    """All logs, each under a line with its node: ``[(host, told)]`` as text."""
    parts = []
    for host, told in logs:
        for title, text in log_blocks(host, told):
            parts.append("=== {0}: {1}\n{2}".format(host, title, text.rstrip("\n")))
    return "\n\n".join(parts)


def logs_summary(logs, folder=""):
    """One screen: node, container, lines, known causes."""
    width = max([len(host) for host, unused in logs] + [4])
    lines = []
    for host, told in logs:
        if "log" not in told:
            lines.append(
                "{0:<{1}}  nothing was read: {2}".format(host, width, short(told.get("msg") or "it was not asked", 120))
            )
            continue
        lines.append(
            "{0:<{1}}  container {2}; {3} lines, {4} of the supervisor".format(
                host,
                width,
                container_line(told["container"]),
                len(told["log"].splitlines()),
                len(told["journal"].splitlines()),
            )
        )
        for note in told.get("notes") or []:
            lines.append("{0:<{1}}  note: {2}".format("", width, short(note, 150)))
        for cause in told.get("causes") or []:
            lines.append("{0:<{1}}  {2}: {3}".format("", width, cause["id"], short(cause["line"], 120)))
            lines.append("{0:<{1}}  do: {2}".format("", width, cause["advice"]))
    if folder:
        lines.append(f"written to {folder}")
    return "\n".join(lines)
