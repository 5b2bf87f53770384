# The first command creates the environment, .venv. Two settings for it:
#   PYTHON=python3.12   the Python; default: the newest installed one of 3.11 to 3.13
#   TENSORFLOW=gpu      cpu, gpu or tensorflow (an extra of setup.py); default: cpu

PYTHON ?=
TENSORFLOW ?=
BIN := .venv/bin
# All tests of a file in one process, so that they share what is made once; the longest files first,
# as conftest.py sorts them.
PYTEST := $(BIN)/python -m pytest -q -n 2 --dist=loadfile --no-loadscope-reorder

.PHONY: help demo test test-all test-seeds lint environment clean distclean

help:
	@echo "make demo       train, evaluate, export and serve on the bundled images: about 3 minutes"
	@echo "make test       lint, types, layering, unit tests, wheel: about ten minutes"
	@echo "make test-all   also the slow tests (kills, four devices, two processes, all formats): half an hour"
	@echo "make test-seeds trains every method on all bundled images, with two more seeds"
	@echo "make lint       only lint and types"
	@echo "make clean      removes what builds and tests leave; distclean: .venv too"

# With oneDNN, training on a CPU is about 1.6 times as fast; TensorFlow enables it only on some CPUs.
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
