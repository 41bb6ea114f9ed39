# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Uninstall the service of a node: its container, its files, its images; and report what is left."""

from __future__ import annotations

import json
import os
import re
import shutil

from ansible_collections.ascend_ops.vllm.plugins.module_utils._common import layout
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.engine import LABEL_SERVICE, EngineError
from ansible_collections.ascend_ops.vllm.plugins.module_utils._state.revisions import kept_images


class Teardown:
    """Uninstalls the service of one node.

    :param engine: the node's :class:`Engine`.
    :param plan: the process plan of the node; only names and paths of it are used.
    :param keep: what is kept: ``files``, ``image``.
    :param check: report what would be done, and do nothing.
    :param root: where the node's files are; other than ``""`` is for tests.
    """

    def __init__(self, engine, plan, keep, check, root=""):
        self.engine, self.plan, self.keep, self.check, self.root = engine, plan, keep, check, root
        self.spec = plan["container"]
        self.name = self.spec["name"]
        self.removed, self.kept, self.left = [], [], []

    def run(self, stop_timeout):
        """Do it; return ``{"removed", "kept", "left", "others"}``, each a list of strings.

        :param stop_timeout: seconds that the container has to end by itself.
        :raises EngineError: the engine refused, or the container is not one of this collection.
        :raises OSError: a file cannot be removed.
        """
        found = self.engine.inspect("container", self.name)
        if found is not None and LABEL_SERVICE not in (found["Config"].get("Labels") or {}):
            raise EngineError(
                "there is a container '{0}' that this collection did not make (image {1}); nothing was removed. Remove "
                "or rename it yourself, or correct vllm_recipe_container.name.".format(
                    self.name, found["Config"].get("Image")
                )
            )
        others = self.engine.ours(self.name)
        images = self._images(found)
        if found is not None:
            self._remove_container(stop_timeout)
        kept = kept_images(self.engine, self.name) if "files" not in self.keep else []
        self._files()
        for image in kept:  # names that only the records have
            if not self.check:
                self.engine.call(["image", "rm", image], 300, check=False)
            self.removed.append(f"image name {image}")
        for image_id in {self._image(name) for name in images} - {None}:
            still = self.engine.inspect("image", image_id)
            if still is not None and not self.check:  # names that this collection did not give
                self.left.append(
                    "image {0}: the same content under the name {1}".format(
                        image_id.rpartition(":")[2][:12], ", ".join(still.get("RepoTags") or ["(none)"])
                    )
                )
        self._look_around(others)
        return {"removed": self.removed, "kept": self.kept, "left": self.left, "others": others}

    def _remove_container(self, stop_timeout):
        if not self.check:
            self.engine.call(["stop", "--time", str(stop_timeout), self.name], stop_timeout + 60, check=False)
            self.engine.call(["rm", "--force", self.name], 120)
        self.removed.append(f"container {self.name}")

    def _files(self):
        own = (
            (layout.service_directory(self.spec), "launch files"),
            (os.path.join(layout.RECORDS_DIR, self.name), "records of deploys"),
            (os.path.join(layout.STATE_DIR, self.name), "what the supervisor saw"),
        )
        for path, what in own:
            if not os.path.isdir(self.root + path):
                continue
            if os.path.basename(path) != self.name:
                self.left.append(f"{path} ({what}): not a folder that is named after the container")
                continue
            if "files" in self.keep:
                self.kept.append(f"{path} ({what})")
                continue
            if not self.check:
                shutil.rmtree(self.root + path)
                try:
                    os.rmdir(self.root + os.path.dirname(path))
                except OSError:
                    pass  # others have files there too
            self.removed.append(f"{path} ({what})")

    def _images(self, found):
        """The names of the images that the service has on the node: of the plan, the container, the last deploys."""
        names = [self.spec["image"]]
        if found is not None:
            names.append(found["Config"].get("Image"))
        try:
            with open(
                os.path.join(self.root + layout.RECORDS_DIR, self.name, "deployed.json"), encoding="utf-8"
            ) as stream:
                record = json.load(stream)
            names.extend((record[key] or {}).get("image") for key in ("current", "previous"))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            pass  # nothing was recorded
        return [name for name in dict.fromkeys(names) if name and not re.match(r"sha256:", name)]

    def _image(self, name):
        """Remove a name of an image; return the image's id where that was done."""
        image = self.engine.image(name)
        if image is None:
            return None
        described = "image {0} ({1:.1f} GB)".format(name, (image["size"] or 0) / 1e9)
        if "image" in self.keep:
            self.kept.append(described)
            return None
        listed = self.engine.call(["ps", "--all", "--filter", "ancestor=" + image["id"], "--format", "{{.Names}}"])[1]
        users = [user for user in listed.split() if user != self.name]
        if users:
            self.left.append("{0}: used by {1}".format(described, ", ".join(users)))
            return None
        if not self.check:
            self.engine.call(["image", "rm", name], 300)
        self.removed.append(described)
        return image["id"]

    def _look_around(self, others):
        for name in others:
            self.left.append(
                f"container {name}, another one of this collection: to uninstall it, set vllm_recipe_container.name to its name"
            )
        for item in self.plan.get("weights", []):
            if os.path.exists(self.root + item["path"]):
                self.left.append("{0} (weights)".format(item["path"]))
        for mount in self.spec["mounts"]:
            if not mount["read_only"] and os.path.exists(self.root + mount["source"]):
                self.left.append("{0} (the container could write there)".format(mount["source"]))


def row(service, watch, tuning, keep):
    """What was done on a node: ``{"removed", "kept", "left"}``, each a list of strings.

    :param service: the result of the module vllm_teardown.
    :param watch: the result of the module vllm_supervision.
    :param tuning: the result of the module host_tuning, or of a task that was skipped.
    :param keep: what is kept: ``files``, ``image``, ``tuning``.
    """
    removed, kept, left = (list(service[word]) for word in ("removed", "kept", "left"))
    if watch.get("changed"):
        removed.insert(0, "supervision (timer, unit and what it saw)")
    if "tuning" in keep:
        kept.append("host tuning")
    elif service["others"]:
        left.append("host tuning: {0} on this node still needs it".format(", ".join(service["others"])))
    elif tuning.get("changed"):
        back = [item["name"] for item in tuning["settings"] if item["verdict"] in ("changed", "differs")]
        removed.append("host tuning (restored: {0})".format(", ".join(back) or "nothing"))
    left.extend(
        "{0}: {1}".format(item["name"], item["note"])
        for item in tuning.get("settings", [])
        if item["verdict"] == "kept"
    )
    return {"removed": removed, "kept": kept, "left": left}


def text(rows):
    """What was done on each node, as lines; *rows*: host to what :func:`row` returns, empty for a node that failed."""
    lines = []
    for host, described in rows.items():
        lines.append(host)
        if not described:
            lines.append("  failed    see above; fix it, and run teardown.yml again")
            continue
        for word in ("removed", "kept", "left"):
            lines.extend(f"  {word:<10}{item}" for item in described[word] or ["nothing"])
    return "\n".join(lines)
