"""Whatever stands in an input of a role or a playbook: it is taken, or an error names it; never a traceback."""

import re

import pytest
from ansible.errors import AnsibleActionFail
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from ansible_collections.ascend_ops.vllm.plugins.action import vllm_inputs
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.files import role_options
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.inventory import PLAYBOOK_INPUTS, SECRET_INPUTS
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.text import plan_text
from ansible_collections.ascend_ops.vllm.plugins.plugin_utils import _inputs
from ansible_collections.ascend_ops.vllm.plugins.plugin_utils._plan import plan
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_plan import a3
from test_plan_garbage import garbage

try:
    from ansible.template import trust_as_template
except ImportError:  # before ansible-core 2.19 every text is a template

    def trust_as_template(text):
        """The text itself."""
        return text


OPTIONS = {**role_options(), **_inputs.PLAYBOOKS}
TEMPLATES = [
    "{{ nowhere }}",
    "{{ nowhere.at.all }}",
    "{{ 1 / 0 }}",
    "{{ [] | first }}",
    "{{ 'x' | int + [] }}",
    "{{ {} | dict2items(key_name=3) | map('nowhere') | list }}",
    "{% if %}",
    "{{",
    "{{ lookup('ansible.builtin.file', '/nowhere/at/all') }}",
    "{{ 'a' | regex_search('(') }}",
]
texts = st.sampled_from(["", " ", "-1", "1e9", "nan", "yes", "null", "{}", "[1]", "/", "a\nb", "$(id)", "²", "🙂" * 9])
values = st.one_of(
    garbage, texts, st.integers(-5, 5), st.lists(texts, max_size=3), st.dictionaries(texts, texts, max_size=2)
)


def resolve(monkeypatch, variables):
    """What the action says of a node with some variables."""
    monkeypatch.setattr(vllm_inputs.ActionBase, "run", lambda *_unused: {})
    action = object.__new__(vllm_inputs.ActionModule)
    action._templar = Templar(DataLoader())
    names = [name for name in role_options() if name.startswith("vllm_recipe_")]
    action.validate_argument_spec = lambda argument_spec: (None, {"settings": names, "role": "vllm_recipe"})
    known = {"vllm_recipe_name": "minimax_m2_5", "vllm_recipe_address": "10.0.0.21", "vllm_recipe_replica": "default"}
    return action.run(None, {"inventory_hostname": "n1", "group_names": ["a3"], **known, **variables})


def look(monkeypatch, name, value):
    """A plan that can be shown, or sentences that name the input."""
    try:
        inputs = resolve(monkeypatch, {name: value})
    except AnsibleActionFail as error:
        assert error.message.startswith("node n1: ") and name in error.message
        assert not re.search(r"Traceback|\b[A-Z]\w+Error\b.*\(", error.message), error.message
        return
    result = plan([inputs])
    plan_text(result)
    assert result["services"] or result["errors"]
    assert all(text.endswith((".", "?")) for text in result["errors"])


@pytest.mark.parametrize("name", sorted(OPTIONS))
def test_garbage_in_every_input(name, monkeypatch):
    @settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(values)
    def check(value):
        look(monkeypatch, name, value)

    check()


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize(
    "name", ["vllm_recipe_args", "vllm_recipe_chips", "vllm_service_secrets", "npu_preflight_ignore"]
)
def test_a_template_that_fails_is_an_error_of_its_input(name, template, monkeypatch):
    for value in (trust_as_template(template), [trust_as_template(template)], {"x": trust_as_template(template)}):
        look(monkeypatch, name, value)
    with pytest.raises(AnsibleActionFail) as caught:
        resolve(monkeypatch, {name: trust_as_template("{{ nowhere }}")})
    assert caught.value.message.startswith(f"node n1: {name} cannot be resolved: ")
    assert caught.value.message.endswith(". Correct what it refers to.")


@pytest.mark.parametrize("name", SECRET_INPUTS)
@pytest.mark.parametrize(
    "value", ["canary", ["canary"], "x=canary y=canary", {"x": ["canary"]}, {"x": ""}, {"canary.x": "canary"}]
)
def test_the_values_of_secrets_are_not_shown(name, value, monkeypatch):
    with pytest.raises(AnsibleActionFail) as caught:
        resolve(monkeypatch, {name: value})
    assert name in caught.value.message and "canary" not in caught.value.message


