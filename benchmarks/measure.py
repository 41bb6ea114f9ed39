"""One command, measured: seconds, the processor time and memory of this machine's part, the sessions that nodes served."""

import contextlib
import ctypes
import os
import resource
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PR_SET_CHILD_SUBREAPER = 36


def adopt_orphans():
    """Have ssh masters that a tool leaves behind counted with it: they become children of this process."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


class Memory(threading.Thread):
    """Looks at a process and all below it now and then: the most that they had together, shared pages counted once."""

    def __init__(self, pid, every):
        super().__init__(daemon=True)
        self.pid, self.every = pid, every
        self.done = threading.Event()
        self.main = self.tree = 0.0

    def run(self):
        while not self.done.wait(self.every):
            tree = sum(proportional(pid) for pid in below(self.pid))
            self.tree = max(self.tree, tree / 1024)
            with contextlib.suppress(OSError, IndexError):
                status = Path(f"/proc/{self.pid}/status").read_text()
                self.main = max(self.main, int(status.split("VmHWM:")[1].split()[0]) / 1024)


def below(pid):
    """A process and all its descendants."""
    found = [pid]
    for one in found:
        with contextlib.suppress(OSError):
            for task in os.listdir(f"/proc/{one}/task"):
                found += map(int, Path(f"/proc/{one}/task/{task}/children").read_text().split())
    return found


def proportional(pid):
    """KiB of a process, what it shares with others divided among them."""
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
    except OSError:
        pass
    return 0


def close(sockets):
    """End the ssh masters whose sockets are in a folder, so that each run opens its own connections."""
    for socket in Path(sockets).glob("*"):
        subprocess.run(
            ["ssh", "-o", f"ControlPath={socket}", "-O", "exit", "-q", "any"], capture_output=True, check=False
        )
    for _ in range(100):
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        if not any(Path(sockets).glob("*")):
            return
        time.sleep(0.02)


def run(argv, env, light, sockets, every=1.0):
    """``{seconds, cpu, main_mb, tree_mb, sessions, output, load}``; ends this program where the command fails."""
    before, used = light.sessions(), resource.getrusage(resource.RUSAGE_CHILDREN)
    load = os.getloadavg()[0]
    start = time.monotonic()
    with open(light.folder / "output", "w+") as output:
        process = subprocess.Popen([str(word) for word in argv], env=env, stdout=output, stderr=output, cwd=ROOT)
        memory = Memory(process.pid, every)
        memory.start()
        code = process.wait()
        seconds = time.monotonic() - start
        memory.done.set()
        output.seek(0)
        text = output.read()
    close(sockets)
    if code:
        sys.exit(f"{' '.join(map(str, argv))} failed:\n{text[-6000:]}")
    now = resource.getrusage(resource.RUSAGE_CHILDREN)
    after = light.sessions()
    return {
        "seconds": seconds,
        "cpu": now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime,
        "main_mb": memory.main,
        "tree_mb": memory.tree,
        "sessions": statistics.mean(after[name] - before[name] for name in light.names),
        "output": text,
        "load": load,
    }


def ansible(playbook, config, sockets, *words):
    """Command and environment of a playbook run."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    env.update(
        ANSIBLE_CONFIG=str(config),
        ANSIBLE_COLLECTIONS_PATH=str(ROOT / "playbooks/collections"),
        ANSIBLE_NOCOLOR="1",
        ANSIBLE_SSH_CONTROL_PATH_DIR=str(sockets),
        PATH=os.path.dirname(sys.executable) + ":" + os.environ["PATH"],
    )
    return ["ansible-playbook", playbook, *words], env


def tasks(output):
    """How many tasks a playbook run went through."""
    return sum(line.startswith("TASK [") for line in output.splitlines())
