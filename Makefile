# Every command makes its own environment, .venv, at its first call. Two settings for that call:
#   PYTHON=python3.12   a Python; default: the newest of 3.11 to 3.13 that is found
#   TENSORFLOW=gpu      cpu, gpu or tensorflow (an extra of setup.py); default: cpu

PYTHON ?=
TENSORFLOW ?=
BIN := .venv/bin
# A file to a process: what its tests share is made once. The longest first, as conftest.py sorts.
PYTEST := $(BIN)/python -m pytest -q -n 2 --dist=loadfile --no-loadscope-reorder

.PHONY: help demo test test-all test-seeds lint environment clean distclean

help:
	@echo "make demo       train, evaluate, export and serve on the bundled images: about 3 minutes"
	@echo "make test       lint, types, layering, unit tests, wheel: about ten minutes"
	@echo "make test-all   also what is slow and rare: kills, four devices, two processes, all formats: half an hour"
	@echo "make test-seeds the training of every method on all bundled images, with two more seeds"
	@echo "make lint       lint and types alone"
	@echo "make clean      remove what builds and tests leave; distclean: .venv too"

# oneDNN makes training on a CPU about 1.6 times as fast; TensorFlow uses it unasked on some only.
demo: environment
	@TF_ENABLE_ONEDNN_OPTS=1 TF_CPP_MIN_LOG_LEVEL=2 $(BIN)/cl-keras demo

test: lint
	$(BIN)/python -m pytest -q --noconftest tests/layering_test.py
	$(PYTEST) -m "not slow" --ignore=tests/layering_test.py
	$(BIN)/python tools/check_wheel.py

test-all: test
	$(PYTEST) -m "slow and not seeds"

test-seeds: environment
	$(PYTEST) -m seeds

lint: environment
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

environment:
	@PYTHON="$(PYTHON)" TENSORFLOW="$(TENSORFLOW)" sh tools/environment.sh .venv

clean:
	rm -rf build dist *.egg-info .pytest_cache .ruff_cache
	find cl_keras tests tools -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean
	rm -rf .venv
