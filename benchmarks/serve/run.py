"""Time to serve: from the start of a deploy to the first token, against `docker run` with the same arguments by hand.

Usage: lab/lab up --hardware a3 && .venv/bin/python benchmarks/serve/run.py [--rounds 3] [--light]

On the lab's A3 node, with real vLLM and the image loaded. The node's service is removed before each run, and after the last.
By hand, the launch script and the environment lie on the node already: the clock starts at `docker run`. With --light a
light node stands in, whose model answers at once: that shows our part alone, and that this program works.
"""

import argparse
import contextlib
import json
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "light"), str(HERE.parent.parent / "playbooks/collections")]

import light as light_nodes
import measure
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common import (
    engine,
    layout,
)
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan import render

LIMIT = 900


class FirstToken(threading.Thread):
    """Asks a service again and again, and notes when it first gave tokens."""

    def __init__(self, service):
        super().__init__(daemon=True)
        self.service, self.at = service, None
        self.over = threading.Event()

    def run(self):
        body = {"model": self.service["model"], "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 1}
        request = urllib.request.Request(
            self.service["url"] + "/v1/chat/completions",
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        while not self.over.wait(0.1):
            with contextlib.suppress(OSError, ValueError, KeyError), urllib.request.urlopen(
                request, timeout=60
            ) as answer:
                if json.load(answer)["usage"]["completion_tokens"] > 0:
                    self.at = time.monotonic()
                    return


class Node:
    """The one node, its plan, and the two ways to have it serve."""

    def __init__(self, inventory, folder):
        self.inventory, self.folder = inventory, Path(folder)
        self.sockets = self.folder / "serve-sockets"
        self.sockets.mkdir()
        path = self.folder / "serve-plan.json"
        self.playbook("plan.yml", "-e", f"vllm_plan_file={path}")
        (self.plan,) = json.loads(path.read_text())
        self.host = self.plan["host"]
        (self.folder / "serve.env").write_text(render.environment_file(self.plan, "eth0"))

    def playbook(self, name, *words):
        """Run a playbook of ours; end this program where it fails."""
        argv, env = measure.ansible(
            f"playbooks/{name}", measure.ROOT / "ansible.cfg", self.sockets, "-i", self.inventory, *words
        )
        done = subprocess.run(
            [str(word) for word in argv], env=env, cwd=measure.ROOT, capture_output=True, text=True, check=False
        )
        measure.close(self.sockets)
        if done.returncode:
            sys.exit(f"{name} failed:\n{done.stdout[-6000:]}{done.stderr[-2000:]}")

    def inside(self, script):
        """Run shell text on the node."""
        return light_nodes.engine.docker("exec", "--interactive", self.host, "sh", "-c", script, stdin="").stdout

    def clean(self):
        """Take the service away, ours or the one by hand."""
        # First the container, since a teardown takes away none that it did not make.
        self.inside(f"docker rm --force {self.plan['container']['name']} >/dev/null 2>&1 || true")
        self.playbook("teardown.yml", "-e", "vllm_teardown_confirm=yes")

    def lay(self):
        """The files of the way by hand."""
        spec = self.plan["container"]
        folder = layout.service_directory(spec)
        texts = {"service.env": (self.folder / "serve.env").read_text(), "launch.sh": render.launch_script(self.plan)}
        lines = [f"mkdir -p {folder}"]
        lines += [f"printf %s {shlex.quote(text)} > {folder}/{name}" for name, text in texts.items()]
        self.inside("\n".join(lines))

    def by_hand(self):
        """`docker run` as the plan has it."""
        spec = self.plan["container"]
        wanted = self.inside("for path in " + " ".join(shlex.quote(m["source"]) for m in spec["mounts"]) + "; do "
                             'if [ -e "$path" ]; then echo "$path"; fi; done').split()  # fmt: skip
        mounts = [mount for mount in spec["mounts"] if mount["source"] in wanted]
        words = ["docker", "run", "--detach"] + engine.create_argv(spec, mounts)[1:]
        return lambda: self.inside(shlex.join(words))

    def measured(self, start):
        """Seconds to the first token, and until the command was through."""
        watch = FirstToken(self.plan["service"])
        began = time.monotonic()
        watch.start()
        start()
        through = time.monotonic() - began
        watch.join(LIMIT)
        watch.over.set()
        if watch.at is None:
            sys.exit(f"no token within {LIMIT} s")
        return watch.at - began, through


def measure_all(node, rounds):
    """The table of all rounds."""
    found = {"by hand": [], "deploy": []}
    deploy = f"deploy_{node.plan['hardware']}.yml"
    node.playbook(deploy)  # has the image loaded, which a teardown keeps
    for number in range(rounds):
        for way in found:
            print(f"round {number + 1}: {way}", file=sys.stderr, flush=True)
            node.clean()
            if way == "by hand":
                node.lay()
                start = node.by_hand()
            else:
                start = lambda: node.playbook(deploy)  # noqa: E731
            found[way].append(node.measured(start))
    node.clean()
    tokens = {way: statistics.median(first for first, unused in times) for way, times in found.items()}
    print("| way | first token, median s | spread s | command through s |")
    print("| --- | --- | --- | --- |")
    for way, times in found.items():
        first = [one for one, unused in times]
        through = statistics.median(one for unused, one in times)
        print(f"| {way} | {tokens[way]:.1f} | {min(first):.1f} to {max(first):.1f} | {through:.1f} |")
    more = tokens["deploy"] - tokens["by hand"]
    good = more <= max(10, 0.1 * tokens["by hand"])
    print(
        f"\nOverhead {more:.1f} s, {100 * more / tokens['by hand']:.0f} %: {'within' if good else 'above'} 10 s or 10 %."
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--light", action="store_true", help="on a light node")
    options = parser.parse_args()
    if options.light:
        with light_nodes.running(1, "a3") as light:
            measure_all(Node(light.inventory, light.folder), options.rounds)
        return
    if light_nodes.nodes.all_nodes().get("a3-node1") != "running":
        sys.exit("the lab's A3 node does not run: `lab/lab up --hardware a3` first")
    with tempfile.TemporaryDirectory() as folder:
        measure_all(Node(measure.ROOT / "lab/inventories/a3", folder), options.rounds)


if __name__ == "__main__":
    os.environ.setdefault("PYTHONDONTWRITEBYTECODE", "1")
    main()
