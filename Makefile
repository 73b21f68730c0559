# `make` lists the targets. Everything is installed below this folder; nothing global is touched.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
UV_VERSION := 0.13.9
UV := $(shell command -v uv 2>/dev/null || echo .tools/bin/uv)
export UV_PYTHON_DOWNLOADS := never
MEMBERS := shared platform/flows platform/serving platform/authoring platform/aftercare infra platform/console
PROJECTS := pyproject.toml $(addsuffix /pyproject.toml,$(MEMBERS)) $(wildcard brands/*/pyproject.toml)
BIN := .venv/bin
# What shares nothing runs on all cores; what has servers of its own or looks at the clock runs one by one.
PYTEST := $(BIN)/python -m pytest

.PHONY: help
help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  \033[1m%-17s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.tools/bin/uv:
	@echo "bringing uv $(UV_VERSION) into .tools"
	@$(PYTHON) -m venv .tools && .tools/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

.venv/.ready: requirements.lock $(addsuffix /pyproject.toml,$(MEMBERS)) | $(UV)
	@echo "installing the locked environment into .venv"
	@test -x $(BIN)/python || $(UV) venv --quiet --python $(PYTHON) .venv
	@$(UV) pip sync --quiet --python $(BIN)/python --require-hashes requirements.lock
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation $(addprefix -e ,$(MEMBERS))
	@# The provider's 2,400 modules are read as data, and nobody runs other people's tests: they would be half of the time.
	@PYTHONDONTWRITEBYTECODE= $(BIN)/python -m compileall -qq -j 0 -x '/(cdktn_provider_aws|tests)/' .venv/lib $(addsuffix /src,$(MEMBERS)) || true
	@touch $@

.PHONY: setup
setup: .venv/.ready ## install the locked environment into .venv

.PHONY: demo
demo: setup ## the whole story with all brands: train, gate, promote, serve, predict, summary
	@$(BIN)/brandhouse demo

.PHONY: up
up: setup ## keep everything running on this machine until Ctrl-C
	@$(BIN)/brandhouse up

.PHONY: test
test: setup ## all tests but the slow ones
	$(PYTEST) -m "not slow and not alone" -n logical --dist worksteal
	$(PYTEST) -m "not slow and alone" tests

.tools/prometheus/usr/bin/prometheus:
	@command -v apt-get >/dev/null && command -v dpkg >/dev/null || { echo "Prometheus is taken from Debian's packages: put prometheus and promtool into .tools/prometheus/usr/bin by hand"; exit 1; }
	@mkdir -p .tools/prometheus
	@cd .tools/prometheus && apt-get -o APT::Sandbox::User=root -qq download prometheus && dpkg -x prometheus_*.deb . && rm prometheus_*.deb && chmod 755 .

.PHONY: tools-prometheus
tools-prometheus: .tools/prometheus/usr/bin/prometheus ## Prometheus and promtool for the tests of alert rules, unpacked into .tools, never started as a service

.PHONY: test-all
test-all: setup tools-prometheus ## all tests
	$(PYTEST) -m "not alone" -n logical --dist worksteal
	$(PYTEST) -m alone tests

.PHONY: lint
lint: setup ## format check, lint, import contracts, types, generated files
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/mypy -p brandhouse_shared -p brandhouse_flows -p brandhouse_serving -p brandhouse_authoring -p brandhouse_aftercare \
	  -p brandhouse_infra -p brandhouse_console
	$(BIN)/python -m brandhouse_console.reference --check
	$(BIN)/brandhouse notebook check
	$(BIN)/brandhouse owners --check

.PHONY: check
check: lint ## what CI runs: lint, the brands, tests
	$(BIN)/brandhouse check
	$(MAKE) test

.PHONY: format
format: setup ## format the code and write the generated files
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/python -m brandhouse_console.reference
	$(BIN)/brandhouse owners --write

.PHONY: lock
lock: $(UV) ## write requirements.lock after a dependency was added; keeps all other versions
	$(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --all-extras --group dev \
	  $(foreach name,shared flows serving authoring aftercare infra console,--no-emit-package brandhouse-$(name)) -o requirements.lock $(PROJECTS) >/dev/null

.PHONY: docs
docs: setup ## build the docs site into .brandhouse/site; a broken link fails
	$(BIN)/zensical build --strict --clean

.PHONY: docs-serve
docs-serve: setup ## show the docs site while you write, on 127.0.0.1:8000
	$(BIN)/zensical serve

.PHONY: bench-flows
bench-flows: setup ## measure flows, registration and scale beside their peers; writes docs/benchmarks/flows.md
	$(BIN)/python benchmarks/bench_flows.py

.PHONY: bench-score
bench-score: setup ## measure batch scoring beside pandas and scikit-learn
	$(BIN)/python benchmarks/bench_score.py

.PHONY: bench-serving
bench-serving: setup ## measure the gateway beside its peers (needs wrk); writes docs/benchmarks/serving.md
	$(BIN)/python benchmarks/bench_serving.py

.PHONY: bench-first-day
bench-first-day: setup ## measure a brand team's first day beside its peer; writes docs/benchmarks/first-day.md
	$(BIN)/python benchmarks/bench_first_day.py

.PHONY: bench-monitor
bench-monitor: setup ## measure monitors over a million logged rows and over twelve brands, and replay of one among ten million; writes docs/benchmarks/monitor.md
	$(BIN)/python benchmarks/bench_monitor.py --write
	$(BIN)/python benchmarks/bench_replay.py --write

.PHONY: false-alarms
false-alarms: setup ## simulate how often monitors cry wolf and what they find; writes the tables into docs/monitoring.md
	$(BIN)/python benchmarks/false_alarms.py --months 60 --write

.PHONY: simulate
simulate: setup ## live one year with two invented brands and planted faults: what was found, done and kept; writes docs/benchmarks/simulated-year.md
	$(BIN)/python benchmarks/simulated_year.py --write

.PHONY: check-stacks
check-stacks: setup ## what Terraform, offline, and checkov say of the AWS stacks, and that each check can fail
	$(PYTEST) tests/integration/test_infra_offline.py tests/integration/test_infra_checkov.py

.PHONY: drawings
drawings: setup ## draw the stacks of a brand and of the platform into docs/images, from the code
	$(BIN)/python -m brandhouse_infra.drawing docs/images

.PHONY: bench-infra
bench-infra: setup ## measure writing and checking stacks beside cdktf; writes docs/benchmarks/infra.md
	$(BIN)/python benchmarks/bench_infra.py

.PHONY: try-public-tables
try-public-tables: setup ## try `new` on public tables through to an HTTP answer; writes docs/benchmarks/public-tables.md
	$(BIN)/python benchmarks/try_public_tables.py

.PHONY: bench-ready
bench-ready: setup ## measure the ready estimators on public tables beside plain baselines; writes the figures into docs/ready
	$(BIN)/python benchmarks/bench_ready.py --write

.PHONY: estimate-error
estimate-error: setup ## measure how far estimated scores are from true ones on the sample brands; writes the figures into docs/monitoring.md
	$(BIN)/python benchmarks/estimate_error.py --write

.PHONY: compile-table
compile-table: setup ## try which pipelines compile and how near they are to scikit-learn; writes docs/reference/compiled.md
	$(BIN)/python benchmarks/compile_table.py

.PHONY: clean
clean: ## remove the environment and all local state
	rm -rf .venv .tools .brandhouse .mypy_cache .ruff_cache .pytest_cache
