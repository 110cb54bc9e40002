# Two commands on a fresh machine with Python 3.11 and make:
#   make demo   makes a model of embedded real data and serves it (make demo-seg: segmentation)
#   make test   checks everything
#   make help   lists all targets
PYTHON ?= python3.11
BIN := .venv/bin

.PHONY: help demo demo-seg test test-slow test-gpu notebooks bench bench-full docs clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

demo: .venv/installed ## sets up, makes a model of embedded real images and serves it, in minutes
	$(BIN)/convsmith demo

demo-seg: .venv/installed ## the same for segmentation
	$(BIN)/convsmith demo demo-seg --segmentation

# two workers on two cores: of more threads each waits for the other's, and where it spins, takes the other's core
test: export OMP_NUM_THREADS := 1
test test-slow: export OMP_WAIT_POLICY := passive

test: .venv/installed ## sets up, then checks everything
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -m "not slow" --numprocesses 2 --dist loadfile

test-slow: .venv/installed ## the tests that take minutes
	$(BIN)/pytest -m slow

# for a machine with a GPU, and packages of torch and onnxruntime that know it: about ten minutes
test-gpu: .venv/installed ## the tests for a machine with a GPU
	$(BIN)/pytest -m gpu tests/gpu

notebooks: .venv/installed ## writes the tutorials as notebooks anew
	$(BIN)/python tools/notebooks.py

# BENCH='--photos FOLDER --timm CHECKOUT --cifar FOLDER --litserve PYTHON' adds what those stand for
bench: .venv/installed ## the short benchmarks, each beside its peer, into benchmarks/RESULTS.md: ten minutes, idle
	$(BIN)/python benchmarks/suite.py $(BENCH)

bench-full: .venv/installed ## the same for all models and sizes: about two hours
	$(BIN)/python benchmarks/suite.py --full $(BENCH)

docs: .venv/docs-installed ## builds the documentation into site/
	$(BIN)/python tools/docs.py

.venv/docs-installed: .venv/installed
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[docs]'
	touch $@

.venv/installed: pyproject.toml constraints.txt src/convsmith/__init__.py # which has the version
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[train,serve,dev]'
	touch $@

clean: ## removes all that was made
	rm -rf .venv demo demo-seg build dist site
