# The commands of the house. `make demo` and `make test` are where to begin; `make help` lists all.
PYTHON ?= python3
ENV := .venv
RUN := $(ENV)/bin/python
READY := $(ENV)/.ready

.PHONY: help env demo up test lint format bench chaos clean compose-smoke lock

help:                ## list the commands
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

env: $(READY)        ## create or renew the environment in .venv

$(READY): requirements-dev.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Carillon needs Python 3.11 or newer; '$(PYTHON)' is older. Try: make PYTHON=python3.12"; exit 1; }
	@echo "Creating the environment in $(ENV) (about a minute, once)…"
	@test -x $(RUN) || $(PYTHON) -m venv $(ENV)
	@$(RUN) -m pip install --quiet --require-hashes -r requirements-dev.lock
	@pwd > $$($(RUN) -c 'import site; print(site.getsitepackages()[0])')/carillon.pth
	@touch $@

demo: $(READY)       ## a campaign from a CSV through Temporal to a simulated provider
	@./carillon demo

up: $(READY)         ## the development stack: PostgreSQL, Temporal with UI, simulator, workers, web
	@./carillon up

test: $(READY)       ## every kind of proof, at a small size
	@$(RUN) -m stack.temporal
	@$(RUN) -m pytest -m "not chaos" -n 3 --dist worksteal

lint: $(READY)       ## ruff, mypy, import-linter
	@$(RUN) -m ruff check .
	@$(RUN) -m ruff format --check .
	@$(RUN) -m mypy .
	@$(ENV)/bin/lint-imports --no-logo

format: $(READY)     ## let ruff write the format
	@$(RUN) -m ruff check --fix .
	@$(RUN) -m ruff format .

chaos: $(READY)      ## kill, wipe and fault tests at their full sizes (takes a while)
	@$(RUN) -m stack.temporal
	@$(RUN) -m pytest -m chaos -s

bench: $(READY)      ## the figures of benchmarks/README.md
	@$(RUN) -m benchmarks

compose-smoke:       ## run docker-compose.yml for real (needs Docker)
	@sh tests/compose_smoke.sh

lock: $(READY)       ## renew the lock files from pyproject.toml (needs uv)
	uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header -q -o requirements-dev.lock
	uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header -q -c requirements-dev.lock -o requirements.lock

clean:               ## remove the environment and caches; never touches data
	rm -rf $(ENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -not -path './.carillon/*' -prune -exec rm -rf {} +
