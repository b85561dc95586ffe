# Gatehouse. `make` lists the targets. Every target that needs the virtual environment creates it first.
.DEFAULT_GOAL := help
.PHONY: help init up destroy-local down test compatibility references check audit attack fuzz release release-check docs site bench bootstrap image deploy verify rollback rotate preview drift destroy logs api-keys clean
MAKEFLAGS += --no-print-directory
# Without bytecode, each run of the program would compile the AWS SDK (3 s).
unexport PYTHONDONTWRITEBYTECODE

ENVIRONMENTS := $(sort $(patsubst Pulumi.%.yaml,%,$(wildcard Pulumi.*.yaml)))
ACCOUNT_STACKS := $(sort $(patsubst account/Pulumi.%.yaml,%,$(wildcard account/Pulumi.*.yaml)))
# Targets use dev without ENV. `make check` uses all stacks.
STACK = $(or $(ENV),dev)
PY := .venv/bin/python
# `make check` runs these checks in parallel. They are not listed by `make help`.
CHECKS = check/types check/web $(ENVIRONMENTS:%=check/stack-%) $(ACCOUNT_STACKS:%=check/account-%) check/imports check/format check/workflows
# Prints the output of each check as one block. GNU Make 3.81, the version of macOS, does not support the option.
OUTPUT_SYNC = $(if $(filter output-sync,$(.FEATURES)),--output-sync)
NPM_FOLDERS = runtime/web scripts/requirements/chromium scripts/requirements/site tests/compatibility/clients tests/compatibility/applications clients/typescript
PROJECT_OPTION = $(if $(PROJECT),--project "$(PROJECT)")

