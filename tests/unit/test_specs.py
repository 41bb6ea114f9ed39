"""What is written down of roles and modules equals what they do."""

import ast
import importlib
import inspect
import re
from pathlib import Path

import pytest
import yaml
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.files import known_inputs
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.inventory import OUTPUTS, PLAYBOOK_INPUTS

from tools.roles_doc import outputs

ROOT = Path(__file__).resolve().parent.parent.parent
ROLES = {path.name: path for path in sorted((ROOT / "roles").iterdir()) if path.is_dir()}
MODULES = sorted(path.stem for path in (ROOT / "plugins" / "modules").glob("*.py"))
PACKAGE = "ansible_collections.ascend_ops.vllm.plugins."
YAML_FILES = [
    path
    for folder in ("roles", "playbooks", "inventories", "lab/inventories", "molecule")
    for path in sorted((ROOT / folder).rglob("*.yml"))
    if "collections" not in path.relative_to(ROOT).parts
] + sorted((ROOT / "lab").glob("*.yml"))
INPUT = re.compile(
    r"(?<![\w.])(?:vllm|npu)_(?:recipe|preflight|host_tuning|container|service|status|teardown|plan|hardware|diagnostics|logs|benchmark)[a-z0-9_]*"
)
TYPES = {"str": str, "path": str, "int": int, "float": (int, float), "bool": bool, "list": list, "dict": dict}


def load(path):
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def specs(role):
    return load(ROLES[role] / "meta" / "argument_specs.yml")["argument_specs"]


# -- roles ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ROLES)
def test_defaults_equal_the_specs(role):
    options = {}
    for entry in specs(role).values():
        for name, option in (entry.get("options") or {}).items():
            assert options.setdefault(name, option) == option, name + " differs between entry points"
    defaults = load(ROLES[role] / "defaults" / "main.yml") or {}
    assert defaults == {name: option["default"] for name, option in options.items()}


@pytest.mark.parametrize("role", ROLES)
def test_every_input_has_prefix_type_and_description(role):
    for entry in specs(role).values():
        assert entry["short_description"]
        for name, option in (entry.get("options") or {}).items():
            assert name.startswith(role + "_") and option["description"]
            default = option["default"]
            if not (isinstance(default, str) and "{{" in default):
                assert isinstance(default, TYPES[option["type"]]), name
            for value in default if isinstance(default, list) else [default]:
                assert value in option.get("choices", [value]), name


def entry_points_used():
    """{(role, entry point)} of all plays and tasks, by the name of the tasks file."""
    used = set()

    def walk(data):
        if isinstance(data, list):
            for item in data:
                walk(item)
        elif isinstance(data, dict):
            for key, value in data.items():
                if key.endswith(("import_role", "include_role")) and isinstance(value, dict):
                    used.add((value["name"].rpartition(".")[2], value.get("tasks_from", "main")))
                elif key == "roles":
                    used.update(
                        ((item.get("role") if isinstance(item, dict) else item).rpartition(".")[2], "main")
                        for item in value
                        if isinstance(item, (dict, str))
                    )
                walk(value)

    for path in YAML_FILES:
        if path.relative_to(ROOT).parts[0] in ("playbooks", "roles"):
            walk(load(path))
    return sorted(used)


@pytest.mark.parametrize("role, entry", entry_points_used())
def test_every_entry_point_in_use_has_tasks_and_a_spec(role, entry):
    assert (ROLES[role] / "tasks" / (entry + ".yml")).is_file()
    assert entry in specs(role)


@pytest.mark.parametrize("role", ROLES)
def test_every_spec_has_its_tasks(role):
    for entry in specs(role):
        assert (ROLES[role] / "tasks" / (entry + ".yml")).is_file(), entry


