# The menu: `make` alone prints it. Every target sets itself up; only Python >= 3.11, make and pip are needed.

UV_VERSION := 0.13.9
PYTHON ?= python3
CHROMIUM ?= chromium
UV := .venv/bin/uv
BIN := .venv/bin
SETUP := .venv/.ready
BROWSER_SETUP := .venv/.ready-browser
BENCH_SETUP := .venv/.ready-bench
SOURCES := libs services deploy tests bench

export UV_PYTHON_DOWNLOADS := never
export UV_PROJECT_ENVIRONMENT := .venv
export UV_COMPILE_BYTECODE := 1

.DEFAULT_GOAL := help
.PHONY: help run demo test check fmt lock contracts bench chaos browser clean

help: ## print this menu
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

run: $(SETUP) ## start everything on this machine, in the foreground; Ctrl-C stops it
	$(BIN)/spoel up $(ARGS)

demo: $(SETUP) ## two patients' whole way on an instance of its own; exit 0 only if every check holds
	$(BIN)/spoel demo $(ARGS)

test: $(SETUP) ## all tests (real PostgreSQL, real NATS, real processes)
	$(BIN)/pytest -n 3 --dist loadfile --no-loadscope-reorder $(ARGS)

check: $(SETUP) ## format, lint, types, import contracts, event contracts, lock
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/spoel contracts --check
	$(BIN)/spoel pages --check
	$(UV) lock --check

fmt: $(SETUP) ## format, and mend what the linter can
	$(BIN)/ruff format $(SOURCES)
	$(BIN)/ruff check --fix $(SOURCES)

contracts: $(SETUP) ## write what is generated: event contracts, problem types, traceability
	$(BIN)/spoel contracts
	$(BIN)/spoel pages

bench: $(BENCH_SETUP) ## benchmarks, each against a bare baseline in the same run
	$(BIN)/spoel bench $(ARGS)

chaos: $(SETUP) ## faults while commands flow, seeded, of a hospital's size; about 25 minutes
	$(BIN)/pytest tests/system/test_crash.py --crash-rounds=3
	$(BIN)/pytest -n 2 --dist load tests/system/test_kill_rounds.py --kill-rounds=200
	$(BIN)/python -m tests.chaos --out bench/results/chaos.json $(ARGS)

browser: $(BROWSER_SETUP) ## what people see in a browser (Debian's Chromium, or CHROMIUM=/path/to/it)
	@command -v "$(CHROMIUM)" >/dev/null || { [ "$$(id -u)" = 0 ] && apt-get -qq update && apt-get -qq install -y chromium; } \
		|| { echo "Chromium is needed: install it, or set CHROMIUM=/path/to/it"; exit 1; }
	CHROMIUM=$$(command -v "$(CHROMIUM)") $(BIN)/pytest tests/browser $(ARGS)

clean: ## remove the environment and the caches; data directories stay
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis

PYPROJECTS := pyproject.toml $(wildcard libs/*/pyproject.toml services/*/pyproject.toml deploy/*/pyproject.toml)

$(UV):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; set PYTHON=/path/to/it"; exit 1; }
	$(PYTHON) -m venv --without-pip .venv
	$(PYTHON) -m pip --python .venv install --quiet --disable-pip-version-check uv==$(UV_VERSION)

$(SETUP): uv.lock $(PYPROJECTS) | $(UV)
	$(UV) sync --frozen --inexact --quiet --no-group browser --no-group bench
	@touch $@

$(BROWSER_SETUP): $(SETUP)
	$(UV) sync --frozen --inexact --quiet --group browser
	@touch $@

$(BENCH_SETUP): $(SETUP)
	$(UV) sync --frozen --inexact --quiet --group bench
	@touch $@
