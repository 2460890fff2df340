# The two commands of the README, each of which does its own set-up in .venv: make quickstart, make test.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LOCKED ?=
# One worker more than cores, at most four: tests that wait for processes, servers and clusters leave a core idle.
WORKERS := $(shell cores=$$(getconf _NPROCESSORS_ONLN); if [ $$cores -lt 4 ]; then echo $$((cores + 1)); else echo 4; fi)
PYTEST := $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

.PHONY: docs quickstart test recipes test-offline package soak mutants gpu check vulnerabilities lock install clean

quickstart: $(VENV)/.core
	$(BIN)/redistill run quickstart

test: $(VENV)/.dev
	$(PYTEST)

# What `make test` leaves out: the recipes that ship, each in small from its first stage to its last, and other whole runs.
recipes: $(VENV)/.dev
	$(PYTEST) -m recipes

# The whole suite in a network namespace that holds loopback and nothing else.
test-offline: $(VENV)/.dev
	unshare --map-root-user --net $(BIN)/python tests/without_network.py $(PYTEST) -m "not soak"

# Wheel and sdist, built, installed into a fresh environment and run there.
package: $(VENV)/.dev
	$(BIN)/python -m pytest tests/packaging/check_package.py -p no:cacheprovider

# The fault suite at length: SOAK_KILLS kills -9 in every stage and writer, from the seed SOAK_SEED; a table at the end.
soak: $(VENV)/.dev
	REDISTILL_SOAK=1 SOAK_KILLS=$${SOAK_KILLS:-200} SOAK_SEED=$${SOAK_SEED:-1} $(BIN)/python -m pytest tests/faults -s -o addopts="--strict-markers"
	REDISTILL_SOAK=1 $(BIN)/python -m pytest -m soak
	REDISTILL_SOAK=1 $(BIN)/python -m pytest tests/corpus/test_fuzz.py tests/corpus/test_bombs.py tests/verify/test_fuzz_answers.py tests/io/test_fuzz_records.py tests/config/test_recipe_fuzz.py

# Is a line that decides something tested? Each mutant of a file must fail in the tests that mirror it: tests/mutants.py.
# FILES="verify/policy.py evaluate/scores.py": only these.
mutants: $(VENV)/.dev
	$(BIN)/python tests/mutants.py $(FILES)

# Everything that only a GPU can show, in 8 minutes, without a network: benchmarks/README.md. FLAGS=--tiny: tiny shapes, on a CPU too.
# With .venv where it is there, else with a PYTHON that holds the dependencies already; installs nothing.
gpu:
	$(if $(wildcard $(BIN)/python),$(BIN)/python,$(PYTHON)) benchmarks/gpu.py $(FLAGS)

check: $(VENV)/.dev
	$(BIN)/ruff check --no-cache src tests benchmarks experiments docs/*.py examples/*.py
	$(BIN)/ruff format --no-cache --check src tests benchmarks experiments docs/*.py examples/*.py
	$(BIN)/mypy
	$(BIN)/python -m pytest tests/contracts -q --durations=0
	$(MAKE) --no-print-directory vulnerabilities

# Known vulnerabilities of the locked packages; says so where nobody can be asked. LOOKUP=required makes that a failure.
vulnerabilities: $(VENV)/bin/python
	@test -e $(VENV)/audit/.done || { $(PYTHON) -m venv $(VENV)/audit && $(VENV)/audit/bin/python -m pip install --quiet --require-hashes --no-deps -r locks/audit.txt && touch $(VENV)/audit/.done; } || true
	@LOOKUP=$(LOOKUP) $(VENV)/audit/bin/python locks/vulnerabilities.py

# The pages of docs/ as a site in site/, which opens from disk; the reference is written from the code first.
docs: $(VENV)/.core
	sh locks/install.sh $(VENV) docs $(LOCKED)
	$(BIN)/python docs/generate.py
	$(BIN)/mkdocs build --quiet --strict

# The locks anew, from pyproject.toml and constraints.txt; wants uv.
lock:
	sh locks/lock.sh

install: $(VENV)/.dev

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || { echo "redistill needs Python 3.11, 3.12 or 3.13; name one: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.core: $(VENV)/bin/python pyproject.toml constraints.txt $(wildcard locks/*.txt)
	sh locks/install.sh $(VENV) core $(LOCKED)
	@touch $@

$(VENV)/.dev: $(VENV)/.core
	sh locks/install.sh $(VENV) dev $(LOCKED)
	@touch $@

clean:
	rm -rf $(VENV) build dist site src/*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
