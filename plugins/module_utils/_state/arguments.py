# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The arguments of ``vllm serve`` as a mapping, whatever they are read from: a plan, a launch script, a running process.

Every side of a comparison goes through :func:`args_from_argv`, so that spelling and order make no difference.
"""

from __future__ import annotations

import json
import os
import shlex

from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.secrets import ENV_NAME

# The positional argument of ``vllm serve``.
MODEL = "model"


def serve_words(argv):
    """The words after ``vllm serve`` in a command line; None for a command that serves no model.

    ``vllm`` may be a path, may follow an interpreter, and may be named as a module (``-m vllm.entrypoints...``).
    """
    for at, word in enumerate(argv):
        after = list(argv[at + 1 :])
        if word.endswith("vllm") and after[:1] == ["serve"]:
            return after[1:]
        if word == "-m" and after and after[0].startswith("vllm.entrypoints"):
            return after[2:] if after[1:2] == ["serve"] else after[1:]
    return None


def args_from_argv(argv):
    """The options of a command line: ``{"max-num-seqs": "64", "enable-expert-parallel": "true", ...}``.

    Names have no leading dashes, and ``-`` for ``_``. A value is a string; ``true`` and ``false`` for an option without
    one (``--no-x`` gives ``x: false``). A value in JSON is flattened: ``compilation-config.cudagraph_mode``. Several values
    become a list in JSON. The positional argument is ``model``.

    :raises ValueError: the command serves no model.
    """
    words = serve_words(argv)
    if words is None:
        raise ValueError("no 'vllm serve' in the command: {0}".format(" ".join(argv)[:120]))
    found = [(MODEL, [])]
    for word in words:
        if _is_option(word):
            name, equals, value = word.partition("=")
            found.append((_name(name), [value] if equals else []))
        else:
            found[-1][1].append(word)
    values = {}
    for name, given in found:
        if not given and name.startswith("no-"):
            name, given = name[3:], ["false"]
        elif not given and name != MODEL:
            given = ["true"]
        # An option that is given twice adds to a list, or replaces: either way both values matter.
        values.setdefault(name, []).extend(given)
    result = {}
    for name, given in values.items():
        if given:
            result.update(flat(name, _parsed(given[0]) if len(given) == 1 else [_parsed(value) for value in given]))
    return result


def _is_option(word):
    """Is a word an option, and not a value such as ``-1``?"""
    return word.startswith("--") and len(word) > 2 or (word.startswith("-") and word[1:2].isalpha())


def _name(option):
    head, dot, tail = option.lstrip("-").partition(".")
    return head.replace("_", "-") + dot + tail


def _parsed(value):
    if value[:1] in ("{", "["):
        try:
            return json.loads(value)
        except ValueError:
            pass
    return value


def flat(name, value):
    """A value under its name as ``{dotted name: string}``, one entry per leaf of a mapping; None for a JSON null."""
    if isinstance(value, dict) and value:
        result = {}
        for key, item in value.items():
            result.update(flat(f"{name}.{key}", item))
        return result
    return {name: value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False)}


# -- files that a shell reads -----------------------------------------------------------------------------------------


def commands(text):
    """The commands of a shell script, one list of words per line, without comments and with continued lines joined.

    :raises ValueError: a quote is not closed.
    """
    result = []
    pending = ""
    for line in text.replace("\\\n", " ").splitlines():
        pending += ("\n" if pending else "") + line
        try:
            words = shlex.split(pending, comments=True)
        except ValueError:  # the quote goes on in the next line
            continue
        pending = ""
        if words:
            result.append(words)
    if pending:
        raise ValueError("a quote is not closed")
    return result


def of_environment(text):
    """The variables that a file of assignments sets: name to value.

    :raises ValueError: the file is none that a shell reads.
    """
    result = {}
    for words in commands(text):
        for word in words[1:] if words[0] == "export" else words:
            name, equals, value = word.partition("=")
            if not equals or not ENV_NAME.match(name):
                break
            result[name] = value
    return result


def of_script(text):
    """What a launch script sets and starts: ``{"arguments": mapping, "environment": mapping}``.

    :raises ValueError: the script is none that a shell reads, or it starts no ``vllm serve``.
    """
    for words in reversed(commands(text)):
        if serve_words(words) is not None:
            return {"arguments": args_from_argv(words), "environment": of_environment(text)}
    raise ValueError("it starts no 'vllm serve'")


# -- what runs --------------------------------------------------------------------------------------------------------


def running(pid, proc="/proc"):
    """The arguments of the ``vllm serve`` that runs in a container: ``{"pid", "arguments", "error"}``.

    The container's first process may be an init, and the engine's own children carry other names: the process is looked
    for from the first one down. Where there is none, ``arguments`` is None and ``error`` says why.

    :param pid: the number of the container's first process on the node; 0 where it is not known.
    :param proc: where the node's processes are listed; another folder is for tests.
    """
    result = {"pid": None, "arguments": None, "error": ""}
    if not pid:
        return dict(result, error="the engine does not tell the process of the container")
    try:
        children = _children(proc)
    except OSError as error:
        return dict(result, error=f"{proc} cannot be read: {error.strerror}")
    waiting = [int(pid)]
    seen = 0
    while waiting:
        number = waiting.pop(0)
        waiting.extend(children.get(number, []))
        words = _command(proc, number)
        seen += bool(words)
        try:
            return dict(result, pid=number, arguments=args_from_argv(words))
        except ValueError:
            continue
    return dict(result, error=f"none of the {seen} processes of the container is 'vllm serve'")


def _children(proc):
    """Number of a process to those of its children, for all processes of the node."""
    children = {}
    for name in os.listdir(proc):
        if not name.isdigit():
            continue
        try:
            with open(os.path.join(proc, name, "stat"), encoding="utf-8", errors="replace") as stream:
                # "12 (name, which may hold anything) S 1 ...": the parent is the second word after the name.
                parent = int(stream.read().rpartition(")")[2].split()[1])
        except (OSError, ValueError, IndexError):  # it has ended
            continue
        children.setdefault(parent, []).append(int(name))
    for numbers in children.values():
        numbers.sort()
    return children


def _command(proc, number):
    try:
        with open(os.path.join(proc, str(number), "cmdline"), encoding="utf-8", errors="replace") as stream:
            return stream.read().split("\0")[:-1]
    except OSError:
        return []
