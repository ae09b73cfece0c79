# `make run` and `make test` are all that a fresh machine with Python and make needs: they build .venv and fill it.
#
#   make run                       follow the built-in simulator, with PostgreSQL and Valkey of its own
#   make run ENDPOINT=mainnet      follow a real node: a name, an address, or wss://node,https://node
#   make test                      the whole suite, and full branch coverage of decoders/
#   make check                     format, lint, types and the fast tests, in under a minute
#   make bench                     time per message, against anchorpy on the same bytes
#   make fuzz                      bytes to facts under a fuzzer, for five minutes of processor time
#   make chaos                     every fault, and kill -9, against the simulator's ledger; CHAOS_ARGS=--part: the short one

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.PHONY: run test check format bench fuzz chaos lock clean

export PYTHON
# Compiled tests are kept: to rewrite their assertions takes a third of `make check`.
unexport PYTHONDONTWRITEBYTECODE
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
ENDPOINT ?=
ARGS ?=
PYTEST_ARGS ?=
FUZZ_ARGS ?= --seconds 300
CHAOS_ARGS ?=
SOURCES := decoders monitor simulator tests

run: $(INSTALLED)
	exec $(BIN)/launch-monitor run $(if $(ENDPOINT),--endpoint "$(ENDPOINT)") $(ARGS)

# Both parts run and tell, whatever becomes of the first.
test: $(INSTALLED)
	status=0; \
	$(BIN)/pytest tests/decoders -q --cov=decoders --cov-branch --cov-fail-under=100 || status=$$?; \
	$(BIN)/pytest $(PYTEST_ARGS) || status=$$?; \
	exit $$status

check: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	# Two at a time; workers must collect in one order, which sets of parameters have with one hash seed alone.
	PYTHONHASHSEED=0 HYPOTHESIS_PROFILE=quick $(BIN)/pytest -q -n 2 -m "not slow and not ci"

format: $(INSTALLED)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(INSTALLED)
	bench/run.sh

fuzz: $(VENV)/.fuzz
	nice -n 10 $(BIN)/python -m tests.fuzz.run $(FUZZ_ARGS)

chaos: $(INSTALLED)
	$(BIN)/python -m tests.chaos.run $(CHAOS_ARGS)

# Newer versions of everything, and the file that pins them.
lock:
	rm -rf $(VENV)-lock
	$$(sh .ci/find-python) -m venv $(VENV)-lock
	$(VENV)-lock/bin/pip install --quiet --disable-pip-version-check --editable '.[embedded,export,dev,fuzz]'
	{ head -n 1 constraints.txt; $(VENV)-lock/bin/pip freeze --exclude-editable; } > constraints.new
	mv constraints.new constraints.txt
	rm -rf $(VENV)-lock

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage

$(INSTALLED): pyproject.toml constraints.txt
	@python=$$(sh .ci/find-python); \
	echo "Installing into $(VENV) with $$python (this is done once)"; \
	[ -x $(BIN)/python ] || "$$python" -m venv $(VENV); \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[embedded,dev]'
	@touch $@

$(VENV)/.fuzz: $(INSTALLED)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[fuzz]'
	@touch $@
