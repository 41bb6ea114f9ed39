"""The commands that README.md and docs/ tell their reader to type."""

import re
import shlex
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([ROOT / "README.md", *ROOT.glob("docs/**/*.md")])
_BLOCK = re.compile(r"^( *)```(?:console|bash)\n(.*?)^ *```$", re.M | re.S)


def commands(text):
    """The commands of a page's blocks, each as a list of words, without comments; those of a pipe one by one."""
    found = []
    for _indent, block in _BLOCK.findall(text):
        for line in block.replace("\\\n", " ").splitlines():
            lexer = shlex.shlex(line.strip().removeprefix("$ "), posix=True, punctuation_chars="|;&")
            lexer.whitespace_split = True
            words = []
            for word in [*lexer, "|"]:
                if not word.strip("|;&"):
                    found += [words] if words else []
                    words = []
                else:
                    words.append(word)
    return found


def playbook_of(words):
    """The name of the playbook that a command runs, such as ``status.yml``; None where it is another command."""
    if words[0] != "ansible-playbook":
        return None
    names = [Path(word).name for word in words if word.startswith("playbooks/")]
    names += [word[len("ascend_ops.vllm.") :] + ".yml" for word in words if word.startswith("ascend_ops.vllm.")]
    return names[0] if len(names) == 1 else ""


def variables(words):
    """The variables that a command gives with -e."""
    given = {}
    for flag, word in zip(words, words[1:]):
        if flag in ("-e", "--extra-vars"):
            if word.startswith("{"):
                given.update(yaml.safe_load(word))
            elif not word.startswith("@"):  # else a file, which the page shows
                name, _equals, value = word.partition("=")
                given[name] = value
    return given
