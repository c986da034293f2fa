# Everything a fresh machine with Python 3.11+ and make needs. `make demo` and `make test` do all their own set-up.
SHELL := /bin/bash
.DEFAULT_GOAL := help
VENV := .venv
BIN := $(VENV)/bin
PYTEST := $(BIN)/pytest

# the newest Python that is supported, unless PYTHON names one
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3 python; do \
	$$p -c 'import sys; sys.exit(not ((3, 11) <= sys.version_info < (3, 14)))' 2>/dev/null && { echo $$p; break; }; done)

.PHONY: help demo test lint types format bench optimizers docs lock clean services

help: ## Show the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

$(VENV)/.made:
	@test -n "$(PYTHON)" || { echo "No Python 3.11, 3.12 or 3.13 found. Install one, or name it: make PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV) || { echo "python venv is missing; on Debian: apt-get install python3-venv"; exit 1; }
	@touch $@

$(VENV)/.installed: $(VENV)/.made requirements.lock pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.developing: $(VENV)/.installed requirements-dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@touch $@

$(VENV)/.benching: $(VENV)/.developing requirements-bench.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-bench.lock
	@touch $@

demo: $(VENV)/.installed ## Optimise, run, kill and serve a program; no key, no network
	$(BIN)/dspex demo

services: ## Install the PostgreSQL server, the browser and promtool that tests start (Debian, as root)
	@ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null || { \
	  if command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends postgresql >/dev/null; \
	  else echo "PostgreSQL is not installed, so its tests will skip; on Debian: apt-get install postgresql"; fi; }
	@{ command -v promtool && { command -v chromium || command -v chromium-browser || command -v google-chrome; }; } >/dev/null || { \
	  if command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium prometheus >/dev/null; \
	  else false; fi || echo "Chromium or promtool is not installed, so their tests will skip; on Debian: apt-get install chromium prometheus"; }

test: $(VENV)/.developing services ## Run every test: pure ones in parallel, those on Ray one by one
	$(PYTEST) -n 2 --dist loadfile -m "not ray and not chaos and not postgres"
	$(PYTEST) -m "ray or chaos or postgres"

lint: $(VENV)/.developing ## Style, and the contracts between the floors
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(VENV)/.developing ## mypy strict and pyright
	$(BIN)/mypy
	$(BIN)/pyright

format: $(VENV)/.developing ## Mend what ruff can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.benching ## Measure, against peers; writes benchmarks/results/*.json
	for bench in $(filter-out benchmarks/bench_optimizers.py,$(wildcard benchmarks/bench_*.py)); do $(BIN)/python $$bench || exit 1; done

optimizers: $(VENV)/.benching ## Measure the optimizers of programs against DSPy's: an hour; goes on where it was stopped
	$(BIN)/python benchmarks/bench_optimizers.py

docs: $(VENV)/.developing ## Check that the documents' links and code hold
	$(PYTEST) -q tests/docs_tests

lock: ## Make the lock files again from pyproject.toml (needs uv)
	uv pip compile --no-strip-extras pyproject.toml --group build --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header -q -o requirements.lock
	uv pip compile --no-strip-extras pyproject.toml --all-extras --group build --group dev --universal --python-version 3.11 --generate-hashes -c requirements.lock --no-emit-index-url --no-header -q -o requirements-dev.lock
	uv pip compile --no-strip-extras --group bench --universal --python-version 3.11 --generate-hashes -c requirements.lock -c requirements-dev.lock --no-emit-index-url --no-header -q -o requirements-bench.lock

clean: ## Remove the virtual environment and caches
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache build dist *.egg-info
