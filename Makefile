# make demo                deploy on a lab of two A2 nodes and ask the model a question
# make demo HARDWARE=a3    the same on one A3 node
# make test                lint, unit tests, molecule scenarios, failure cases, other versions of ansible-core
# make clean-lab           take the lab away: nodes, network, images, its Docker engine

PYTHON ?= python3
HARDWARE ?= a2
VENV := $(CURDIR)/.venv
HOUR := tests/integration/test_interrupted.py tests/integration/test_rolling.py
LAB := $(VENV)/bin/python lab/lab

export PATH := $(VENV)/bin:$(PATH)
export ANSIBLE_COLLECTIONS_PATH := $(CURDIR)/playbooks/collections
export ANSIBLE_CONFIG := $(CURDIR)/ansible.cfg

.PHONY: demo test lint unit molecule failures day2 speed versions tools dev-tools clean-lab

demo: tools
	$(VENV)/bin/python lab/demo.py $(HARDWARE)

test: lint unit molecule failures versions
	$(LAB) down --all

lint: dev-tools
	ruff check .
	ruff format --check .
	yamllint --strict .
	ansible-lint
	antsibull-changelog lint

unit: dev-tools
	pytest -q tests/unit

molecule: dev-tools
	molecule test --scenario-name tuning
	molecule test --scenario-name a3
	$(LAB) down --hardware a2
	KEEP_NODES=yes molecule test --scenario-name a2    # the failure cases go on with its nodes

failures: dev-tools
	pytest -q -x tests/integration $(addprefix --ignore ,$(HOUR))

# What an hour of faults, upgrades and killed runs shows. Not part of `make test`.
day2: dev-tools
	molecule test --scenario-name upgrade
	KEEP_NODES=yes molecule test --scenario-name recovery
	KEEP_NODES=yes molecule test --scenario-name teardown
	pytest -q $(HOUR)
	$(LAB) down --all

# How fast a deploy is, against others and with many nodes (about an hour): the tables of benchmarks/README.md.
speed: dev-tools
	$(VENV)/bin/python benchmarks/deploy/run.py
	$(VENV)/bin/python benchmarks/scale/run.py

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
