# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an operator reads of support bundles and of logs: INDEX.md, and a screen. Runs on the controller."""

from __future__ import annotations

import re
from pathlib import PurePath

from ansible_collections.ascend_ops.vllm.plugins.module_utils._failure.search import first_to_fail

SHOWN_NODES, SHOWN_LOOKS = 20, 12  # lines on the screen
FAILED_EARLIER = "it failed earlier in this run"


def file_name(host):
    """A host's name as that of a file or folder."""
    return re.sub(r"[^\w.:@-]", "_", host).lstrip(".") or "_"


def short(text, width):
    """A text in one line of at most *width* characters."""
    text = " ".join(str(text).split())
    return text if len(text) <= width else text[: width - 1] + "…"


def container_line(container):
    """The state of a container in words, such as ``exited, exit code 137, killed: out of memory``."""
    if not container:
        return "no container"
    words = [container.get("status") or "unknown"]
    if container.get("status") not in ("running", "created"):
        words.append(f"exit code {container.get('exit_code')}")
    if container.get("oom_killed"):
        words.append("killed: out of memory")
    if container.get("restart_count"):
        words.append(f"restarted {container['restart_count']} times")
    return ", ".join(words)


def _table(head, rows):
    def line(cells):
        return "| " + " | ".join(" ".join(str(cell).split()).replace("|", "\\|") for cell in cells) + " |"

    return ["", line(head), line(["---"] * len(head)), *map(line, rows)]


def index_text(index):
    """The index of an archive in Markdown.

    :param index: what :func:`archive.build` returns.
    """
    versions = ", ".join(f"{name} {version}" for name, version in sorted(index["versions"].items()))
    lines = [
        f"# Support bundle of {len(index['nodes'])} nodes, {index['created']}",
        "",
        "Secrets were redacted on the nodes. Review the bundle before you share it: it contains host names, addresses, "
        "process lists and what the service logged.",
        "",
        "## Start here",
        "",
        *[_look_line(look) for look in index["first"]],
    ]
    if not index["first"]:
        lines.append("Nothing stands out: all containers run, all checks pass, no log shows a known cause.")
    contents = [
        ("`index.json`", "this index as data"),
        ("`plan.json`", "the plan of each node, without secrets"),
        ("`preflight.json`", "preflight verdicts"),
        (
            "`facts/`",
            "facts of the nodes; evaluate them again with `ansible-playbook playbooks/preflight.yml -i INVENTORY "
            "-e npu_preflight_facts_dir=$PWD/facts`",
        ),
        ("`nodes/HOST/`", "files of each node"),
    ]
    lines += ["", "## Contents", *_table(["file", "what"], contents), "", f"Made with {versions}."]
    for node in index["nodes"]:
        lines += _node_lines(node)
    return "\n".join(lines) + "\n"


def _look_line(look):
    if look["file"].startswith(".."):
        place = f" (`{PurePath(look['file']).name}`)"
    else:
        place = f" (`nodes/{file_name(look['host'])}/{look['file']}`)" if look["file"] else ""
    return f"- **{look['host']}**: {' '.join(look['text'].split())}{place}"


def _node_lines(node):
    lines = ["", "## {host}: {role} of replica {replica}, {address}".format(**node), ""]
    if not node["collected"]:
        return [*lines, f"Nothing was collected: {' '.join(node['error'].split())}"]
    lines.append(f"Container: {container_line(node['container'])}. Checks: {node['verdicts']}.")
    rows = []
    for entry in node["entries"]:
        if "missing" not in entry:
            cut = [f"the first {entry['cut']} bytes were dropped"] if entry.get("cut") else []
            notes = "; ".join(cut + list(entry.get("problems") or []))
            rows.append((entry["path"], entry.get("bytes", ""), entry["what"], notes))
    lines += _table(["file", "bytes", "what", "notes"], rows)
    missing = [(entry["path"], entry["what"], entry["missing"]) for entry in node["entries"] if "missing" in entry]
    if missing:
        lines += ["", "Missing:", *_table(["file", "what", "why"], missing)]
    return lines


