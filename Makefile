# Every command sets up all it needs.
#
#     make search     the main job: nas search --budget 100000 --trials 200
#     make test       format, lint, types and the tests
#     make test-slow  the same with the slow tests
#     make check      format, lint and types alone
#     make clean      removes the virtual environment and what was built
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: search test test-slow check clean

search: $(VENV)/.installed
	$(BIN)/nas search --budget 100000 --trials 200

check: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: check
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow"

test-slow: check
	$(BIN)/python -m pytest

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "nas needs Python 3.11 or newer: make PYTHON=python3.12 …")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(BIN)/python pyproject.toml constraints.txt
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	touch $@

$(VENV)/.installed-test: $(BIN)/python pyproject.toml constraints.txt
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	touch $@ $(VENV)/.installed

clean:
	rm -rf $(VENV) dist build