# (input, value, what is said)
MISTAKES = [
    ("vllm_service_ready_timeout", "soon", 'is "soon"; wanted a whole number from 1.'),
    ("vllm_service_ready_timeout", 0, "is 0; wanted a whole number from 1."),
    ("vllm_service_ready_timeout", None, "is null; wanted a whole number from 1."),
    ("vllm_service_restart_limit", -1, "is -1; wanted a whole number from 0."),
    ("vllm_service_supervised", "maybe", 'is "maybe"; wanted true or false.'),
    ("vllm_service_engine", "docker run", 'is "docker run"; wanted the name or the path of a command.'),
    ("npu_container_image_archive", "image.tar", 'is "image.tar"; wanted an absolute path on the nodes.'),
    ("npu_container_registry_login", {"user": "x"}, "does not fit; wanted registry, username and password, each a text."),
    ("npu_host_tuning_sysctl", {"swappiness": 0}, 'is {"swappiness": 0}; wanted names such as vm.swappiness, each with one'),
    ("npu_host_tuning_sysctl", {"vm.swappiness": [0]}, 'is {"vm.swappiness": [0]}; wanted names such as vm.swappiness'),
    ("npu_host_tuning_governor", "very fast", 'is "very fast"; wanted one word, such as performance.'),
    ("npu_host_tuning_jemalloc", "hots", 'is "hots"; wanted one of image, host. Did you mean \'host\'?'),
    ("npu_preflight_ignore", ["fabric.swich"], "contains 'fabric.swich'; there is no such check. Did you mean 'fabric.switch'?"),
    ("npu_preflight_fail_on", ["fial"], 'is ["fial"]; wanted a list with fail, unknown, warn. Did you mean \'fail\'?'),
    ("npu_preflight_min_driver", "new", 'is "new"; wanted a version such as 25.5.0.'),
    ("npu_preflight_query", "a[", ": the query is wrong at position 3"),
    ("vllm_plan_query", "nowhere(", ": the query "),
    ("vllm_plan_file", {"a": 1}, 'is {"a": 1}; wanted a text.'),
    ("vllm_diagnostics_since", "yesterday", ": 'yesterday' is not a length of time: wanted a number and s, m, h or d"),
    ("vllm_logs_lines", "all", 'is "all"; wanted a whole number from 1.'),
    ("vllm_teardown_keep", ["images"], 'is ["images"]; wanted a list with tuning, files, image. Did you mean \'image\'?'),
    ("vllm_benchmark_gate", "-1", 'is "-1"; wanted a number from 0.'),
    ("vllm_benchmark_own", [{"name": "x", "promts": 1}], ": the entry 1 has 'promts', which is not known; did you mean 'prompts'?"),
    ("vllm_recipe_devices", "all", 'is "all"; wanted a list of whole numbers.'),
    ("vllm_recipe_chips", -8, "is -8; wanted a whole number from 0."),
    ("vllm_recipe_image", "vllm ascend", 'is "vllm ascend"; wanted the name of an image.'),
    ("vllm_recipe_image_os", "openeulr", 'is "openeulr"; wanted one of ubuntu, openeuler. Did you mean \'openeuler\'?'),
    ("vllm_recipe_args", "--port 1", 'is "--port 1"; wanted a mapping of names to values.'),
    ("vllm_recipe_release", ["v0.20.2rc1"], 'is ["v0.20.2rc1"]; wanted a text.'),
    ("vllm_recipe_release", True, "is true; wanted a text."),
]  # fmt: skip


@pytest.mark.parametrize("name, value, said", MISTAKES)
def test_a_mistaken_input_is_refused(name, value, said, monkeypatch):
    with pytest.raises(AnsibleActionFail) as caught:
        resolve(monkeypatch, {name: value})
    sentence = said if said.startswith(":") else " " + said
    assert caught.value.message.startswith(f"node n1: {name}{sentence}"), caught.value.message


def test_the_defaults_of_every_role_are_taken():
    for name, option in role_options().items():
        if not (isinstance(option["default"], str) and "{{" in option["default"]):
            assert _inputs.input_errors(name, option["default"], option) == []


def test_every_form_is_of_an_input():
    assert set(_inputs.FORMS) | set(_inputs.QUERIES) | set(_inputs.LENGTHS_OF_TIME) <= set(OPTIONS)
    assert set(_inputs.PLAYBOOKS) <= set(PLAYBOOK_INPUTS)


def test_a_node_is_planned_from_what_the_action_returns(monkeypatch):
    inputs = resolve(monkeypatch, {"vllm_recipe_args": {"max-num-seqs": 64}, "vllm_recipe_chips": "16"})
    (planned,), (wanted,) = (plan(nodes)["services"] for nodes in ([inputs], a3(args={"max-num-seqs": 64})))
    argv = [service["instances"][0]["processes"][0]["argv"] for service in (planned, wanted)]
    assert argv[0] == argv[1]
