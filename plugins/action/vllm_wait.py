# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wait for the service of a replica, on all its nodes at once.

Each node is watched in short slices by the module ``vllm_probe``. What one node finds out concerns all: that the
primary answers, or that a container died. It is told to the others through a file in the temporary directory that
the workers of one run of Ansible share, so that nobody waits for a group that cannot come up any more.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from ansible import constants as C
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

SLICE = 10
PROGRESS = 30


def slice_after(waited):
    """Seconds of the next look: a tenth of the time waited, so that word of the others is not waited for much longer."""
    return max(1, min(SLICE, int(waited / 10)))


class ActionModule(ActionBase):
    """The action of ``ascend_ops.vllm.vllm_wait``."""

    _supports_check_mode = True

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        unused, given = self.validate_argument_spec(
            argument_spec={
                "replica": {"type": "str", "required": True},
                "timeout": {"type": "int", "required": True},
                "spec": {"type": "dict", "required": True},
                "started_at": {"type": "float", "default": 0.0},
                "url": {"type": "str", "default": ""},
                "model": {"type": "str", "default": ""},
                "api_key": {"type": "str", "default": "", "no_log": True},
                "key_of": {"type": "str", "default": "", "no_log": False},
                "ca_file": {"type": "str", "default": ""},
                "engine": {"type": "str", "default": "docker"},
            }
        )
        host = task_vars["inventory_hostname"]
        news = Path(C.DEFAULT_LOCAL_TMP) / "ascend-vllm-{0}-{1}".format(
            self._task._uuid, given["replica"].replace("/", "_")
        )
        name = given["spec"]["name"]
        probe = {key: given[key] for key in ("started_at", "url", "model", "api_key", "key_of", "ca_file", "engine")}
        probe.update(name=name, request_timeout=30)
        start = time.monotonic()
        shown = 0.0
        run = os.getppid()
        while True:
            if news.exists():
                word = json.loads(news.read_text())
                if word["state"] == "dead":
                    self._stop(given, task_vars)
                return self._told(result, word, host)
            # The node that serves the API is the one that gives word: it need not look up for others' often.
            seconds = SLICE if given["url"] else slice_after(time.monotonic() - start)
            seen = self._execute_module(
                "ascend_ops.vllm.vllm_probe", module_args=dict(probe, seconds=seconds), task_vars=task_vars
            )
            if seen.get("failed") or seen.get("unreachable"):
                result.update(seen)
                self._tell(news, host, "failed", seen.get("msg", "the node could not be asked"))
                return result
            if os.getppid() != run:
                # Its run was killed. What happens to the container now is the work of another one.
                result.update(failed=True, msg=f"{host}: the run was broken off.")
                return result
            waited = time.monotonic() - start
            if seen["state"] == "dead":
                result.update(failed=True, msg=_obituary(host, name, seen))
                self._tell(news, host, "dead", result["msg"])
                Display().display("{0}: last lines of the log of {1}:\n{2}".format(host, name, seen["log"] or "(none)"))
                self._stop(given, task_vars)
                return result
            if seen["state"] == "ready":
                result.update(changed=False, waited=round(waited, 1), verdicts=seen["verdicts"])
                self._tell(news, host, "ready", "")
                return result
            if seen["state"] == "refused":
                bad = seen["verdicts"][-1]
                result.update(failed=True, msg="{0}: {1}. {2}".format(host, bad["seen"], bad["remedy"]))
                self._tell(news, host, "failed", result["msg"])
                return result
            if waited >= given["timeout"]:
                last = seen["verdicts"][-1]["seen"] if seen["verdicts"] else "the primary gave no word"
                result.update(
                    failed=True,
                    msg=(
                        "{0}: no tokens from the service within {1} s; last seen: {2}; last line of the log: {3}. Look at "
                        "'docker logs {4}'; when the weights still load, raise vllm_service_ready_timeout.".format(
                            host, given["timeout"], last, seen["log"] or "(none)", name
                        )
                    ),
                )
                self._tell(news, host, "failed", result["msg"])
                return result
            if given["url"] and waited - shown >= PROGRESS:
                shown = waited
                Display().display(
                    "{0}: waiting for tokens since {1:.0f} s of {2}; the log says: {3}".format(
                        host, waited, given["timeout"], seen["log"] or "(nothing)"
                    )
                )

    @staticmethod
    def _tell(news, host, state, text):
        """Leave word for the other nodes; the first word stays."""
        try:
            with news.open("x") as handle:
                json.dump({"host": host, "state": state, "text": text}, handle)
        except FileExistsError:
            pass

    @staticmethod
    def _told(result, word, host):
        if word["state"] == "ready":
            result.update(changed=False, msg="{0} answers".format(word["host"]))
        else:
            result.update(
                failed=True,
                msg="{0}: stopped waiting, since {1} will not come up; see there.".format(host, word["host"]),
            )
        return result

    def _stop(self, given, task_vars):
        """Keep what died from being started over and over by the engine, and its mates from waiting for it."""
        self._execute_module(
            "ascend_ops.vllm.vllm_container",
            module_args={"spec": given["spec"], "state": "stopped", "engine": given["engine"]},
            task_vars=task_vars,
        )


def _obituary(host, name, seen):
    """What is to be said of a dead container, in one message."""
    container = seen["container"]
    if container is None:
        return f"{host}: the container {name} is gone; somebody removed it while it started. Deploy again."
    how = "exit code {0}".format(container["exit_code"])
    if container["oom_killed"]:
        how += ", killed for want of memory"
    if container["error"]:
        how += ", {0}".format(container["error"])
    causes = " ".join("{0} [{1}] The log says: {2}".format(c["advice"], c["id"], c["line"]) for c in seen["causes"])
    return "{0}: the container {1} died ({2}) before the service answered. {3}".format(
        host, name, how, causes or f"No known cause in its log: see 'docker logs {name}' on the node."
    )
