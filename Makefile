# Every command sets up all it needs.
#
#     make search     the main job: nas search --budget 100000 --trials 200
#     make test       format, lint, types and the tests
#     make test-slow  the same with the slow tests
#     make test-lowest  those that meet other packages, with the lowest versions, in an environment of its own
#     make check      format, lint and types alone
#     make clean      removes the virtual environments and what was built
#
# With another Python, as in `make PYTHON=python3.13 test`, the environment is another too: .venv-python3.13.
PYTHON ?= python3
VENV ?= $(if $(filter python3,$(notdir $(PYTHON))),.venv,.venv-$(notdir $(PYTHON)))
CONSTRAINTS ?= constraints.txt
BIN := $(VENV)/bin
LOWEST := $(wildcard tests/test_data*.py) $(patsubst %,tests/test_%.py,augment blocks cli curves export folds kernels \
	layers models module options recipe report serial space stored train)

.PHONY: search test test-slow test-lowest check clean

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

test-lowest:
	$(MAKE) VENV=$(VENV)-lowest CONSTRAINTS=constraints.lowest.txt $(VENV)-lowest/.installed-test
	$(VENV)-lowest/bin/python -m pytest -n 2 --dist worksteal -m "not slow" $(LOWEST)

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "nas needs Python 3.11 or newer: make PYTHON=python3.12 …")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(BIN)/python pyproject.toml $(CONSTRAINTS)
	$(BIN)/pip install --quiet --disable-pip-version-check -c $(CONSTRAINTS) -e .
	touch $@

$(VENV)/.installed-test: $(BIN)/python pyproject.toml $(CONSTRAINTS)
	$(BIN)/pip install --quiet --disable-pip-version-check -c $(CONSTRAINTS) -e '.[test]'
	touch $@ $(VENV)/.installed

clean:
	rm -rf .venv .venv-* $(VENV) dist build
