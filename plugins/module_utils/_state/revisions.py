# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a node served with when it was proven last, and before: kept on the node, to go back to.

A generation is a folder with the node's plan and copies of the service's files, and a name of our own for its image, so
that it stays when the plan's name stands for another one. ``deployed.json`` says which one is current and which previous.
All nodes of a replica that were proven together have generations of one group.
"""

from __future__ import annotations

import copy
import hashlib
import json
import os
import re
import shutil
import tempfile
import time

from ansible_collections.ascend_ops.vllm.plugins.module_utils._common import files as common_files
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common import layout
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.engine import LABEL_SPEC

RECORDS = "/var/lib/ascend-vllm"
KEPT = "ascend-vllm-kept"
# The files of a service, the first one always there, and their permissions.
FILES = (("launch.sh", "0755"), ("service.env", "0600"), (common_files.SECRETS, "0600"))
# What of a node's plan makes its service what it is, the files aside.
PARTS = ("container", "service", "recipe")
WORDS = ("current", "previous")


class GenerationError(Exception):
    """There is nothing to go back to, or it cannot be used; the text says what to do."""


def short_digest(data):
    """A short digest of what can be written as JSON."""
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode("utf-8")).hexdigest()[:16]


def kept_image(name):
    """The repository of the names that keep the images of a container's generations."""
    return "{0}/{1}".format(KEPT, re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-"))


class Generations:
    """The generations of one container.

    :param engine: the node's :class:`Engine`.
    :param name: the container.
    :param check: change nothing.
    :param root: where the node's files are; other than ``""`` is for tests.
    """

    def __init__(self, engine, name, check=False, root=""):
        self.engine, self.name, self.check = engine, name, check
        self.folder = os.path.join(root + RECORDS, name)
        self.root = root
        self.diff = []

    def path(self, *names):
        """A path among the generations."""
        return os.path.join(self.folder, "generations", *names)

    def deployed(self):
        """What is recorded: ``{"current", "previous"}``, each None or what :func:`head` says of it."""
        text = common_files.read(os.path.join(self.folder, "deployed.json"))[0]
        try:
            told = json.loads(text) if text else {}
        except ValueError:
            told = {}
        told = told if isinstance(told, dict) else {}
        good = {"id", "group", "proven_at"}
        return {
            word: told[word] if isinstance(told.get(word), dict) and good <= set(told[word]) else None for word in WORDS
        }

    # -- recording --------------------------------------------------------------------------------------------------

    def record(self, node, group, hosts, now=None):
        """Keep what runs, which was just proven; return the generation's id and whether that is new."""
        container = self.engine.container(self.name)
        if container is None:
            raise GenerationError(
                f"there is no container '{self.name}' to record; somebody removed it during this run. Deploy again."
            )
        files = self.live(layout.service_directory(node["container"]))
        if files[FILES[0][0]] is None:
            raise GenerationError(
                "there is no {0}/{1} to record; deploy again.".format(
                    layout.service_directory(node["container"]), FILES[0][0]
                )
            )
        digests = digests_of(files)
        identity = identity_of(node, group, container["image_id"], digests)
        deployed = self.deployed()
        current = deployed["current"]
        if current and current["id"] == identity and self.is_whole(identity):
            return identity, False
        generation = {
            "id": identity,
            "group": group,
            "hosts": list(hosts),
            "proven_at": int(time.time() if now is None else now),
            "image": node["container"]["image"],
            "image_id": container["image_id"],
            "kept_image": f"{kept_image(self.name)}:{identity}",
            "spec": container["labels"].get(LABEL_SPEC, ""),
            "digests": digests,
            "node": node,
        }
        if not self.check:
            self.save(generation, files)
        self.point(head(generation), deployed)
        return identity, True

    def proven_group(self, node, hosts, image_id):
        """The group of the current generation where that is what is on the node now, proven on these hosts; else None."""
        current = self.deployed()["current"]
        if not current or sorted(current.get("hosts") or []) != sorted(hosts):
            return None
        digests = digests_of(self.live(layout.service_directory(node["container"])))
        same = current["id"] == identity_of(node, current["group"], image_id, digests)
        return current["group"] if same and self.is_whole(current["id"]) else None

    def save(self, generation, files):
        """Lay a generation down as a whole, its image's name first."""
        self.engine.call(["tag", generation["image_id"], generation["kept_image"]])
        os.makedirs(self.path(), 0o755, exist_ok=True)
        temporary = tempfile.mkdtemp(prefix=".", dir=self.path())  # for its owner alone
        try:
            for name, mode in FILES:
                if files[name] is not None:
                    common_files.write(os.path.join(temporary, name), files[name], int(mode, 8))
            text = json.dumps(generation, indent=1, sort_keys=True) + "\n"
            common_files.write(os.path.join(temporary, "generation.json"), text, 0o600)
            common_files.sync(temporary)
            place = self.path(generation["id"])
            if os.path.isdir(place):  # a damaged one
                shutil.rmtree(place)
            os.rename(temporary, place)
            common_files.sync(self.path())
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def point(self, current, deployed):
        """Have *current* as the current generation; the one before becomes the previous one, and others go."""
        before = deployed["current"]
        same = before is None or before["id"] == current["id"]
        after = {"current": current, "previous": deployed["previous"] if same else before}
        texts = [json.dumps(data, indent=1, sort_keys=True) + "\n" for data in (deployed, after)]
        path = os.path.join(self.folder, "deployed.json")
        self.diff.append(dict(before=texts[0], after=texts[1], before_header=path, after_header=path))
        if self.check:
            return
        common_files.write(path, texts[1], 0o644)
        common_files.sync(self.folder)
        self.prune({generation["id"] for generation in after.values() if generation})

    def prune(self, keep):
        """Remove all generations but those to *keep*, also half-written ones, and the names of their images."""
        for name in os.listdir(self.path()):
            if name not in keep:
                shutil.rmtree(self.path(name), ignore_errors=True)
        for image in kept_images(self.engine, self.name):
            if image.rpartition(":")[2] not in keep:
                self.engine.call(["image", "rm", image], 300, check=False)  # fails for one that is in use: it stays

    # -- going back -------------------------------------------------------------------------------------------------

    def live(self, directory):
        """The service's files as they are now."""
        return {name: common_files.read(os.path.join(self.root + directory, name))[0] for name, unused in FILES}

    def load(self, identity):
        """A generation, with ``files``: their contents. Raises GenerationError for one that is damaged."""
        text = common_files.read(self.path(identity, "generation.json"))[0]
        try:
            generation = json.loads(text or "")
            files = {name: common_files.read(self.path(identity, name))[0] for name, unused in FILES}
            found = digests_of(files)
            good = generation["digests"] == found and generation["id"] == identity and files[FILES[0][0]] is not None
            for key in ("group", "hosts", "proven_at", "image", "image_id", "kept_image", "spec", "node"):
                good = good and key in generation
        except (ValueError, KeyError, TypeError):
            good = False
        if not good:
            raise GenerationError(
                f"the generation {identity} in {self.path()} is damaged or missing; nothing can be taken back from it. Set the variables to "
                "what ran then and deploy."
            )
        return dict(generation, files=files)

    def is_whole(self, identity):
        """Can a generation be used?"""
        try:
            generation = self.load(identity)
        except GenerationError:
            return False
        return self.engine.image(generation["kept_image"]) is not None

    def choose(self, which):
        """The id of the generation that is ``current``, ``previous``, or has this id."""
        deployed = self.deployed()
        if which in WORDS:
            if deployed[which] is None:
                raise GenerationError(
                    "there is no {0} generation of {1} to go back to: {2}. Set the variables to what is wanted and "
                    "deploy.".format(
                        which,
                        self.name,
                        "nothing else was proven to answer before what runs now"
                        if which == "previous" and deployed["current"]
                        else "no deploy was proven to answer here",
                    )
                )
            return deployed[which]["id"]
        if which not in [generation["id"] for generation in deployed.values() if generation]:
            raise GenerationError(
                "there is no generation {0} of {1}; there are: {2}.".format(
                    which,
                    self.name,
                    ", ".join(generation["id"] for generation in deployed.values() if generation) or "none",
                )
            )
        return which

    def restore(self, which):
        """Have the files of a generation in place; return ``{"generation", "node", "written", "mtime"}``."""
        generation = self.load(self.choose(which))
        node = copy.deepcopy(generation["node"])
        node["container"]["image"] = self.image_of(generation)
        directory = layout.service_directory(node["container"])
        tls = node.get("tls") or {}
        wanted = [{"name": name, "mode": mode, "content": generation["files"][name]} for name, mode in FILES]
        try:
            digests = common_files.watched([tls["certificate"]] if tls else [])
        except OSError as error:
            raise GenerationError(
                "cannot read {0}, which the generation {1} serves with: {2}.".format(
                    error.filename, generation["id"], error.strerror
                )
            )
        wanted.append({"name": common_files.WATCHED, "mode": "0644", "content": digests})
        written, self.diff = common_files.put(self.root + directory, wanted, self.check)
        return {
            "generation": head(generation),
            "node": node,
            "written": written,
            "mtime": common_files.newest(self.root + directory, [item["name"] for item in wanted]),
        }

    def image_of(self, generation):
        """The name under which the engine has the image of a generation."""
        for name in (generation["image"], generation["kept_image"]):
            image = self.engine.image(name)
            if image is not None and image["id"] == generation["image_id"]:
                return name
        raise GenerationError(
            "the image {0} ({1}) of the generation {2} is not on the node any more. Bring it back ('docker pull' or 'docker "
            "load'), then try again.".format(generation["image"], generation["image_id"][:19], generation["id"])
        )

    def accept(self, which, now=None):
        """Note that a generation runs again and was proven; return its id and whether that is a change."""
        identity = self.choose(which)
        deployed = self.deployed()
        if deployed["current"] and deployed["current"]["id"] == identity:
            return identity, False
        current = dict(deployed["previous"], proven_at=int(time.time() if now is None else now))
        self.point(current, deployed)
        return identity, True

    def look(self):
        """``{"current", "previous", "live"}``: what is recorded, and whether what is on the node is the current one."""
        deployed = self.deployed()
        told = {}
        for word in WORDS:
            told[word] = deployed[word]
            if deployed[word]:
                try:
                    generation = self.load(deployed[word]["id"])
                    self.image_of(generation)
                    told[word] = dict(head(generation), error="")
                except GenerationError as error:
                    told[word] = dict(deployed[word], error=str(error))
        told["live"] = False
        if told["current"] and not told["current"]["error"]:
            generation = self.load(told["current"]["id"])
            container = self.engine.container(self.name)
            files = self.live(layout.service_directory(generation["node"]["container"]))
            told["live"] = (
                files == generation["files"]
                and container is not None
                and container["image_id"] == generation["image_id"]
                and container["labels"].get(LABEL_SPEC) == generation["spec"]
            )
        return told


def digests_of(files):
    """The digests of the files that are there, by name."""
    return {name: common_files.digest(name, content) for name, content in files.items() if content is not None}


def identity_of(node, group, image_id, digests):
    """The id of a generation: all that makes it what it is."""
    return short_digest([group, image_id, sorted(digests.items()), [node.get(part) for part in PARTS]])


def head(generation):
    """What ``deployed.json`` says of a generation."""
    told = {key: generation[key] for key in ("id", "group", "hosts", "proven_at", "image", "image_id")}
    told["recipe"] = {key: generation["node"]["recipe"][key] for key in ("name", "release", "checkpoint", "scenarios")}
    return told


def kept_images(engine, name):
    """The names that keep the images of a container's generations."""
    return engine.call(["images", "--format", "{{.Repository}}:{{.Tag}}", kept_image(name)])[1].split()


# -- on the controller ----------------------------------------------------------------------------------------------


def group_of(members):
    """An id of what the nodes of a replica have together.

    :param members: per node ``{"host", "node", "files", "image_id"}``: its plan, the digest of its files, its image.
    """
    return short_digest(
        sorted(
            [member["host"], member["files"], member["image_id"], [member["node"].get(part) for part in PARTS]]
            for member in members
        )
    )


def way_back(told, last=False):
    """Which generation all nodes of a replica go back to.

    The one before the current one. But where something else is on a node than what was proven last, because a run was
    broken off or failed, it is what was proven last; with *last*, always.

    :param told: host to what :meth:`Generations.look` says; empty for a node that could not be asked.
    :return: ``{"errors", "ids", "generation", "why"}``; *ids* by host.
    """
    result = {"errors": [], "ids": {}, "generation": None, "why": ""}
    mute = [host for host, seen in told.items() if not seen]
    if mute:
        return dict(result, errors=["{0} could not be asked what was proven before.".format(", ".join(mute))])
    bare = [host for host, seen in told.items() if not seen["current"]]
    if bare:
        return dict(
            result,
            errors=["no deploy was proven to answer on {0}: there is nothing to go back to.".format(", ".join(bare))],
        )
    settled = (
        not last
        and all(seen["live"] for seen in told.values())
        and len({seen["current"]["group"] for seen in told.values()}) == 1
    )
    places = {}
    for host, seen in told.items():
        for place, word in enumerate(WORDS):
            if seen[word] and not (settled and word == "current"):
                places.setdefault(seen[word]["group"], {})[host] = (place, seen[word])
    common = [found for found in places.values() if len(found) == len(told)]
    if not common:
        listed = "; ".join(
            "{0}: {1}".format(
                host, " and ".join("group {0}".format(seen[word]["group"]) if seen[word] else "none" for word in WORDS)
            )
            for host, seen in told.items()
        )
        text = (
            "nothing was proven before what runs now"
            if settled and not places
            else "the nodes keep no generation that all of them were proven with together (current and previous on "
            + listed
            + ")"
        )
        return dict(result, errors=[text + ". Set the variables to what is wanted and deploy."])
    chosen = min(common, key=lambda found: sum(place for place, unused in found.values()))
    heads = {host: generation for host, (unused, generation) in chosen.items()}
    errors = ["{0}: {1}".format(host, one["error"]) for host, one in heads.items() if one.get("error")]
    first = next(iter(heads.values()))
    if sorted(first.get("hosts") or []) != sorted(told):
        errors.append(
            "that generation was proven on {0} together; the replica is {1} now. Set the variables to what is wanted and "
            "deploy.".format(", ".join(first.get("hosts") or ["other nodes"]), ", ".join(told))
        )
    return {
        "errors": errors,
        "ids": {host: one["id"] for host, one in heads.items()},
        "generation": first,
        "why": "what ran before" if settled else "what was proven last, since something else is on the nodes",
    }
