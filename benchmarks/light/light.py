"""Many light nodes on one machine: containers of the lab's engine with sshd and the lab's stand-ins, on a network of
their own, without systemd, Docker engine, image and model. For benchmarks of deployers; see ../README.md.

Usage: light.py NODES [a2|a3]    starts them, says how to reach them, and removes them at Ctrl-C.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(ROOT / "lab"))

from labkit import engine, images, nodes  # noqa: E402

NETWORK, BRIDGE, SUBNET, GATEWAY = "ascend-vllm-light", "ascendlight0", "10.214.0.0/16", "10.214.255.254"
LABEL = "ascend-vllm-light"
SESSIONS = "/run/sessions.log"
# The lab's options but for those that systemd needs.
OPTIONS = [
    word for word in nodes.NODE_OPTIONS if word not in ("--restart", "on-failure", "--stop-signal", "SIGRTMIN+3")
]
SSH_OPTIONS = "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR"


class Light:
    """The running nodes: ``names``, ``addresses``, and a folder with ``inventory.yml`` and ``key``."""

    def __init__(self, count, hardware, folder):
        self.hardware, self.folder = hardware, Path(folder)
        self.names = [f"light-{number:03d}" for number in range(1, count + 1)]
        self.addresses = {name: f"10.214.{number // 250}.{number % 250 + 1}" for number, name in enumerate(self.names)}
        self.key = self.folder / "key"
        self.inventory = self.folder / "inventory.yml"

    def start(self):
        """Have network and nodes."""
        found = subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.key], check=False)
        if found.returncode:
            sys.exit("ssh-keygen failed")
        engine.docker(
            "network", "create", "--driver", "bridge", "--subnet", SUBNET, "--gateway", GATEWAY,
            "--opt", f"com.docker.network.bridge.name={BRIDGE}", "--label", f"{LABEL}=yes", NETWORK,
        )  # fmt: skip
        found = engine.docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}", images.NODE).stdout.split()
        if not found:
            sys.exit("there is no node image: `lab/lab build` first")
        image = found[0]
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda name: self.create(name, image), self.names))
            list(pool.map(self.wait, self.names))
        self.inventory.write_text(inventory(self))

    def create(self, name, image):
        """Start one node."""
        number = self.names.index(name)
        place = nodes.MODEL_PLACES[self.hardware]
        engine.docker(
            "run", "--detach", "--name", name, "--hostname", name, "--network", NETWORK, "--ip", self.addresses[name],
            "--label", f"{LABEL}=yes", *OPTIONS, "--device-cgroup-rule", "a *:* rwm",
            "--env", f"LAB_HARDWARE={self.hardware}", "--env", f"LAB_CHIPS={nodes.HARDWARE[self.hardware][0]}",
            "--env", f"LAB_NODE={number % 250 + 1}", "--env", f"LAB_SSH_KEY={self.key.with_suffix('.pub').read_text().strip()}",
            "--volume", f"{HERE / 'node'}:/opt/light:ro", "--volume", f"{images.MODELS}:{place}:ro",
            "--entrypoint", "/opt/light/init", image,
        )  # fmt: skip

    def wait(self, name):
        """Return when sshd answers."""
        for _ in range(600):
            if subprocess.run(self.ssh(name) + ["true"], capture_output=True, check=False).returncode == 0:
                return
            time.sleep(0.2)
        said = engine.docker("logs", name, check=False)
        raise RuntimeError(f"{name} does not answer over ssh:\n{said.stdout}{said.stderr}")

    def ssh(self, name):
        """The words that reach a node."""
        return ["ssh", "-i", str(self.key), *SSH_OPTIONS.split(), f"root@{self.addresses[name]}"]

    def inside(self, name, script, check=True):
        """What shell text prints in a node, through the engine: no session is counted."""
        return engine.docker("exec", name, "sh", "-c", script, check=check).stdout

    def everywhere(self, script, names=None):
        """The same on all nodes, by name."""
        with ThreadPoolExecutor(4) as pool:
            chosen = names or self.names
            return dict(zip(chosen, pool.map(lambda name: self.inside(name, script), chosen)))

    def sessions(self, names=None):
        """How many sessions (commands and file transfers) sshd served so far, by node."""
        counted = self.everywhere(f"grep -c 'Starting session' {SESSIONS} || true", names)
        return {name: int(text or 0) for name, text in counted.items()}


def inventory(light):
    """An inventory of all nodes: pairs of A2 nodes, or single A3 nodes, a replica each."""
    groups = {"a2_primary": [], "a2_secondary": []} if light.hardware == "a2" else {"a3": []}
    for number, name in enumerate(light.names):
        group = "a3" if light.hardware == "a3" else "a2_secondary" if number % 2 else "a2_primary"
        replica = number if light.hardware == "a3" else number // 2
        groups[group].append((name, light.addresses[name], f"r{replica + 1:03d}"))
    lines = [
        "all:",
        "  vars:",
        "    ansible_user: root",
        f"    ansible_ssh_private_key_file: {light.key}",
        f"    ansible_ssh_common_args: {SSH_OPTIONS}",
        "    ansible_python_interpreter: /usr/bin/python3",
        "    vllm_service_supervised: false    # a light node has no systemd",
        "    vllm_recipe_container: {shm_size: 1g}",
    ]
    if light.hardware == "a3":
        lines.append(
            "    vllm_recipe_args: {quantization: null, speculative_config: null}    # the lab's weights are tiny and plain"
        )
    lines.append("  children:")
    for group, members in groups.items():
        lines += [f"    {group}:", "      hosts:"]
        lines += [
            f"        {name}: {{ansible_host: {address}, vllm_recipe_replica: {replica}}}"
            for name, address, replica in members
        ]
    return "\n".join(lines) + "\n"


def remove():
    """Take nodes and network away, also those of a run that was killed."""
    found = engine.docker("ps", "--all", "--quiet", "--filter", f"label={LABEL}").stdout.split()
    for start in range(0, len(found), 32):
        engine.docker("rm", "--force", "--volumes", *found[start : start + 32], check=False)
    engine.docker("network", "rm", NETWORK, check=False)


@contextlib.contextmanager
def running(count, hardware="a2"):
    """Light nodes for as long as the block lasts."""
    if not engine.answers():
        sys.exit("the lab's engine does not run: `lab/lab up` first")
    if engine.docker("network", "inspect", NETWORK, check=False).returncode == 0:
        sys.exit(
            f"there is a network {NETWORK} already: another benchmark runs, or `light.py remove` after a killed one"
        )
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *unused: sys.exit(1))
    folder = tempfile.mkdtemp(prefix="ascend-vllm-light-")
    light = Light(count, hardware, folder)
    try:
        light.start()
        yield light
    finally:
        remove()
        shutil.rmtree(folder, ignore_errors=True)


def main():
    if sys.argv[1:] == ["remove"]:
        remove()
        return
    count = int(sys.argv[1]) if sys.argv[1:] else 2
    with running(count, sys.argv[2] if sys.argv[2:] else "a2") as light:
        print(f"{count} nodes; inventory {light.inventory}; Ctrl-C removes them", flush=True)
        print(" ".join(light.ssh(light.names[0])), flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            while True:
                time.sleep(3600)


if __name__ == "__main__":
    os.environ.setdefault("PYTHONDONTWRITEBYTECODE", "1")
    main()
