# Layby. `make` alone lists what there is.

GO      ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X main.version=$(VERSION)

LINT_VERSION := v2.15.0
LINT         := .cache/bin/golangci-lint-$(LINT_VERSION)

# How long each fuzz target runs and how often the integration tests run in `make proof`.
FUZZ_TIME  ?= 30s
REPETITION ?= 5

.DEFAULT_GOAL := help
.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## Build bin/layby
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/layby ./cmd/consumer

.PHONY: demo
demo: build ## Run the demo: Kafka, Postgres and a consumer on this machine (KEEP=1 keeps its data)
	bin/layby demo --timeline build/demo.svg $(if $(filter-out 0,$(KEEP)),--keep)

.PHONY: test
test: ## Run all tests: search, units with the race detector, simulation, then real Kafka and Postgres
	scripts/test.sh search unit simulation integration

.PHONY: unit
unit: ## Run the tests of everything but ./integration, with the race detector
	scripts/test.sh unit

.PHONY: search
search: ## Run the exhaustive search over the ordering core
	scripts/test.sh search

.PHONY: simulate
simulate: ## Run the simulation: SEEDS=200 plans, FROM=1 on
	scripts/test.sh simulation

.PHONY: integration
integration: ## Run the tests against real Kafka and Postgres
	scripts/test.sh integration

.PHONY: proof
proof: ## The long version: a wider search, fuzzing, the integration tests again and again
	LAYBY_PROOF=1 TIMEOUT=2h scripts/test.sh search
	LAYBY_PROOF=1 SEEDS=1000 TIMEOUT=2h scripts/test.sh simulation
	RACE=1 SEEDS=200 TIMEOUT=2h scripts/test.sh simulation
	scripts/fuzz.sh $(FUZZ_TIME)
	scripts/schemathesis.sh
	LAYBY_PROOF=1 COUNT=$(REPETITION) TIMEOUT=1h scripts/test.sh integration

.PHONY: bench
bench: ## Run the benchmarks (a module of its own)
	cd bench && $(GO) run . && $(GO) run ./letters -letters 1000000 && $(GO) run ./replay

.PHONY: lint
lint: $(LINT) ## Run go vet and golangci-lint
	$(GO) vet ./...
	$(LINT) run

.PHONY: fmt
fmt: $(LINT) ## Format the code
	$(LINT) fmt

$(LINT):
	@mkdir -p $(@D)
	GOBIN=$(CURDIR)/$(@D) $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(LINT_VERSION)
	@mv $(@D)/golangci-lint $@

.PHONY: clean
clean: ## Remove what was built
	rm -rf bin build
