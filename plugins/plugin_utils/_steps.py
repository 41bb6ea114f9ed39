# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The steps that a node takes together with the other members of its replica, in the order of a run."""

from __future__ import annotations

from ansible_collections.ascend_ops.vllm.plugins.module_utils._service import replica
from ansible_collections.ascend_ops.vllm.plugins.module_utils._state import rollback, text
from ansible_collections.ascend_ops.vllm.plugins.plugin_utils._screen import show
from ansible_collections.ascend_ops.vllm.plugins.plugin_utils._step import Failed, Step
from ansible_collections.ascend_ops.vllm.plugins.plugin_utils._wait import Wait

# -- container and files ----------------------------------------------------------------------------------------------


class EnsureContainer(Step):
    """Ensure the container of the plan exists. Creates, never starts."""

    def take(self):
        told = self.module(
            "vllm_container",
            spec=self.container,
            stop_timeout=self.settings["stop_timeout"],
            adopt=self.settings.get("adopt", False),
            engine=self.settings["engine"],
        )
        self.state.update(container=told["container"], changed=list(told["actions"]))


class EnsureFiles(Step):
    """Ensure launch script, environment and secrets are as planned."""

    def take(self):
        told = self.module(
            "vllm_files",
            process=self.process,
            interface=self.settings["interface"],
            secrets=self.settings["secrets"],
        )
        self.state.update(
            changed=self.state["changed"] + told["written"], files_at=told["mtime"], digest=told["digest"]
        )


class FindContainer(Step):
    """For start and restart: find the container that a deploy made; nothing is rendered anew."""

    together = False

    def take(self):
        told = self.module(
            "vllm_probe",
            name=self.container["name"],
            checks=["models", "chat"],
            ports=self.process["ports"],
            request_timeout=self.settings["request_timeout"],
            engine=self.settings["engine"],
            # A restart does not wait for what may hang.
            **({} if self.settings["restart"] else self.api()),
        )
        if told["container"] is None:
            raise Failed(
                {
                    "msg": f"{self.host}: there is no container {self.container['name']} to start; run "
                    f"deploy_{self.process['hardware']}.yml first."
                }
            )
        if told["taken"]:
            raise Failed({"msg": self.taken(told["taken"])})
        ready = self.serves and not self.settings["restart"] and told["state"] == "ready"
        self.state.update(container=told["container"], changed=[], ready=ready, restart=self.settings["restart"])

    def taken(self, listeners):
        """The sentence on ports that something else listens on."""
        seen = ", ".join(
            f"{item['port']} by "
            + (f"pid {item['pid']} ({item['name']})" if item["pid"] else "a process that is not visible")
            for item in listeners
        )
        return (
            f"{self.host}: ports of the service are taken: {seen}; wanted them free. Stop that process ('ss -ltnp' on the node "
            "shows it), or deploy with other ports in vllm_recipe_args. Nothing was started."
        )


# -- revisions --------------------------------------------------------------------------------------------------------


class SelectRevision(Step):
    """Select the revision that all members of the replica go back to."""

    together = False

    def take(self):
        found = dict(zip(self.members["hosts"], self.members["results"]))
        target = rollback.rollback_target(found, self.settings.get("last", False))
        self.result["target"] = target
        if target["errors"] and self.settings.get("required", True):
            name = self.process["replica"]
            raise Failed({"msg": f"replica {name}: " + "\n".join(target["errors"]) + " Nothing was changed."})


class LoadRevision(Step):
    """Read the plan of the revision that is restored; the task runs in check mode, so that files stay as they are."""

    together = False

    def take(self):
        target = self.settings["target"]
        if target["errors"]:
            raise Failed({"msg": "\n".join(target["errors"])})
        told = self.module(
            "vllm_revision",
            name=self.container["name"],
            state="restored",
            revision=target["ids"][self.host],
            engine=self.settings["engine"],
        )
        self.result = {"changed": False}
        # The replica is called what it is called now.
        process = dict(told["process"], replica=self.process["replica"])
        self.state = {"host": self.host, "process": process, "restored": told["revision"]}


class RestoreFiles(Step):
    """Restore the files of the revision."""

    def take(self):
        told = self.module(
            "vllm_revision",
            name=self.container["name"],
            state="restored",
            revision=self.state["restored"]["id"],
            engine=self.settings["engine"],
        )
        self.state.update(changed=self.state["changed"] + told["written"], files_at=told["mtime"])


class RecordRevision(Step):
    """Record what was verified, to go back to. Nothing to record where the files are not this run's."""

    def skip(self):
        return "files_at" not in self.state or (self.check_mode and self.action_decided != "keep")

    def take(self):
        restored = self.state.get("restored")
        told = self.module(
            "vllm_revision",
            name=self.container["name"],
            revision=restored["id"] if restored else "",
            process=self.process,
            group="" if restored else self.group(),
            members=self.members["hosts"],
            ready_seconds=self.state.get("waited") or 0.0,
            engine=self.settings["engine"],
        )
        self.state["revision"] = told["id"]

    def group(self):
        return rollback.group_id(
            [
                {
                    "host": state["host"],
                    "process": state["process"],
                    "files": state["digest"],
                    "image_id": (state["container"] or {}).get("image_id"),
                }
                for state in self.states()
            ]
        )


