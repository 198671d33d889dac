# Two commands on a fresh machine: `make quickstart` and `make test`. Everything goes into .venv.
PYTHON ?= python3
VENV   ?= .venv
BIN     = $(VENV)/bin
PYTEST  = $(BIN)/python -m pytest
# uv is quicker than pip where it is there.
INSTALL = $(if $(shell command -v uv),uv pip install --quiet --python $(BIN)/python,$(BIN)/python -m pip install --quiet)
# Two processes for tests that compute, and one more for those that mostly wait for other processes.
WORKERS ?= 2
WAITERS ?= 3
JOB_FILES = tests/system/test_job_files.py

.PHONY: quickstart test test-unit test-ray test-all test-rest test-system test-job-files bench check format clean

quickstart: $(VENV)/.has-run  ## generate labyrinths, train the effective-field network, evaluate, draw
	$(BIN)/rayspin run jobs/quickstart.toml $(RUN_ARGS)

# Beside each other: those over Ray wait for half of their time.
test: $(VENV)/.has-test  ## in minutes: every unit, Ray, one run from end to end, one kill
	$(MAKE) --no-print-directory --jobs=2 --output-sync=line test-unit test-ray

test-unit: $(VENV)/.has-test
	$(PYTEST) tests/unit -n $(WORKERS) --dist worksteal $(PYTEST_ARGS)

test-ray: $(VENV)/.has-test
	$(PYTEST) tests/ray tests/smoke $(PYTEST_ARGS)

test-all: export RAYSPIN_SOAK ?= 1
test-all: test test-rest  ## every test, with nothing left out

test-rest: $(VENV)/.has-test $(VENV)/.has-integrations  ## what `make test` leaves: whole jobs, faults, a real Slurm
	$(PYTEST) tests/slurm -n $(WAITERS) --dist worksteal $(PYTEST_ARGS)
	$(MAKE) --no-print-directory --jobs=2 --output-sync=line test-system test-job-files

test-system: $(VENV)/.has-test $(VENV)/.has-integrations
	$(PYTEST) tests/system tests/faults --ignore=$(JOB_FILES) -n $(WAITERS) --dist worksteal $(PYTEST_ARGS)

# In a process of its own: each one of several would run every job first.
test-job-files: $(VENV)/.has-test $(VENV)/.has-integrations
	$(PYTEST) $(JOB_FILES) $(PYTEST_ARGS)

bench: $(VENV)/.has-test $(VENV)/.has-integrations  ## the benchmarks, with figures
	$(PYTEST) tests/benchmarks --benchmark-enable $(PYTEST_ARGS)

check: $(VENV)/.has-test $(VENV)/.has-dev  ## lint, types, layers, shell scripts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/shellcheck .ci/run slurm/*.sbatch slurm/*.sh tests/support/slurm/boot/*.sh

format: $(VENV)/.has-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) runs

# torch goes first and by its exact pin, so that a local CPU build of that version is taken where there is one.
$(VENV)/.has-run: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("rayspin needs Python 3.11 or newer: make PYTHON=python3.11 ..." if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) "$$(grep '^torch==' constraints.txt)"
	$(INSTALL) --constraint constraints.txt --editable '.[train]'
	touch $@

# The extras of that name in pyproject.toml.
$(VENV)/.has-%: $(VENV)/.has-run
	$(INSTALL) --constraint constraints.txt --editable '.[$*]'
	touch $@
