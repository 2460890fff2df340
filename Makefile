# The two commands of the README, each of which does its own set-up in .venv: make quickstart, make test.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: quickstart test soak check install clean

quickstart: $(VENV)/.core
	$(BIN)/redistill run recipes/quickstart.yaml

test: $(VENV)/.dev
	$(BIN)/python -m pytest -n logical --maxprocesses 4 --dist loadfile

# The fault suite at length: SOAK_KILLS kills -9 in every room and writer, from the seed SOAK_SEED; a table at the end.
soak: $(VENV)/.dev
	SOAK_KILLS=$${SOAK_KILLS:-200} SOAK_SEED=$${SOAK_SEED:-1} $(BIN)/python -m pytest tests/faults -s -o addopts="--strict-markers"

check: $(VENV)/.dev
	$(BIN)/ruff check --no-cache src tests benchmarks
	$(BIN)/ruff format --no-cache --check src tests benchmarks
	$(BIN)/mypy
	$(BIN)/python -m pytest tests/contracts -q --durations=0

install: $(VENV)/.dev

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || { echo "redistill needs Python 3.11, 3.12 or 3.13; name one: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.core: $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/pip install --quiet -c constraints.txt -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.core
	$(BIN)/pip install --quiet -c constraints.txt -e '.[dev,lora,eight-bit]'
	@touch $@

clean:
	rm -rf $(VENV) build dist src/*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
