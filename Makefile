# `make help` lists what there is. Everything runs in .venv; nothing is installed outside of it and the cache folder,
# but for the Debian packages that `stack prepare` may add on Debian and Ubuntu.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
BIN := .venv/bin
INSTANCE ?= dev
MEMBERS := packages/event-contracts packages/service-kit services/task-api services/reminders \
           services/recurrence services/notifier cli stack
MEMBER_FILES := $(addsuffix /pyproject.toml,$(MEMBERS))
SOURCES := packages services cli stack tests bench docs observability

.PHONY: help
help: ## List the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z0-9-]+:.*## / {printf "  \033[1m%-18s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# ------------------------------------------------------------------ set-up

.PHONY: setup
setup: .venv/.installed ## Make .venv from the hashed lock (done by the other targets when needed)

.venv/.installed: requirements-dev.lock pyproject.toml $(MEMBER_FILES)
	@$(PYTHON) -c 'import sys; sys.exit(not ((3, 11) <= sys.version_info[:2] <= (3, 13)))' 2>/dev/null \
	  || { echo "Python 3.11 to 3.13 is needed: install it, or name one with 'make $(MAKECMDGOALS) PYTHON=python3.12'." >&2; exit 1; }
	@[ -x $(BIN)/python ] || $(PYTHON) -m venv .venv \
	  || { echo "Python's venv module is missing: on Debian, 'apt-get install python3-venv'." >&2; exit 1; }
	@echo "setup: installing the locked packages into .venv"
	@awk '/^uv==/ {on = 1} on {print} on && !/\\$$/ {exit}' requirements-dev.lock > .venv/uv.lock.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r .venv/uv.lock.txt
	@$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes requirements-dev.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-build-isolation --no-deps $(addprefix -e ,$(MEMBERS))
	@touch $@

.PHONY: prepare
prepare: setup ## Get what the native stack needs: PostgreSQL, Redis, Java, Kafka, daprd
	@$(BIN)/stack prepare

.PHONY: lock
lock: setup ## Renew the hashed locks, one a service and one for development
	@$(BIN)/uv lock --quiet --upgrade
	@$(BIN)/uv export --quiet --all-packages --no-emit-workspace --no-header --no-annotate -o requirements-dev.lock
	@for service in task-api reminders recurrence notifier; do \
	  $(BIN)/uv export --quiet --package $$service --no-dev --no-emit-workspace --no-header --no-annotate \
	    -o services/$$service/requirements.lock; done
	@$(BIN)/uv export --quiet --package taskstream-cli --no-dev --no-emit-workspace --no-header --no-annotate -o cli/requirements.lock
	@$(BIN)/uv export --quiet --only-group audit --no-emit-workspace --no-header --no-annotate -o requirements-audit.lock
	@rm -f uv.lock

# ------------------------------------------------------------------ run

.PHONY: up
up: prepare ## Start the stack and all services; prints the addresses
	@$(BIN)/stack up --instance $(INSTANCE)

.PHONY: demo
demo: setup ## Play the main flow against the running stack, each step with its time
	@$(BIN)/stack demo --instance $(INSTANCE)

.PHONY: status
status: setup ## Show what runs
	@$(BIN)/stack status --instance $(INSTANCE)

.PHONY: down
down: setup ## Stop everything that `make up` started; data stays
	@$(BIN)/stack down --instance $(INSTANCE)

# ------------------------------------------------------------------ check

.PHONY: fmt
fmt: setup ## Format the code and mend what can be mended
	@$(BIN)/ruff check --quiet --fix-only $(SOURCES)
	@$(BIN)/ruff format --quiet $(SOURCES)

.PHONY: lint
lint: setup ## ruff, format, import contracts
	@$(BIN)/ruff check $(SOURCES)
	@$(BIN)/ruff format --check --quiet $(SOURCES) || { echo "not formatted: run 'make fmt'"; exit 1; }
	@$(BIN)/lint-imports --no-cache > .venv/imports.log || { cat .venv/imports.log; exit 1; }

.PHONY: type
type: setup ## mypy --strict
	@$(BIN)/mypy $(SOURCES)

.PHONY: test-unit
test-unit: setup ## Fast tests without I/O, and the contracts
	@$(BIN)/pytest -q tests/unit tests/contract tests/architecture $(ARGS)

.PHONY: test-integration
test-integration: prepare ## Tests on real PostgreSQL, Redis, Kafka and daprd
	@$(BIN)/pytest -q tests/integration $(ARGS)

.PHONY: test-e2e
test-e2e: prepare ## The whole flow on a stack instance of its own
	@$(BIN)/pytest -q tests/e2e $(ARGS)

.PHONY: test-deploy
test-deploy: prepare ## What Helm and kustomize render; with DEPLOY_APISERVER=1 a real API server is built and asked too
	@$(BIN)/pytest -q tests/deploy $(ARGS)

# Three lanes beside each other, for all wait a good deal: whole systems and how they are delivered, the stations behind
# task-api on backing services of their own, everything else here. The first two are shown when they are through.
# A test on real processes that fails is run again, twice at most, and what each run showed stands at the end: see
# CONTRIBUTING.md.
AGAIN := --reruns 2 --reruns-delay 2 --rerun-show-tracebacks -raR \
  $(addprefix --rerun-exclude-path ,tests/unit tests/contract tests/architecture)
