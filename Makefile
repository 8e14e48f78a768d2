PYTHON ?= python3
STACK := $(PYTHON) infra/local/stack.py

.DEFAULT_GOAL := help
.PHONY: help run test stop reset status logs deploy openapi verifier bench drill lint

help: ## show this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

run: ## start the local stack, deploy to it and add the demonstration tenants
	@$(STACK) demo

test: ## every test, against the local stack
	@$(STACK) test

stop: ## stop the local stack; its data stays
	@$(STACK) down

reset: ## stop the local stack and delete its data
	@$(STACK) reset

status: ## say what of the local stack runs
	@$(STACK) status

logs: ## what the functions logged; of one: make logs F=login
	@$(STACK) logs $(F)

drill: ## lose the database of a fresh stack, restore it and measure; deletes its data
	@$(STACK) drill

lint: ## formatting, clippy, template and licence checks
	@infra/local/lint.sh

openapi: ## write the API document and the schemas of events from the code
	@cargo run --quiet -p keystone-tests --bin generate-openapi

verifier: ## build keystone-verify, static, for machines that have nothing else of this
	@RUSTFLAGS="-C target-feature=+crt-static" cargo build --quiet --release --locked \
		-p keystone-verify --target "$$(rustc --print host-tuple)"
	@echo "target/$$(rustc --print host-tuple)/release/keystone-verify"

bench: ## the benchmarks of tests/benches
	@$(PYTHON) infra/local/venvs.py bench
	@cargo bench -p keystone-verify --bench rate
	@cargo bench -p keystone-tests --features floor

deploy: ## build for Lambda and deploy: make deploy ENV=staging
	@infra/deploy.sh $(ENV)
