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
SOURCES := packages services cli stack tests bench docs

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

# The end-to-end lane waits more than it works, so it runs beside the others; it is shown when they are through.
.PHONY: test
test: setup prepare ## Everything that guards main
	@echo "test: the end-to-end lane runs beside the others, its output follows theirs"
	@$(BIN)/pytest -q -m "not nightly" tests/e2e $(ARGS) > .venv/e2e.log 2>&1 & system=$$!; \
	trap 'kill -TERM $$system 2>/dev/null; wait $$system' INT TERM; \
	others=0; { $(MAKE) lint type && $(BIN)/pytest -q -m "not nightly" --ignore tests/e2e tests $(ARGS); } || others=$$?; \
	end_to_end=0; wait $$system || end_to_end=$$?; \
	echo "test: the end-to-end lane"; cat .venv/e2e.log; \
	exit $$((others || end_to_end))

.PHONY: test-nightly
test-nightly: setup lint type prepare ## The long runs as well
	@HYPOTHESIS_PROFILE=nightly $(BIN)/pytest -q tests $(ARGS)

.PHONY: bench
bench: setup ## Measure the running stack: commit to handler, create path
	@$(BIN)/python bench/flow_latency.py --instance $(INSTANCE)

# ------------------------------------------------------------------ generated files

.PHONY: contracts
contracts: setup ## Write the JSON Schemas of the events
	@$(BIN)/python -m event_contracts packages/event-contracts/schemas

.PHONY: settings-docs
settings-docs: setup ## Write .env.example and docs/configuration.md from the settings classes
	@$(BIN)/python docs/write_configuration.py

.PHONY: clean
clean: ## Remove .venv and caches of this checkout (the stack's data and cache stay: `stack down --wipe`)
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage*
