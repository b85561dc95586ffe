# Gatehouse. `make` alone lists the targets; every target that needs the environment sets it up first.
.DEFAULT_GOAL := help
.PHONY: help init up down test check docs bench audit deploy verify rollback preview destroy logs api-keys clean
MAKEFLAGS += --no-print-directory

ENVIRONMENTS := $(sort $(patsubst Pulumi.%.yaml,%,$(wildcard Pulumi.*.yaml)))
# `make up` and friends take dev when ENV is not said; `make check` alone takes all of them.
STACK = $(or $(ENV),dev)
PY := .venv/bin/python

help: ## List the targets
	@colour=; if [ -t 1 ] && [ -z "$$NO_COLOR" ]; then colour=1; fi; \
	awk -v c="$$colour" 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { \
		if (c) printf "  \033[36m%-10s\033[0m %s\n", $$1, $$2; else printf "  %-10s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@echo
	@echo "  ENV=$(subst $() ,|,$(ENVIRONMENTS)) chooses the stack (dev when not said)"

init: ## Set everything up: uv, the locked environment, the git hooks
	@scripts/setup.sh
	@if git rev-parse --git-dir >/dev/null 2>&1; then .venv/bin/pre-commit install >/dev/null && echo "init: ready; git hooks installed"; else echo "init: ready"; fi

up: ## Build the stack in the sandbox and start gateway, console and a sample Core (ENV=, DETACH=1)
	@scripts/setup.sh
	@exec $(PY) -m sandbox up --env $(STACK) $(if $(filter-out 0,$(DETACH)),--detach)

down: ## Stop what `make up DETACH=1` started
	@scripts/setup.sh
	@$(PY) -m sandbox down

test: ## Set up and pass the tests (TESTS=path narrows them)
	@scripts/setup.sh
	@$(PY) -m pytest -n 2 --dist loadfile $(or $(TESTS),tests)

check: ## Policies for ENV=; without ENV: format, lint, types, import contracts, then the policies of every stack
	@scripts/setup.sh
ifdef ENV
	@$(PY) -m sandbox check --env $(ENV)
else
	@.venv/bin/ruff format --check --quiet . || { echo "check: run .venv/bin/ruff format ."; exit 1; }
	@.venv/bin/ruff check --quiet .
	@.venv/bin/mypy
	@.venv/bin/lint-imports --no-cache | tail -n 3
	@for environment in $(ENVIRONMENTS); do $(PY) -m sandbox check --env $$environment || exit $$?; done
endif

docs: ## Generate the reference pages of docs/ from the code
	@scripts/setup.sh
	@$(PY) -m tools.docs

audit: ## Prowler over the stack in the emulator (ENV=, prod when not said); the first run installs it
	@scripts/setup.sh
	@$(PY) -m sandbox audit --env $(or $(ENV),prod)

bench: ## Measure the gateway and print ratios (needs nothing else running)
	@scripts/setup.sh
	@$(PY) -m bench

preview: ## What `make deploy` would change on AWS (ENV= is required)
	@scripts/setup.sh
	@$(PY) -m release preview --env "$(ENV)"

deploy: ## Release: preview, both packs, migration, services, verification (ENV= is required, YES=1 does not ask)
	@scripts/setup.sh
	@$(PY) -m release deploy --env "$(ENV)" $(if $(filter-out 0,$(YES)),--yes)

verify: ## Does AWS run what the stack asked for, and does every door answer? (ENV= is required)
	@scripts/setup.sh
	@$(PY) -m release verify --env "$(ENV)"

rollback: ## Back to the image before, or to DIGEST= (ENV= is required, YES=1 does not ask)
	@scripts/setup.sh
	@$(PY) -m release rollback --env "$(ENV)" $(if $(DIGEST),--digest "$(DIGEST)") $(if $(filter-out 0,$(YES)),--yes)

destroy: ## pulumi destroy, after a typed confirmation (ENV= is required)
	@scripts/setup.sh
	@$(PY) -m release destroy --env "$(ENV)"

logs: ## Follow the logs: of AWS with ENV= (PROCESS=), of the running `make up` without
	@scripts/setup.sh
	@$(PY) -m release logs --env "$(ENV)" $(if $(PROCESS),--process "$(PROCESS)")

api-keys: ## List the keys of the running gateway; NAME="my app" creates one
	@scripts/setup.sh
	@.venv/bin/gatehouse keys $(if $(NAME),create --name "$(NAME)",list)

clean: ## Stop everything and remove what was built (.venv, caches, sandbox state)
	@if [ -x $(PY) ]; then $(PY) -m sandbox down >/dev/null 2>&1 || true; fi
	@rm -rf .venv .gatehouse .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
	@echo "clean: done"