@pytest.mark.parametrize("path", YAML_FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_only_known_inputs_are_used(path):
    text = re.sub(r"__\w+|[&*]\w+|_\w*\*", "", path.read_text(encoding="utf-8"))  # internals, anchors, prose
    names = set(INPUT.findall(text)) - set(MODULES) - set(ROLES)
    assert names <= set(known_inputs() + PLAYBOOK_INPUTS + OUTPUTS)


@pytest.mark.parametrize("role", ROLES)
def test_the_specs_describe_the_outputs_of_a_role(role):
    assert sorted(outputs(role)) == sorted(name for name in OUTPUTS if name.startswith(role + "_"))


@pytest.mark.parametrize("name", OUTPUTS)
def test_every_output_is_set_by_the_role_or_playbook_that_it_is_named_after(name):
    setting = re.compile(rf"(register: {name}$|^\s+{name}:)", re.M)
    places = [path for path in YAML_FILES if "tasks" in path.parts or path.parts[-2] == "playbooks"]
    found = {path for path in places if setting.search(path.read_text(encoding="utf-8"))}
    assert found
    for path in found:
        owner = next((role for role in ROLES if role in path.parts), "vllm_" + path.stem)
        assert name.startswith(owner + "_"), path


def test_no_private_name_leaves_its_role():
    for path in YAML_FILES:
        role = next((role for role in ROLES if role in path.parts), None)
        for name in re.findall(r"__(?:vllm|npu)_\w+", path.read_text(encoding="utf-8")):
            owner = next((other for other in ROLES if name.startswith(f"__{other}_")), None)
            # A playbook hands a private variable to the entry point that it imports.
            assert owner in (role, None) or path.relative_to(ROOT).parts[0] == "playbooks", (path, name)


@pytest.mark.parametrize("role", ROLES)
def test_every_input_is_used_by_its_role(role):
    text = "".join(
        path.read_text()
        for folder in ("tasks", "vars", "templates")
        if (ROLES[role] / folder).is_dir()
        for path in (ROLES[role] / folder).rglob("*")
        if path.is_file()
    )
    for entry in specs(role).values():
        for name in entry.get("options") or {}:
            assert re.search(r"\b" + name + r"\b", text), name


def filters():
    """Name to function of all filters."""
    known = {}
    for path in (ROOT / "plugins" / "filter").glob("*.py"):
        known.update(importlib.import_module(PACKAGE + "filter." + path.stem).FilterModule().filters())
    return known


def test_every_filter_is_documented_and_every_documented_filter_is_there():
    assert {path.stem for path in (ROOT / "plugins" / "filter").glob("*.yml")} == set(filters())


@pytest.mark.parametrize("name", sorted(filters()))
def test_documented_arguments_of_a_filter_equal_those_of_its_function(name):
    described = load(ROOT / "plugins" / "filter" / (name + ".yml"))["DOCUMENTATION"]
    taken = list(inspect.signature(filters()[name]).parameters.values())[1:]
    assert described["name"] == name
    positional = [item.strip() for item in described.get("positional", "").split(",") if item.strip()]
    assert positional == [parameter.name for parameter in taken]
    assert list(described["options"]) == ["_input", *positional]
    for parameter in taken:
        assert described["options"][parameter.name].get("required", False) == (parameter.default is parameter.empty)


def test_every_filter_in_use_is_there():
    used = {name for path in YAML_FILES for name in re.findall(r"\|\s*ascend_ops\.vllm\.(\w+)", path.read_text())}
    known = set(filters())
    assert used and used <= known


def test_every_module_in_use_is_there():
    task = re.compile(r"^\s*(?:- )?ascend_ops\.vllm\.(\w+):", re.M)
    used = {name for path in YAML_FILES for name in task.findall(path.read_text())}
    assert used and used <= set(MODULES)


# -- modules --------------------------------------------------------------------------------------------------------


class Told(Exception):
    """Carries what a module gave to AnsibleModule."""


def documented(module):
    """The options and the attributes that a module's documentation names, with those of its fragments."""
    source = (ROOT / "plugins" / "modules" / (module + ".py")).read_text(encoding="utf-8")
    texts = {
        node.targets[0].id: node.value.value
        for node in ast.parse(source).body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
    }
    data = yaml.safe_load(texts["DOCUMENTATION"])
    options = dict(data.get("options") or {})
    fragments = data.get("extends_documentation_fragment") or []
    for name in [fragments] if isinstance(fragments, str) else fragments:
        fragment = importlib.import_module(PACKAGE + "doc_fragments." + name.rpartition(".")[2]).ModuleDocFragment
        shared = yaml.safe_load(fragment.DOCUMENTATION)
        options.update(shared.get("options", {}))
        data["attributes"] = dict(shared.get("attributes", {}), **data.get("attributes", {}))
    return data, options, texts


def told_spec(module, monkeypatch):
    """The argument spec that a module, or the action that does its work, really has."""

    def tell(argument_spec, **options):
        raise Told(argument_spec, options)

    loaded = importlib.import_module(PACKAGE + "modules." + module)
    if not hasattr(loaded, "main"):
        loaded = importlib.import_module(PACKAGE + "action." + module)
        monkeypatch.setattr(loaded.ActionBase, "run", lambda *_unused: {})
        action = object.__new__(loaded.ActionModule)
        action.validate_argument_spec = lambda argument_spec: tell(argument_spec=argument_spec)
        run = action.run
    else:
        monkeypatch.setattr(loaded, "AnsibleModule", tell)
        run = loaded.main
    with pytest.raises(Told) as caught:
        run()
    return caught.value.args


def facts(option):
    """What of an option must agree."""
    return {
        "type": option.get("type", "str"),
        "elements": option.get("elements"),
        "default": option.get("default"),
        "required": bool(option.get("required")),
        "choices": option.get("choices"),
        "suboptions": {
            name: facts(inner) for name, inner in (option.get("suboptions") or option.get("options") or {}).items()
        },
    }


@pytest.mark.parametrize("module", MODULES)
def test_documented_options_equal_the_argument_spec(module, monkeypatch):
    _data, options, _texts = documented(module)
    spec, _options = told_spec(module, monkeypatch)
    assert {name: facts(option) for name, option in options.items()} == {
        name: facts(option) for name, option in spec.items()
    }


@pytest.mark.parametrize("module", MODULES)
def test_documentation_is_whole(module, monkeypatch):
    data, options, texts = documented(module)
    assert data["module"] == module and data["short_description"] and data["author"] and data["version_added"]
    assert set(data["attributes"]) == {"check_mode", "diff_mode"}
    assert all(option["description"] for option in options.values())
    tasks = [task for task in yaml.safe_load(texts["EXAMPLES"]) if "ascend_ops.vllm." + module in task]
    assert tasks
    for task in tasks:
        arguments = task["ascend_ops.vllm." + module]
        required = {name for name, option in options.items() if option.get("required")}
        assert required <= set(arguments or {}) <= set(options)
    _spec, given = told_spec(module, monkeypatch)
    if given:
        assert given.get("supports_check_mode") is True
