# Two commands on a fresh machine with Python 3.11 and make:
#   make demo   makes a model of embedded real data and serves it (make demo-seg: segmentation)
#   make test   checks everything
PYTHON ?= python3.11
BIN := .venv/bin

.PHONY: demo demo-seg test test-slow test-gpu clean

demo: .venv/installed
	$(BIN)/convsmith demo

demo-seg: .venv/installed
	$(BIN)/convsmith demo demo-seg --segmentation

# with two workers on two cores, a thread that spins while it waits takes the other's core: four times the work
test test-slow: export OMP_WAIT_POLICY := passive

test: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -m "not slow" --numprocesses 2 --dist loadfile

test-slow: .venv/installed
	$(BIN)/pytest -m slow

# for a machine with a GPU, and packages of torch and onnxruntime that know it: about ten minutes
test-gpu: .venv/installed
	$(BIN)/pytest -m gpu tests/gpu

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[train,serve,dev]'
	touch $@

clean:
	rm -rf .venv demo demo-seg build dist
