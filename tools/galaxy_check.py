#!/usr/bin/env python3
"""Try what Galaxy does with the collection: build it and import it, where every warning counts.

Usage: tools/galaxy_check.py [--release]       (make publish-check)

Galaxy's own importer runs ansible-doc and ansible-lint over the artifact and ends with success whatever they say; here any
line of theirs that is a warning or an error fails. With --release, what must be settled before publishing fails as well: the
address of the repository, and a changelog that has the version.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent


def imported(folder):
    """What the importer says of the collection as it is built, without what it says of each file."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    clean["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), clean["PATH"]])
    subprocess.run(
        ["ansible-galaxy", "collection", "build", str(ROOT), "--output-path", str(folder)],
        check=True,
        env=clean,
        stdout=subprocess.DEVNULL,
    )
    (artifact,) = folder.glob("*.tar.gz")
    completed = subprocess.run(
        [sys.executable, "-m", "galaxy_importer.main", str(artifact)],
        cwd=folder,  # where it writes its result
        env=clean,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    lines = [line for line in completed.stdout.splitlines() if not line.startswith("Loading ")]
    return lines, completed.returncode == 0


def unsettled():
    """What must be settled before the collection is published."""
    about = yaml.safe_load((ROOT / "galaxy.yml").read_text(encoding="utf-8"))
    changes = yaml.safe_load((ROOT / "changelogs" / "changelog.yaml").read_text(encoding="utf-8"))
    if "//example.org/" in about["repository"]:
        yield "galaxy.yml: repository is an example; put in the address where the collection is developed."
    if about["version"] not in changes["releases"]:
        yield "changelogs/changelog.yaml lacks {0}: run make changelog.".format(about["version"])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--release", action="store_true", help="fail on what must be settled before publishing, too")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="galaxy-") as folder:
        lines, good = imported(Path(folder))
    bad = [line for line in lines if line.startswith(("ERROR", "WARNING"))]
    print("\n".join(lines))
    for sentence in unsettled():
        print(("ERROR: " if options.release else "note: ") + sentence)
        good = good and not options.release
    raise SystemExit(0 if good and not bad else 1)


if __name__ == "__main__":
    main()
