"""The same collection under every ansible-core and Python that the README names, on the lab's two A2 nodes.

Each version gets an environment of its own below .cache/versions. What cannot be run, since its Python is not on this
machine, is listed as such at the end, and is not counted as passed.
"""

import glob
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".cache" / "versions"
# ansible-core, the Pythons it runs on
CONTROLLERS = [
    ("2.16.19", ("3.11", "3.12")),
    ("2.17.14", ("3.11", "3.12")),
    ("2.18.19", ("3.11", "3.12", "3.13")),
    ("2.19.14", ("3.11", "3.12", "3.13")),
    ("2.21.5", ("3.13", "3.12")),
]
# The oldest and the newest deploy from nothing; 2.19 does in all other tests.
FROM_NOTHING = ("2.16.19", "2.21.5")
# What runs on nodes, where Python 3.7 is the oldest.
NODE_TESTS = [
    "npu_smi",
    "hccn",
    "npu_checks",
    "host_tuning",
    "node_facts",
    "signatures",
    "group",
    "openai",
    "facts_peers",
    "redact",
    "supervise",
]


def python(versions):
    """An interpreter of one of the versions, or None."""
    for version in versions:
        found = shutil.which("python" + version)
        places = ([found] if found else []) + sorted(
            glob.glob(os.path.join(os.environ.get("PYENV_ROOT", ""), "versions", version + ".*", "bin", "python"))
        )
        for place in places:
            if subprocess.run([place, "--version"], capture_output=True, check=False).returncode == 0:
                return place
    return None


def environment(name, interpreter, *packages):
    """The folder with the commands of an environment that has these packages."""
    folder = CACHE / name
    if not (folder / "ready").exists():
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([interpreter, "-m", "venv", folder], check=True)
        subprocess.run([folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--quiet", *packages], check=True)
        (folder / "ready").touch()
    return folder / "bin"


def succeeds(command, wanted="", unwanted="(?!)", **extra):
    """Run a command; show its output where it fails, lacks what is wanted or has what is not (patterns)."""
    completed = subprocess.run(
        command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        env=dict(os.environ, ANSIBLE_NOCOLOR="1", **extra),
        check=False,
    )
    good = (
        completed.returncode == 0 and re.search(wanted, completed.stdout) and not re.search(unwanted, completed.stdout)
    )
    if not good:
        print(completed.stdout)
    return good


def main():
    results = []
    controllers = {}
    for version, pythons in CONTROLLERS:
        interpreter = python(pythons)
        more = "teardown, a deploy from nothing, " if version in FROM_NOTHING else ""
        title = (
            f"ansible-core {version} on Python {' or '.join(pythons)}: plan, {more}and a deploy that changes nothing"
        )
        if interpreter is None:
            results.append((title, "not run: no such Python here"))
            continue
        commands = environment(f"core-{version}", interpreter, f"ansible-core=={version}")
        controllers[version] = commands / "ansible-playbook"
        lab = ["-i", "lab/inventories/a2"]
        teardown = [controllers[version], "playbooks/teardown.yml", *lab, "-e", "vllm_teardown_confirm=yes"]
        deploy = [controllers[version], "playbooks/deploy_a2.yml", *lab]
        good = succeeds([controllers[version], "playbooks/plan.yml", "-i", "inventories/fleet"], "vllm serve")
        if version in FROM_NOTHING:
            good = good and succeeds(teardown) and succeeds(deploy, "changed=[1-9]")
        good = good and succeeds(deploy, r"service\.tool_call", unwanted="changed=[1-9]")
        results.append((title, "passed" if good else "FAILED"))

    interpreter = python(["3.7"])
    title = "Python 3.7 on the node: what runs there"
    if interpreter is None or "2.16.19" not in controllers:
        results.append((title, "not run: no such Python here"))
    else:
        commands = environment("python-3.7", interpreter, "pytest==7.4.4", "hypothesis==6.79.4", "pyyaml")
        good = succeeds(
            [commands / "python", "-m", "pytest", "-q", *(f"tests/unit/test_{name}.py" for name in NODE_TESTS)]
        )
        good = good and succeeds(
            [sys.executable, "-m", "pytest", "-q", "tests/unit/test_npu_modules.py"],
            TEST_ANSIBLE_PLAYBOOK=str(controllers["2.16.19"]),
            TEST_TARGET_PYTHON=interpreter,
        )
        results.append((title, "passed" if good else "FAILED"))

    for title, result in results:
        print(f"{result:<28} {title}")
    return any(result == "FAILED" for _, result in results)


if __name__ == "__main__":
    sys.exit(main())
