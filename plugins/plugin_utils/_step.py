# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What all steps share that a node takes together with the other members of its replica; the steps are in ``_steps``.

A step gets the state of its node and the results of all members, runs a module on the node, and returns the state for
the next step. This is the only place where that state is written:

``host``, ``process`` (the plan that is applied), ``restored`` (the revision that it comes from, or None), ``container``
(its state, or None), ``changed`` (what was changed on the node, as words), ``files_at`` (when the newest file of the
service was written, seconds since the epoch), ``digest`` (of these files), ``ready`` (whether the running service
answered), ``restart`` (whether a restart was asked for), ``decision`` (``{"action", "reason"}``), ``verdicts`` and
``answer`` (of the verification), ``revision`` (the id that was recorded).
"""

from __future__ import annotations

from ansible_collections.ascend_ops.vllm.plugins.module_utils._state import supervision


class Failed(Exception):
    """A step did not succeed; ``result`` is the task's result."""

    def __init__(self, result):
        super().__init__(result.get("msg", ""))
        self.result = dict(result, failed=True)


class Step:
    """One step on one node.

    :param action: the action plugin, which runs modules on the node.
    :param task_vars: the task's variables.
    :param state: the node's state so far.
    :param members: ``{"hosts", "absent", "results"}``: the members of the replica, those of them that left the play, and
        per member (in the order of *hosts*) the result of its last step, or several.
    :param settings: the inputs that the step needs.
    """

    # Whether the step changes or starts something, which a replica does as a whole or not at all.
    together = True

    def __init__(self, action, task_vars, state, members, settings):
        self.action, self.task_vars, self.members, self.settings = action, task_vars, members, settings
        self.state = dict(state)
        self.host = task_vars["inventory_hostname"]
        self.check_mode = action._task.check_mode
        self.result = {"changed": False}

    # -- what all steps share ---------------------------------------------------------------------------------------

    def run(self):
        """Take the step; return the task's result with the new ``state``. Raises Failed."""
        if self.together:
            self.assert_members()
        if self.skip():
            self.result["skipped"] = True
        else:
            self.take()
        return dict(self.result, state=self.state)

    def skip(self):
        """Whether there is nothing to do for this step."""
        return False

    def take(self):
        """Do it: run modules, update ``state`` and ``result``."""
        raise NotImplementedError

    def module(self, module, **arguments):
        """Run a module of this collection on the node; return its result. Raises Failed."""
        told = self.action._execute_module(f"ascend_ops.vllm.{module}", module_args=arguments, task_vars=self.task_vars)
        if told.get("failed") or told.get("unreachable"):
            raise Failed(told)
        self.result["changed"] = self.result["changed"] or bool(told.get("changed"))
        if told.get("diff"):
            self.result["diff"] = told["diff"]
        return told

    def assert_members(self):
        """Fail if a member failed earlier: a play with a rescue continues with nodes that failed."""
        lost = set(self.members.get("absent") or [])
        for host, results in zip(self.members["hosts"], self.members["results"]):
            for told in results if isinstance(results, (list, tuple)) else [results]:
                if told.get("failed") or told.get("unreachable"):
                    lost.add(host)
        if lost:
            names = ", ".join(host for host in self.members["hosts"] if host in lost)
            raise Failed(
                {
                    "msg": f"{self.host}: replica {self.process['replica']} lost {names} earlier in this run; a replica is "
                    "changed and started as a whole. Fix what was reported for it, and run again."
                }
            )

    @property
    def process(self):
        return self.state["process"]

    @property
    def container(self):
        """The spec of the container."""
        return self.process["container"]

    @property
    def serves(self):
        """Whether this node serves the API."""
        return self.process["role"] != "secondary"

    @property
    def action_decided(self):
        return (self.state.get("decision") or {}).get("action")

    def states(self):
        """The states of all members, this node's own included."""
        return [result["state"] for result in self.members["results"]]

    def api(self):
        """Whom a probe asks and with what key: nobody on a node that serves no API.

        The key of a restored revision may be another one than the inventory's: it is read on the node.
        """
        if not self.serves:
            return {}
        service = self.process["service"]
        restored = self.state.get("restored")
        return {
            "url": service["url"],
            "model": service["model"],
            "ca_file": service.get("ca_file") or "",
            "api_key": "" if restored else self.settings.get("api_key") or "",
            "key_of": self.container["name"] if restored else "",
        }

    def supervision(self, processes):
        """The settings of the supervisor on this node; *processes*: of all members."""
        return supervision.settings_for(processes, self.host, self.settings["supervision"])

    def checks(self):
        """What a verification asks for."""
        return ["models", "chat"] + (["tool_call"] if self.process["service"]["tool_calls"] else [])
