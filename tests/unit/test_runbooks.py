"""What docs tell their reader to type can be typed: playbooks, variables, targets of make and verbs of the lab exist."""

import re
import subprocess
import sys

import pytest
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.files import known_inputs
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.inventory import PLAYBOOK_INPUTS

from tests.documented import PAGES, ROOT, commands, playbook_of, variables

KNOWN = {*known_inputs(), *PLAYBOOK_INPUTS}
PLAYBOOKS = {path.name for path in (ROOT / "playbooks").glob("*.yml")}
TARGETS = set(re.findall(r"^([a-z][a-z-]*):(?!=)", (ROOT / "Makefile").read_text(), re.M))
VERBS = set(
    re.findall(
        r"^    ([a-z]+) ",
        subprocess.run(
            [sys.executable, str(ROOT / "lab" / "lab"), "--help"], capture_output=True, text=True, check=True
        ).stdout,
        re.M,
    )
)
TOUCH_NO_NODE = {"benchmark_compare.yml", "explain.yml"}
FLAGS = {"-i", "-e", "--check", "--diff", "--limit"}


def slug(heading):
    """The anchor that a heading gets."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")


def links(page, text):
    """What is wrong with a page's links to files and headings of this repository."""
    wrong = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _hash, anchor = target.partition("#")
        file = page.parent / path if path else page
        if not file.exists():
            wrong.append(f"the link {target} leads to no file")
        elif anchor and anchor not in map(slug, re.findall(r"^#+ (.*)", file.read_text(encoding="utf-8"), re.M)):
            wrong.append(f"the link {target} leads to no heading")
    return wrong


def errors(words):
    """What is wrong with one command."""
    wrong = []
    if words[0] == "ansible-playbook":
        if playbook_of(words) not in PLAYBOOKS:
            wrong.append(f"no such playbook: {playbook_of(words)}")
        wrong += [f"no input of this collection: {name}" for name in variables(words) if name not in KNOWN]
        wrong += [f"unknown option: {word}" for word in words if word.startswith("-") and word not in FLAGS]
        wrong += ["no inventory is given"] if "-i" not in words and playbook_of(words) not in TOUCH_NO_NODE else []
    elif words[0] == "make":
        wrong += [f"no such target: {word}" for word in words[1:] if "=" not in word and word not in TARGETS]
    elif words[0] == "lab/lab":
        wrong += [f"no such verb of the lab: {words[1]}"] if words[1] not in VERBS else []
    return wrong


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_says_to_type_exists(page):
    text = page.read_text(encoding="utf-8")
    wrong = [f"{' '.join(words)}: {error}" for words in commands(text) for error in errors(words)]
    assert wrong + links(page, text) == []


def test_commands_are_found():
    runbooks = [path for path in PAGES if path.parent.name == "runbooks" and path.name != "README.md"]
    assert len(runbooks) > 8
    for page in runbooks:
        assert any(playbook_of(words) for words in commands(page.read_text(encoding="utf-8"))), page
    every = [words[0] for page in PAGES for words in commands(page.read_text(encoding="utf-8"))]
    assert {"ansible-playbook", "make", "lab/lab", "ssh"} <= set(every)


def test_every_runbook_is_listed_and_has_its_form():
    listed = (ROOT / "docs" / "runbooks" / "README.md").read_text(encoding="utf-8")
    for page in (ROOT / "docs" / "runbooks").glob("*.md"):
        if page.name != "README.md":
            assert f"({page.name})" in listed, page
            text = page.read_text(encoding="utf-8")
            for part in ("**Symptom", "**Do**", "**It worked when**"):
                assert part in text, f"{page} lacks {part}"
            assert re.search(r"\*\*Look at\*\*|what to look at\*\*", text), page


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("ansible-playbook playbooks/stats.yml -i inventory", "no such playbook: stats.yml"),
        ("ansible-playbook ascend_ops.vllm.stats -i inventory", "no such playbook: stats.yml"),
        (
            "ansible-playbook playbooks/logs.yml -i inventory -e vllm_logs_line=3",
            "no input of this collection: vllm_logs_line",
        ),
        (
            "ansible-playbook playbooks/teardown.yml -i inventory -e '{\"vllm_teardown_keeps\": [files]}'",
            "no input of this collection: vllm_teardown_keeps",
        ),
        ("ansible-playbook playbooks/logs.yml -i inventory --verbos", "unknown option: --verbos"),
        ("ansible-playbook playbooks/logs.yml # -i inventory", "no inventory is given"),
        ("true && make demos HARDWARE=a3", "no such target: demos"),
        ("$ lab/lab destroy a2-node1", "no such verb of the lab: destroy"),
    ],
)
def test_what_does_not_exist_is_told(line, error):
    found = commands(f"Text\n\n  ```console\n  {line}\n  ```\n")
    assert [text for words in found for text in errors(words)] == [error]


def test_links_that_lead_nowhere_are_told():
    page = ROOT / "docs" / "lab.md"
    assert links(page, "[a](security.md), [b](security.md#over-https), [c](../README.md#use-it-on-real-nodes)") == []
    assert links(page, "[a](none.md)") == ["the link none.md leads to no file"]
    assert links(page, "[a](security.md#none)") == ["the link security.md#none leads to no heading"]
