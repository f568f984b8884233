PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed-in-seconds
CLUSTER_TOOLS ?= ../shared/cluster

# Steps are processes of their own; where this is set, each of them would compile every module it imports anew.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo test test-slow test-cluster images kind kind-down check docs bench bench-transfer bench-store clean

demo: $(INSTALLED)  ## the main job: make a small world, recycle a fine-tune in it, judge and register the result
	@echo "Installed in $$(cat $(INSTALLED)) s."
	$(BIN)/recycle demo

test: $(INSTALLED)  ## the tests
	$(BIN)/python -m pytest -m "not slow and not cluster" -n 2 --dist loadfile

test-slow: $(INSTALLED)  ## the tests that take minutes
	$(BIN)/python -m pytest -m slow

test-cluster: $(INSTALLED)  ## every step as a pod on a cluster; CLUSTER_TOOLS starts and feeds one (see tests/cluster/up)
	tests/cluster/up $(CLUSTER_TOOLS)
	$(BIN)/python -m pytest -m cluster -s --durations 0

images:  ## the images that a laptop's cluster needs; train and eval, on CUDA, with: images/build train eval
	images/build runtime minio mlflow

kind: $(INSTALLED)  ## everything on a kind cluster, with the KFP UI; needs docker, kind and kubectl
	RECYCLE=$(BIN)/recycle manifests/kind-up

kind-down:  ## remove that cluster and all that is in it
	manifests/kind-down

check: $(INSTALLED)  ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(INSTALLED)  ## the parts of docs/ that follow from the code
	$(BIN)/python docs/generate.py

bench: bench-transfer bench-store  ## how fast what moves bytes is, beside what it cannot beat

bench-transfer: $(INSTALLED)  ## beside the limit, the reference and mergekit; BENCH="--help" tells more
	$(BIN)/python tests/benchmarks/bench_transfer.py $(BENCH)

bench-store: $(INSTALLED)  ## the store in a bucket beside plain clients; needs a MinIO program; BENCH="--help" tells more
	$(BIN)/python tests/benchmarks/bench_store.py $(BENCH)

clean:
	rm -rf $(VENV) .recycle build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis

# Without compiling: Python does that for the modules that are used, when they are.
$(INSTALLED): pyproject.toml constraints.txt
	rm -rf $(VENV)
	$(PYTHON) -m venv $(VENV)
	@start=$$(date +%s) && \
	  $(BIN)/python -m pip install --quiet --no-compile --constraint constraints.txt --editable '.[local,dev]' && \
	  echo $$(($$(date +%s) - start)) > $@
