# Two commands on a fresh machine: `make quickstart` and `make test`. Everything goes into .venv.
PYTHON ?= python3
VENV   ?= .venv
BIN     = $(VENV)/bin
INSTALLED = $(VENV)/.installed

.PHONY: quickstart test check format clean

quickstart: $(INSTALLED)  ## generate labyrinths, train the effective-field network, evaluate, draw
	$(BIN)/rayspin run jobs/quickstart.toml $(RUN_ARGS)

test: $(INSTALLED)  ## all tests that this machine can run
	$(BIN)/python -m pytest $(PYTEST_ARGS)

check: $(INSTALLED)  ## lint, types, layers, shell scripts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/shellcheck .ci/run slurm/*.sbatch slurm/*.sh tests/slurm/boot/*.sh

format: $(INSTALLED)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) runs

# torch goes first and by its exact pin, so that a local CPU build of that version is taken where there is one.
$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("rayspin needs Python 3.11 or newer: make PYTHON=python3.11 ..." if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet "$$(grep '^torch==' constraints.txt)"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test]'
	touch $@
