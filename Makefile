# make demo                deploy on a lab of two A2 nodes and ask the model a question
# make demo HARDWARE=a3    the same on one A3 node
# make test                lint, unit tests, molecule scenarios, failure cases, other versions of ansible-core
# make clean-lab           take the lab away: nodes, network, images, its Docker engine

PYTHON ?= python3
HARDWARE ?= a2
VENV := $(CURDIR)/.venv
ON_A3 := tests/integration/test_benchmark.py tests/integration/test_secrets.py
HOUR := tests/integration/test_interrupted.py tests/integration/test_rolling.py
LAB := $(VENV)/bin/python lab/lab

export PATH := $(VENV)/bin:$(PATH)
export ANSIBLE_COLLECTIONS_PATH := $(CURDIR)/playbooks/collections
export ANSIBLE_CONFIG := $(CURDIR)/ansible.cfg

.PHONY: demo test lint unit tuning a3 a2 day2 speed versions tools dev-tools clean-lab

demo: tools
	$(VENV)/bin/python lab/demo.py $(HARDWARE)

test: lint unit tuning a3 a2 versions
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

# The scenario of each kind of node, then what is tested on its nodes. Both kinds never serve at once: they share the processors.
a3: dev-tools
	KEEP_NODES=yes molecule test --scenario-name a3
	pytest -q -x $(ON_A3)
	$(LAB) down --hardware a3

a2: dev-tools
	$(LAB) down --hardware a2
	KEEP_NODES=yes molecule test --scenario-name a2
	pytest -q -x tests/integration $(addprefix --ignore ,$(ON_A3) $(HOUR))

# What an hour of faults, upgrades and killed runs shows. Not part of `make test`.
day2: dev-tools
	molecule test --scenario-name upgrade
	KEEP_NODES=yes molecule test --scenario-name recovery
	KEEP_NODES=yes molecule test --scenario-name teardown
	pytest -q $(HOUR)
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

tools: $(VENV)/requirements.txt

dev-tools: $(VENV)/requirements-dev.txt

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
