# make lab, make test: they set up .venv themselves, quickly when that was done before. 'make help' says more.
VENV := .venv
PYTHON ?=
TORCH ?=
EXTRAS ?= all
NOTEBOOK ?= notebooks/00_quickstart.ipynb
PORT ?= 8888
ARGS ?=
LAB_ARGS ?=
NOTEBOOKS ?= cache

.PHONY: help lab test coverage lint docs clean
.DEFAULT_GOAL := help

help: ## show this list
	@grep -E '^[a-z]+:.*## ' Makefile | sed -E 's/:.*## /\t/' | while IFS='	' read -r name text; do printf '  make %-6s %s\n' "$$name" "$$text"; done
	@echo
	@echo "  PYTHON=/path/to/python3.12   Python to make .venv with (3.11 to 3.13; default: found)"
	@echo "  TORCH=torch==2.12.1          PyTorch to install (default: see .ci/setup)"

$(VENV)/.installed-%: pyproject.toml .ci/setup
	@PYTHON='$(PYTHON)' TORCH='$(TORCH)' .ci/setup '$*'

# Without a display no browser can open (unless BROWSER names one); the address is printed in any case.
# use_redirect_file: browsers that run in a sandbox, as Ubuntu's do, may not read the file Jupyter hands them.
lab: $(VENV)/.installed-$(EXTRAS) ## open JupyterLab on the first notebook (PORT=8888, EXTRAS=notebooks for less, LAB_ARGS=…)
	@echo "JupyterLab is starting; if no browser opens, open the address below. Ctrl-C stops it."
	@flags=; \
	if [ "$$(id -u)" = 0 ]; then flags="--allow-root"; fi; \
	if [ "$$(uname)" = Linux ] && [ -z "$$DISPLAY$$WAYLAND_DISPLAY$$WSL_DISTRO_NAME$$BROWSER" ]; then flags="$$flags --no-browser"; fi; \
	exec $(VENV)/bin/python .ci/lab "$(PORT)" --LabApp.default_url=/lab/tree/$(NOTEBOOK) \
		--ServerApp.use_redirect_file=False --log-level=WARN --LabApp.log_level=WARN $$flags $(LAB_ARGS)

test: $(VENV)/.installed-dev ## run all tests; what is skipped is named at the end (ARGS="-k fold" goes to pytest)
	@.ci/tools
	$(VENV)/bin/python -m pytest -rs -n 2 --dist loadgroup $(ARGS)

coverage: $(VENV)/.installed-dev ## run the tests and report which lines they reach
	@.ci/tools
	$(VENV)/bin/python -m pytest -q -n 2 --dist loadgroup --cov --cov-report=term:skip-covered $(ARGS)

lint: $(VENV)/.installed-dev ## check style, direction of imports, and types
	$(VENV)/bin/python -m ruff check .
	$(VENV)/bin/python -m ruff format --check .
	$(VENV)/bin/lint-imports
	$(VENV)/bin/python -m mypy

docs: $(VENV)/.installed-$(EXTRAS),docs ## build the documentation in build/docs (NOTEBOOKS=off to run no notebook)
	@NOTEBOOKS=$(NOTEBOOKS) $(VENV)/bin/python -m sphinx -q -W --keep-going -c docs -d build/doctrees . build/docs
	@echo "build/docs/index.html"

clean: ## remove caches and built files; .venv and runs stay
	rm -rf build dist .pytest_cache .ruff_cache .hypothesis
	find rinalmo_kit tests notebooks \( -name __pycache__ -o -name .ipynb_checkpoints \) -prune -exec rm -rf {} +