# -- the service ------------------------------------------------------------------------------------------------------


class Probe(Step):
    """Ask the service for tokens, where it runs and nothing of it was changed."""

    together = False

    def skip(self):
        running = (self.state["container"] or {}).get("running")
        return not (self.serves and running and not self.state["changed"] and "restart" not in self.state)

    def take(self):
        told = self.module(
            "vllm_probe",
            checks=["models", "chat"],
            request_timeout=self.settings["request_timeout"],
            **self.api(),
        )
        self.state["ready"] = told["state"] == "ready"


class Decide(Step):
    """Decide what the replica needs as a whole, and say it."""

    def take(self):
        members = [dict(state, ready=bool(state.get("ready"))) for state in self.states()]
        decision = replica.group_action(members, self.settings["ready_timeout"])
        if self.state.get("restart") and decision["action"] != "start":
            decision = {"action": "restart", "reason": "asked for"}
        self.state["decision"] = decision
        if self.host == self.members["hosts"][0]:
            show(self.result, "replica {0}: {action} ({reason})".format(self.process["replica"], **decision))


class Stop(Step):
    """Stop the container, where the replica cannot go on as it is."""

    def skip(self):
        return self.action_decided not in (None, "restart")

    def take(self):
        told = self.module(
            "vllm_container",
            spec=self.container,
            state="stopped",
            stop_timeout=self.settings["stop_timeout"],
            engine=self.settings["engine"],
        )
        self.state["container"] = told["container"]


class Start(Step):
    """Start the container."""

    def skip(self):
        return self.action_decided == "keep"

    def take(self):
        told = self.module("vllm_container", spec=self.container, state="started", engine=self.settings["engine"])
        self.state["container"] = told["container"]


class WaitForTokens(Step):
    """Wait for the first tokens, on all members at once."""

    def skip(self):
        return self.action_decided == "keep" or self.check_mode

    def take(self):
        wait = Wait(self.action, self.task_vars, self.process, self.state["container"], self.settings, self.api())
        told = wait.run()
        if told.get("failed") or told.get("unreachable"):
            raise Failed(told)
        self.state["ready"] = self.serves
        self.state["waited"] = told.get("waited")


class Verify(Step):
    """Verify that the service answers, and show what it said."""

    together = False

    def skip(self):
        return not self.serves or (self.check_mode and self.action_decided not in (None, "keep"))

    def take(self):
        told = self.module(
            "vllm_probe", checks=self.checks(), request_timeout=self.settings["request_timeout"], **self.api()
        )
        self.state.update(verdicts=told["verdicts"], answer=told["answer"])
        show(self.result, replica.verification_text(self.process, told))
        if told["state"] != "ready":
            bad = told["verdicts"][-1]
            text = "{0}: {id} failed: seen {seen}; wanted {wanted}. {remedy}".format(self.host, **bad)
            raise Failed({"msg": text})


class Supervise(Step):
    """Ensure the service is supervised, or is not where that is turned off."""

    def take(self):
        self.module(
            "vllm_supervision",
            name=self.container["name"],
            state="started" if self.settings["supervised"] else "stopped",
            settings=self.supervision([state["process"] for state in self.states()]),
        )


class Compare(Step):
    """Find out whether a deploy has anything to do on the node; ask the service for tokens on the way."""

    together = False

    def take(self):
        told = self.module(
            "vllm_drift",
            process=self.process,
            interface=self.settings["interface"],
            tuning=self.settings["tuning"],
            secrets=self.settings["secrets"],
            supervision=self.supervision(self.settings["processes"]) if self.settings["supervised"] else {},
            members=self.members["hosts"],
            checks=self.checks(),
            api_key=self.settings.get("api_key") or "",
            request_timeout=self.settings["request_timeout"],
            engine=self.settings["engine"],
        )
        self.state.update({key: told[key] for key in ("settled", "drift", "group", "verdicts", "answer")})
        for line in text.drift_lines(told["drift"]) + [f"unknown: {sentence}" for sentence in told["unknown"]]:
            show(self.result, f"{self.host}: {line}")


class AssertMembers(Step):
    """Assert that no member of the replica failed."""

    def take(self):
        """Nothing more: each step that is taken together begins with this."""


class ShowAnswer(Step):
    """Show what a replica answered that was left alone."""

    together = False

    def skip(self):
        return not self.serves

    def take(self):
        show(self.result, replica.verification_text(self.process, self.state))


STEPS = {
    "container": EnsureContainer,
    "files": EnsureFiles,
    "find": FindContainer,
    "select_revision": SelectRevision,
    "load_revision": LoadRevision,
    "restore_files": RestoreFiles,
    "record_revision": RecordRevision,
    "probe": Probe,
    "decide": Decide,
    "stop": Stop,
    "start": Start,
    "wait": WaitForTokens,
    "verify": Verify,
    "supervise": Supervise,
    "compare": Compare,
    "show_answer": ShowAnswer,
    "assert_members": AssertMembers,
}
