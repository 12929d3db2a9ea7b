# Everything runs in a virtual environment inside the clone; Python 3.11+ and make are enough.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
BENCH_READY := $(VENV)/.bench-ready

# The tests start hundreds of processes: none should compile again what another has compiled.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo test prepare check format bench lock clean

help:  ## Show what there is to make
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(READY)  ## Download a demo API into SQLite, with live progress
	@$(BIN)/milepost demo

test: prepare  ## Run every test
	@$(BIN)/python -m pytest -n 2 --dist loadgroup

prepare: $(READY)  ## Install what the tests need: servers where they may, taps, API servers
	@$(BIN)/python tests/servers.py --install
	@$(BIN)/python -m tests.taps & taps=$$!; $(BIN)/python -m tests.api_servers && wait $$taps

check: $(READY)  ## Format check, lint, types, layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY)  ## Format and mend what can be mended
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(BENCH_READY)  ## Measure; figures are printed, bench/RESULTS.md keeps them
	$(BIN)/python bench/jobs.py
	$(BIN)/python bench/downloads.py
	$(BIN)/python bench/queues.py
	$(BIN)/python bench/pools.py
	$(BIN)/python bench/budget.py
	$(BIN)/python bench/web.py
	$(BIN)/python bench/limits.py
	$(BIN)/python bench/steady.py

lock: $(READY)  ## Renew the development lock file
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --all-extras --group dev \
	  --no-emit-index-url --no-emit-find-links --no-annotate --no-header pyproject.toml -o requirements.lock

clean:  ## Remove the virtual environment and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Milepost needs Python 3.11 or newer, and $(PYTHON) is older: make PYTHON=python3.12 …"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || \
	  { echo "$(PYTHON) cannot make a virtual environment: install its venv module (Debian: apt-get install python3-venv)"; exit 1; }
	@echo "Setting up $(VENV) (once) …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@# uv is much faster; pip also goes where only its own configuration leads.
	@$(BIN)/uv pip install --quiet --python $(BIN)/python -r requirements.lock 2>/dev/null || \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

# What the benches compare with, and nothing else needs.
$(BENCH_READY): $(READY)
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --group bench
	@touch $@
