# What a developer types. `make help` lists it.

# The first Python that is new enough: the one that is called python3 where possible.
PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$python" && break; done)
VENV ?= .venv
BIN := $(VENV)/bin
# STRICT=1 (CI): a test that is skipped because something is not installed is a failure.
STRICT ?=
FUZZ_SECONDS ?= 60
# Tests run in three processes, a file at a time: much of their time is waiting.
PARALLEL ?= -n 3 --dist loadfile --no-loadscope-reorder
SOAK_CONNECTIONS ?= 10000
SOAK_SECONDS ?= 60

.DEFAULT_GOAL := help
.PHONY: help build demo serve test test-all lint types strict sanitize debug fuzz soak autobahn bench bench-micro dist dist-check clean

help:  ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# --- stamps: what is up to date is not made again

# The environment is remade when what it is made from changes.
$(VENV)/.demo: pyproject.toml requirements/build.txt requirements/demo.txt
	@test -n "$(PYTHON)" || { echo "fastnet needs Python 3.11 or newer; say where it is: make PYTHON=…" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet -r requirements/build.txt -r requirements/demo.txt
	@touch $@

$(VENV)/.test: $(VENV)/.demo requirements/test.txt requirements/lint.txt
	$(BIN)/pip install --quiet -r requirements/test.txt -r requirements/lint.txt
	@touch $@

SOURCES := $(shell find fastnet_ext -name '*.pyx' -o -name '*.pxd' -o -name '*.h')

# An editable install puts `fastnet` on the path; what it compiles is out of reach of a later build, so it compiles
# nothing.
$(VENV)/.built: $(VENV)/.demo setup.py $(SOURCES)
	$(BIN)/python setup.py --quiet build_ext --inplace
	@$(BIN)/python -c 'import importlib.metadata as m; m.version("fastnet-server")' 2>/dev/null || \
		FASTNET_ONLY=none $(BIN)/pip install -qq --no-build-isolation --no-deps --editable .
	@touch $@

# protoc's output for the examples.
GENERATED := examples/generated/.made

$(GENERATED): $(wildcard proto/*.proto) $(VENV)/.built
	@mkdir -p $(@D)
	$(BIN)/python -m fastnet proto compile proto --out $(@D) >/dev/null
	@touch $@

# --- using it

build: $(VENV)/.built $(GENERATED)  ## build the package into .venv

demo: build  ## start the demo service and drive it with curl, websockets and grpcio
	$(BIN)/python -m examples.demo

serve: build  ## keep the demo service running at http://127.0.0.1:8000
	$(BIN)/python -m fastnet run examples.demo.service:app

# --- judging it

# What memory and time things take is measured once: it is the engine's affair, not the loop's.
test: $(VENV)/.test build  ## all tests, on uvloop, and what touches a loop on stock asyncio too
	STRICT=$(STRICT) $(BIN)/python -m pytest $(PARALLEL)
	STRICT=$(STRICT) FASTNET_TEST_LOOP=asyncio $(BIN)/python -m pytest $(PARALLEL) -m "not dist and not measures" tests/serve tests/ratelimit tests/compression tests/net tests/fastnet tests/asgi tests/wire tests/server tests/conformance

test-all: $(VENV)/.demo  ## the tests under every Python from 3.11 at hand, each in an environment of its own
	STRICT=$(STRICT) $(BIN)/python -m tests.every_python

lint: $(VENV)/.test  ## ruff
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.test build  ## mypy --strict and pyright
	$(BIN)/mypy
	$(BIN)/pyright

strict: $(VENV)/.test  ## build into build/strict; compilers' warnings and performance hints are errors
	FASTNET_BUILD=strict $(BIN)/python setup.py --quiet build_ext --build-lib build/strict --build-temp build/strict-temp

sanitize: $(VENV)/.test  ## the parsers' tests and the fuzzers under AddressSanitizer and UBSan
	$(BIN)/python -m tests.sanitize

debug: $(VENV)/.test  ## the engine's tests on a build that checks its invariants and counts its objects
	$(BIN)/python -m tests.debug $(TESTS)

fuzz: $(VENV)/.test build  ## each fuzzer for FUZZ_SECONDS (60)
	$(BIN)/python -m tests.fuzz --seconds $(FUZZ_SECONDS)

soak: $(VENV)/.test build  ## SOAK_CONNECTIONS (10,000) idle WebSockets and a storm of SOAK_SECONDS (60) with slow readers
	$(BIN)/python -m tests.soak --connections $(SOAK_CONNECTIONS) --seconds $(SOAK_SECONDS)

# The suite is of Python 2.7.
AUTOBAHN := build/autobahn/bin/wstest

$(AUTOBAHN): | $(VENV)/.test build
	$(BIN)/python -m tests.conformance.autobahn --install

autobahn: $(AUTOBAHN)  ## all cases of Autobahn's WebSocket suite; wants Python 2.7 and a quarter of an hour
	$(BIN)/python -m tests.conformance.autobahn

bench: build  ## whole servers against their peers; writes benches/results/
	$(BIN)/python -m benches.load all

bench-micro: $(VENV)/.test build  ## the engine's parts, with pytest-benchmark
	$(BIN)/python -m pytest --benchmark-enable benches/micro

# --- handing it out

dist: $(VENV)/.test  ## sdist and wheel
	$(BIN)/python -m build

dist-check: $(VENV)/.test  ## build sdist and wheel, install the wheel in an empty environment, serve a request
	STRICT=$(STRICT) $(BIN)/python -m pytest -m dist tests/packaging

clean:  ## remove what was built, not the environment
	rm -rf build dist *.egg-info $(VENV)/.built examples/generated
	find fastnet_ext -name '*.so' -delete
