#!/usr/bin/env python3
"""Run `ansible-test sanity` over what is published, with the oldest and the newest supported ansible-core.

Usage: tools/sanity.py [--core VERSION]... [--test NAME]...       (make sanity)

The collection is built, unpacked as ansible_collections/ascend_ops/vllm in a folder outside of any checkout, and tested
there: what is not built into it (lab, benchmarks, molecule, tests, tools) is not published and not tested. Each version of
ansible-core has its environment below .cache/versions, shared with tests/versions.py, and runs on the newest Python that
it supports and this machine has. ansible-test keeps its own environments below .cache/sanity, so that a second run is
faster; it needs PyPI the first time and nothing else.

A version that no Python here can run is replaced by the nearest one that can, and named. A missing shellcheck fails the
run: ansible-test would leave its test out without a word that stands out.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.versions import CONTROLLERS, controller, python  # noqa: E402

HOME = ROOT / ".cache" / "sanity"
# ansible-test fetches a pip of its own from a server that is not PyPI, unless a script stands where it keeps that one. The
# pip that comes with Python does as well.
GET_PIP = "import ensurepip\nensurepip.bootstrap(default_pip=True)\n"

# Series of ansible-core, test, files, reason. Not in tests/sanity/, where each file would have to be named.
IGNORED = [
    (series, "empty-init", "plugins/module_utils/_*/**/__init__.py", "says what its package is for; fine from 2.18 on")
    for series in ("2.16", "2.17")
]


def versions(wanted):
    """``[(ansible-core, interpreter, remark)]`` to test with: those *wanted*, else the oldest and the newest."""
    runnable = [(core, python(pythons)) for core, pythons in CONTROLLERS]
    found = dict(runnable)
    if wanted:
        return [(core, found.get(core), "") for core in wanted]
    usable = [(core, interpreter) for core, interpreter in runnable if interpreter]
    if not usable:
        raise SystemExit("No Python on this machine runs a supported ansible-core; see tests/versions.py.")
    chosen = []
    for (core, _pythons), (nearest, interpreter) in ((CONTROLLERS[0], usable[0]), (CONTROLLERS[-1], usable[-1])):
        remark = "" if core == nearest else f" (instead of {core}, which no Python of this machine runs)"
        if nearest not in [name for name, _interpreter, _remark in chosen]:
            chosen.append((nearest, interpreter, remark))
    return chosen


def provide_pip(commands):
    """Put the script that installs pip where this version of ansible-test looks for it."""
    (requirements,) = commands.parent.glob("lib/python*/site-packages/ansible_test/_internal/python_requirements.py")
    versions_of_pip = set(re.findall(r"\bpip='([\d.]+)'", requirements.read_text(encoding="utf-8")))
    cache = HOME / ".ansible" / "test" / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    for version in versions_of_pip:
        (cache / "get_pip_{0}.py".format(version.replace(".", "_"))).write_text(GET_PIP, encoding="utf-8")


def unpacked(folder, commands):
    """Build the collection and unpack it below *folder*; return where it lies."""
    subprocess.run(
        [commands / "ansible-galaxy", "collection", "build", ROOT, "--output-path", folder],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    (artifact,) = folder.glob("*.tar.gz")
    place = folder / "ansible_collections" / "ascend_ops" / "vllm"
    place.mkdir(parents=True)
    shutil.unpack_archive(artifact, place)
    # What ansible-test reads of tests/ itself, which is not published.
    (place / "tests" / "sanity").mkdir(parents=True)
    shutil.copy(ROOT / "tests" / "config.yml", place / "tests")
    for series, name, pattern, reason in IGNORED:
        with open(place / "tests" / "sanity" / f"ignore-{series}.txt", "a", encoding="utf-8") as ignore:
            for path in sorted(place.glob(pattern)):
                ignore.write(f"{path.relative_to(place)} {name} # {reason}\n")
    return place


def test(core, interpreter, names):
    """Does the collection pass with this version?"""
    commands = controller(core, interpreter)
    provide_pip(commands)
    version = subprocess.run(
        [interpreter, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "PYTHON"))}
    clean["HOME"] = str(HOME)
    clean["PATH"] = os.pathsep.join([str(commands), clean["PATH"]])
    with tempfile.TemporaryDirectory(prefix="sanity-") as scratch:
        place = unpacked(Path(scratch), commands)
        command = [commands / "ansible-test", "sanity", "--python", version, "--color", "no"]
        for name in names:
            command += ["--test", name]
        process = subprocess.Popen(
            command,
            cwd=place,
            env=clean,
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        said = []
        for line in process.stdout:
            said.append(line)
            if line.startswith(("Running", "ERROR:", "FATAL:")):
                print(line, end="", flush=True)
        good = process.wait() == 0
        if not good and not any(line.startswith("ERROR:") for line in said):
            print("".join(said))  # it could not run; all that pip and others said
        return good


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--core", action="append", default=[], help="a version of ansible-core, as in tests/versions.py"
    )
    parser.add_argument("--test", action="append", default=[], help="one test of ansible-test sanity, such as pep8")
    options = parser.parse_args()
    if not shutil.which("shellcheck"):
        raise SystemExit(
            "shellcheck is missing, and its test would be left out. On Debian or Ubuntu: apt-get install shellcheck"
        )
    results = []
    for core, interpreter, remark in versions(options.core):
        started = time.monotonic()
        if interpreter is None:
            results.append((False, f"ansible-core {core}: no Python of this machine runs it"))
            continue
        print(f"== ansible-test sanity, ansible-core {core}{remark}", flush=True)
        good = test(core, interpreter, options.test)
        seconds = time.monotonic() - started
        results.append(
            (good, "ansible-core {0}{1}: {2}, {3:.0f} s".format(core, remark, "passed" if good else "FAILED", seconds))
        )
    print()
    for _good, text in results:
        print(text)
    raise SystemExit(0 if all(good for good, _text in results) else 1)


if __name__ == "__main__":
    main()
