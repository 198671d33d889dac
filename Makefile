# Main targets: `make quickstart` and `make test`. Both install the package into the virtual environment .venv first.
PYTHON ?= python3
VENV   ?= .venv
BIN     = $(VENV)/bin
PYTEST  = $(BIN)/python -m pytest
# Install with uv if it is available, because it is faster than pip.
INSTALL = $(if $(shell command -v uv),uv pip install --quiet --python $(BIN)/python,$(BIN)/python -m pip install --quiet)
# Number of test processes for tests that compute, and for tests that mostly wait for other processes.
WORKERS ?= 2
WAITERS ?= 3
# Folder and further options of the run of `make quickstart`.
RUN      ?= runs/quickstart
RUN_ARGS ?=
JOB_FILES = tests/system/test_job_files.py

.PHONY: quickstart test test-unit test-ray test-all test-rest test-system test-job-files test-browser
.PHONY: test-versions test-lowest test-newest bench check docs links dist format clean

quickstart: $(VENV)/.has-run  ## the smallest of the papers' pipelines, and its report
	$(BIN)/rayspin run jobs/quickstart.toml --out $(RUN) $(RUN_ARGS)
	$(BIN)/rayspin report $(RUN) -o $(RUN)/report.html

# The two targets run in parallel, because the tests with Ray spend half of their time waiting.
test: $(VENV)/.has-test  ## tests that take minutes: units, Ray, one complete run, one killed run
	$(MAKE) --no-print-directory --jobs=2 --output-sync=line test-unit test-ray

test-unit: $(VENV)/.has-test
	$(PYTEST) tests/unit -n $(WORKERS) --dist worksteal $(PYTEST_ARGS)

test-ray: $(VENV)/.has-test
	$(PYTEST) tests/ray tests/smoke $(PYTEST_ARGS)

test-all: export RAYSPIN_SOAK ?= 1
test-all: test test-rest  ## all tests

test-rest: $(VENV)/.has-test $(VENV)/.has-integrations  ## tests that are not part of `make test`: complete jobs, faults, a real Slurm
	$(PYTEST) tests/slurm -n $(WAITERS) --dist worksteal $(PYTEST_ARGS)
	$(MAKE) --no-print-directory --jobs=2 --output-sync=line test-system test-job-files
	$(MAKE) --no-print-directory test-browser

test-system: $(VENV)/.has-test $(VENV)/.has-integrations
	$(PYTEST) tests/system tests/faults --ignore=$(JOB_FILES) -n $(WAITERS) --dist worksteal $(PYTEST_ARGS)

# These tests run in one process, because each of several processes would first run all jobs.
test-job-files: $(VENV)/.has-test $(VENV)/.has-integrations
	$(PYTEST) $(JOB_FILES) $(PYTEST_ARGS)

# The measured times need an idle machine, so these tests run alone. tests/support/browser/install.sh installs a browser.
test-browser: $(VENV)/.has-test  ## reports in a real Chromium
	$(PYTEST) tests/browser $(PYTEST_ARGS)

# The two targets run in parallel, because they wait for downloads and for Ray.
test-versions: dist  ## the wheel in empty environments, with the lowest and the newest versions of its dependencies
	$(MAKE) --no-print-directory --jobs=2 --output-sync=target test-lowest test-newest

test-lowest: $(VENV)/.has-dev
	UV=$(abspath $(BIN)/uv) .ci/versions lowest-direct

test-newest: $(VENV)/.has-dev
	UV=$(abspath $(BIN)/uv) .ci/versions highest

bench: $(VENV)/.has-test $(VENV)/.has-integrations  ## run the benchmarks and print their results
	$(PYTEST) tests/benchmarks --benchmark-enable $(PYTEST_ARGS)

check: $(VENV)/.has-test $(VENV)/.has-dev  ## lint, types, layers, shell scripts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/shellcheck .ci/run .ci/versions slurm/*.sbatch slurm/*.sh tests/support/slurm/boot/*.sh tests/support/browser/*.sh

docs: $(VENV)/.has-docs $(VENV)/.has-test  ## build the site of the documentation in build/docs
	$(BIN)/sphinx-build -W --keep-going -b html docs build/docs

# `.ci/run` does not run this target, because it needs the Internet and fails when a server of others is down. The files
# outside of docs are not part of the site, so Sphinx reports that no table of contents includes them.
links: $(VENV)/.has-docs $(VENV)/.has-test  ## request each external link of the site, the README and the changelog
	$(BIN)/sphinx-build -q -b linkcheck -c docs -D root_doc=README \
	  -D "include_patterns=README.md,CHANGELOG.md,docs/**.md" . build/links

dist: $(VENV)/.has-dev  ## build and check the wheel and the source distribution
	rm -rf dist
	$(BIN)/python -m build --installer uv
	$(BIN)/twine check --strict dist/*

format: $(VENV)/.has-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) build dist runs

# torch is installed first with its exact version, so that a local CPU build of that version is used if available.
$(VENV)/.has-run: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("rayspin needs Python 3.11 or newer: make PYTHON=python3.11 ..." if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) "$$(grep '^torch==' constraints.txt)"
	$(INSTALL) --constraint constraints.txt --editable '.[train]'
	touch $@

# Install the extra of that name in pyproject.toml.
$(VENV)/.has-%: $(VENV)/.has-run
	$(INSTALL) --constraint constraints.txt --editable '.[$*]'
	touch $@