SYSTEMS := $(addprefix tests/,e2e deploy delivery compose observability)
STATIONS := $(filter-out %/task_api %/__pycache__,$(wildcard tests/integration/*))
.PHONY: test
test: setup prepare ## Everything that guards main
	@echo "test: three lanes run beside each other; whole systems and stations are shown at the end"
	@$(BIN)/pytest -q $(AGAIN) $(SYSTEMS) $(ARGS) > .venv/systems.log 2>&1 & systems=$$!; \
	TASKSTREAM_TEST_INSTANCE=beside $(BIN)/pytest -q $(AGAIN) $(STATIONS) $(ARGS) > .venv/stations.log 2>&1 & \
	stations=$$!; trap 'kill -TERM $$systems $$stations 2>/dev/null; wait $$systems $$stations' INT TERM; \
	failed=0; { $(MAKE) lint type && \
	  $(BIN)/pytest -q $(AGAIN) tests $(addprefix --ignore ,$(SYSTEMS) $(STATIONS)) $(ARGS) && \
	  $(MAKE) coverage-cores; } || failed=1; \
	wait $$stations || failed=1; echo "test: the lane of the stations"; cat .venv/stations.log; \
	wait $$systems || failed=1; echo "test: the lane of whole systems"; cat .venv/systems.log; \
	exit $$failed

.PHONY: test-nightly
test-nightly: setup lint type prepare ## The long runs as well, coverage and the audit
	@HYPOTHESIS_PROFILE=nightly $(BIN)/pytest -q -m "" tests $(ARGS)
	@$(MAKE) coverage
	@$(MAKE) audit ARGS=--if-reachable

# Each run has a seed, which it prints; the same seed gives the same faults in the same order.
CHAOS_MINUTES ?= 6
.PHONY: chaos
chaos: prepare ## Kill, pause and flush everything under load and look for what was lost (CHAOS_MINUTES=20, ARGS="--seed 7")
	@$(BIN)/python -m tests.chaos --minutes $(CHAOS_MINUTES) $(ARGS)

# The cores by their unit tests alone, the random ones kept short: what is looked for is code that no test says anything
# about, and tracing more than doubles the processor time of a test on Python 3.11.
CORES := COVERAGE_FILE=.venv/cores.coverage
SEEDED := tests/unit/recurrence/test_interleavings.py tests/unit/reminders/test_model.py
.PHONY: coverage-cores
coverage-cores: setup ## Lines and branches of the recurrence and reminders cores that their unit tests reach; under 95 % fails
	@$(CORES) $(BIN)/coverage erase
	@HYPOTHESIS_PROFILE=brief $(CORES) $(BIN)/coverage run -m pytest -q tests/unit/recurrence tests/unit/reminders \
	  $(addprefix --ignore ,$(SEEDED)) > .venv/cores.log 2>&1 || { cat .venv/cores.log; exit 1; }
	@$(CORES) $(BIN)/coverage combine --quiet
	@$(CORES) $(BIN)/python tests/coverage_gates.py recurrence-core reminders-core

# Not part of `make test`, for what it costs; the nightly run ends with it.
.PHONY: coverage
coverage: prepare ## The same of task-api (90 %) and of everything (80 %) by all unit and integration tests
	@$(BIN)/coverage erase
	@$(BIN)/coverage run -m pytest -q tests/unit tests/contract tests/integration $(ARGS)
	@$(BIN)/coverage combine --quiet
	@$(BIN)/python tests/coverage_gates.py

.PHONY: bench
bench: prepare ## Measure everything on an instance of its own, one table at the end (ARGS=--quick; ARGS="relay flow")
	@$(BIN)/python -m bench $(ARGS)

.PHONY: bench-task-api
bench-task-api: prepare ## Measure task-api alone, with options of its own (ARGS=--help)
	@$(BIN)/python -m bench.task_api $(ARGS)

.PHONY: bench-reminders
bench-reminders: prepare ## Measure memory, ticks, lateness and bursts of reminders (ARGS="--pending 1000000": 6 minutes)
	@$(BIN)/python -m bench.reminders $(ARGS)

.PHONY: bench-notifier
bench-notifier: prepare ## Measure memory and fan-out of live streams, inbox writes (ARGS="--clients 10000")
	@$(BIN)/python -m bench.notifier $(ARGS)

.PHONY: bench-flow
bench-flow: setup ## Measure commit to handler, and due to fired, on the running idle stack
	@$(BIN)/python -m bench.flow --instance $(INSTANCE) $(ARGS)

# Not part of `make test`, for what it says changes with the day and not with the checkout.
.PHONY: audit
audit: setup ## Ask the advisory database about every locked package
	@$(BIN)/uv venv --quiet --allow-existing --python $(BIN)/python .venv/audit
	@$(BIN)/uv pip sync --quiet --python .venv/audit/bin/python --require-hashes requirements-audit.lock
	@$(BIN)/python tests/security/audit_locks.py $(ARGS) .venv/audit/bin/pip-audit

# ------------------------------------------------------------------ generated files

.PHONY: contracts
contracts: setup ## Write the JSON Schemas of the events
	@$(BIN)/python -m event_contracts packages/event-contracts/schemas

.PHONY: examples
examples: prepare ## Write the examples of task-api's OpenAPI document: what its tests were answered
	@RECORD_EXAMPLES=$(CURDIR)/services/task-api/src/task_api/entrypoints/http/examples.json \
	  $(BIN)/pytest -q tests/integration/task_api

.PHONY: settings-docs
settings-docs: setup ## Write .env.example and docs/configuration.md from the settings classes
	@$(BIN)/python docs/write_configuration.py

.PHONY: clean
clean: ## Remove .venv and caches of this checkout (the stack's data and cache stay: `stack down --wipe`)
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage*
