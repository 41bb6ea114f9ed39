"""The lab's own Docker engine: own socket, data and processes, so that no other engine is ever touched."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

from .host import find
from .util import RUN, STATE, LabError, run, step, tail

SOCKET = RUN / "docker.sock"
PIDFILE = RUN / "docker.pid"
DATA = STATE / "docker"
LOG = STATE / "dockerd.log"
BRIDGE = "ascendlab0"
NETWORK = "ascend-vllm-lab"
SUBNET, GATEWAY = "10.213.0.0/24", "10.213.0.1"


def docker(*words, **options):
    """The docker CLI, talking to the lab's engine whatever the environment says."""
    return run(command(*words), env={"DOCKER_CONTEXT": "", "DOCKER_TLS_VERIFY": "", "DOCKER_CERT_PATH": ""}, **options)


def command(*words):
    return [find("docker") or "docker", "--host", f"unix://{SOCKET}"] + [str(word) for word in words]


def pid():
    """Process id of the engine when it is the lab's and alive, else None."""
    try:
        number = int(PIDFILE.read_text())
        ours = str(SOCKET).encode() in Path(f"/proc/{number}/cmdline").read_bytes()
        return number if ours else None
    except (OSError, ValueError):
        return None


def answers():
    return pid() is not None and docker("version", "--format", "x", check=False).returncode == 0


def start():
    if answers():
        return
    if pid() is None:
        for leftover in (PIDFILE, SOCKET, RUN / "exec/containerd/containerd.pid"):
            leftover.unlink(missing_ok=True)
    with step("starting the lab's own Docker engine"):
        RUN.mkdir(parents=True, exist_ok=True)
        DATA.mkdir(parents=True, exist_ok=True)
        if pid() is None:
            spawn()
        for _ in range(300):
            if answers():
                break
            time.sleep(0.1)
        else:
            raise LabError(f"the engine does not answer; the end of {LOG}:\n{tail(LOG.read_text())}")


def spawn():
    with open(LOG, "ab") as log:
        subprocess.Popen(
            [
                find("dockerd"),
                "--host",
                f"unix://{SOCKET}",
                "--data-root",
                DATA,
                "--exec-root",
                RUN / "exec",
                "--pidfile",
                PIDFILE,
                "--config-file",
                config_file(),
                "--containerd-namespace",
                "ascend-vllm-lab",
                "--containerd-plugins-namespace",
                "ascend-vllm-lab-plugins",
                "--bridge=none",
                "--iptables=false",
                "--ip-forward=false",
                "--storage-driver=overlay2",
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd="/",
        )


def config_file():
    """An empty configuration: the machine's /etc/docker/daemon.json is for the machine's engine."""
    path = STATE / "daemon.json"
    path.write_text("{}\n")
    return path


def ensure_network():
    if docker("network", "inspect", NETWORK, check=False).returncode:
        docker(
            "network",
            "create",
            "--driver",
            "bridge",
            "--subnet",
            SUBNET,
            "--gateway",
            GATEWAY,
            "--opt",
            f"com.docker.network.bridge.name={BRIDGE}",
            NETWORK,
        )


def stop():
    """End the engine that the lab started, and take the bridge away."""
    if answers():
        docker("network", "rm", NETWORK, check=False)
    number = pid()
    if number:
        os.kill(number, signal.SIGTERM)
        for _ in range(300):
            if not Path(f"/proc/{number}").exists():
                break
            time.sleep(0.1)
        else:
            raise LabError(f"the engine (process {number}) does not end; see {LOG}")
    if Path(f"/sys/class/net/{BRIDGE}").exists():
        run(["ip", "link", "delete", BRIDGE], check=False)


def remove_data():
    """Remove the state folder, after what may still be mounted below it."""
    mounts = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    for point in sorted((p for p in mounts if p.startswith((f"{STATE}/", f"{RUN}/"))), reverse=True):
        run(["umount", "--lazy", point], check=False)
    for folder in (STATE, RUN):
        if folder.exists():
            shutil.rmtree(folder)
