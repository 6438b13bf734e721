# `make demo` and `make test` need Python 3.11+, git and make; nothing else.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
export OMP_WAIT_POLICY := passive
export DO_NOT_TRACK := 1
export PREFECT_SERVER_ANALYTICS_ENABLED := false
export GX_ANALYTICS_ENABLED := false
export BENTOML_DO_NOT_TRACK := True
export DVC_NO_ANALYTICS := true
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help demo test test-long install install-test format lint types layers unit clean

help:  ## what can be made
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 16

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed: make demo PYTHON=python3.12") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip

$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet -c constraints.txt -e .
	@touch $@

$(VENV)/.installed-test: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	@touch $@ $(VENV)/.installed

install: $(VENV)/.installed  ## the environment
install-test: $(VENV)/.installed-test  ## the environment with everything for tests

demo: install  ## demo data, the whole pipeline, and a few recommendations
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/bridgerec demo

test: lint types layers unit  ## all checks and tests

test-long: install-test  ## the closed loop, and a run started by clicks in Prefect's page
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/pytest -m long

format: install-test  ## rewrite the code in the project's format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: install-test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: install-test
	$(BIN)/mypy

layers: install-test
	$(BIN)/lint-imports --no-cache

unit: install-test
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/pytest -m "not slow and not long" -n 2 --dist loadfile
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/pytest -m "slow and not long" -n 2 --dist loadfile

clean:  ## remove what the pipeline made (the data stay)
	rm -rf artifacts reports
