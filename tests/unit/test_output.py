"""Files that an operator asks for."""

import json

import pytest
from ansible.errors import AnsibleActionFail
from ansible_collections.ascend_ops.vllm.plugins.plugin_utils._output import write_file


def test_text_and_data_are_written_and_the_folder_is_made(tmp_path):
    write_file("x", tmp_path / "new" / "report.xml", "<a/>")
    write_file("x", tmp_path / "new" / "report.json", {"b": 1, "a": [True]})
    assert (tmp_path / "new" / "report.xml").read_text() == "<a/>"
    assert json.loads((tmp_path / "new" / "report.json").read_text()) == {"a": [True], "b": 1}
    assert (tmp_path / "new" / "report.json").stat().st_mode & 0o777 == 0o644


def test_a_place_that_cannot_be_written_names_the_input(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(AnsibleActionFail) as caught:
        write_file("vllm_status_file", tmp_path / "file" / "status.json", {})
    assert f"cannot write {tmp_path}/file/status.json on this machine: " in str(caught.value)
    assert "Set vllm_status_file to a place that you may write to" in str(caught.value)
