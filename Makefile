# Everything a person or CI does here is one target. `make` alone lists them.
# Each target installs what it needs the first time and again only when a lock changes.

SHELL := /bin/sh
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

STAGE ?= dev
SEEDS ?= 10000

DEV := .venv/.installed
ENGINE := .venv-engine/.installed
LAYER_LOCK := layers/billing/requirements.txt
BIN := .venv/bin

# What the tools see: our environment first on PATH, no telemetry, no surprises from a user's site-packages.
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export SAM_CLI_TELEMETRY := 0
export PYTHONNOUSERSITE := 1
export PYTHONUTF8 := 1
# SAM builds the layer in a copy of its folder; this names the folder that has the tools.
export PORTCULLIS_ROOT := $(CURDIR)
# The layer's package, importable here as it is in Lambda.
export PYTHONPATH := $(CURDIR)/layers/billing

.PHONY: help setup demo smoke test check lint format types unit integration simulate mutants mutate contract events validate build deploy rotate-webhook-secret lock clean

help: ## list the targets
	@printf '\n  \033[1mPortcullis\033[0m\n\n'
	@awk 'BEGIN { FS = ":.*## " } \
	  /^##@ / { printf "\n  \033[2m%s\033[0m\n", substr($$0, 5) } \
	  /^[a-z-]+:.*## / { printf "    \033[36m%-22s\033[0m %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@echo

##@ See it work
demo: $(DEV) $(ENGINE) ## run the whole service on this machine, with a page to click through; Ctrl-C ends it
	@$(BIN)/python -m local

smoke: $(DEV) $(ENGINE) ## run the main path over HTTP, step by step, without a person
	@$(BIN)/python -m local.smoke

##@ Check it
test: $(ENGINE) lint types ## run all checks and tests, as CI does
	@$(BIN)/pytest tests/unit --cov --cov-report=term
	@$(BIN)/pytest tests/simulation tests/mutants tests/integration

lint: $(DEV) ## check the code style with ruff
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check . || { echo "The files above are not formatted: make format" >&2; exit 1; }

format: $(DEV) ## fix the code style with ruff
	@$(BIN)/ruff check --quiet --fix-only .
	@$(BIN)/ruff format --quiet .

types: $(DEV) ## check types with mypy, strictly
	@$(BIN)/mypy --no-error-summary .

unit: $(DEV) ## run the tests that need no local stack
	@$(BIN)/pytest tests/unit

integration: $(DEV) $(ENGINE) ## run the tests against the template on the local stack
	@$(BIN)/pytest tests/integration

simulate: $(DEV) ## run the real code under SEEDS=10000 random schedules
	@$(BIN)/python -m tests.simulation.explore --seeds $(SEEDS)

mutants: $(DEV) ## make known mistakes one by one, and check that a test or the simulation notices each
	@$(BIN)/python -m tests.mutants

mutate: $(DEV) ## change the pure core in every small way, and check that the tests notice
	@$(BIN)/python -m tests.mutation

contract: $(DEV) ## write docs/openapi.json, the example requests and the README's tables
	@$(BIN)/python -m docs.write_contract

events: $(DEV) ## record the example webhooks that are missing in events/webhooks
	@$(BIN)/python -m local.record_events

##@ Ship it
validate: $(DEV) ## check template.yaml with SAM and cfn-lint
	@$(BIN)/sam validate --lint

build: $(DEV) ## build what deploy uploads; CONFIG=path ships your own portcullis.toml
	@$(BIN)/python -m requirements.prepare_layer "$(STAGE)" $${CONFIG+"$$CONFIG"}
	@output=$$($(BIN)/sam build 2>&1) || { printf '%s\n' "$$output" >&2; exit 1; }

deploy: build ## build and deploy to STAGE=dev (or staging, prod), also with CONFIG=path
	@$(BIN)/sam deploy --config-env $(STAGE)

rotate-webhook-secret: $(DEV) ## replace the webhook signing secret of STAGE; both work for OVERLAP=600 seconds; NOWAIT=1 takes one step
	@$(BIN)/python -m operations.rotate_webhook_secret --stage $(STAGE) $(if $(OVERLAP),--overlap $(OVERLAP)) $(if $(NOWAIT),--no-wait)

##@ Keep it
setup: $(DEV) $(ENGINE) ## install what the other targets need; PYTHON=path chooses the Python
	@:

lock: $(DEV) ## write the lock files from the .in files again; UPGRADE=1 takes newer versions
	@sh requirements/lock.sh $(if $(UPGRADE),--upgrade)

clean: ## remove everything that make can make again
	@rm -rf .venv .venv-engine .aws-sam .local .mypy_cache .pytest_cache .ruff_cache .hypothesis layers/billing/.build

$(DEV): requirements/dev.txt requirements/uv.txt requirements/install.py
	@python=$$(sh requirements/python.sh) && "$$python" requirements/install.py .venv requirements/dev.txt && touch $@

$(ENGINE): requirements/engine.txt requirements/uv.txt requirements/install.py
	@python=$$(sh requirements/python.sh) && "$$python" requirements/install.py .venv-engine requirements/engine.txt && touch $@
