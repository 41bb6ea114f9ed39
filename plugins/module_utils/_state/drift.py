# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The differences between the desired and the observed state of a process on its node. Pure.

One item is ``{"section", "path", "was", "wanted", "file", "origin"}``: *was* is what the node has, *wanted* what it should
have, both strings or None for what is absent, the values of secrets masked. *section* is ``container``, ``image``,
``arguments``, ``environment``, ``files``, ``secrets``, ``process`` (what runs), ``record`` (process.json), ``supervision``
or ``tuning``. *file* is the file that the item is read from, and *origin* how it came to differ: ``edited`` by hand since
the deploy, by a ``variable`` (or another version of the collection), by ``both``; empty where that is not known.
"""

from __future__ import annotations

import difflib
import json
import os

from ansible_collections.ascend_ops.vllm.plugins.module_utils._common import files as common_files
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common import redact, secrets
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.engine import spec_digest
from ansible_collections.ascend_ops.vllm.plugins.module_utils._state import arguments

EDITED, VARIABLE, BOTH, UNKNOWN = "edited", "variable", "both", ""
_LABELS = {"process": "running ", "secrets": "secret ", "record": "record "}


def drift(wanted, seen):
    """All differences, as items.

    :param wanted: what ``desired.desired`` says; ``supervision`` and ``tuning`` are compared where both sides have them.
    :param seen: what ``observed.observed`` says.
    """
    items = of_container(wanted, seen)
    for entry in of_files(wanted, seen):
        items.extend(entry["items"])
    items.extend(of_process(wanted, seen))
    if wanted.get("supervision") is not None and seen.get("supervision") is not None:
        items.extend(of_supervision(wanted["name"], wanted["supervision"], seen["supervision"]))
    if seen.get("tuning") is not None:
        items.extend(seen["tuning"]["items"])
    return items


def unknown(wanted, seen):
    """What could not be compared, and is therefore no drift: a list of sentences."""
    result = [text for text in (seen["engine_error"], wanted["files_error"]) if text]
    running = seen["running"]
    if running is not None and running["arguments"] is None:
        result.append("the arguments of what runs are not known: {0}".format(running["error"]))
    return result


def item(section, path, was, wanted, **more):
    """One difference; see above. Values are masked where their name is that of a secret."""
    if section in ("arguments", "environment", "process"):
        was, wanted = (None if value is None else _masked(path, value) for value in (was, wanted))
    return dict({"section": section, "path": path, "was": was, "wanted": wanted, "file": "", "origin": UNKNOWN}, **more)


def _masked(name, value):
    return secrets.masked(name.rpartition(".")[2], redact.Redactor().text(str(value)))


def line(item):
    """An item as a line: ``max-num-seqs: 32 -> 64``."""
    was, wanted = ("none" if item[key] is None else item[key] or "''" for key in ("was", "wanted"))
    change = "another value" if was == wanted else f"{was} -> {wanted}"
    return "{0}{1}: {2}".format(_LABELS.get(item["section"], ""), item["path"], change)


def lines(items):
    """Items as lines, in their order."""
    return [line(item) for item in items]


def differences(section, was, wanted, **more):
    """The items between two mappings of strings, the wanted names first."""
    names = list(wanted) + [name for name in was if name not in wanted]
    return [
        item(section, name, was.get(name), wanted.get(name), **more)
        for name in names
        if was.get(name) != wanted.get(name)
    ]


# -- container --------------------------------------------------------------------------------------------------------


def of_container(wanted, seen):
    """What differs of container and image. A label tells whether the container is made as planned."""
    if seen["engine_error"]:
        return []
    found, image, spec = seen["container"], seen["image"], wanted["spec"]
    items = []
    if image is None:
        items.append(item("state", "image", None, spec["image"]))
    if found is None:
        return items + [item("state", "container", None, "running")]
    if found["foreign"]:
        return items + [item("state", "container made by", "somebody else", "this collection")]
    if not found["running"]:
        items.append(item("state", "container", found["status"], "running"))
    # Where the image's name is gone, what the container was made of stands for it: that is an item of its own.
    image_id = image["id"] if image else found["image_id"]
    digest = spec_digest(spec, wanted["mounts"], image_id)
    if found["digest"] != digest:
        made = _made_otherwise(wanted, found, image_id)
        items.extend(made or [item("container", "made of", found["digest"], digest)])
    elif found["restart_policy"] != spec["restart"]:
        items.append(item("container", "restart", found["restart_policy"], spec["restart"], origin=EDITED))
    items.extend(item("state", "mount source " + path, None, "present") for path in wanted["missing_mounts"])
    return items


def _made_otherwise(wanted, found, image_id):
    name = wanted["spec"]["image"]
    items = []
    if found["image"] != name:
        items.append(item("container", "image", found["image"], name))
    elif found["image_id"] != image_id:
        ids = [identity.rpartition(":")[2][:12] for identity in (found["image_id"], image_id)]
        items.append(item("container", "image " + name, *ids))
    return items + differences("container", found["settings"], wanted["settings"])


# -- files ------------------------------------------------------------------------------------------------------------


def of_files(wanted, seen):
    """What differs of each file: ``[{"path", "missing", "mode", "wanted_mode", "mtime", "changes", "items"}]``.

    *changes* is how its text came to differ, ``[{"origin", "lines"}]`` with the number of lines: by hand since the
    deploy, and by a variable since then; or of unknown origin.
    """
    entries = [_file(wanted, file, seen) for file in wanted["files"] or []]
    record = wanted.get("record")
    if record:
        path = os.path.join(wanted["directory"], record["name"])
        found = seen["files"][record["name"]]["content"]
        if _data(found) != _data(record["content"]):
            was = None if found is None else "of another plan"
            entries.append({"path": path, "items": [item("record", record["name"], was, "of this plan", file=path)]})
    return entries


def _file(wanted, file, seen):
    name, content = file["name"], file["content"]
    path = os.path.join(wanted["directory"], name)
    found = seen["files"][name]
    entry = {"path": path, "missing": False, "changes": [], "items": [], "mtime": found["mtime"]}
    entry.update(mode=found["mode"], wanted_mode=file["mode"])
    if name == common_files.SECRETS:
        entry["items"] = _of_secrets(path, found["content"], content)
    elif found["content"] is None and content is not None:
        entry["missing"] = True
        entry["items"] = [item("files", path, None, "present", file=path)]
        return entry
    elif name == common_files.WATCHED:
        if found["content"] != content:
            entry["items"] = [item("files", "certificate", "of the last deploy", "of the node", file=path)]
    elif not same(name, found["content"], content, wanted["masked"]):
        deployed = seen["deployed"].get(name) or []
        entry["changes"] = changes(name, found["content"], content, deployed)
        entry["items"] = _of_text(path, name, (found["content"], content, deployed), entry["changes"], wanted["masked"])
    if found["content"] is not None and content is not None and found["mode"] != file["mode"]:
        entry["items"].append(item("files", path + " mode", found["mode"], file["mode"], file=path))
    return entry


def same(name, one, other, masked):
    """Are two texts of a file the same? *masked*: one of them may lack the values of secrets."""
    return one == other or (masked and _shown(name, one) == _shown(name, other))


def _shown(name, text):
    """A text without the values of secrets, to be compared with one that lacks them; variables in any order."""
    shown = common_files.shown(name, text)
    return sorted(shown.splitlines()) if name == "service.env" else shown


def _data(text):
    try:
        return json.loads(text or "")
    except ValueError:
        return None


def changes(name, found, wanted, deployed):
    """How the text of a file came to differ from the wanted one: ``[{"origin", "lines"}]``.

    :param found: the text on the node.
    :param wanted: the text of the plan.
    :param deployed: the texts of the last deploy, as far as they are known.
    """
    if not deployed:
        return [{"origin": UNKNOWN, "lines": changed_lines(found, wanted)}]
    # A deployed text may lack the values of secrets.
    texts = [_shown(name, text) for text in deployed]
    if _shown(name, found) in texts:
        return [{"origin": VARIABLE, "lines": changed_lines(found, wanted)}]
    shown = [common_files.shown(name, text) for text in (found, deployed[0])]
    result = [{"origin": EDITED, "lines": changed_lines(*shown)}]
    if _shown(name, wanted) not in texts:
        result.append({"origin": VARIABLE, "lines": changed_lines(deployed[0], wanted)})
    return result


def changed_lines(before, after):
    """How many lines differ between two texts."""
    matcher = difflib.SequenceMatcher(None, before.splitlines(), after.splitlines(), False)
    return sum(
        max(last - first, end - start) for kind, first, last, start, end in matcher.get_opcodes() if kind != "equal"
    )


def parsed(name, text):
    """A launch script or environment file as mappings by section; None where no shell would read it."""
    try:
        if name == "launch.sh":
            return arguments.of_script(text)
        return {"environment": arguments.of_environment(text)}
    except ValueError:
        return None


def _of_text(path, name, texts, changes, masked):
    """The options and variables that differ between two texts of a file; else the file itself."""
    found, wanted, deployed = texts
    was, goal = parsed(name, found), parsed(name, wanted)
    before = [both for both in (parsed(name, text) for text in deployed) if both]
    items = []
    for section in goal if was and goal else ():
        for one in differences(section, was[section], goal[section], file=path):
            key = one["path"]
            if masked and secrets.is_secret(key) and key in was[section] and key in goal[section]:
                continue  # the plan does not have its value
            known = [values[section].get(key) for values in before]
            one["origin"] = _origin(was[section].get(key), goal[section].get(key), known, changes)
            items.append(one)
    if not items:
        count = sum(change["lines"] for change in changes)
        text = "{0} line{1} changed".format(count, "" if count == 1 else "s")
        origins = [change["origin"] for change in changes]
        origin = BOTH if len(origins) > 1 else origins[0]
        items.append(item("files", path, text, "as planned", file=path, origin=origin))
    return items


def _origin(was, wanted, deployed, changes):
    """How a value came to differ, from those of the last deploy."""
    if [change["origin"] for change in changes] in ([UNKNOWN], [VARIABLE]):
        return changes[0]["origin"]
    if not deployed:
        return UNKNOWN
    if was in deployed:
        return VARIABLE
    return EDITED if wanted in deployed else BOTH


def _of_secrets(path, found, wanted):
    """The names of secrets that are missing, left over, or have another value."""
    if found == wanted:
        return []
    try:
        was, goal = (arguments.of_environment(text or "") for text in (found, wanted))
    except ValueError:
        return [item("files", path, "not what a shell reads", "as given", file=path)]
    items = []
    for name in sorted(set(was) | set(goal)):
        if name in was and name in goal and was[name] != goal[name]:
            items.append(item("secrets", name, "another value", "as given", file=path))
        elif (name in was) != (name in goal):
            sides = ("present" if name in side else None for side in (was, goal))
            items.append(item("secrets", name, *sides, file=path))
    return items or [item("files", path, "another text", "as given", file=path)]


# -- what runs --------------------------------------------------------------------------------------------------------


def of_process(wanted, seen):
    """What the running process differs in, beyond what its files differ in; and files that it has not read."""
    items = [
        item("process", os.path.basename(path), "written after the start", "read at the start", file=path)
        for path in newer_files(wanted, seen)
    ]
    running = (seen["running"] or {}).get("arguments")
    if running is None or wanted["arguments"] is None:
        return items
    script = parsed("launch.sh", seen["files"]["launch.sh"]["content"] or "") or {"arguments": {}}
    found = differences("process", running, wanted["arguments"])
    return items + [
        one
        for one in found
        if not script["arguments"] or running.get(one["path"]) != script["arguments"].get(one["path"])
    ]


def newer_files(wanted, seen):
    """The paths of the files that were written after the container was started, so that it runs something older."""
    container = seen["container"]
    if not container or not container["running"] or container["foreign"] or not container["started_at"]:
        return []
    return [
        os.path.join(wanted["directory"], name)
        for name in ("launch.sh", "service.env", common_files.SECRETS, common_files.WATCHED)
        if (seen["files"][name]["mtime"] or 0) > container["started_at"]
    ]


# -- supervision ------------------------------------------------------------------------------------------------------


def of_supervision(name, wanted, seen):
    """What differs of the supervision of a service.

    :param wanted: path to content of its files; empty for a service that is not supervised.
    :param seen: ``{"active", "enabled", "files": path to content or None}``.
    """
    timer = f"ascend-vllm@{name}.timer"
    state = "active" if seen["active"] else "inactive"
    state += ", enabled" if seen["enabled"] else ", disabled"
    if not wanted:
        return [item("supervision", timer, state, "off")] if seen["active"] or seen["enabled"] else []
    items = []
    if not (seen["active"] and seen["enabled"]):
        items.append(item("supervision", timer, state, "active, enabled"))
    for path, content in wanted.items():
        found = seen["files"].get(path)
        if found == content:
            continue
        pair = [_settings(text) for text in (found, content)] if path.endswith(".json") else []
        if pair and None not in pair:
            items.extend(differences("supervision", *pair, file=path))
        else:
            items.append(item("supervision", path, None if found is None else "another text", "as planned", file=path))
    return items


def _settings(text):
    try:
        return {key: value if isinstance(value, str) else json.dumps(value) for key, value in json.loads(text).items()}
    except (ValueError, TypeError, AttributeError):
        return None
