# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The revisions of a service on its node: what was verified last, and before, to roll back to.

A revision is a folder with the process plan and copies of the service's files, and a name of its own for the image, so
that it stays when the plan's name is given to another one. ``deployed.json`` says which one is current and which previous.
The members of a replica that were verified together have revisions of one group. Version 0.1.0 called them generations.
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
from ansible_collections.ascend_ops.vllm.plugins.module_utils._state import desired, records

# Part of the names of images on nodes, as of 0.1.0.
KEPT = "ascend-vllm-kept"
# The files of a service, the first one always there, and their permissions.
FILES = (("launch.sh", "0755"), ("service.env", "0600"), (common_files.SECRETS, "0600"))
# What of a node's plan makes its service what it is, the files aside.
PARTS = ("container", "service", "recipe")
WORDS = ("current", "previous")


class RevisionError(Exception):
    """There is no such revision, or it cannot be used; the text says what to do."""


def short_digest(data):
    """A short digest of what can be written as JSON."""
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode("utf-8")).hexdigest()[:16]


def kept_image(name):
    """The repository of the names that keep the images of a container's revisions."""
    return "{0}/{1}".format(KEPT, re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-"))


class Revisions:
    """The revisions of one container.

    :param engine: the node's :class:`Engine`.
    :param name: the container.
    :param check: change nothing.
    :param root: where the node's files are; other than ``""`` is for tests.
    """

    def __init__(self, engine, name, check=False, root=""):
        self.engine, self.name, self.check = engine, name, check
        self.folder = os.path.join(root + layout.RECORDS_DIR, name)
        self.root = root
        self.diff = []

    @property
    def all(self):
        """The folder of all revisions."""
        return os.path.join(self.folder, records.FOLDERS[0])

    def path(self, identity, *names):
        """A path in the folder of a revision, also where 0.1.0 put it."""
        return os.path.join(records.revision_folder(self.folder, identity), *names)

    def take_over(self):
        """Ensure that folders and files of revisions are named and closed as this version does: once, after 0.1.0."""
        os.makedirs(self.all, 0o700, exist_ok=True)
        for folder in (self.folder, self.all):
            os.chmod(folder, 0o700)
        before = os.path.join(self.folder, records.FOLDERS[1])
        if not os.path.isdir(before):
            return
        for name in os.listdir(before):
            file = os.path.join(before, name, records.NAMES[1])
            if os.path.exists(file):
                os.rename(file, os.path.join(before, name, records.NAMES[0]))
            place = os.path.join(self.all, name)
            if not os.path.exists(place):
                os.rename(os.path.join(before, name), place)
        common_files.sync(self.all)
        shutil.rmtree(before, ignore_errors=True)

    def deployed(self):
        """What is recorded: ``{"current", "previous"}``, each None or what :func:`head` says of it."""
        text = common_files.read(os.path.join(self.folder, "deployed.json"))[0]
        try:
            found = json.loads(text) if text else {}
        except ValueError:
            found = {}
        found = found if isinstance(found, dict) else {}
        good = {"id", "group", "proven_at"}
        return {
            word: found[word] if isinstance(found.get(word), dict) and good <= set(found[word]) else None
            for word in WORDS
        }

    # -- recording --------------------------------------------------------------------------------------------------

    def record(self, node, group, hosts, now=None, ready_seconds=None):
        """Record what runs, which was just verified.

        :param node: the process plan.
        :param group: what all members of the replica have in common; see ``rollback.group_id``.
        :param hosts: the members of the replica.
        :param ready_seconds: how long the start took until the first tokens; None where nothing was waited for.
        :return: ``(id, changed)``.
        :raises RevisionError: there is nothing to record.
        """
        container = self.engine.container(self.name)
        if container is None:
            raise RevisionError(
                f"there is no container '{self.name}' to record; somebody removed it during this run. Deploy again."
            )
        files = self.live(layout.service_directory(node["container"]))
        if files[FILES[0][0]] is None:
            raise RevisionError(
                "there is no {0}/{1} to record; deploy again.".format(
                    layout.service_directory(node["container"]), FILES[0][0]
                )
            )
        digests = digests_of(files)
        identity = identity_of(node, group, container["image_id"], digests)
        deployed = self.deployed()
        current = deployed["current"]
        if current and current["id"] == identity and self.is_whole(identity):
            if not self.check:
                self.take_over()
            return identity, False
        revision = {
            "id": identity,
            "group": group,
            "hosts": list(hosts),
            "ready_seconds": ready_seconds,
            "proven_at": int(time.time() if now is None else now),
            "image": node["container"]["image"],
            "image_id": container["image_id"],
            "kept_image": f"{kept_image(self.name)}:{identity}",
            "spec": container["labels"].get(LABEL_SPEC, ""),
            "digests": digests,
            "node": node,
            "interface": self.interface(node),
        }
        if not self.check:
            self.take_over()
            self.save(revision, files)
        self.point(head(revision), deployed)
        return identity, True

    def interface(self, node):
        """The interface that the files of a process were rendered for; empty where it is not known."""
        directory = self.root + layout.service_directory(node["container"])
        return (records.deployed_process(directory, self.name) or {}).get("interface", "")

    def verified_group(self, node, hosts, image_id):
        """The group of the current revision where it is what is on the node now, verified on these hosts; else None."""
        current = self.deployed()["current"]
        if not current or sorted(current.get("hosts") or []) != sorted(hosts):
            return None
        digests = digests_of(self.live(layout.service_directory(node["container"])))
        same = current["id"] == identity_of(node, current["group"], image_id, digests)
        return current["group"] if same and self.is_whole(current["id"]) else None

    def save(self, revision, files):
        """Write a revision as a whole, the name of its image first."""
        self.engine.call(["tag", revision["image_id"], revision["kept_image"]])
        temporary = tempfile.mkdtemp(prefix=".", dir=self.all)  # for its owner alone
        try:
            for name, mode in FILES:
                if files[name] is not None:
                    common_files.write(os.path.join(temporary, name), files[name], int(mode, 8))
            text = json.dumps(revision, indent=1) + "\n"
            common_files.write(os.path.join(temporary, records.NAMES[0]), text, 0o600)
            common_files.sync(temporary)
            place = os.path.join(self.all, revision["id"])
            if os.path.isdir(place):  # a damaged one
                shutil.rmtree(place)
            os.rename(temporary, place)
            common_files.sync(self.all)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def point(self, current, deployed):
        """Make *current* the current revision and the one before the previous one; remove all others."""
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
        self.prune({revision["id"] for revision in after.values() if revision})

    def prune(self, keep):
        """Remove all revisions but those to *keep*, also half-written ones, and the names of their images."""
        for name in os.listdir(self.all):
            if name not in keep:
                shutil.rmtree(os.path.join(self.all, name), ignore_errors=True)
        for image in kept_images(self.engine, self.name):
            if image.rpartition(":")[2] not in keep:
                self.engine.call(["image", "rm", image], 300, check=False)  # fails for one that is in use: it stays

    # -- rolling back -----------------------------------------------------------------------------------------------

    def live(self, directory):
        """The service's files as they are now: name to content, None for one that is missing."""
        return {name: common_files.read(os.path.join(self.root + directory, name))[0] for name, unused in FILES}

    def load(self, identity):
        """A revision, with ``files``: their contents.

        :raises RevisionError: it is damaged or missing.
        """
        texts = [common_files.read(self.path(identity, name))[0] for name in records.NAMES]
        text = texts[0] or texts[1]
        try:
            revision = json.loads(text or "")
            files = {name: common_files.read(self.path(identity, name))[0] for name, unused in FILES}
            found = digests_of(files)
            good = revision["digests"] == found and revision["id"] == identity and files[FILES[0][0]] is not None
            for key in ("group", "hosts", "proven_at", "image", "image_id", "kept_image", "spec", "node"):
                good = good and key in revision
        except (ValueError, KeyError, TypeError):
            good = False
        if not good:
            raise RevisionError(
                f"the revision {identity} in {self.all} is damaged or missing; nothing can be restored from it. Set the "
                "variables to what ran then and deploy."
            )
        return dict(revision, files=files)

    def is_whole(self, identity):
        """Can a revision be restored?"""
        try:
            revision = self.load(identity)
        except RevisionError:
            return False
        return self.engine.image(revision["kept_image"]) is not None

    def choose(self, which):
        """The id of the revision that is ``current``, ``previous``, or has this id.

        :raises RevisionError: there is none.
        """
        deployed = self.deployed()
        if which in WORDS:
            if deployed[which] is None:
                raise RevisionError(
                    "there is no {0} revision of {1} to roll back to: {2}. Set the variables to what is wanted and "
                    "deploy.".format(
                        which,
                        self.name,
                        "nothing was verified before what runs now"
                        if which == "previous" and deployed["current"]
                        else "no deploy was verified here",
                    )
                )
            return deployed[which]["id"]
        if which not in [revision["id"] for revision in deployed.values() if revision]:
            raise RevisionError(
                "there is no revision {0} of {1}; there are: {2}.".format(
                    which,
                    self.name,
                    ", ".join(revision["id"] for revision in deployed.values() if revision) or "none",
                )
            )
        return which

    def restore(self, which):
        """Put the files of a revision in place.

        :return: ``{"revision", "process", "written", "mtime"}``: what :func:`head` says, the process plan with a name under
            which the engine has its image, the names of the files that were written or removed, and when the newest of
            them was, in seconds since the epoch.
        :raises RevisionError: it cannot be restored.
        """
        revision = self.load(self.choose(which))
        process = copy.deepcopy(revision["node"])
        process["container"]["image"] = self.image_of(revision)
        directory = self.root + layout.service_directory(process["container"])
        wanted = [{"name": name, "mode": mode, "content": revision["files"][name]} for name, mode in FILES]
        try:
            wanted.append({"name": common_files.WATCHED, "mode": "0644", "content": desired.watched(process)})
        except OSError as error:
            raise RevisionError(
                "cannot read {0}, which the revision {1} serves with: {2}.".format(
                    error.filename, revision["id"], error.strerror
                )
            )
        written, self.diff = common_files.put(directory, wanted, self.check)
        # What was deployed is now this; of 0.1.0, which did not note the interface, the revision itself tells.
        common_files.put(directory, [desired.process_file(process, revision.get("interface"))], self.check)
        return {
            "revision": head(revision),
            "process": process,
            "written": written,
            "mtime": common_files.newest(directory, [item["name"] for item in wanted]),
        }

    def image_of(self, revision):
        """The name under which the engine has the image of a revision.

        :raises RevisionError: the image is not on the node any more.
        """
        for name in (revision["image"], revision["kept_image"]):
            image = self.engine.image(name)
            if image is not None and image["id"] == revision["image_id"]:
                return name
        raise RevisionError(
            "the image {0} ({1}) of the revision {2} is not on the node any more. Bring it back ('docker pull' or 'docker "
            "load'), then try again.".format(revision["image"], revision["image_id"][:19], revision["id"])
        )

    def accept(self, which, now=None):
        """Note that a revision runs again and was verified; return ``(id, changed)``."""
        identity = self.choose(which)
        deployed = self.deployed()
        if deployed["current"] and deployed["current"]["id"] == identity:
            return identity, False
        if not self.check:
            self.take_over()
        current = dict(deployed["previous"], proven_at=int(time.time() if now is None else now))
        self.point(current, deployed)
        return identity, True

    def look(self):
        """``{"current", "previous", "live"}``: what is recorded, and whether what is on the node is the current one."""
        deployed = self.deployed()
        found = {}
        for word in WORDS:
            found[word] = deployed[word]
            if deployed[word]:
                try:
                    revision = self.load(deployed[word]["id"])
                    self.image_of(revision)
                    found[word] = dict(head(revision), error="")
                except RevisionError as error:
                    found[word] = dict(deployed[word], error=str(error))
        found["live"] = False
        if found["current"] and not found["current"]["error"]:
            revision = self.load(found["current"]["id"])
            container = self.engine.container(self.name)
            files = self.live(layout.service_directory(revision["node"]["container"]))
            found["live"] = (
                files == revision["files"]
                and container is not None
                and container["image_id"] == revision["image_id"]
                and container["labels"].get(LABEL_SPEC) == revision["spec"]
            )
        return found


def digests_of(files):
    """The digests of the files that are there, by name."""
    return {name: common_files.digest(name, content) for name, content in files.items() if content is not None}


def identity_of(node, group, image_id, digests):
    """The id of a revision: all that makes it what it is."""
    return short_digest([group, image_id, sorted(digests.items()), [node.get(part) for part in PARTS]])


def head(revision):
    """What ``deployed.json`` says of a revision."""
    found = {key: revision[key] for key in ("id", "group", "hosts", "proven_at", "image", "image_id")}
    if revision.get("ready_seconds"):  # on the node that serves the API
        found["ready_seconds"] = revision["ready_seconds"]
    found["recipe"] = {key: revision["node"]["recipe"][key] for key in ("name", "release", "checkpoint", "scenarios")}
    return found


def kept_images(engine, name):
    """The names that keep the images of a container's revisions."""
    return engine.call(["images", "--format", "{{.Repository}}:{{.Tag}}", kept_image(name)])[1].split()
