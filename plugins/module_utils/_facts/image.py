# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read files of an image from the layers that the engine keeps on the node: no container is created and nothing is started.

Possible with the storage drivers overlay2 and overlay, whose layers are folders; the engine names them in GraphDriver. With
containerd's image store, or another driver, an image is known by its environment and its tag alone.
"""

from __future__ import annotations

import os
import re
import stat

DRIVERS = ("overlay2", "overlay")
# Where images of CANN have it: since 8.5 /usr/local/Ascend/cann, before that ascend-toolkit/latest; both are links.
CANN_HOMES = ("/usr/local/Ascend/cann", "/usr/local/Ascend/ascend-toolkit/latest")
# Below it, one folder per kind of chip (ascend910b, ascend910_93, ascend310p) with folders of compiled operators.
KERNELS = "opp/built-in/op_impl/ai_core/tbe/kernel"
# Operators of a tool, which every kit has; an image with these alone runs no model (aclnn error 561103).
NO_OPERATORS = ("ops_oam",)
# What of an image's environment says something about chips, and is no secret.
TELLING = ("SOC_VERSION", "ASCEND_TOOLKIT_HOME", "ASCEND_HOME_PATH", "ASCEND_VISIBLE_DEVICES", "RANK_TABLE_FILE")
LINKS = 40


def environment(found):
    """The variables of TELLING in an image's description: name to value."""
    pairs = [str(word).partition("=") for word in (found.get("Config") or {}).get("Env") or []]
    return {name: value for name, _equals, value in pairs if name in TELLING and value}


def cann(found):
    """``{read, version, kernels}`` of an image, from the engine's description of it.

    ``read`` says whether its layers could be read, ``version`` is that of CANN (None without CANN), ``kernels`` the number
    of operator folders by kind of chip, such as ``{"ascend910b": 5}`` (None without CANN's kernel folder).
    """
    layers = Layers(roots(found))
    result = {"read": bool(layers.roots), "version": None, "kernels": None}
    env = environment(found)
    for home in [env.get("ASCEND_TOOLKIT_HOME"), env.get("ASCEND_HOME_PATH"), *CANN_HOMES]:
        if not home or layers.names(home) is None:
            continue
        result["version"] = result["version"] or _version(layers, home)
        if result["kernels"] is None:
            result["kernels"] = _kernels(layers, home)
    return result


def _version(layers, home):
    """The version of CANN below its folder: from the record of the installed toolkit, else from that of the operators."""
    places = [f"{name}/ascend_toolkit_install.info" for name in layers.names(home) or () if name.endswith("-linux")]
    for place, key in [(place, "version") for place in sorted(places)] + [("opp/version.info", "version_dir")]:
        match = re.search(rf"^{key}=(\S+)", layers.text(f"{home}/{place}") or "", re.M | re.I)
        if match:
            return match.group(1)
    return None


def _kernels(layers, home):
    folders = layers.names(f"{home}/{KERNELS}")
    if folders is None:
        return None
    return {
        name: len(set(layers.names(f"{home}/{KERNELS}/{name}") or ()).difference(NO_OPERATORS))
        for name in sorted(folders)
        if name.startswith("ascend")
    }


def roots(found):
    """The folders of an image's layers, the uppermost first; none where its storage driver has no such folders."""
    graph = found.get("GraphDriver") or {}
    data = graph.get("Data") or {}
    if graph.get("Name") not in DRIVERS:
        return []
    paths = [data.get("UpperDir")] + str(data.get("LowerDir") or "").split(":")
    return [path for path in paths if path and os.path.isdir(path)]


class Layers:
    """The file system of an image, as an overlay of its layers shows it. Links never lead out of it."""

    def __init__(self, folders):
        self.roots = folders

    def find(self, path):
        """The file or folder of the image at a path, as a path of the node; None if there is none."""
        parts = self._resolve(path)
        return None if parts is None else self._entry(parts)

    def text(self, path):
        """The content of a file, at most 64 KiB; None if it cannot be read."""
        place = self.find(path)
        try:
            if place is None or not stat.S_ISREG(os.lstat(place).st_mode):
                return None
            with open(place, "rb") as stream:
                return stream.read(1 << 16).decode("utf-8", "replace")
        except OSError:
            return None

    def names(self, path):
        """The names in a folder, over all layers; None if there is no such folder."""
        parts = self._resolve(path)
        place = None if parts is None else self._entry(parts)
        if place is None or not os.path.isdir(place):
            return None
        found, gone = set(), set()
        for folder in self._views(parts):
            if os.path.islink(folder) or not os.path.isdir(folder):
                break  # it hides those below
            for name in _listed(folder):
                if name not in found and _is_whiteout(os.path.join(folder, name)):
                    gone.add(name)
                elif name not in gone:
                    found.add(name)
        return sorted(found)

    def _resolve(self, path):
        """The parts of a path with all links followed inside the image; None if it does not exist."""
        todo, done, links = path.split("/"), [], 0
        while todo:
            part = todo.pop(0)
            if part in ("", "."):
                continue
            if part == "..":
                done = done[:-1]
                continue
            place = self._entry(done + [part])
            if place is None:
                return None
            if os.path.islink(place):
                links += 1
                if links > LINKS:
                    return None
                target = os.readlink(place)
                done = [] if target.startswith("/") else done
                todo = target.split("/") + todo
            else:
                done.append(part)
        return done

    def _entry(self, parts):
        """Where the uppermost layer that has it keeps an entry; *parts* before the last are folders."""
        for place in self._views(parts):
            return None if _is_whiteout(place) else place
        return None

    def _views(self, parts):
        """Where each layer keeps an entry that no layer above it hides, the uppermost first."""
        for root in self.roots:
            place, hides = root, False
            for number, part in enumerate(parts):
                place = os.path.join(place, part)
                try:
                    mode = os.lstat(place).st_mode
                except OSError:
                    place = None
                    break
                last = number == len(parts) - 1
                if not last and not stat.S_ISDIR(mode):  # a whiteout, a file or a link in the place of a folder
                    return
                hides = hides or (stat.S_ISDIR(mode) and _is_opaque(place))
            if place is not None:
                yield place
            if hides:
                return


def _listed(folder):
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _is_whiteout(path):
    try:
        found = os.lstat(path)
    except OSError:
        return False
    return stat.S_ISCHR(found.st_mode) and found.st_rdev == 0


def _is_opaque(path):
    try:
        return os.getxattr(path, "trusted.overlay.opaque") == b"y"
    except OSError:
        return False
