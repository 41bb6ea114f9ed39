"""Time of our preflight against a plain one-check-one-task playbook, on the lab's two A2 nodes, interleaved.

Usage: lab/lab up --hardware a2 && .venv/bin/python benchmarks/preflight/run.py [ROUNDS]

The plain playbook asks chip 0 alone of the fabric and judges nothing; ours asks all chips, lets the nodes try each other,
and judges. Both run with the same settings, once with pipelining and many forks (this project's ansible.cfg) and once
with Ansible's own defaults.
"""

import os
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
PLAYBOOKS = {"ours": "playbooks/preflight.yml", "one check one task": "benchmarks/preflight/naive.yml"}
SETTINGS = {
    "ansible.cfg of this project": str(ROOT / "ansible.cfg"),
    "Ansible's defaults": str(ROOT / "benchmarks/preflight/defaults.cfg"),
}


def once(playbook, config):
    """Seconds of one run, and what it printed."""
    start = time.monotonic()
    completed = subprocess.run(
        ["ansible-playbook", str(ROOT / playbook), "-i", str(ROOT / "lab/inventories/a2"), "-v"],
        env=dict(
            os.environ,
            ANSIBLE_CONFIG=config,
            ANSIBLE_NOCOLOR="1",
            ANSIBLE_COLLECTIONS_PATH=str(ROOT / "playbooks/collections"),
        ),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    seconds = time.monotonic() - start
    if completed.returncode:
        sys.exit(completed.stdout)
    return seconds, completed.stdout


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    times, trips = {}, {}
    for _ in range(rounds):
        for setting, config in SETTINGS.items():
            for name, playbook in PLAYBOOKS.items():
                seconds, output = once(playbook, config)
                times.setdefault((setting, name), []).append(seconds)
                # Round trips to one node: the tasks that go there, or the items of the plain loop.
                ours = len(re.findall(r"^TASK \[.*(Gather node facts|Gather peer facts)", output, re.M))
                trips[name] = output.count("ok: [a2-node1] => (item=") or ours
    print("| settings | playbook | round trips per node | median s | spread s | against ours |")
    print("| --- | --- | --- | --- | --- | --- |")
    for (setting, name), seconds in times.items():
        ratio = statistics.median(seconds) / statistics.median(times[setting, "ours"])
        print(
            f"| {setting} | {name} | {trips[name]} | {statistics.median(seconds):.1f} | "
            f"{min(seconds):.1f} to {max(seconds):.1f} | {ratio:.1f} × |"
        )


if __name__ == "__main__":
    main()
