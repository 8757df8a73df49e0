# Each target's line of help stands behind its ##.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
INSTALL = $(BIN)/pip install --quiet --constraint constraints.txt --editable

# `make serve PORT=9000` passes what it is given, and nothing that only happens to be in the environment.
SETTINGS = HOST PORT WORKERS DATA_DIR STORE ARTIFACTS MODEL MAX_BATCH MAX_REQUESTS LOG_LEVEL
GIVEN = $(foreach name,$(SETTINGS),$(if $(filter command%,$(origin $(name))),NEXTPLY_$(name)='$($(name))'))

help: ## show this help
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/serve.stamp: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(INSTALL) .
	touch $@

$(VENV)/dev.stamp: $(VENV)/serve.stamp client/pyproject.toml
	$(INSTALL) ".[train,dev]" --editable "./client[cli]"
	touch $@

serve: $(VENV)/serve.stamp ## run the service on the shipped model: make serve PORT=9000
	$(GIVEN) $(BIN)/python -m service

test: $(VENV)/dev.stamp ## run the tests: make test ARGS="-k sessions", or ARGS="-n 0 -s" to see what they print
	$(BIN)/python -m pytest -n 2 --dist loadfile $(ARGS)

soak: $(VENV)/dev.stamp ## kill, overload and fill the service at full size, for half an hour
	$(BIN)/python -m pytest tests/soak --full -s --timeout=0 $(ARGS)

check: $(VENV)/dev.stamp ## lint, format, types and import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/dev.stamp ## mend what can be mended by itself
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

train: $(VENV)/dev.stamp ## train a model: make train ARGS="--game chess --games my.pgn --out artifacts/mine/1"
	$(BIN)/python -m scripts.train $(ARGS)

bench: $(VENV)/dev.stamp ## measure everything beside Triton and write docs/benchmarks.md
	$(BIN)/python -m scripts.benchmarks $(ARGS)

.PHONY: help serve test soak check format train bench
.DEFAULT_GOAL := help
