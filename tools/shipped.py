#!/usr/bin/env python3
"""The files of this collection that Ansible ships to a node, one a line: the modules and all that they import.

With --count: how many modules the collection's Python has and how many imports there are between them. Makefile, pyproject.toml
and tests/versions.py use it; nothing lists such files by hand.
"""

import argparse
import sys
from pathlib import Path

import grimp

ROOT = Path(__file__).resolve().parent.parent
PLUGINS = "ansible_collections.ascend_ops.vllm.plugins"
# Run on a node by systemd, without a module around it.
SUPERVISOR = PLUGINS + ".module_utils._service.supervise"


def graph():
    """Grimp's graph of the collection in this checkout; imports of other packages are left out."""
    sys.path.insert(0, str(ROOT / "playbooks" / "collections"))
    return grimp.build_graph(PLUGINS, cache_dir=None)


def shipped(imports=None):
    """The names of the shipped modules, sorted: all that a module in plugins/modules reaches, with the packages around it."""
    imports = imports or graph()
    found = {*imports.find_descendants(PLUGINS + ".modules"), SUPERVISOR}
    for name in list(found):
        found |= imports.find_upstream_modules(name)
    packages = {name.rpartition(".")[0] for name in found if name.startswith(PLUGINS + ".module_utils.")}
    return sorted(name for name in found | packages if path_of(name).is_file())


def path_of(name):
    """The file of a module or of a package."""
    place = ROOT / "plugins" / name[len(PLUGINS) + 1 :].replace(".", "/")
    return place / "__init__.py" if place.is_dir() else place.with_suffix(".py")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", action="store_true", help="print the numbers of modules and of imports")
    if parser.parse_args().count:
        imports = graph()
        modules = [name for name in imports.modules if path_of(name).is_file()]
        print(f"{len(modules)} modules, {imports.count_imports()} imports between them")
    else:
        print("\n".join(str(path_of(name).relative_to(ROOT)) for name in shipped()))


if __name__ == "__main__":
    main()
