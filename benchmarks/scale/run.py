"""How does a deploy grow with the number of nodes? Ours, on 16, 64 and 256 light nodes.

Usage: .venv/bin/python benchmarks/scale/run.py [--nodes 16,64,256] [--hardware a2] [--forks 50]

The nodes share the processors with the controller, so seconds grow with all that runs on the nodes: the controller's own
processor time and memory are what the controller would need anywhere.
"""

import argparse
import os
import re
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "light")]

import light as light_nodes  # noqa: E402
import measure  # noqa: E402

RUNS = (("first deploy", "deploy"), ("unchanged deploy", "deploy"), ("preflight", "preflight"), ("status", "status"))
HEAD = """
| run | nodes | seconds | seconds a node | controller CPU s | CPU s a node | main process MB | all processes MB | sessions a node |
| --- | --- | --- | --- | --- | --- | --- | --- | --- |"""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nodes", default="16,64,256")
    parser.add_argument("--hardware", default="a2", choices=["a2", "a3"])
    parser.add_argument("--forks", type=int, default=0, help="instead of those of ansible.cfg")
    options = parser.parse_args()
    measure.adopt_orphans()
    rows = []
    for count in [int(word) for word in options.nodes.split(",")]:
        with light_nodes.running(count, options.hardware) as light:
            sockets = light.folder / "sockets"
            sockets.mkdir()
            print(f"{count} nodes are up", file=sys.stderr, flush=True)
            for title, name in RUNS:
                playbook = f"playbooks/{name}{'_' + options.hardware if name == 'deploy' else ''}.yml"
                words, env = measure.ansible(playbook, measure.ROOT / "ansible.cfg", sockets, "-i", light.inventory)
                if options.forks:
                    words += ["--forks", str(options.forks)]
                load = os.getloadavg()[0]
                found = measure.run(words, env, light, sockets, every=2.0)
                if title == "unchanged deploy" and re.search(r"changed=[1-9]", found["output"]):
                    sys.exit("the second run changed something")
                rows.append(
                    f"| {title} | {count} | {found['seconds']:.0f} | {found['seconds'] / count:.2f} | {found['cpu']:.0f} | "
                    f"{found['cpu'] / count:.2f} | {found['main_mb']:.0f} | {found['tree_mb']:.0f} | "
                    f"{found['sessions']:.1f} |"
                )
                print(rows[-1], f"load before {load:.1f}", file=sys.stderr, flush=True)
    print(HEAD)
    print("\n".join(sorted(rows, key=lambda row: [title for title, _ in RUNS].index(row.split("|")[1].strip()))))


if __name__ == "__main__":
    main()
