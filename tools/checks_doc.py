"""Write docs/checks.md from the catalogue of the preflight checks and the table of how each is proven.

Usage: tools/checks_doc.py        (a unit test sees to it that the file is up to date)
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "playbooks" / "collections"), str(ROOT)]

from ansible_collections.ascend_ops.vllm.plugins.module_utils._checks.preflight import catalogue  # noqa: E402

from tests.integration.proofs import PROOFS, PROVEN_BY_INPUT  # noqa: E402

HEAD = """\
# The checks of preflight

Written by `tools/checks_doc.py` from the checks' own data; do not edit it by hand.

A verdict is **pass**, **warn**, **fail**, **unknown** (could not be told; never counted as passed) or **skipped** (does
not apply, with the reason). A run stops on what `npu_preflight_fail_on` names: `[fail]` by default. Nothing is changed on
a node: facts are gathered by one call of the module `node_facts` and, for replicas of several nodes, one of `peer_facts`;
they are judged on the controller.

| I want | do |
| --- | --- |
| the verdicts as JSON, or as JUnit XML | `-e npu_preflight_report=verdicts.json`, or `….xml` |
| every passed check with what was seen | `-e npu_preflight_show_passed=true` |
| to save what the nodes told | `-e npu_preflight_save_facts=DIR` |
| to judge saved facts again, without the nodes | `-e npu_preflight_facts_dir=DIR` |

"Proven by" says which fault of the [lab](lab.md) the check was seen to find; "recorded" means that the lab cannot break
it, and that it is tested on recorded facts alone. None of this has run on an NPU.
"""


def render():
    """The text of docs/checks.md."""
    parts = [HEAD]
    for name, check in catalogue().items():
        proof = PROOFS.get(name)
        parts.append(
            "\n".join(
                [
                    "## " + name,
                    "",
                    check.why + (f" ([source]({check.source}))" if check.source else ""),
                    "",
                    "- **Read from:** " + check.read,
                    "- **Do:** " + check.remedy,
                    "- **Proven by:** "
                    + (
                        "`lab break NODE {0}`".format(" ".join(proof.fault))
                        if proof
                        else "[{0}](../{0})".format(PROVEN_BY_INPUT[name])
                        if name in PROVEN_BY_INPUT
                        else "recorded facts"
                    ),
                    "",
                ]
            )
        )
    return "\n".join(parts)


if __name__ == "__main__":
    (ROOT / "docs" / "checks.md").write_text(render(), encoding="utf-8")
