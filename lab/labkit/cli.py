"""The lab's commands."""

import argparse
import sys

from . import engine, faults, host, images, nodes
from .util import STATE, LabError, locked, say, step


def build(args):
    host.ensure()
    with locked():
        engine.start()
        images.build()


def up(args):
    host.ensure()
    with locked():
        engine.start()
        engine.ensure_network()
        nodes.public_key()
        image = images.build(bare=args.bare)
        nodes.up(args.hardware, args.nodes or nodes.DEFAULT_COUNT[args.hardware], image)


def down(args):
    if not engine.answers():
        return say("the lab's engine is not running: nothing to remove")
    with locked():
        nodes.down(None if args.all else args.hardware)


def clean(args):
    if not STATE.exists():
        return
    with locked(), step("removing the lab"):
        if host.find("dockerd"):
            engine.start()  # also when it died: what it left behind is its own to end
            nodes.down()
            engine.stop()
        engine.remove_data()


def status(args):
    if not engine.answers():
        return print("the lab's engine is not running; `lab up --hardware a2` starts everything")
    titles = ("node", "hardware", "address", "state", "faults", "containers", "images")
    rows = [titles] + nodes.status()
    widths = [max(len(row[column]) for row in rows) for column in range(len(titles))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())


def ssh(args):
    nodes.ssh(args.node, args.command)


def reboot(args):
    with locked():
        nodes.restart(args.node)


def do_break(args):
    faults.do_break(args.node, args.what, args.argument)


def mend(args):
    faults.mend(args.node, args.what)


def list_faults(args):
    for name, fault in faults.FAULTS.items():
        print(f"{name:<22} {fault.text}" + (f" [{fault.default}]" if fault.default else ""))


def node_count(text):
    number = int(text)
    if not 1 <= number <= 39:
        raise argparse.ArgumentTypeError("from 1 to 39")
    return number


def parser():
    top = argparse.ArgumentParser(prog="lab", description="A simulated cluster of Ascend nodes; see docs/lab.md.")
    verbs = top.add_subparsers(dest="verb", required=True, metavar="COMMAND")

    def verb(name, function, text):
        made = verbs.add_parser(name, help=text, description=text)
        made.set_defaults(function=function)
        return made

    verb("build", build, "build the images, the archive and the tiny models")
    made = verb("up", up, "start nodes, and build first what is missing")
    made.add_argument("--hardware", choices=sorted(nodes.HARDWARE), required=True)
    made.add_argument("--nodes", type=node_count, help="how many (default: 2 of a2, 1 of a3)")
    made.add_argument("--bare", action="store_true", help="build no server image and no models")
    made = verb("down", down, "remove nodes and their volumes")
    which = made.add_mutually_exclusive_group()
    which.add_argument("--hardware", choices=sorted(nodes.HARDWARE), help="only these (default: all)")
    which.add_argument("--all", action="store_true", help="all nodes")
    verb("clean", clean, "take everything away: nodes, network, images, the lab's engine and its state")
    verb("status", status, "show the nodes")
    made = verb("ssh", ssh, "a shell on a node, or a command")
    made.add_argument("node")
    made.add_argument("command", nargs=argparse.REMAINDER)
    made = verb("reboot", reboot, "restart a node")
    made.add_argument("node")
    made = verb("break", do_break, "break something on a node (`lab faults` lists what)")
    made.add_argument("node")
    made.add_argument("what")
    made.add_argument("argument", nargs="?")
    made = verb("mend", mend, "take back one fault of a node, or all")
    made.add_argument("node")
    made.add_argument("what", nargs="?")
    verb("faults", list_faults, "list what can be broken")
    return top


def main():
    args = parser().parse_args()
    try:
        args.function(args)
    except LabError as problem:
        say(f"lab: {problem}")
        return 1
    except OSError as problem:
        say(f"lab: {problem}" + ("; the lab needs root" if isinstance(problem, PermissionError) else ""))
        return 1
    except KeyboardInterrupt:
        say("lab: interrupted")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
