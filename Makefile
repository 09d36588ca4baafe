.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV_VERSION := 0.13.9
FAST := tests/accounts tests/engine tests/projects tests/scheduler tests/resources/datasets \
	tests/test_definitions.py tests/test_imports.py
export UV_FIND_LINKS := $(PIP_FIND_LINKS)
export DAGSTER_HOME := $(CURDIR)

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "%-12s %s\n", $$1, $$2}'

setup: $(VENV)/ready .env ## build the environment in .venv

demo: setup ## turn the loop once on real data, refuse a bad model
	@$(BIN)/orrery demo

up: setup ## start everything on this machine; Ctrl-C stops it
	@$(BIN)/orrery up

down: ## stop what `make up` started
	@$(BIN)/orrery down

test: setup ## run the tests, or those of T=path::name
	@$(BIN)/pytest $(T)

test-fast: setup ## run the tests that start no server and no engine
	@$(BIN)/pytest $(FAST)

test-cluster: setup ## run the cluster's tests on the cluster of KUBECONFIG
	@test -n "$$KUBECONFIG" || { echo "KUBECONFIG names no cluster" >&2; exit 1; }
	@ORRERY_TEST_CLUSTER=1 $(BIN)/pytest -rs tests/cluster

check: setup ## format, lint, types, import contracts, declarations
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/pyright
	@$(BIN)/lint-imports
	@$(BIN)/orrery check

bench: setup ## measure speed against the bare stack
	@$(BIN)/python -m benchmarks

manifests: ## print every object of production, and of one service and one job, as YAML
	@$(MAKE) --no-print-directory setup >&2
	@$(BIN)/orrery manifests

chart: setup ## write the Helm chart anew from deploy/kubernetes
	@$(BIN)/python -m deploy.chart

lock: $(BIN)/uv ## resolve constraints.txt anew
	@$(BIN)/uv pip compile pyproject.toml --all-extras --no-annotate --no-header \
		--python-version 3.11 --upgrade-package torch --quiet --output-file constraints.txt
	@sed -i -E 's/^torch==([0-9.]+)\+.*/torch==\1/' constraints.txt

client: setup ## write the operations of the client anew
	@$(BIN)/python -m api.client_code

stubs: setup ## write the code of gRPC's messages anew
	@cd serving/bento/open_inference && $(CURDIR)/$(BIN)/python -m grpc_tools.protoc \
		--proto_path=. --python_out=. open_inference.proto

clean: ## remove the environment and all state
	rm -rf $(VENV) .orrery .env

$(BIN)/uv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed")'
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

$(VENV)/ready: pyproject.toml client/pyproject.toml constraints.txt | $(BIN)/uv
	@echo "installing the locked dependencies ..."
	@$(BIN)/uv pip install --quiet --compile-bytecode -c constraints.txt -e '.[train,simulate,serve,cluster,saml,hub,xgboost,dev]' -e './client[notebook]'
	@touch $@

.env:
	@echo "DAGSTER_HOME=$(CURDIR)" > $@

.PHONY: help setup demo up down test test-cluster check bench manifests chart lock client stubs clean
