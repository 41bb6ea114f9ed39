# make demo                deploy on a lab of two A2 nodes and ask the model a question
# make demo HARDWARE=a3    the same on one A3 node
# make test                lint, unit tests, sanity, molecule scenarios, failure cases, other versions of ansible-core
# make scenario NAME=a2    one molecule scenario (KEEP_NODES=yes leaves its nodes for `make case`)
# make case FILE=tests/integration/test_status.py K=...    one file, or one case, on the nodes of a running lab
# make sanity              ansible-test sanity over what is published, oldest and newest ansible-core
# make docs                the reference as HTML, in .cache/docs/html
# make publish-check       all that Galaxy asks of the collection
# make readmes changelog   write what is generated: READMEs of the roles, CHANGELOG.rst
# make clean-lab           take the lab away: nodes, network, images, its Docker engine

PYTHON ?= python3
HARDWARE ?= a2
VENV := $(CURDIR)/.venv
ON_A3 := tests/integration/test_benchmark.py tests/integration/test_secrets.py
HOUR := tests/integration/test_interrupted.py tests/integration/test_rolling.py
CAUSES := tests/integration/test_causes.py
LAB := $(VENV)/bin/python lab/lab

export PATH := $(VENV)/bin:$(PATH)
export ANSIBLE_COLLECTIONS_PATH := $(CURDIR)/playbooks/collections
export ANSIBLE_CONFIG := $(CURDIR)/ansible.cfg

.PHONY: demo test lint unit tuning a3 a2 day2 speed versions tools dev-tools clean-lab

demo: tools
	$(VENV)/bin/python lab/demo.py $(HARDWARE)

test: lint unit sanity tuning a3 a2 versions
	$(LAB) down --all

lint: dev-tools
	ruff check .
	ruff format --check .
	PYTHONPATH=$(ANSIBLE_COLLECTIONS_PATH) lint-imports --no-cache --no-logo
	vermin --target=3.7- --violations --no-tips -q -vvv $$(python tools/shipped.py)
	yamllint --strict .
	ansible-lint
	antsibull-changelog lint

unit: dev-tools
	pytest -q -n auto --dist loadfile tests/unit

tuning: dev-tools
	molecule test --scenario-name tuning

# The scenario of each kind of node, then what is tested on its nodes; an interrupted run may have left some. Both kinds never serve at once: they share the processors.
a3: dev-tools
	$(LAB) down --hardware a3
	KEEP_NODES=yes molecule test --scenario-name a3
	pytest -q -x $(ON_A3)
	$(LAB) down --hardware a3

a2: dev-tools
	$(LAB) down --hardware a2
	KEEP_NODES=yes molecule test --scenario-name a2
	pytest -q -x tests/integration $(addprefix --ignore ,$(ON_A3) $(HOUR) $(CAUSES))

# What an hour of faults, upgrades and killed runs shows. Not part of `make test`.
day2: dev-tools
	molecule test --scenario-name upgrade
	KEEP_NODES=yes molecule test --scenario-name recovery
	KEEP_NODES=yes molecule test --scenario-name teardown
	pytest -q $(HOUR)
	$(LAB) down --all
	pytest -q $(CAUSES)
	$(LAB) down --all

# How fast a deploy is, against others, with many nodes, and until it serves (1 1/2 hours): the tables of benchmarks/README.md.
speed: dev-tools
	$(LAB) build
	$(VENV)/bin/python benchmarks/deploy/run.py
	$(VENV)/bin/python benchmarks/scale/run.py
	$(LAB) up --hardware a3
	$(VENV)/bin/python benchmarks/serve/run.py
	$(LAB) down --hardware a3

versions: dev-tools
	python tests/versions.py

.PHONY: scenario case sanity docs docs-lint publish-check readmes changelog publish-tools

# One scenario; one file or one case on the nodes that a scenario or `lab/lab up --hardware a2` left running.
scenario: dev-tools
	@test -n "$(NAME)" || { echo "make scenario NAME=$$(cd molecule && ls -d */ | tr -d / | paste -sd'|')"; exit 2; }
	molecule test --scenario-name $(NAME)

case: dev-tools
	@test -n "$(FILE)" || { echo "make case FILE=tests/integration/test_status.py [K=part_of_a_name]"; exit 2; }
	pytest -q -x $(FILE) $(if $(K),-k "$(K)")

# In `make test` and not in `make lint`, which runs before every push: it takes one to two minutes, and three the first time.
sanity: dev-tools
	python tools/sanity.py

# Warnings of either tool are errors.
docs: publish-tools
	rm -rf .cache/docs
	mkdir -p .cache/docs/rst
	chmod go-w .cache/docs/rst
	antsibull-docs --config-file docs/reference/antsibull-docs.cfg collection --fail-on-error --use-current \
	  --squash-hierarchy --dest-dir .cache/docs/rst ascend_ops.vllm
	sphinx-build -q -W --keep-going -b html -c docs/reference .cache/docs/rst .cache/docs/html
	@echo "The reference is in .cache/docs/html/index.html"

docs-lint: publish-tools
	antsibull-docs lint-collection-docs --plugin-docs .

publish-check: publish-tools docs-lint docs sanity
	python tools/galaxy_check.py $(if $(RELEASE),--release)

readmes: dev-tools
	python tools/roles_doc.py

# Fragments stay; the newest release is written anew from them and from the modules that there are.
changelog: dev-tools
	antsibull-changelog release --reload-plugins --update-existing --refresh

tools: $(VENV)/requirements.txt

dev-tools: $(VENV)/requirements-dev.txt

publish-tools: dev-tools $(VENV)/requirements-publish.txt

# The copy in the environment is what was installed; a changed file installs anew.
$(VENV)/%.txt: %.txt | $(VENV)/bin/python
	@echo "Installing $< into .venv (about a minute)"
	$(VENV)/bin/python -m pip install --quiet --quiet --disable-pip-version-check -r $<
	cp $< $@

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Python 3.11 or later is needed; '$(PYTHON)' is older or missing. Install it, then: make PYTHON=python3.11 ..."; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { \
	  echo "Python lacks venv. On Debian or Ubuntu: apt-get install python3-venv"; exit 1; }
	$(PYTHON) -m venv $(VENV)

clean-lab:
	$(PYTHON) lab/lab clean
