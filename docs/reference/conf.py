"""How Sphinx builds the reference from what antsibull-docs writes (make docs)."""

from docutils import nodes

project = "ascend_ops.vllm"
copyright = "ascend_ops.vllm contributors"
html_title = "ascend_ops.vllm reference"
html_short_title = project

extensions = ["sphinx_antsibull_ext"]
pygments_style = "ansible"
highlight_language = "YAML+Jinja"
default_role = "any"

html_theme = "sphinx_ansible_theme"
html_show_sphinx = False
html_use_index = False
html_copy_source = False

# Every reference must lead somewhere. Those that antsibull-docs makes to Ansible's own documentation are resolved here, not by
# an inventory that would have to be fetched.
nitpicky = True
ANSIBLE = "https://docs.ansible.com/ansible-core/devel/"
LABELS = {
    "action_plugins": "plugins/action.html",
    "ansible_configuration_settings": "reference_appendices/config.html",
    "callback_plugins": "plugins/callback.html",
    "common_return_values": "reference_appendices/common_return_values.html",
}


def resolve(_app, _env, node, content):
    """A link to Ansible's documentation for a reference that it has; None for all others, which are errors."""
    target = node["reftarget"]
    page = LABELS.get(target)
    if node["reftype"] == "envvar" and target.startswith("ANSIBLE_"):
        page = "reference_appendices/config.html#envvar-" + target
    return nodes.reference("", "", content, refuri=ANSIBLE + page) if page else None


def setup(app):
    app.connect("missing-reference", resolve)
