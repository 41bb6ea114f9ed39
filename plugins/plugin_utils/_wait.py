# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wait for the service of a replica, on all its nodes at once.

Each node is watched in short slices by the module ``vllm_probe``. What one node finds out concerns all: that the
primary answers, or that a container died. It is passed to the others through a file in the temporary directory that
the workers of one run of Ansible share, so that nobody waits for a group that cannot come up any more.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from ansible import constants as C
from ansible.utils.display import Display

SLICE = 10
PROGRESS = 30


def slice_after(waited):
    """Seconds of the next look: a tenth of the time waited, so that word of the others is noticed soon."""
    return max(1, min(SLICE, int(waited / 10)))


class Wait:
    """The waiting of one node.

    :param action: the action plugin, which runs modules on the node.
    :param task_vars: the task's variables.
    :param process: the process that starts.
    :param container: the state of its container, as it was started.
    :param settings: ``ready_timeout`` (seconds) and ``engine``.
    :param api: ``url``, ``model``, ``ca_file``, ``api_key``, ``key_of``; empty on a node that serves no API.
    """

    def __init__(self, action, task_vars, process, container, settings, api):
        self.action, self.task_vars, self.process = action, task_vars, process
        self.host = task_vars["inventory_hostname"]
        self.name = process["container"]["name"]
        self.timeout, self.engine, self.serves = settings["ready_timeout"], settings["engine"], bool(api)
        self.probe = dict(
            api, name=self.name, started_at=container["started_at"], engine=self.engine, request_timeout=30
        )
        self.news = Path(C.DEFAULT_LOCAL_TMP) / "ascend-vllm-{}-{}".format(
            action._task._uuid, process["replica"].replace("/", "_")
        )

    def run(self):
        """Wait; return ``{"waited"}`` (seconds) and what was seen last, or a failed result."""
        start = time.monotonic()
        shown = 0.0
        parent = os.getppid()
        while True:
            if self.news.exists():
                word = json.loads(self.news.read_text())
                own = ""
                if word["state"] == "dead":
                    self._stop()
                    own = self._own_cause()
                return self._word_of_another(word, own)
            # The node that serves the API is the one that gives word: it need not look for others' often.
            seconds = SLICE if self.serves else slice_after(time.monotonic() - start)
            seen = self._module("vllm_probe", dict(self.probe, seconds=seconds))
            if seen.get("failed") or seen.get("unreachable"):
                self._tell("failed", seen.get("msg", "the node cannot be reached"))
                return seen
            if os.getppid() != parent:
                # Its run was killed. What happens to the container now is the work of another one.
                return {"failed": True, "msg": f"{self.host}: the run was interrupted."}
            waited = time.monotonic() - start
            result = self._ended(seen, waited)
            if result is not None:
                return result
            if self.serves and waited - shown >= PROGRESS:
                shown = waited
                Display().display(self._progress(seen, waited))

    def _ended(self, seen, waited):
        """The result where the waiting ends with what was just seen, else None."""
        if seen["state"] == "dead":
            text = _obituary(self.host, self.name, seen)
            self._tell("dead", text)
            Display().display(
                "{}: last lines of the log of {}:\n{}".format(self.host, self.name, seen["log"] or "(none)")
            )
            self._stop()
            return {"failed": True, "msg": text}
        if seen["state"] == "ready":
            self._tell("ready", "")
            return {"waited": round(waited, 1), "verdicts": seen["verdicts"]}
        if seen["state"] == "refused":
            bad = seen["verdicts"][-1]
            return self._failed("{0}: {seen}. {remedy}".format(self.host, **bad))
        if waited >= self.timeout:
            last = seen["verdicts"][-1]["seen"] if seen["verdicts"] else "the primary did not report"
            return self._failed(
                f"{self.host}: no tokens from the service within {self.timeout} s; last seen: {last}; last line of the log: "
                f"{seen['log'] or '(none)'}. Read 'docker logs {self.name}'; if the weights are still loading, raise "
                "vllm_service_ready_timeout."
            )
        return None

    def _progress(self, seen, waited):
        before = (
            f"the last start took {seen['last_start']:.0f} s" if seen.get("last_start") else "no start was recorded yet"
        )
        doing = seen.get("stage") or f"last line of the log: {seen['log'] or '(nothing)'}"
        return f"{self.host}: waiting for tokens: {doing}; {waited:.0f} s so far, {before}, at most {self.timeout} s"

    def _module(self, name, arguments):
        return self.action._execute_module(f"ascend_ops.vllm.{name}", module_args=arguments, task_vars=self.task_vars)

    def _failed(self, text):
        self._tell("failed", text)
        return {"failed": True, "msg": text}

    def _tell(self, state, text):
        """Leave word for the other nodes; the first word stays."""
        try:
            with self.news.open("x") as handle:
                json.dump({"host": self.host, "state": state, "text": text}, handle)
        except FileExistsError:
            pass

    def _own_cause(self):
        """What this node's log says of its own, where another was seen to die first; empty where it only noticed that."""
        seen = self._module("vllm_probe", dict(self.probe, url="", model="", seconds=0))
        # Not what it printed since it was stopped: an exit code, and exceptions of its end.
        own = [
            cause
            for cause in seen.get("causes") or []
            if not (cause["consequence"] or cause["id"] == "error" or cause["line"].startswith("exit code"))
        ]
        return _told(own)

    def _word_of_another(self, word, own=""):
        if word["state"] == "ready":
            return {"msg": f"{word['host']} answers"}
        text = f"{self.host}: stopped waiting, since {word['host']} will not come up; see there."
        return {"failed": True, "msg": text + (f" This node's own log has a cause: {own}" if own else "")}

    def _stop(self):
        """Keep the engine from restarting what died, and the other members from waiting for it."""
        self._module("vllm_container", {"spec": self.process["container"], "state": "stopped", "engine": self.engine})


def _obituary(host, name, seen):
    """Why the container is dead, in one message."""
    container = seen["container"]
    if container is None:
        return f"{host}: the container {name} is gone; somebody removed it while it started. Deploy again."
    how = "exit code {0}".format(container["exit_code"])
    if container["oom_killed"]:
        how += ", killed for want of memory"
    if container["error"]:
        how += ", {0}".format(container["error"])
    told = _told(seen["causes"])
    if not told:
        lines = "".join(f"\n  {line}" for line in seen["telling"])
        told = f"No known cause in its log; see 'docker logs {name}' on the node.{' It says:' + lines if lines else ''}"
    return f"{host}: the container {name} died ({how}) before the service answered. {told}"


def _told(causes):
    """The most telling cause in words, and what else the log shows; empty for none."""
    if not causes:
        return ""
    first, *others = causes
    text = "{meaning} {advice} [{id}] The log says: {line}".format(**first)
    return text + "".join(" Also: {meaning} [{id}] {line}".format(**cause) for cause in others)
