# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The container engine of a node, through its command line, so that nothing else has to be installed there."""

from __future__ import annotations

import calendar
import contextlib
import hashlib
import json
import os
import re
import shutil
import tempfile
import time

from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.run import run

LABEL_SERVICE = "ascend_ops.vllm.service"
LABEL_SPEC = "ascend_ops.vllm.spec"


class EngineError(Exception):
    """The engine failed or did not answer; the text says what to do."""


class EngineSilent(EngineError):
    """The engine did not answer in time: it may be busy, and nothing is known of it."""


class Engine:
    """The engine behind one executable.

    :param executable: name or path of the ``docker`` command.
    :param timeout: seconds that a call may take that gives none of its own.
    """

    def __init__(self, executable="docker", timeout=60):
        self.executable = executable
        self.timeout = timeout
        self.env = {}

    def call(self, arguments, timeout=None, check=True, given=""):
        """Run the engine's command: ``(exit status, output)``. Raises EngineSilent without an answer, and with
        *check* EngineError on failure.

        :param given: text for its standard input, which no process list shows.
        """
        timeout = timeout or self.timeout
        rc, output, timed_out = run([self.executable] + list(arguments), timeout, self.env, given)
        if timed_out:
            raise EngineSilent(
                f"'{self.executable} {arguments[0]}' gave no answer within {timeout} s; see 'systemctl status docker' on the node."
            )
        if rc == 127:
            raise EngineError(
                f"there is no command '{self.executable}' on the node; install the Docker engine, or set "
                "npu_container_engine to its path."
            )
        if rc != 0 and check:
            raise EngineError(explain(output, self.executable, arguments))
        return rc, output

    @contextlib.contextmanager
    def logged_in(self, registry, username, password):
        """A context in which the engine is logged in to a registry. Nothing of it stays on the node. Raises EngineError."""
        # In memory, where possible.
        place = "/run" if os.access("/run", os.W_OK) else None
        folder = tempfile.mkdtemp(prefix="ascend-vllm-login-", dir=place)  # mode 0700
        self.env = {"DOCKER_CONFIG": folder}
        try:
            words = ["login", "--username", username, "--password-stdin", registry]
            rc, output = self.call(words, check=False, given=password)
            if rc != 0 and re.search(r"unauthorized|incorrect username|denied|\b401\b", output, re.I):
                raise EngineError(
                    f"the registry {registry} refuses the user '{username}': user name or password is wrong. Correct "
                    "npu_container_registry_login."
                )
            if rc != 0:
                raise EngineError(explain(output, self.executable, words[:1] + [registry]))
            yield
        finally:
            self.env = {}
            shutil.rmtree(folder, ignore_errors=True)

    def inspect(self, kind, name):
        """The engine's description of an image or a container, or None where there is none. Raises EngineError."""
        rc, output = self.call([kind, "inspect", name], check=False)
        if rc != 0:
            # Not the client's words for a missing socket or host.
            if re.search(r"no such (image|container|object)|not found|not known", output, re.I):
                return None
            raise EngineError(explain(output, self.executable, [kind, "inspect", name]))
        start = output.find("[")
        try:
            return json.loads(output[start:])[0]
        except (ValueError, IndexError):
            raise EngineError(f"'{self.executable} {kind} inspect {name}' printed what is no JSON: {output[:200]}")

    def image(self, name):
        """``{"id", "digests", "size", "architecture"}`` of an image, or None."""
        found = self.inspect("image", name)
        return None if found is None else image_state(found)

    def container(self, name):
        """The state of a container as :func:`container_state` has it, or None where there is none."""
        found = self.inspect("container", name)
        return None if found is None else container_state(found, name)

    def logs(self, name, lines=200, since=0):
        """The last lines of a container's log since a time in seconds since the epoch; empty where there are none."""
        return self.call(["logs", "--tail", str(lines), "--since", str(since), name], check=False)[1]

    def last_exit(self, name, since):
        """The exit code of a container's last end since a time, or None; known also after the engine restarted it."""
        codes = self._events(name, "die", since, "{{.Actor.Attributes.exitCode}}")
        return int(codes[-1]) if codes and codes[-1].isdigit() else None

    def starts(self, name, since):
        """When a container was started since a time, in seconds since the epoch, as far as the engine remembers."""
        return [int(word) / 1e9 for word in self._events(name, "start", since, "{{.TimeNano}}") if word.isdigit()]

    def _events(self, name, event, since, form):
        words = ["events", "--since", str(since), "--until", str(int(time.time()) + 1), "--filter", "container=" + name]
        rc, output = self.call(words + ["--filter", "event=" + event, "--format", form], check=False)
        return output.split() if rc == 0 else []

    def pids(self, name):
        """The process ids, as the node has them, of a container's processes."""
        rc, output = self.call(["top", name, "-eo", "pid"], check=False)
        return [int(word) for word in output.split() if word.isdigit()] if rc == 0 else []

    def names(self):
        """Name to id of every container."""
        output = self.call(["ps", "--all", "--no-trunc", "--format", "{{.Names}} {{.ID}}"])[1]
        return dict(line.split(" ", 1) for line in output.splitlines() if " " in line)

    def made_as(self, name):
        """The containers that this collection created as *name*, whatever they are called now: ``[{"id", "name"}]``."""
        label = f"label={LABEL_SERVICE}={name}"
        output = self.call(["ps", "--all", "--no-trunc", "--filter", label, "--format", "{{.ID}} {{.Names}}"])[1]
        pairs = [line.split() for line in output.splitlines()]
        return [{"id": pair[0], "name": pair[1]} for pair in pairs if len(pair) == 2]

    def ours(self, name):
        """The names of all containers that this collection created, except *name*."""
        output = self.call(["ps", "--all", "--filter", "label=" + LABEL_SERVICE, "--format", "{{.Names}}"])[1]
        return sorted(set(output.split()) - {name})


