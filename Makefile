# `make demo` and `make test` do all set-up on a machine that has Python 3.10 to 3.12 and Java 17.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3.10 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
DEMO ?= demo
UV_VERSION := 0.13.9

.PHONY: help setup java demo package test test-all lint format bench quality clean

help: ## Show this help.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

java:
	@command -v "$${JAVA_HOME:+$$JAVA_HOME/bin/}java" >/dev/null || { \
	  echo "Kinsight needs Java 17, and none was found through JAVA_HOME or PATH. Install it:"; \
	  echo "  Debian, Ubuntu   sudo apt-get install -y openjdk-17-jre-headless"; \
	  echo "  macOS            brew install openjdk@17"; \
	  echo "  conda            conda install -c conda-forge openjdk=17"; exit 1; }

# The small CPU wheels of torch first; where their index cannot be reached, the plain package.
$(VENV)/.installed: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "Python 3.10, 3.11 or 3.12 is needed and none was found."; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 13))' || { \
	  echo "Python 3.10, 3.11 or 3.12 is needed; $(PYTHON) is $$("$(PYTHON)" --version)."; \
	  echo "Name another one: make PYTHON=/path/to/python3.11"; exit 1; }
	@test -x $(BIN)/python || "$(PYTHON)" -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@echo "Installing Kinsight and its packages into $(VENV) (some minutes the first time)"
	@install() { $(BIN)/uv pip install --quiet --python $(BIN)/python -c constraints.txt \
	    -e '.[demo,dev,notebooks]' "$$@"; }; \
	  install --torch-backend=cpu 2>$(VENV)/cpu-wheels.log || { \
	  echo "The index of torch's CPU wheels did not answer: taking the plain package (larger)."; \
	  install; }
	@touch $@

setup: java $(VENV)/.installed ## Create .venv with everything in it.

demo: setup ## A year of a real grocer: segments, audiences, report.
	@$(BIN)/kinsight demo --folder "$(DEMO)"

lint: $(VENV)/.installed ## Style, types, import layers.
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

test: setup lint ## Lint and all tests but the heavy ones, in three processes.
	@$(BIN)/pytest -m "not heavy" -n 3 --dist loadscope

# The environment of a cluster in one archive; made again when anything in it changes.
ARCHIVE := dist/kinsight-environment.tar.gz
PACKED := $(shell find lib jobs schemas spark-conf -type f -not -name '*.pyc') pyproject.toml constraints.txt

$(ARCHIVE): $(VENV)/.installed $(PACKED)
	@rm -rf dist && $(BIN)/uv build --quiet --wheel --out-dir dist .
	@$(BIN)/python -m kinsight.packing dist dist/*.whl constraints.txt

package: $(ARCHIVE) ## Python and all packages in one archive, for clusters.

test-all: setup lint package ## Every test.
	@$(BIN)/pytest

format: $(VENV)/.installed ## Format the code.
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

# Peers that are measured beside ours; nothing else needs them.
$(VENV)/.bench: $(VENV)/.installed
	@$(BIN)/uv pip install --quiet --python $(BIN)/python -c constraints.txt -e '.[bench]'
	@touch $@

bench: setup $(VENV)/.bench ## Speed beside peers and limits, in benchmarks/RESULTS.md (half an hour).
	@$(BIN)/python -m benchmarks.sequences --repeats 2
	@$(BIN)/python -m benchmarks.sequences --bot --driver-memory 8g --repeats 1 \
	  --only Kinsight "Kinsight, no bot" "lifestream's recipe"
	@$(BIN)/python -m benchmarks.kmeans --users 100000 --clusters 100 --repeats 2
	@$(BIN)/python -m benchmarks.expand_many --users 60000 --repeats 2
	@$(BIN)/python -m benchmarks.embed --users 60000 --repeats 2 --peer-users 5000
	@$(BIN)/python -m benchmarks.train --repeats 3
	@$(BIN)/python -m benchmarks.demo

# QUALITY=long takes all encoders, objectives and data sets, and hours.
QUALITY ?= short
TABLES := lookalike encoders thin stability segments archetypes next_item \
  $(if $(filter long,$(QUALITY)),transfer warm_start)

# One table a core, each on one thread.
quality: setup ## How good the models are, in benchmarks/quality/RESULTS.md (a quarter of an hour).
	@printf '%s\n' $(TABLES) | OMP_NUM_THREADS=1 xargs -P $$(getconf _NPROCESSORS_ONLN) -I TABLE \
	  $(BIN)/python -m benchmarks.quality.TABLE $(if $(filter long,$(QUALITY)),--long)

clean: ## Remove the demo, caches and .venv.
	rm -rf $(VENV) "$(DEMO)" dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