help: ## List the targets
	@color=; if [ -t 1 ] && [ -z "$$NO_COLOR" ]; then color=1; fi; \
	awk -v c="$$color" 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { \
		if (c) printf "  \033[36m%-13s\033[0m %s\n", $$1, $$2; else printf "  %-13s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@echo
	@echo "  ENV=$(subst $() ,|,$(ENVIRONMENTS)) selects the stack (default: dev)"
	@echo "  PROJECT=account ENV=$(subst $() ,|,$(ACCOUNT_STACKS)) selects the project with the guards of an AWS account"
	@echo
	@echo "Examples:"
	@echo '  $$ make up DETACH=1'
	@echo '  $$ make test TESTS=tests/runtime/features/keys'
	@echo '  $$ make check ENV=prod'
	@echo '  $$ make deploy ENV=dev'
	@echo '  $$ make api-keys ENV=prod ROTATE=3fGh82kLmQ0a'

init: ## Create the virtual environment from uv.lock and install the git hooks
	@scripts/setup.sh
	@if git rev-parse --git-dir >/dev/null 2>&1; then .venv/bin/pre-commit install >/dev/null && echo "init: done; git hooks installed"; \
	else echo "init: done; no git hooks, because this folder is not a clone or git is not on PATH"; fi

up: ## Deploy the stack to the local AWS emulator and start all services, or update the running stack (ENV=, DETACH=1)
	@scripts/setup.sh
	@exec $(PY) -m sandbox up --env $(STACK) $(if $(filter-out 0,$(DETACH)),--detach)

destroy-local: ## Delete the resources of the local environment; `make up` deploys them again
	@scripts/setup.sh
	@$(PY) -m sandbox destroy

down: ## Stop a local environment that was started with DETACH=1
	@scripts/setup.sh
	@$(PY) -m sandbox down

test: ## Run the tests (TESTS=path)
	@scripts/setup.sh
	@$(PY) -m pytest -n 4 $(or $(TESTS),tests)

compatibility: ## Run clients generated from the OpenAPI documents, and applications behind the gateway with their own clients (requires npm, Go, rclone, Caddy and HAProxy)
	@scripts/setup.sh
	@PATH="$(CURDIR)/.gatehouse/tools/node/bin:$$PATH" $(PY) -m pytest -m slow tests/compatibility

references: ## Run tests on DynamoDB Local, MinIO, PostgreSQL 16 and 17, Keycloak and promtool, and the slow tests of the repository (requires Java, Maven, Go and promtool)
	@scripts/setup.sh
	@$(PY) -m pytest -m slow tests/references tests/repository tests/runtime/features/secrets/test_promtool.py

check: ## Run format, lint, type, import, web UI, workflow and policy checks; with ENV= the policy checks of one stack (PROJECT=account)
	@scripts/setup.sh
ifdef ENV
	@.venv/bin/gatehouse-policies check --env $(ENV) $(if $(PROJECT),--program "$(PROJECT)")
else
	@$(MAKE) --jobs=$$(getconf _NPROCESSORS_ONLN) --keep-going $(OUTPUT_SYNC) $(CHECKS)
endif

check/types:
	@.venv/bin/mypy

check/web:
	@$(PY) -m tools.types.web_types

check/stack-%:
	@.venv/bin/gatehouse-policies check --env $*

check/account-%:
	@.venv/bin/gatehouse-policies check --program account --env $*

check/imports:
	@contracts=$$(.venv/bin/lint-imports --no-cache) || { echo "$$contracts"; exit 1; }; echo "$$contracts" | tail -n 1

check/format:
	@.venv/bin/ruff format --check --quiet . || { echo "check: run .venv/bin/ruff format ."; exit 1; }
	@.venv/bin/ruff check --quiet .
	@if command -v gofmt >/dev/null; then unformatted=$$(gofmt -l clients/go tests/clients/drivers/go); \
		[ -z "$$unformatted" ] || { echo "check: run gofmt -w" $$unformatted; exit 1; }; fi

check/workflows:
	@.venv/bin/zizmor --offline --quiet .github

audit: ## Compare uv.lock and package-lock.json with vulnerability databases (OSV_URL=, default: api.osv.dev)
	@scripts/setup.sh
	@PATH=".gatehouse/tools/bin:$$PATH" uv audit --frozen --preview-features audit-command $(if $(OSV_URL),--service-url "$(OSV_URL)")
	@for folder in $(NPM_FOLDERS); do echo "$$folder/package-lock.json"; \
		PATH=".gatehouse/tools/node/bin:$$PATH" npm audit --prefix "$$folder" --package-lock-only || exit 1; done

attack: ## Attack the deployment or the sandbox at URL= with harmless attacks (KEY= in the environment, YES=1 skips the prompt)
	@scripts/setup.sh
	@$(PY) -m tools.attack --url "$(URL)" $(if $(filter-out 0,$(YES)),--yes)

fuzz: ## Fuzz the parsers of the runtime (TARGET=, default: all; SECONDS= for each target, default: 60)
	@scripts/setup.sh
	@PATH="$$PATH:.gatehouse/tools/bin" uv sync --locked --inexact --quiet --group fuzz
	@$(PY) -m tools.fuzz $(or $(TARGET),all) --seconds $(or $(SECONDS),60)

release: ## Release a version: checks, tests, changelog, version, commit and tag (VERSION= is required)
	@scripts/setup.sh
	@$(PY) -m tools.new_release check "$(VERSION)"
	@$(MAKE) check
	@$(MAKE) test
	@$(MAKE) release-check
	@PATH="$$PATH:$(CURDIR)/.gatehouse/tools/bin" $(PY) -m tools.new_release create "$(VERSION)"

release-check: ## Build the distributions into dist/, install each in a new environment and run a command of it
	@scripts/setup.sh
	@PATH="$$PATH:$(CURDIR)/.gatehouse/tools/bin" $(PY) -m tools.distributions

docs: ## Generate the reference pages in docs/
	@scripts/setup.sh
	@$(PY) -m tools.docs

site: ## Build the documentation site into .gatehouse/site/html (requires npm)
	@scripts/setup.sh
	@$(PY) -m tools.site

bench: ## Run the benchmarks of the gateway (CHECK=1 compares the throughput ratios with the stored ratios; needs nginx and wrk)
	@scripts/setup.sh
	@$(PY) -m bench $(if $(filter-out 0,$(CHECK)),--check)

bootstrap: ## Create the state bucket, its KMS key and the stack, and print the settings of a pipeline (ENV= is required, PROJECT=account)
	@scripts/setup.sh
	@exec $(PY) -m release bootstrap --env "$(ENV)" $(PROJECT_OPTION)

image: ## Build the image for ARM, push it and write its digest into the stack file; creates the registry of a new stack (ENV= is required, YES=1)
	@scripts/setup.sh
	@exec $(PY) -m release image --env "$(ENV)" $(if $(filter-out 0,$(YES)),--yes)

preview: ## Preview a deployment to AWS (ENV= is required, DIFF=1 prints the changed properties, PROJECT=account)
	@scripts/setup.sh
	@exec $(PY) -m release preview --env "$(ENV)" $(PROJECT_OPTION) $(if $(filter-out 0,$(DIFF)),--diff)

deploy: ## Deploy to AWS: preview, policy packs, migration, services, verification (ENV= is required, YES=1, ROLLBACK=1, UNSIGNED=1, PROJECT=account)
	@scripts/setup.sh
	@exec $(PY) -m release deploy --env "$(ENV)" $(PROJECT_OPTION) $(if $(filter-out 0,$(YES)),--yes) $(if $(filter-out 0,$(ROLLBACK)),--rollback) $(if $(filter-out 0,$(UNSIGNED)),--unsigned)

verify: ## Verify that AWS runs the deployed version, that every URL is healthy, and what only an account shows (ENV= is required)
	@scripts/setup.sh
	@exec $(PY) -m release verify --env "$(ENV)"

rollback: ## Deploy the previous image, or DIGEST= (ENV= is required, YES=1 skips the prompt, UNSIGNED=1 as for deploy)
	@scripts/setup.sh
	@exec $(PY) -m release rollback --env "$(ENV)" $(if $(DIGEST),--digest "$(DIGEST)") $(if $(filter-out 0,$(YES)),--yes) $(if $(filter-out 0,$(UNSIGNED)),--unsigned)

rotate: ## Rotate the secret NAME=; with NOW=1, its current value is void at once (ENV= is required, YES=1 skips the prompt)
	@scripts/setup.sh
	@exec $(PY) -m release rotate --env "$(ENV)" --name "$(NAME)" $(if $(filter-out 0,$(NOW)),--now) $(if $(filter-out 0,$(YES)),--yes)

drift: ## Compare AWS with the program, without changes (ENV= is required, PROJECT=account)
	@scripts/setup.sh
	@exec $(PY) -m release drift --env "$(ENV)" $(PROJECT_OPTION)

destroy: ## Destroy a stack on AWS after confirmation (ENV= is required, PROJECT=account)
	@scripts/setup.sh
	@exec $(PY) -m release destroy --env "$(ENV)" $(PROJECT_OPTION)

logs: ## Follow the logs of the local environment, or of AWS with ENV= (PROCESS=)
ifdef ENV
	@scripts/setup.sh
	@exec $(PY) -m release logs --env "$(ENV)" $(if $(PROCESS),--process "$(PROCESS)")
else
	@ls .gatehouse/logs/*.log >/dev/null 2>&1 || { echo "logs: the sandbox is not running (make up). For a stack: make logs ENV=dev" >&2; exit 2; }
	@exec tail -F .gatehouse/logs/*.log
endif

KEY_ACTIONS = $(if $(CREATE),create) $(if $(ROTATE),rotate) $(if $(REVOKE),revoke)

api-keys: ## List the API keys of the local environment, or with ENV= of a profile (CREATE=name, ROTATE=ID or REVOKE=ID changes one)
	$(if $(word 2,$(KEY_ACTIONS)),$(error api-keys: use only one of CREATE=, ROTATE= and REVOKE=))
	@scripts/setup.sh
	@$(if $(ENV),,unset GATEHOUSE_PROFILE;) exec .venv/bin/gatehouse keys $(or $(strip $(KEY_ACTIONS)),list) $(if $(ENV),--profile "$(ENV)") $(if $(CREATE),--name "$(CREATE)") $(if $(ROTATE)$(REVOKE),-- "$(ROTATE)$(REVOKE)")

clean: ## Stop the local environment and delete all generated files (.venv, caches, .gatehouse)
	@if [ -x $(PY) ]; then $(PY) -m sandbox down >/dev/null 2>&1 || true; fi
	@rm -rf .venv policies/.venv dist .gatehouse account/.gatehouse .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	@rm -rf runtime/web/node_modules runtime/gatehouse/services/console/static policies/gatehouse_policies/examples.toml
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
	@echo "clean: done"
