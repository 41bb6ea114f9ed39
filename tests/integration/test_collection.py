"""The collection as an artifact: it builds, installs, and its playbooks run by name."""

import os
import subprocess
import tarfile

from .conftest import INVENTORY, ROOT


def run(*command, **environment):
    completed = subprocess.run(
        command, capture_output=True, text=True, timeout=300, check=False, env=dict(os.environ, **environment)
    )
    assert completed.returncode == 0, completed.stdout + completed.stderr
    return completed.stdout


# What a user of the collection needs. What it is developed with is left out: see build_ignore of galaxy.yml.
TOP_LEVEL = {
    *("CHANGELOG.rst", "LICENSE", "README.md", "SECURITY.md", "ansible.cfg", "requirements.txt"),
    *("changelogs", "docs", "inventories", "meta", "playbooks", "plugins", "roles"),
    *("FILES.json", "MANIFEST.json"),  # written by the build
}


def test_the_artifact_holds_what_a_user_needs(tmp_path):
    run("ansible-galaxy", "collection", "build", str(ROOT), "--output-path", str(tmp_path))
    (artifact,) = tmp_path.glob("ascend_ops-vllm-*.tar.gz")
    with tarfile.open(artifact) as archive:
        members = archive.getmembers()
    names = [member.name for member in members]
    assert {name.partition("/")[0] for name in names} == TOP_LEVEL
    assert not [name for name in names if name.endswith((".pyc", "__pycache__")) or "/." in name]
    assert not [member.name for member in members if member.issym() or member.islnk()]
    assert {name for name in names if name.startswith("changelogs/")} == {
        "changelogs/changelog.yaml",
        "changelogs/config.yaml",
    }
    assert not [name for name in names if name.startswith(("playbooks/collections", "docs/reference"))]


def test_installed_playbooks_run_by_name(tmp_path):
    run("ansible-galaxy", "collection", "build", str(ROOT), "--output-path", str(tmp_path))
    (artifact,) = tmp_path.glob("ascend_ops-vllm-*.tar.gz")
    run(
        "ansible-galaxy",
        "collection",
        "install",
        str(artifact),
        "-p",
        str(tmp_path),
        ANSIBLE_COLLECTIONS_PATH=str(tmp_path),
    )
    output = run(
        "ansible-playbook", "ascend_ops.vllm.deploy_a2", "-i", str(INVENTORY), ANSIBLE_COLLECTIONS_PATH=str(tmp_path)
    )
    assert "changed=0" in output


def test_playbooks_run_from_their_own_folder():
    completed = subprocess.run(
        ["ansible-playbook", "plan.yml", "-i", "../inventories/a2"],
        cwd=ROOT / "playbooks",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={k: v for k, v in os.environ.items() if not k.startswith("ANSIBLE_")},
    )
    assert completed.returncode == 0, completed.stdout + completed.stderr
    assert completed.stdout.count("vllm serve ") == 2
