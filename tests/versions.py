"""The same collection under every ansible-core and Python that the README names, on the lab's two A2 nodes.

Each version gets an environment of its own below .cache/versions. What cannot be run, since its Python is not on this
machine, is listed as such at the end, and is not counted as passed.
"""

import ast
import glob
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))
from shipped import PLUGINS, path_of, shipped  # noqa: E402

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
# What a test of node code may need under Python 3.7, the oldest on nodes, besides the standard library.
NODE_PACKAGES = {"hypothesis": "hypothesis==6.79.4", "pytest": "pytest==7.4.4"}
UNIT = ROOT / "tests" / "unit"


def imports_of(path):
    """The dotted names that a file imports, of ``from a import b`` both ``a`` and ``a.b``."""
    names = set()
    for statement in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(statement, ast.Import):
            names |= {alias.name for alias in statement.names}
        elif isinstance(statement, ast.ImportFrom):
            names |= {statement.module} | {f"{statement.module}.{alias.name}" for alias in statement.names}
    return names


def is_for_nodes(path, modules):
    """Does a test import only what is shipped to nodes, and what an environment with Python 3.7 has?"""
    for name in imports_of(path):
        first = name.partition(".")[0]
        beside = UNIT / (first + ".py")
        if name.startswith(PLUGINS):
            # A module, a package above one, or what one of them defines.
            if name not in modules and (name.rpartition(".")[0] not in modules or path_of(name).is_file()):
                return False
        elif beside.is_file():
            if not is_for_nodes(beside, modules):
                return False
        elif first not in {*sys.stdlib_module_names, *NODE_PACKAGES}:
            return False
    return True


def node_tests(modules):
    """The test files that are run under Python 3.7: those of code that is shipped to nodes, and of nothing else."""
    found = [path for path in sorted(UNIT.glob("test_*.py")) if is_for_nodes(path, set(modules))]
    return [path for path in found if any(name.startswith(PLUGINS) for name in imports_of(path))]


def runs_modules(path):
    """Does a test, or one that it imports, run modules with a Python of our choice?"""
    beside = [UNIT / (name + ".py") for name in imports_of(path)]
    return "TEST_TARGET_PYTHON" in path.read_text(encoding="utf-8") or any(
        runs_modules(other) for other in beside if other.is_file()
    )


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
    ready = folder / "ready"  # says with what: an older one is made anew
    if not ready.exists() or ready.read_text() != "\n".join(packages):
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([interpreter, "-m", "venv", folder], check=True)
        subprocess.run([folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--quiet", *packages], check=True)
        ready.write_text("\n".join(packages))
    return folder / "bin"


def controller(version, interpreter):
    """The environment of a controller with a version of ansible-core: what requirements.txt names besides it, too."""
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    libraries = [line for line in lines if re.match(r"[a-z]", line) and not line.startswith("ansible-core")]
    return environment(f"core-{version}", interpreter, f"ansible-core=={version}", *libraries)


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


def under_node_python(interpreter, ansible_playbook):
    """What is shipped to nodes under their oldest Python, with the newest ansible-core that sends modules to it: results."""
    commands = environment("python-3.7", interpreter, *NODE_PACKAGES.values())
    # That ansible-core alone, without what else its environment has.
    library = CACHE / "python-3.7" / "ansible-core"
    library.mkdir(exist_ok=True)
    (library / "ansible").unlink(missing_ok=True)
    (library / "ansible").symlink_to(next(ansible_playbook.parent.parent.glob("lib/python3*/site-packages/ansible")))
    paths = os.pathsep.join([str(ROOT / "playbooks" / "collections"), str(library)])
    modules = shipped()
    tests = node_tests(modules)
    with_modules = [path for path in sorted(UNIT.glob("test_*.py")) if runs_modules(path)]
    imports = "import importlib, sys; [importlib.import_module(name) for name in sys.argv[1:]]"
    target = {"TEST_TARGET_PYTHON": str(commands / "python"), "TEST_TARGET_PATH": str(library)}
    steps = [
        (f"all {len(modules)} files that are shipped there import", [commands / "python", "-c", imports, *modules], {}),
        (f"tests of them alone ({len(tests)} files)", [commands / "python", "-m", "pytest", "-q", *tests], {}),
        (
            f"modules as Ansible runs them ({len(with_modules)} files of tests)",
            [sys.executable, "-m", "pytest", "-q", *with_modules],
            {"TEST_ANSIBLE_PLAYBOOK": str(ansible_playbook), **target},
        ),
    ]
    return [
        (
            f"Python 3.7 on the node: {title}",
            "passed" if succeeds(command, **{"PYTHONPATH": paths, **extra}) else "FAILED",
        )
        for title, command, extra in steps
    ]


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
        commands = controller(version, interpreter)
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
    if interpreter is None or "2.16.19" not in controllers:
        results.append(("Python 3.7 on the node: what is shipped there", "not run: no such Python here"))
    else:
        results += under_node_python(interpreter, controllers["2.16.19"])

    for title, result in results:
        print(f"{result:<28} {title}")
    return any(result == "FAILED" for _, result in results)


if __name__ == "__main__":
    sys.exit(main())
