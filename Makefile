# Everything you do with this repository.  Needs Python 3.11 or later and make; what else it needs it installs into VENV.
#
#   VENV=DIR     where the virtual environment is (.venv)
#   PYTHON=PATH  which interpreter makes it (the newest on PATH from 3.11 to 3.14)
#   ARGS=...     more arguments for what the target runs, for example: make tier1 ARGS="-k window -x"

VENV ?= .venv
PYTHON ?=
ARGS ?=

PY := $(VENV)/bin/python
PYTEST := $(PY) -m pytest
PYTHON_SOURCES := $(wildcard streamflow tests tools bench examples)
DEMO := $(VENV)/bin/streamflow demo --all
UV_VERSION := 0.13.9

# One stamp for each interpreter asked for by name, so that PYTHON=python3.13 is not answered with an older environment.
STAMP := $(VENV)/.stamp$(if $(PYTHON),-$(shell $(PYTHON) -c 'import sys; print(sys.implementation.cache_tag)' 2>/dev/null))
BENCH_STAMP := $(VENV)/.stamp-bench

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help venv demo test check format lint types floors tier1 tier2 test-all-pythons test-lowest chaos fix docs lock \
	bench bench-compare bench-peers build clean

help: ## Show this
	@awk -F ':.*## ' '/^[a-z][a-z0-9-]*:.*## / { printf "  make %-17s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

venv: $(STAMP) ## Make the virtual environment, or bring it up to the lock

$(STAMP): requirements/dev.txt pyproject.toml .ci/bootstrap
	@.ci/bootstrap $(VENV) $(PYTHON)
	@touch $@

# ---- run and check

demo: $(STAMP) ## Run the demos to their end and print what they found
	$(DEMO) $(ARGS)

test: check ## Check everything: what CI runs
	@$(MAKE) --no-print-directory tier1
	@$(MAKE) --no-print-directory tier2

check: format lint types floors ## Format, lint, types and floors; changes nothing (make -k check: all that is wrong)

format: $(STAMP)
	$(PY) -m ruff format --check $(PYTHON_SOURCES)

lint: $(STAMP)
	$(PY) -m ruff check $(PYTHON_SOURCES)

types: $(STAMP)
	$(PY) -m mypy streamflow $(wildcard tests/typing)
	$(if $(wildcard tests/typing/*.py),$(PY) -m pyright --pythonpath $(PY))

floors: $(STAMP)
	$(VENV)/bin/lint-imports --no-cache --no-logo

tier1: $(STAMP) ## Tests and doctests that need only Python; under five minutes
	$(PYTEST) -m "not tier2 and not chaos" $(ARGS)

tier2: $(STAMP) ## Tests with real services, a browser, other interpreters
	$(PYTEST) -m "tier2 and not chaos" $(ARGS)

test-all-pythons: ## Tier 1 on every CPython from 3.11 at hand
	@set -e; .ci/pythons | while read -r version python; do \
		echo "== CPython $$version"; \
		$(MAKE) --no-print-directory tier1 VENV=.venv-$$version PYTHON="$$python" </dev/null; \
	done

test-lowest: ## Tier 1 with the oldest dependencies that pyproject.toml allows
	@$(MAKE) --no-print-directory venv VENV=.venv-lowest
	.venv-lowest/bin/python -m pip install --quiet --require-hashes --requirement requirements/lowest.txt
	.venv-lowest/bin/python -m pytest -m "not tier2 and not chaos" --ignore tests/repo $(ARGS)

chaos: $(STAMP) ## Kill, hang and partition until told otherwise
	$(PYTEST) -m chaos $(ARGS)

# ---- change

fix: $(STAMP) ## Format, and repair what ruff can
	$(PY) -m ruff check --fix $(PYTHON_SOURCES)
	$(PY) -m ruff format $(PYTHON_SOURCES)

docs: $(STAMP) ## Rewrite what is generated in docs/: the diagram of the floors
	$(PY) tools/floors.py docs/architecture.md

lock: ## Lock what pyproject.toml and requirements/*.in ask for (UPGRADE=1: the newest)
	@test -x .venv-lock/bin/python || "$$(.ci/pythons --path | head -n 1 | cut -d ' ' -f 2-)" -m venv .venv-lock
	@.venv-lock/bin/python -m pip install --quiet uv==$(UV_VERSION)
	$(LOCK) pyproject.toml requirements/dev.in --all-extras --output-file requirements/dev.txt
	$(LOCK) requirements/bench.in --output-file requirements/bench.txt
	$(LOCK) pyproject.toml --all-extras --resolution lowest-direct --output-file requirements/lowest.txt

LOCK = UV_CUSTOM_COMPILE_COMMAND="make lock" .venv-lock/bin/uv pip compile --quiet --universal --python-version 3.11 \
	--generate-hashes $(if $(UPGRADE),--upgrade)

# ---- measure

bench: $(BENCH_STAMP) ## Measure, and append to the log
	$(PY) -m bench.run $(ARGS)

bench-compare: $(STAMP) ## Show what changed since the last measurement
	$(PY) -m bench.compare $(ARGS)

bench-peers: $(BENCH_STAMP) ## Measure other engines on the same work
	$(PY) -m bench.peers $(ARGS)

$(BENCH_STAMP): $(STAMP) requirements/bench.txt
	$(PY) -m pip install --quiet --require-hashes --requirement requirements/bench.txt
	@touch $@

# ---- ship

build: $(STAMP) ## Build the wheel and the source distribution into dist/
	$(PY) -m hatchling build --clean

clean: ## Remove what make and the tools made
	rm -rf .venv-* dist build .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	@test ! -f "$(VENV)/pyvenv.cfg" || rm -rf "$(VENV)"
	@find streamflow tests $(wildcard tools bench examples) -name __pycache__ -type d -exec rm -rf {} +
