"""What the machine must have, and how it gets it."""

import os
import shutil
import sys
from pathlib import Path

from .util import LabError, run, step

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")

# what is looked for -> the Debian/Ubuntu packages that bring it
NEEDS = {
    "dockerd": ["docker.io"],
    "docker": ["docker.io", "docker-cli"],
    "containerd": ["containerd"],
    "mmdebstrap": ["mmdebstrap"],
    "strip": ["binutils"],
    "ssh": ["openssh-client"],
    "ssh-keygen": ["openssh-client"],
    "ip": ["iproute2"],
    "tar": ["tar"],
    "iptables": ["iptables"],
}
BUILD_ONLY = {"mmdebstrap", "strip"}


def find(name):
    """Path of a program, also where a plain user's PATH does not look."""
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin")


def has_pip():
    return run([sys.executable, "-m", "pip", "--version"], check=False).returncode == 0


def missing(build):
    found = {name: packages for name, packages in NEEDS.items() if (build or name not in BUILD_ONLY) and not find(name)}
    if build and not KEYRING.exists():
        found["keyring"] = ["debian-archive-keyring"]
    if build and not has_pip():
        found["pip"] = ["python3-pip"]
    return found


def ensure(build=True):
    """Install what is missing where that is possible; else say what is missing and how to get it."""
    if os.geteuid() != 0:
        raise LabError("the lab needs root: it starts an own Docker engine and a bridge. Run it with sudo.")
    if sys.version_info < (3, 9):
        raise LabError("the lab needs Python 3.9 or newer; this is {}.{}".format(*sys.version_info[:2]))
    lacking = missing(build)
    if not lacking:
        return
    wanted = sorted({package for packages in lacking.values() for package in packages})
    hint = "missing: {}. Install the packages: {}".format(", ".join(sorted(lacking)), " ".join(wanted))
    if not find("apt-get"):
        raise LabError(hint + " (this machine has no apt-get; any other way to get these programs on PATH will do)")
    apt = {"DEBIAN_FRONTEND": "noninteractive"}
    with step("apt-get install " + " ".join(wanted)):
        run(["apt-get", "update"], check=False, env=apt)
        known = [name for name in wanted if run(["apt-cache", "show", name], check=False).returncode == 0]
        run(["apt-get", "install", "-y", "--no-install-recommends"] + known, env=apt)
    if missing(build):
        raise LabError(hint + " (apt-get did not bring them)")
