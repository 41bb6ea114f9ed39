#!/usr/bin/env python3
"""Write roles/*/README.md from the argument specs of the roles.

Usage: tools/roles_doc.py        (make readmes; a unit test asserts that the files are up to date)

All above the line MARK is written anew. What stands below it is written by hand and stays.
"""

import json
import re
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
ROLES = sorted(path.parent.parent.name for path in ROOT.glob("roles/*/meta/argument_specs.yml"))
MARK = "<!-- By hand from here. All above is written by tools/roles_doc.py from meta/argument_specs.yml. -->\n"
_SETS = re.compile(r"Sets C\((\w+)\): (.*)", re.S)


def specs(role):
    """The entry points of a role, as its argument specs have them."""
    path = ROOT / "roles" / role / "meta" / "argument_specs.yml"
    return yaml.safe_load(path.read_text(encoding="utf-8"))["argument_specs"]


def paragraphs(entry):
    """The paragraphs of a description, of one or of several."""
    text = entry.get("description") or []
    return [" ".join(part.split()) for part in ([text] if isinstance(text, str) else text)]


def outputs(role):
    """``{name: (entry point, meaning)}`` of the variables that a role sets for others."""
    found = {}
    for name, entry in specs(role).items():
        for part in paragraphs(entry):
            told = _SETS.fullmatch(part)
            if told:
                found[told.group(1)] = (name, told.group(2))
    return found


def markdown(text):
    """Ansible's markup as Markdown."""
    text = re.sub(r"\b[CVOEMP]\(((?:[^()\\]|\\.)*)\)", lambda found: "`" + found.group(1).replace("\\", "") + "`", text)
    return re.sub(r"\bU\(([^()]*)\)", r"<\1>", text)


def row(*cells):
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def meaning(option):
    text = " ".join(paragraphs(option))
    if "choices" in option:
        text += " One of {0}.".format(", ".join(f"V({choice})" for choice in option["choices"]))
    return markdown(text)


def default(option):
    if option.get("required"):
        return "required"
    value = option.get("default")
    return "`" + (value if isinstance(value, str) and value else json.dumps(value)) + "`"


def generated(role):
    """What stands above MARK."""
    entries = specs(role)
    main = entries["main"]
    lines = ["# " + role, "", markdown(main["short_description"]) + ".", ""]
    for part in paragraphs(main):
        if not _SETS.fullmatch(part):
            lines += [markdown(part), ""]
    if main.get("examples"):
        lines += ["## Use", "", "```yaml", main["examples"].strip(), "```", ""]
    if len(entries) > 1:
        lines += [
            "## Entry points",
            "",
            "Call those other than `main` with `ansible.builtin.include_role` and `tasks_from`.",
            "",
        ]
        lines += [row("Entry point", "Does"), row("---", "---")]
        for name, entry in entries.items():
            parts = [] if name == "main" else [part for part in paragraphs(entry) if not _SETS.fullmatch(part)]
            lines.append(row(f"`{name}`", markdown(" ".join([entry["short_description"] + ".", *parts]))))
        lines.append("")
    if outputs(role):
        lines += ["## Outputs", "", "Variables that the role sets on each host, for the roles and plays after it.", ""]
        lines += [row("Variable", "Set by", "Holds"), row("---", "---", "---")]
        lines += [
            row(f"`{name}`", f"`{entry}`", markdown(text)) for name, (entry, text) in sorted(outputs(role).items())
        ]
        lines.append("")
    options = {}
    for entry in entries.values():
        options.update(entry.get("options") or {})
    lines += ["## Inputs", ""]
    if options:
        lines += [row("Variable", "Type", "Default", "Meaning"), row("---", "---", "---", "---")]
        for name, option in options.items():
            kind = option["type"] + (" of " + option["elements"] if "elements" in option else "")
            lines.append(row(f"`{name}`", kind, default(option), meaning(option)))
    else:
        lines.append("None.")
    lines.append("")
    return "\n".join(lines) + "\n"


def render(role):
    """The text of a role's README: what is generated, and what was written below it by hand."""
    path = ROOT / "roles" / role / "README.md"
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    _generated, mark, by_hand = text.partition(MARK)
    return generated(role) + (mark or MARK) + by_hand


if __name__ == "__main__":
    for name in ROLES:
        (ROOT / "roles" / name / "README.md").write_text(render(name), encoding="utf-8")
