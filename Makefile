# Each target's line of help stands behind its ##.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
INSTALL = $(BIN)/pip install --quiet --constraint constraints.txt --editable

# `make serve PORT=9000` passes what it is given, and nothing that only happens to be in the environment.
SETTINGS = HOST PORT WORKERS DATA_DIR STORE ARTIFACTS MODEL MAX_BATCH MAX_REQUESTS LOG_LEVEL
GIVEN = $(foreach name,$(SETTINGS),$(if $(filter command%,$(origin $(name))),NEXTPLY_$(name)='$($(name))'))

help: ## show this help
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

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
	$(BIN)/python -m pytest -n 2 --dist worksteal $(ARGS)

soak: $(VENV)/dev.stamp ## kill, overload and fill the service at full size, for half an hour
	$(BIN)/python -m pytest tests/soak --full -s --timeout=0 $(ARGS)

$(VENV)/kserve.stamp:
	$(PYTHON) -m venv $(VENV)/kserve
	$(VENV)/kserve/bin/pip install --quiet kserve==0.21.0
	touch $@

conformance: $(VENV)/dev.stamp $(VENV)/kserve.stamp ## hold the service to OpenAPI and /v2, with fuzzers, for ten minutes
	KSERVE_PYTHON=$(abspath $(VENV)/kserve/bin/python) $(BIN)/python -m pytest --full --hypothesis-profile=long -s \
		--timeout=0 tests/test_conformance.py tests/test_fuzz.py tests/test_oip.py tests/test_kserve_client.py $(ARGS)

containers: $(VENV)/dev.stamp ## build the image and do with docker what the documents say; needs docker
	$(BIN)/python -m pytest tests/containers --full -s --timeout=0 $(ARGS)

audit: $(VENV)/dev.stamp ## ask whether a dependency has a known vulnerability
	$(BIN)/python -m scripts.audit

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

docs: $(VENV)/dev.stamp ## write the documentation as a site into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

playground: $(VENV)/dev.stamp ## fetch what the playground carries of others, from the npm registry
	$(BIN)/python -m scripts.vendor

screens: $(VENV)/dev.stamp ## take the pictures of the playground again; needs chromium
	$(BIN)/python -m scripts.screenshots

bench: $(VENV)/dev.stamp ## measure everything beside Triton and write docs/benchmarks.md
	$(BIN)/python -m scripts.benchmarks $(ARGS)

.PHONY: help serve test soak conformance containers audit check format train docs bench playground screens
.DEFAULT_GOAL := help