def image_state(found):
    """``{"id", "digests", "size", "architecture"}`` of an image, from the engine's description; the size in bytes."""
    return {
        "id": found["Id"],
        "digests": found.get("RepoDigests") or [],
        "size": found.get("Size"),
        "architecture": found.get("Architecture"),
    }


def container_state(found, name):
    """The state of a container, from the engine's description.

    ``{"id", "name", "image_id", "labels", "status", "running", "exit_code", "oom_killed", "error", "started_at",
    "age", "restart_count", "pid"}``; ``started_at`` in seconds since the epoch with their fractions, ``age`` in whole
    seconds by the node's own clock.
    """
    state = found["State"]
    started = epoch(state.get("StartedAt"))
    return {
        "id": found["Id"],
        "name": name,
        "image_id": found["Image"],
        "labels": found["Config"].get("Labels") or {},
        "status": state["Status"],
        "running": bool(state.get("Running")) and not state.get("Restarting"),
        "exit_code": state.get("ExitCode"),
        "oom_killed": bool(state.get("OOMKilled")),
        "error": state.get("Error") or "",
        "started_at": started,
        "age": None if started is None else int(time.time() - started),
        "restart_count": found.get("RestartCount", 0),
        "pid": state.get("Pid") or 0,
    }


def epoch(text):
    """Seconds since the epoch of a time as the engine prints it, or None for the zero time."""
    match = re.match(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d+)?(?:([+-])(\d\d):(\d\d))?", text or "")
    if not match or match.group(1).startswith("0001"):
        return None
    seconds = calendar.timegm(time.strptime(match.group(1), "%Y-%m-%dT%H:%M:%S"))
    seconds += float(match.group(2) or 0)
    offset = int(match.group(4) or 0) * 3600 + int(match.group(5) or 0) * 60
    return seconds + offset if match.group(3) == "-" else seconds - offset


def explain(output, executable, arguments):
    """The error text for a failed call of the engine: what it means and what to do."""
    text = " ".join(output.split())[-600:]
    for pattern, advice in (
        (
            r"Cannot connect to the Docker daemon|(docker )?daemon (is )?running|failed to connect to the docker API",
            "The engine is not running: 'systemctl start docker' on the node.",
        ),
        (r"permission denied", "The user may not use the engine: run with become, or as root."),
        (r"no space left on device", "The disk that holds the engine's data is full: 'df -h' and 'docker system df'."),
        (r"manifest unknown|not found: manifest", "The registry has no such image: check name and tag."),
        (
            r"unauthorized|denied: |no basic auth credentials",
            "The registry wants a login that may read the image: set npu_container_registry_login.",
        ),
        (
            r"no such host|connection refused|i/o timeout|network is unreachable|TLS handshake",
            "The registry cannot be reached from the node. Without internet, copy an archive made by 'docker save' to the "
            "node and set npu_container_image_archive to its path.",
        ),
        (
            r"error gathering device information|no such file or directory.*/dev/",
            "A device of the plan is not on the node: 'ls -l /dev/davinci*', and the driver's state.",
        ),
    ):
        if re.search(pattern, text, re.I):
            return f"{advice} ({executable} {arguments[0]}: {text})"
    return "'{0} {1}' failed: {2}".format(executable, " ".join(arguments[:2]), text)


def create_argv(spec, mounts=None, labels=None):
    """The words after the engine's name that create a container.

    :param spec: the part ``container`` of a node's plan.
    :param mounts: used instead of the plan's, as :func:`mounts_here` returns them.
    :param labels: labels to put on the container.
    """
    argv = [
        "create",
        "--name",
        spec["name"],
        "--user",
        spec["user"],
        "--network",
        spec["network"],
        "--shm-size",
        spec["shm_size"],
        "--restart",
        spec["restart"],
        "--log-driver",
        spec["log"]["driver"],
        "--log-opt",
        "max-size=" + spec["log"]["max-size"],
        "--log-opt",
        "max-file=" + spec["log"]["max-file"],
    ]
    if spec["init"]:
        argv.append("--init")
    if spec["privileged"]:
        argv.append("--privileged")
    for device in spec["devices"]:
        argv.extend(["--device", device])
    for mount in spec["mounts"] if mounts is None else mounts:
        argv.extend(
            [
                "--mount",
                "type=bind,source={0},target={1}{2}".format(
                    mount["source"], mount["target"], ",readonly" if mount["read_only"] else ""
                ),
            ]
        )
    for name, value in sorted((labels or {}).items()):
        argv.extend(["--label", f"{name}={value}"])
    return argv + ["--entrypoint", spec["command"][0], spec["image"]] + spec["command"][1:]


def mounts_here(spec, exists=os.path.exists):
    """The mounts of a plan that are possible on this node.

    :return: ``(mounts, missing)``: *missing* are required sources that do not exist.
    """
    mounts = []
    missing = []
    for mount in spec["mounts"]:
        if exists(mount["source"]):
            mounts.append(mount)
        elif mount.get("create"):
            mounts.append(mount)
        elif not mount["optional"]:
            missing.append(mount["source"])
    return mounts, missing


def spec_digest(spec, mounts, image_id):
    """A short digest of all that defines a container, kept in a label to detect changes."""
    words = create_argv(spec, mounts) + [image_id]
    return hashlib.sha256(json.dumps(words).encode("utf-8")).hexdigest()[:16]
