# Two commands from nothing: `make demo` and `make test`. They need Python 3.11 or newer.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
export MPLBACKEND := Agg

.PHONY: demo test test-slow lint mutants bench bench-gpu docs recipes clean

demo: $(STAMP)
	$(BIN)/dealias demo --out demo

# two processes of one thread each: what two cores run fastest
test: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/pytest -n auto --maxprocesses 8 --dist worksteal -m "not slow" $(ARGS)

test-slow: $(STAMP)
	$(BIN)/pytest -m slow $(ARGS)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python tools/lengths.py src tests

mutants: $(STAMP)
	$(BIN)/python tools/mutants.py $(ARGS)

# each writes a dated file to benchmarks/results/; `make docs` makes the page of them
bench: $(STAMP)
	$(BIN)/python benchmarks/varnet.py --mode inference
	$(BIN)/python benchmarks/varnet.py --mode training
	$(BIN)/python benchmarks/varnet.py --memory
	$(BIN)/python benchmarks/growth.py
	$(BIN)/python benchmarks/plan.py
	$(BIN)/python benchmarks/loader.py
	$(BIN)/python benchmarks/classical.py

bench-gpu: $(STAMP)
	$(BIN)/python benchmarks/varnet.py --device cuda
	$(BIN)/python benchmarks/varnet.py --device cuda --memory
	$(BIN)/python benchmarks/varnet.py --device cuda --cap 8GiB
	$(BIN)/python benchmarks/varnet.py --device cuda --cap 8GiB --memory
	$(BIN)/python benchmarks/growth.py --device cuda --cap 8GiB
	$(BIN)/python benchmarks/plan.py --device cuda

docs: $(STAMP)
	$(BIN)/python tools/docs.py
	$(BIN)/python tools/masks.py
	$(BIN)/python tools/performance.py
	$(BIN)/python tools/parity_page.py
	$(BIN)/python tools/model_sizes.py
	$(BIN)/python tools/recipe_needs.py
	$(BIN)/python tools/recipes_page.py

# every recipe whole, with small networks on tiny simulated data, and trained twice more bit by bit
recipes: $(STAMP)
	$(BIN)/python tools/recipes.py $(ARGS)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps fastmri==0.3.0
	touch $@

clean:
	rm -rf $(VENV) demo build dist
