"""The commands of docs/runbooks on the lab: those that change no service are run, the others are run by other tests."""

import re
import tarfile
from pathlib import Path

import pytest

from tests.documented import PAGES, ROOT, commands, playbook_of

from .conftest import lab, playbook
from .test_status import LOOK, NODES

READS = ("plan.yml", "preflight.yml", "status.yml", "verify.yml", "logs.yml", "diagnostics.yml")
# What changes a service, and the test or scenario that runs it.
ELSEWHERE = {
    "benchmark.yml": "tests/integration/test_benchmark.py",
    'benchmark.yml -e {"vllm_benchmark_scenarios": [190k-1k]}': "tests/integration/test_benchmark.py",
    "benchmark.yml -e @own.yml": "tests/integration/test_benchmark.py",
    'benchmark.yml -e @own.yml -e {"vllm_benchmark_sweep": {"scenario": "chat", "ttft_ms": 2000, "tpot_ms": 50}}': (
        "tests/integration/test_benchmark.py"
    ),
    'benchmark_compare.yml -e {"vllm_benchmark_files": [BEFORE.json, AFTER.json]}': "tests/integration/test_benchmark.py",
    "deploy_a2.yml": "molecule/a2",
    # With --check the same is run here.
    "deploy_a2.yml --limit a2-node1,a2-node3": "molecule/a2",
    "explain.yml -e vllm_explain_path=FILE_OR_FOLDER": "tests/integration/test_diagnostics.py",
    "restart.yml": "molecule/upgrade",
    "rollback.yml": "molecule/upgrade",
    "start.yml": "tests/integration/test_checks.py",
    "stop.yml": "tests/integration/test_checks.py",
    "teardown.yml": "molecule/teardown",
    'teardown.yml -e {"vllm_teardown_keep": [tuning, files]}': "molecule/teardown",
    'teardown.yml -e {"vllm_teardown_keep": []}': "molecule/teardown",
    "upgrade.yml": "molecule/upgrade",
}
# What cannot end well on the lab, and what it says then.
REFUSED = {
    # The lab's archive holds one release.
    "preflight.yml -e vllm_recipe_release=v0.23.0": r"image\S* is fail",
    # On nodes that were deployed once.
    "rollback.yml --check --diff": r"nothing was verified before|no deploy was verified|have no revision",
}


def texts():
    """The playbooks of the runbooks with their arguments, in the order of reading, each once."""
    found = {}
    for page in PAGES:
        if page.parent.name == "runbooks" or page.name == "supervision.md":
            for words in commands(page.read_text(encoding="utf-8")):
                name = playbook_of(words)
                if name is not None:
                    arguments = [word for word in words[2:] if word not in ("-i", "inventory")]
                    found[" ".join([name, *arguments])] = (name, arguments)
    return found


TEXTS = texts()


def is_read(name, arguments):
    return name in READS or "--check" in arguments


SAFE = [text for text, command in TEXTS.items() if is_read(*command)]


@pytest.fixture(scope="module", autouse=True)
def as_deployed():
    """Whatever other tests left: the service is deployed, and answers."""
    run = playbook("deploy_a2.yml")
    assert run.rc == 0, run.output


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("runbooks")


def unpacked(folder):
    """The folder of the archive that diagnostics.yml wrote."""
    (path,) = (folder / "diagnostics").glob("*.tar.gz")
    with tarfile.open(path) as archive:
        archive.extractall(folder)
    return str(folder / path.name[: -len(".tar.gz")])


def look():
    return [lab("ssh", node, LOOK) for node in NODES]


@pytest.mark.parametrize("text", SAFE)
def test_a_command_that_changes_no_service_works_as_written(text, folder):
    name, arguments = TEXTS[text]
    arguments = [word.replace("/tmp/", f"{folder}/").replace("a2-node3", "a2-node2") for word in arguments]
    if any("UNPACKED" in word for word in arguments):
        place = unpacked(folder)
        arguments = [word.replace("UNPACKED", place) for word in arguments]
    if name == "diagnostics.yml":
        arguments += ["-e", f"vllm_diagnostics_dir={folder}/diagnostics"]
    before = look()
    run = playbook(name, *arguments)
    assert look() == before, run.output
    if name != "logs.yml":  # vLLM's own are in the logs
        assert "Traceback" not in run.output
    if run.rc != 0:
        assert REFUSED.get(text) and re.search(REFUSED[text], run.words), run.output
    elif "--check" not in arguments:
        assert run.changed and set(run.changed.values()) == {0}, run.output


def test_every_other_command_is_run_elsewhere():
    others = {text for text in TEXTS if text not in SAFE}
    assert others == set(ELSEWHERE), "commands of a runbook that no test runs, or the reverse"
    assert set(REFUSED) <= set(SAFE)


@pytest.mark.parametrize(("text", "place"), ELSEWHERE.items())
def test_the_test_that_is_named_runs_the_playbook(text, place):
    path = ROOT / place
    files = [path] if path.is_file() else [item for item in Path(path).rglob("*") if item.suffix in (".py", ".yml")]
    name = text.split()[0]
    assert any(re.search(rf"\b{re.escape(name)}\b", item.read_text(encoding="utf-8")) for item in files), place
