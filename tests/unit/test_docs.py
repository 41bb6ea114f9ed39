"""What is generated into docs/ is up to date, and what docs name is there."""

import importlib.util
import re
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))


def tool(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / (name + ".py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_checks_md_is_what_the_catalogue_says():
    assert (ROOT / "docs" / "checks.md").read_text(encoding="utf-8") == tool("checks_doc").render()


def test_failures_md_is_what_the_catalogue_says():
    assert (ROOT / "docs" / "failures.md").read_text(encoding="utf-8") == tool("failures_doc").render(), (
        "run tools/failures_doc.py"
    )


def test_every_proof_is_of_a_check_and_names_a_fault_of_the_lab():
    sys.path.insert(0, str(ROOT / "lab"))
    from labkit.faults import FAULTS

    checks = tool("checks_doc")
    for name, proof in checks.PROOFS.items():
        assert name in checks.catalogue(), name
        assert proof.fault[0] in FAULTS, proof


@pytest.mark.parametrize("role", tool("roles_doc").ROLES)
def test_readme_of_a_role_is_what_its_argument_specs_say(role):
    readme = ROOT / "roles" / role / "README.md"
    assert readme.read_text(encoding="utf-8") == tool("roles_doc").render(role), "run tools/roles_doc.py"


@pytest.mark.parametrize("role", tool("roles_doc").ROLES)
def test_galaxy_says_of_a_role_what_its_argument_specs_say(role):
    about = yaml.safe_load((ROOT / "roles" / role / "meta" / "main.yml").read_text(encoding="utf-8"))["galaxy_info"]
    assert about["description"] == tool("roles_doc").specs(role)["main"]["short_description"]


def test_the_changelog_lists_all_modules_as_they_are_now():
    releases = yaml.safe_load((ROOT / "changelogs" / "changelog.yaml").read_text(encoding="utf-8"))["releases"]
    listed = {
        item["name"]: item["description"].replace("\\", "")  # reStructuredText escapes hyphens
        for release in releases.values()
        for item in release.get("modules", [])
    }
    present = {}
    for path in (ROOT / "plugins" / "modules").glob("*.py"):
        (about,) = re.findall(r"^short_description: (.*)", path.read_text(encoding="utf-8"), re.M)
        present[path.stem] = about
    assert listed == present, "run make changelog"
    assert yaml.safe_load((ROOT / "galaxy.yml").read_text(encoding="utf-8"))["version"] in releases


PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("roles/*/README.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8")):
        if not target.startswith(("http://", "https://")):
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_playbooks_and_variables_that_docs_name_exist(page):
    text = page.read_text(encoding="utf-8")
    for name in re.findall(r"playbooks/([a-z0-9_]+\.yml)", text):
        assert (ROOT / "playbooks" / name).exists(), name
    from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.files import known_inputs
    from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.inventory import OUTPUTS

    known = set(known_inputs()) | set(OUTPUTS) | {"vllm_plan_file", "vllm_hardware", "vllm_teardown_confirm"}
    for name in re.findall(
        r"\b((?:vllm_recipe|npu_preflight|npu_host_tuning|npu_container|vllm_service)_[a-z_]+)\b", text
    ):
        assert name in known, name
