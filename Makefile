.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PATHS := src tests benchmarks fuzz

# The tests start the server some hundred times, and the benchmarks measure it as it is installed:
# neither may compile the package at each start, whatever the environment says.
unit crash bench scale: export PYTHONDONTWRITEBYTECODE =

.PHONY: help serve test fix check unit crash fuzz bench scale lock docs clean

help: ## Show this help
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

serve: $(VENV)/.runtime ## Start the server on 127.0.0.1:8042 and DICOM port 4242, data in ./isocenter-data
	@exec $(BIN)/isocenter serve $(CONFIG)

test: check unit ## Check format, lint, types and layers, and run all tests

check: $(VENV)/.development
	$(BIN)/ruff format --check --quiet $(PATHS)
	$(BIN)/ruff check --quiet $(PATHS)
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python -m tests.support.sizes

unit: $(VENV)/.development
	$(BIN)/pytest --numprocesses=2 --dist=loadfile --no-loadscope-reorder $(PYTEST_ARGS)

fix: $(VENV)/.development ## Format the code and fix what the linter can fix
	$(BIN)/ruff check --fix --quiet $(PATHS)
	$(BIN)/ruff format --quiet $(PATHS)

crash: $(VENV)/.development ## Kill servers under load 50 times (CRASHES=50), on each database and storage
	ISOCENTER_TEST_CRASHES=$(or $(CRASHES),50) $(BIN)/pytest --numprocesses=2 --timeout=0 \
	  tests/integration/test_crash_ingest.py tests/integration/test_crash_edits.py \
	  tests/integration/test_crash_jobs.py $(PYTEST_ARGS)

fuzz: $(VENV)/.fuzz ## Fuzz each reader of foreign bytes for 60 s (FUZZ_SECONDS=60)
	$(BIN)/python -m fuzz.campaign --seconds $(or $(FUZZ_SECONDS),60) $(FUZZ_TARGETS)

bench: $(VENV)/.development ## Measure against Debian's orthanc (apt-get install orthanc dcmtk wrk)
	$(BIN)/python -m benchmarks.compare $(BENCH_ARGS)

scale: $(VENV)/.development ## Fill an index with a million instances and measure it
	$(BIN)/python -m benchmarks.scale $(SCALE_ARGS)

docs: $(VENV)/.development ## Write the generated parts of docs/ anew
	$(BIN)/python -m isocenter.config.documentation docs

lock: $(VENV)/.development ## Resolve the dependencies anew into the lock files
	$(BIN)/pip install --quiet uv
	$(BIN)/uv pip compile -q --upgrade --universal --generate-hashes --no-header --no-annotate \
	  --python-version 3.11 pyproject.toml -o requirements.lock
	$(BIN)/uv pip compile -q --upgrade --universal --generate-hashes --no-header --no-annotate \
	  --python-version 3.11 --extra dev -c requirements.lock pyproject.toml -o requirements-dev.lock
	$(BIN)/uv pip compile -q --upgrade --universal --generate-hashes --no-header --no-annotate \
	  --python-version 3.11 --extra fuzz -c requirements.lock pyproject.toml -o requirements-fuzz.lock

clean: ## Remove the environment and what tools left
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis benchmarks/scratch fuzz/scratch

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit("Isocenter needs Python 3.11 or newer") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.runtime: $(VENV)/bin/python requirements.lock pyproject.toml
	@echo "Installing the locked dependencies into $(VENV) (once)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

$(VENV)/.development: $(VENV)/.runtime requirements-dev.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements-dev.lock
	@touch $@

$(VENV)/.fuzz: $(VENV)/.development requirements-fuzz.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements-fuzz.lock
	@touch $@
