"""Nodes: containers with systemd, sshd, an own Docker engine, and all that makes them look like Ascend servers."""

import io
import os
import re
import tarfile
import time

from .engine import NETWORK, docker
from .images import IMAGES, MODELS
from .util import STATE, LabError, run, say, step

KEY = STATE / "ssh/id_ed25519"
LABEL = "ascend-vllm-lab.hardware"
# hardware -> chips of a node, last part of the address before the first node's
HARDWARE = {"a2": (8, 10), "a3": (16, 50)}
DEFAULT_COUNT = {"a2": 2, "a3": 1}
MODEL_PLACES = {
    "a2": "/opt/data/verification/models",
    "a3": "/mnt/sfs_turbo/.cache",
}
# --privileged would do more than is needed, and fails on machines that lack CAP_SYS_RESOURCE themselves
NODE_OPTIONS = """--cap-add ALL --cap-drop SYS_RESOURCE --security-opt seccomp=unconfined
--security-opt apparmor=unconfined --security-opt systempaths=unconfined --cgroupns private
--tmpfs /run:exec --tmpfs /run/lock --tmpfs /tmp:exec --stop-signal SIGRTMIN+3 --restart on-failure""".split()


def split(name):
    """('a2', 1) for a2-node1."""
    match = re.fullmatch(r"(a[23])-node([1-9]|[1-3][0-9])", name)
    if not match:
        raise LabError(f"no such node: {name} (nodes are named a2-node1, a2-node2, ..., a3-node1, ...)")
    return match.group(1), int(match.group(2))


def address(name):
    hardware, number = split(name)
    return f"10.213.0.{HARDWARE[hardware][1] + number}"


def all_nodes():
    """{name: state}, e.g. {'a2-node1': 'running'}."""
    listed = docker("ps", "--all", "--filter", f"label={LABEL}", "--format", "{{.Names}}\t{{.State}}").stdout
    return dict(sorted(line.split("\t") for line in listed.splitlines()))


def must_exist(name):
    split(name)
    state = all_nodes().get(name)
    if state != "running":
        raise LabError(f"{name} is {state or 'not there'}; `lab up --hardware {name[:2]}` starts it")


def inside(name, script, check=True, stdin=None):
    """Run shell text in a node through the engine, so that it works when the node's network does not."""
    return docker("exec", "--interactive", name, "sh", "-c", script, check=check, stdin="" if stdin is None else stdin)


def public_key():
    if not KEY.exists():
        KEY.parent.mkdir(parents=True, exist_ok=True)
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "ascend-vllm-lab", "-f", KEY])
    return KEY.with_suffix(".pub").read_text().strip()


def create(name, image):
    hardware, number = split(name)
    IMAGES.mkdir(parents=True, exist_ok=True)
    docker(
        "run",
        "--detach",
        "--name",
        name,
        "--hostname",
        name,
        "--network",
        NETWORK,
        "--ip",
        address(name),
        "--label",
        f"{LABEL}={hardware}",
        *NODE_OPTIONS,
        "--device-cgroup-rule",
        "a *:* rwm",
        "--env",
        f"LAB_HARDWARE={hardware}",
        "--env",
        f"LAB_CHIPS={HARDWARE[hardware][0]}",
        "--env",
        f"LAB_NODE={number}",
        "--env",
        f"LAB_SSH_KEY={public_key()}",
        "--volume",
        f"{name}-docker:/var/lib/docker",
        "--volume",
        f"{name}-containerd:/var/lib/containerd",
        "--volume",
        f"{IMAGES}:/opt/images:ro",
        image,
    )


def wait_ready(name):
    """A node is ready when its engine answers and sshd listens."""
    probe = "systemctl is-active --quiet docker ssh && [ -e /var/lib/ascend-lab/state.json ]"
    for _ in range(300):
        if inside(name, probe, check=False).returncode == 0:
            return
        time.sleep(0.2)
    units = inside(name, "systemctl --failed --no-legend; journalctl -b -n 15 --no-pager", check=False).stdout
    raise LabError(f"{name} did not get ready within 60 s:\n{units}")


def lay_weights(name):
    """Copy the tiny checkpoints into the node once: what a test took away must stay away."""
    place, made_from = MODEL_PLACES[split(name)[0]], MODELS / "made-from"
    stamp = "/var/lib/ascend-lab/models-made-from"
    if not made_from.exists() or inside(name, f"cat {stamp}", check=False).stdout == made_from.read_text():
        return
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        archive.add(MODELS, arcname=".", filter=lambda entry: None if entry.name == "./made-from" else entry)
    inside(
        name,
        f"mkdir -p {place} && tar -C {place} --no-same-owner -x && printf %s {made_from.read_text()} > {stamp}",
        stdin=packed.getvalue(),
    )


def up(hardware, count, image):
    wanted = [f"{hardware}-node{number}" for number in range(1, count + 1)]
    present = all_nodes()
    changed = [name for name in wanted if present.get(name) != "running"]
    if changed:
        with step("starting " + ", ".join(changed)):
            for name in changed:
                docker("start", name) if name in present else create(name, image)
            for name in changed:
                wait_ready(name)
    for name in wanted:
        lay_weights(name)
    check_paths(wanted)
    for name in wanted:
        made_from = docker("inspect", "--format", "{{.Config.Image}}", name).stdout.strip()
        old = "" if made_from == image else "  (of an earlier node image: `lab down`, then `lab up` renews it)"
        say(f"  {name}  {address(name)}  up{old}")


def check_paths(names):
    """Nodes must reach each other; a firewall of the machine can forbid it."""
    for name in names[1:]:
        probe = f"timeout 3 bash -c '</dev/tcp/{address(names[0])}/22'"
        if inside(name, probe, check=False).returncode == 124:
            say(
                f"  warning: {name} cannot reach {names[0]}. Does a firewall of this machine drop what crosses the "
                "bridge? Allow it: iptables -I FORWARD -i ascendlab0 -o ascendlab0 -j ACCEPT"
            )


def down(hardware=None):
    names = [name for name in all_nodes() if hardware in (None, split(name)[0])]
    if not names:
        return
    with step("removing " + ", ".join(names)):
        docker("rm", "--force", "--volumes", *names, check=False)  # one that another command removes is no fault
        docker("volume", "rm", *[f"{name}-{kind}" for name in names for kind in ("docker", "containerd")], check=False)


def ssh(name, words):
    must_exist(name)
    os.execvp(
        "ssh",
        [
            "ssh",
            "-i",
            str(KEY),
            "-o",
            "StrictHostKeyChecking=no",
            "-o",
            "UserKnownHostsFile=/dev/null",
            "-o",
            "LogLevel=ERROR",
            f"root@{address(name)}",
            *words,
        ],
    )


def restart(name):
    must_exist(name)
    with step(f"restarting {name}"):
        docker("restart", "--time", "20", name)
        wait_ready(name)


def status():
    """Rows for the status table."""
    rows = []
    for name, state in all_nodes().items():
        faults = containers = images = "-"
        if state == "running":
            told = inside(
                name,
                "lab-state list; docker ps --format '{{.Names}}' | paste -sd, ; docker images -q | sort -u | wc -l",
                check=False,
            ).stdout.splitlines()
            faults, containers, images = ([text or "-" for text in told] + ["-"] * 3)[:3]
        rows.append((name, split(name)[0], address(name), state, faults, containers, images))
    return rows