def summary(index, path):
    """One screen: each node, what to look at first, where the archive is and how to read it."""
    width = max([len(node["host"]) for node in index["nodes"]] + [4])
    lines = [f"support bundle of {len(index['nodes'])} nodes"]
    for node in index["nodes"][:SHOWN_NODES]:
        if node["collected"]:
            missing = len([entry for entry in node["entries"] if "missing" in entry])
            line = (
                f"container {container_line(node['container'])}; {len(node['entries']) - missing} files, "
                f"{missing} missing; checks: {node['verdicts']}"
            )
        else:
            line = "nothing was collected: " + node["error"]
        lines.append(f"  {node['host']:<{width}}  {short(line, 160)}")
    if len(index["nodes"]) > SHOWN_NODES:
        lines.append(f"  and {len(index['nodes']) - SHOWN_NODES} more")
    lines.append("start here" if index["first"] else "nothing stands out")
    lines += [f"  {look['host']:<{width}}  {short(look['text'], 150)}" for look in index["first"][:SHOWN_LOOKS]]
    if len(index["first"]) > SHOWN_LOOKS:
        lines.append(f"  and {len(index['first']) - SHOWN_LOOKS} more in INDEX.md")
    folder = f"/tmp/{PurePath(path).name.removesuffix('.tar.gz')}"
    return "\n".join(
        [
            *lines,
            f"archive   {path}",
            f"read      tar -xzf {path} -C /tmp && less {folder}/INDEX.md",
            f"evaluate  ansible-playbook playbooks/preflight.yml -i INVENTORY -e npu_preflight_facts_dir={folder}/facts",
        ]
    )


# -- logs -----------------------------------------------------------------------------------------------------------


def log_blocks(result):
    """``[(title, text)]`` of a node's logs; where there is none, the text is the reason in brackets.

    :param result: what the module node_logs returned; empty for a node that failed before.
    """
    if "log" not in result:
        return [("container", f"({short(result.get('msg') or FAILED_EARLIER, 300)})")]
    missing = result.get("missing") or {}
    blocks = []
    for title, key in (("container", "log"), ("supervisor", "journal")):
        text = result[key].rstrip("\n") + "\n" if result[key].strip() else ""
        blocks.append((title, text + (f"({missing[key]})" if key in missing else "")))
    return blocks


def logs_text(logs):
    """All logs, each under a line with its node.

    :param logs: host to what the module node_logs returned.
    """
    blocks = [(host, *block) for host, result in logs.items() for block in log_blocks(result)]
    return "\n\n".join(f"=== {host}: {title}\n{text}".rstrip("\n") for host, title, text in blocks)


def logs_summary(logs, folder=""):
    """One screen: of each node its container, how many lines were read, and the known causes.

    :param logs: host to what the module node_logs returned.
    :param folder: where the logs were written as files; empty for nowhere.
    """
    width = max([len(host) for host in logs] + [4])
    lines = []

    def add(host, text):
        lines.append(f"{host:<{width}}  {text}")

    first = first_to_fail({host: result.get("causes") or [] for host, result in logs.items()})
    for host, result in logs.items():
        if "log" not in result:
            add(host, f"nothing was read: {short(result.get('msg') or FAILED_EARLIER, 120)}")
            continue
        log, journal = (len(result[key].splitlines()) for key in ("log", "journal"))
        add(host, f"container {container_line(result['container'])}; {log} lines, {journal} of the supervisor")
        if host == first and len(logs) > 1:
            add("", "failed first, as far as the logs tell")
        for note in result.get("notes") or []:
            add("", f"note: {short(note, 150)}")
        for cause in result.get("causes") or []:
            add("", f"{cause['id']}: {short(cause['line'], 120)}")
            add("", cause["meaning"])
            add("", f"do: {cause['advice']}")
    if folder:
        lines.append(f"written to {folder}")
    return "\n".join(lines)
