# The few verbs a newcomer types. Everything a verb needs it installs itself.
.DEFAULT_GOAL := help
.PHONY: help staging test lint grade destroy docs

help: ## Say what can be typed
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

staging: ## Bring up a whole staging server on a throw-away host of this machine
	@tools/bootstrap
	@.venv/bin/python tools/staging

test: ## Prove everything: lint, fast tests, the app, the client, real hosts
	@tools/bootstrap tests
	@.venv/bin/python tools/test $(STEPS)

lint: ## Check style and types
	@tools/bootstrap
	@.venv/bin/python tools/lint

grade: ## Let strangers' tools grade the staging server: build/grades/index.html
	@tools/bootstrap tests
	@.venv/bin/python tools/grade $(GRADE)

docs: ## Generate the variable reference and the roles' README files
	@tools/bootstrap
	@.venv/bin/python tools/docs

destroy: ## Remove the throw-away hosts and all they left
	@python3 molecule/shared/hosts down --all
	@rm -rf build/staging.json build/sandbox build/ci
