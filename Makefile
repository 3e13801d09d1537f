# `make` says what there is. Everything runs in .venv, made by `make setup` from the lock files.

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
LOCKS := requirements-uv.lock requirements.lock requirements-dev.lock
PYTHON ?= $(shell command -v python3.11 || command -v python3)
PYTEST := $(BIN)/python -m pytest
PARALLEL := --dist loadfile --no-loadscope-reorder
UNIT_WORKERS ?= auto
# 0: one after the other. Stacks wait as much as they work, so two go side by side; that all tests on the one shared broker
# may is not shown yet
SERVER_WORKERS ?= 0
STACK_WORKERS ?= 2
LOCK := $(BIN)/uv pip compile --quiet --generate-hashes --no-emit-index-url --no-emit-find-links --no-annotate --no-header --python-version 3.11
SERVERS_STAMP := $(VENV)/.servers

export PYTHONUTF8 := 1
# tests start hundreds of processes: none of them is to compile again what another has compiled
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup setup-servers lock test lint unit integration e2e chaos chaos-smoke proto proto-release proto-check demo up down status bench-bus bench-state bench-serving bench-stream bench-models bench-loop overload fuzz clean

help: ## Say what there is
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP) ## Make .venv with exactly the locked packages, and link this repository's own
	@$(BIN)/python infra/setup/link_workspace.py

$(STAMP): $(LOCKS)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "setup: Python 3.11 or newer is needed; name it with PYTHON=..." >&2; exit 1; }
	@test -x $(BIN)/python || { echo "setup: making $(VENV)"; $(PYTHON) -m venv $(VENV); }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-uv.lock
	@echo "setup: installing the locked packages"
	@$(BIN)/uv pip sync --quiet --require-hashes --python $(BIN)/python $(LOCKS)
	@touch $@

setup-servers: setup $(SERVERS_STAMP) ## Check (on Debian as root: install) what the servers need, and fetch their jars

$(SERVERS_STAMP): infra/setup/servers.sh infra/kafka/pom.xml infra/zipkin/pom.xml | $(STAMP)
	@infra/setup/servers.sh
	@$(BIN)/python -m millrace_local.install
	@touch $@

lock: setup ## Resolve requirements*.in again (keeps what still fits; UPGRADE=--upgrade takes the newest)
	$(LOCK) $(UPGRADE) requirements.in -o requirements.lock >/dev/null
	$(LOCK) $(UPGRADE) -c requirements.lock requirements-dev.in -o requirements-dev.lock >/dev/null

test: setup ## All that must pass: lint, unit, integration, e2e, a little chaos
	@$(MAKE) --no-print-directory lint
	@$(MAKE) --no-print-directory unit
	@$(MAKE) --no-print-directory integration
	@$(MAKE) --no-print-directory e2e
	@$(MAKE) --no-print-directory chaos-smoke

lint: setup ## Style, types, architecture, contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	PYTHONPATH=$$(echo libs/*/src services/*/src | tr ' ' ':') $(BIN)/lint-imports --no-cache
	@$(MAKE) --no-print-directory proto-check

unit: setup ## Tests that need no server, in parallel
	$(PYTEST) -n $(UNIT_WORKERS) $(PARALLEL)

integration: setup-servers ## Tests on a real Kafka and a real PostgreSQL
	$(PYTEST) -m "(broker or db) and not e2e and not browser and not chaos" -n $(SERVER_WORKERS) $(PARALLEL)

e2e: setup-servers ## Tests of the whole platform
	$(PYTEST) -m "e2e or browser or chaos" -n $(STACK_WORKERS) $(PARALLEL)

chaos: setup-servers ## Kill everything while a stream runs (TARGET=… STORE=… EVENTS=… SEED=… KILLS=…; BROKEN=… must fail)
	$(BIN)/python -m tests.chaos $(foreach target,$(TARGET),--target $(target)) $(if $(STORE),--store $(STORE)) \
		$(if $(EVENTS),--events $(EVENTS)) $(if $(SEED),--seed $(SEED)) $(if $(KILLS),--kills $(KILLS)) $(if $(BROKEN),--broken $(BROKEN))

chaos-smoke: setup-servers ## The same with few events, each target once, and broken variants that must fail
	$(BIN)/python -m tests.chaos --smoke --events 5000 --output .millrace/chaos-smoke.json

proto: setup ## Generate libs/proto from proto/
	$(BIN)/python proto/generate.py

proto-release: proto-check ## Make today's contracts the ones that later changes may not break
	$(BIN)/buf build -o proto/released.binpb

proto-check: setup ## Lint the contracts, see that they break no reader and that the generated code is theirs
	$(BIN)/buf lint
	$(BIN)/buf breaking --against proto/released.binpb
	$(BIN)/python proto/generate.py --check

demo: setup-servers ## See the loop close on real data, in minutes
	@$(BIN)/python -m millrace.demo

up: setup-servers ## Start Kafka, the tracing UI and all services in the background
	@$(BIN)/millrace up --detach

down: setup ## Stop what `up` or `demo` left running
	@$(BIN)/millrace down

status: setup ## Say what is running
	@$(BIN)/millrace status

bench-bus: setup-servers ## Measure the bus on this machine
	@$(BIN)/python benchmarks/bus.py

bench-state: setup-servers ## Measure how soon a service with a million entities is ready again
	@$(BIN)/python benchmarks/state.py

bench-serving: setup-servers ## Measure serving beside other model servers; ARGS="--quick"
	@infra/setup/load_generators.sh
	@$(BIN)/python -m benchmarks.serving $(ARGS)

bench-stream: setup-servers ## Measure events to predictions beside other stream engines; ARGS="--quick"
	@$(BIN)/python -m benchmarks.stream $(ARGS)

bench-models: setup ## Measure many models in one process, and changing them under load
	@$(BIN)/python -m benchmarks.models $(ARGS)

bench-loop: setup ## Play the retraining policy over recorded data (MILLRACE_BENCH_DATA=folder)
	@$(BIN)/python -m benchmarks.loop $(ARGS)

overload: setup-servers ## Ten times what the stack can take, and each service slow once; ARGS="--minutes 5 --times 10"
	@$(BIN)/python -m tests.overload $(ARGS)

fuzz: setup ## Fuzz decoders, documents, files and APIs for long, ever new
	$(PYTEST) --hypothesis-profile=fuzz --timeout 3600 libs/service/tests services/*/tests/integration/test_openapi.py services/*/tests/unit/test_*fuzz.py services/training/tests/unit/adapters/test_wire_fuzz.py libs/contracts/tests/test_pipeline_file_fuzz.py libs/kernel/tests/test_expressions_fuzz.py libs/client/tests/unit/test_fuzz.py

clean: ## Remove caches; the environment and your data stay
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -not -path './$(VENV)/*' -type d -prune -exec rm -rf {} +
