# The commands of the project; `make help` lists them.

PYTHON ?= python3# makes the environment; everything else runs inside it
VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.setup-done

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

.PHONY: help
help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: setup
setup: $(STAMP) ## make .venv with everything in it; does nothing when it is done

$(STAMP): pyproject.toml constraints.txt | $(VENV)/pyvenv.cfg
	$(PY) -m pip install -e '.[dev]' -c constraints.txt
	@touch $@

$(VENV)/pyvenv.cfg:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "jacexp needs Python 3.11 or newer, but $(PYTHON) is missing or older; name one: make setup PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "$(PYTHON) cannot make a virtual environment: install its venv module (Debian, Ubuntu: apt-get install python3-venv)" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

DOCS := $(VENV)/.docs-done

$(DOCS): $(STAMP)
	$(PY) -m pip install -e '.[docs]' -c constraints.txt
	@touch $@

.PHONY: docs
docs: setup $(DOCS) ## the site, its tutorials executed, into build/docs; a warning is an error
	$(PY) -m sphinx -E -W --keep-going -q -c docs . build/docs

.PHONY: demo
demo: setup ## train spec against none on the embedded digits; print the table, draw the noise curve
	$(PY) scripts/demo.py

.PHONY: test
test: setup ## the default tier of the tests, under five minutes; ARGS=… goes to pytest
	$(PY) -m pytest -n 2 -m 'not slow and not gpu' $(ARGS)

.PHONY: test-slow
test-slow: setup ## the slow tier
	$(PY) -m pytest -m 'slow and not gpu' $(ARGS)

.PHONY: lint
lint: setup ## style: ruff's rules and formatting
	$(PY) -m ruff check
	$(PY) -m ruff format --check

.PHONY: types
types: setup ## static types
	$(PY) -m mypy

WHERE = $(if $(RESULTS),'paths.results=$(RESULTS)')

.PHONY: reproduce-tables
reproduce-tables: setup ## every table and the scorecard, from the reference results and yours; RESULTS=DIR reads that folder alone
	$(PY) scripts/tables.py $(WHERE)

.PHONY: figures
figures: setup ## every figure of the papers, from stored results; RESULTS=DIR as above; ARGS='dataset=mine methods=spec,none' draws these
	$(PY) scripts/figures.py $(WHERE) $(ARGS)

.PHONY: report
report: setup ## one HTML file with every table, figure and run; RESULTS=DIR as above, ARGS='dataset=mine by=method,lam' chooses
	$(PY) scripts/report.py $(WHERE) $(ARGS)

.PHONY: reproduce-runs
reproduce-runs: setup ## train what is missing; HOURS=8 first what decides most; TABLE=p2-table1 METHOD=spec DATASET=kmnist narrow it, LAUNCHER=fused, DRY=1 prints it
	$(PY) scripts/reproduce.py $(if $(TABLE),--table '$(TABLE)') $(if $(METHOD),--method '$(METHOD)') \
	  $(if $(DATASET),--dataset '$(DATASET)') $(if $(LAUNCHER),--launcher '$(LAUNCHER)') $(if $(HOURS),--hours '$(HOURS)') $(if $(DRY),--dry) \
	  $(WHERE) $(ARGS)

.PHONY: clean
clean: ## remove build products and caches; never results, data or .venv
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -path ./$(VENV) -prune -o -type d -name __pycache__ -prune -exec rm -rf {} +
