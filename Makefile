# Everything runs in .venv, which is made once and reused.
PYTHON ?= python3
# The CPU build that development is done with; the library itself takes torch 2.11 and newer.
TORCH ?= torch==2.13.0
BIN := .venv/bin
READY := .venv/ready

.PHONY: help setup check format test parity quickstart docs

help:
	@echo "make quickstart   pre-train, update with and without replay, compare (a few minutes)"
	@echo "make test         the whole test suite"
	@echo "make parity       the tests against lm-evaluation-harness, in an environment of their own"
	@echo "make check        format, lint, types, layers"
	@echo "make format       put the code into the house format"
	@echo "make docs         write docs/campaign_file.md from the code"

$(READY): pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check "$(TORCH)"
	$(BIN)/pip install --quiet --disable-pip-version-check --editable ".[dev]"
	touch $(READY)

setup: $(READY)

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/lint-imports

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

test: setup
	$(BIN)/pytest -n 2 --dist worksteal

# lm-evaluation-harness is 37 more distributions of 205 MB, so it has its own environment.
PARITY := .venv-eval

$(PARITY)/ready: pyproject.toml
	$(PYTHON) -m venv $(PARITY)
	$(PARITY)/bin/pip install --quiet --disable-pip-version-check "$(TORCH)"
	$(PARITY)/bin/pip install --quiet --disable-pip-version-check --editable ".[dev,eval]"
	touch $@

parity: $(PARITY)/ready
	$(PARITY)/bin/pytest tests/evaluation/harness tests/cli/test_harness_command.py src/rewarm/evaluation/harness

quickstart: setup
	$(BIN)/rewarm quickstart

docs: setup
	$(BIN)/python -m rewarm.campaign.reference > docs/campaign_file.md
