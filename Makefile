# Two commands: `make demo` shows the product, `make test` proves it. Both make their own environment.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Installed first, by itself: a CPU build where the package index offers one, else the index's default.
TORCH ?= torch==2.13.0
# The package of the face models asks for an OpenCV with windows, which needs libGL; this one does not.
HEADLESS_OPENCV := opencv-python-headless==5.0.0.93
SELFIES ?=

.PHONY: demo test setup lint types run doctor clean

$(VENV)/.ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade-strategy only-if-needed "$(TORCH)"
	$(BIN)/python -m pip install --quiet -e ".[engine]"
	$(BIN)/python -m pip install --quiet --force-reinstall --no-deps "$(HEADLESS_OPENCV)"
	touch $@

$(VENV)/.ready-dev: $(VENV)/.ready
	$(BIN)/python -m pip install --quiet -e ".[engine,postgres,s3,dev]"
	touch $@

setup: $(VENV)/.ready

demo: setup
	$(BIN)/likeness demo $(if $(SELFIES),--selfies "$(SELFIES)")

run: setup
	$(BIN)/likeness run

doctor: setup
	$(BIN)/likeness doctor

lint: $(VENV)/.ready-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.ready-dev
	$(BIN)/mypy

test: lint types
	$(BIN)/python -m pytest

clean:
	rm -rf $(VENV) demo-output .mypy_cache .ruff_cache .pytest_cache
