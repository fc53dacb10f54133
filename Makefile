# Visem. `make serve` installs and starts the service, `make test` checks everything; `make help` lists the rest.
#
#   PYTHON=python3.12   the interpreter of the virtual environment (3.11 or newer; found by itself otherwise)
#   DEVICE=cuda         for `make serve`: run on an NVIDIA GPU, which installs torch as well
#   TORCH_INDEX=URL     where to take torch from for a GPU, for training and for the tests, as pytorch.org names it for
#                       each machine. Without it, pip's usual index is asked.
#   ARGS="..."          more arguments for `make serve`, `train`, `bench` and `test` (there: for pytest)

.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
LIGHT := $(VENV)/light
MILVUS := .venv-milvus
CONSTRAINTS := constraints.txt
TORCH_INDEX ?=
DEVICE ?=
ARGS ?=

# The first interpreter that is new enough. Expanded only when an environment is made.
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11 python3.14; do \
	  "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$python" && break; done)

# An environment whose interpreter was upgraded away, or whose folder was moved, is made anew.
VENV_USABLE := $(shell grep -qsF '$(CURDIR)/$(VENV)/' $(BIN)/pip && $(BIN)/python -c '' 2>/dev/null && echo yes)
ifneq ($(VENV_USABLE),yes)
.PHONY: $(VENV)/.created
endif

PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint $(CONSTRAINTS)
# The constraints pin the build backend, too, so the build may use the environment's own.
INSTALL_VISEM := $(PIP_INSTALL) --no-build-isolation --editable

.PHONY: help serve test test-light torture torture-cluster lint train bench milvus clean

help:
	@echo 'make serve   install what is missing, then serve on http://127.0.0.1:8000; DEVICE=cuda for a GPU'
	@echo 'make test    lint, types, architecture and all tests'
	@echo 'make torture the attacks on storage, network and files, at full length: up to 20 minutes'
	@echo 'make torture-cluster   three replicas and their engines while everything fails that can; needs root'
	@echo 'make test-light   after that: a part of the tests in an environment without torch'
	@echo 'make milvus  install the Milvus server that some tests need, in .venv-milvus'
	@echo 'make lint    ruff, mypy and import-linter'
	@echo 'make train   train a bundle:        make train ARGS="--data DIR --out BUNDLE"'
	@echo 'make bench   measure this machine:  make bench ARGS="..."'
	@echo 'make clean   remove the environment and all caches; the library stays'

serve: $(VENV)/$(if $(filter cuda%,$(DEVICE)),.gpu,.base)
	@exec $(if $(DEVICE),env VISEM_DEVICE=$(DEVICE)) $(BIN)/visem serve $(ARGS)

train: $(VENV)/.train
	@exec $(BIN)/visem train bundle $(ARGS)

bench: $(VENV)/.base
	@exec $(BIN)/visem bench $(ARGS)

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Compiled files are kept whatever the environment says: hundreds of processes start, and each would compile it all.
test torture test-light: export PYTHONDONTWRITEBYTECODE :=

test: lint
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 5 $(ARGS)

# What attacks storage, network and files. The crashes come at every write here, at some of them in `make test`.
torture: $(VENV)/.dev
	TORTURE=1 timeout 20m $(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 tests/torture \
	  tests/index/test_durability.py tests/index/test_backup.py \
	  tests/index/vectors/test_killed_builder.py tests/app/test_two_services.py tests/app/test_fetching.py \
	  tests/app/test_keys.py tests/app/http/test_connections.py tests/app/http/test_overload.py \
	  tests/app/http/routes/test_image_files.py tests/model/images $(ARGS)

# Three replicas behind nginx on PostgreSQL, Milvus and S3, for TORTURE_CLUSTER seconds of faults. Needs root, nginx and `make milvus`.
TORTURE_CLUSTER ?= 300
torture-cluster: $(VENV)/.dev
	TORTURE_CLUSTER=$(TORTURE_CLUSTER) $(BIN)/python -m pytest tests/torture/test_cluster.py -s $(ARGS)

# Searching, adding and captions, as a user has them: with the base install. The tiny bundle of these tests is the one
# that `make test` trained.
test-light: $(LIGHT)/.test
	$(LIGHT)/bin/python -m pytest --numprocesses auto --maxprocesses 4 tests/index tests/app/http/routes tests/app/search

# A real Milvus for the tests. It wants an older setuptools, so it has an environment of its own.
milvus: $(MILVUS)/.installed

clean:
	rm -rf $(VENV) $(MILVUS) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +

# Each stamp is one set of packages, installed on top of the one before: pip never runs twice at once (make -j2).

$(VENV)/.created:
	@if [ -z '$(PYTHON)' ]; then \
	  echo 'Visem needs Python 3.11 or newer, and found none. Install one, or name it: make PYTHON=/path/to/python3.12' >&2; \
	  exit 1; \
	fi
	@'$(PYTHON)' -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Visem needs Python 3.11 or newer; $(PYTHON) is $$('$(PYTHON)' -V 2>&1). Name another one: make PYTHON=/path/to/python3.12" >&2; \
	  exit 1; \
	}
	@rm -rf $(VENV)
	@echo 'Creating $(VENV) with $(PYTHON)'
	@'$(PYTHON)' -m venv $(VENV) || { \
	  rm -rf $(VENV); \
	  echo 'That Python cannot make virtual environments. On Debian and Ubuntu: apt install python3-venv' >&2; \
	  exit 1; \
	}
	@touch $@

$(VENV)/.base: $(VENV)/.created pyproject.toml $(CONSTRAINTS)
	@echo 'Installing Visem; the first time takes a minute or so'
	@$(PIP_INSTALL) setuptools
	@$(INSTALL_VISEM) .
	@touch $@

$(VENV)/.gpu: $(VENV)/.base
	@echo 'Installing torch; the first time takes some minutes'
	@if [ -n '$(TORCH_INDEX)' ]; then $(PIP_INSTALL) --no-deps --index-url '$(TORCH_INDEX)' torch torchvision; fi
	@$(INSTALL_VISEM) '.[gpu]'
	@touch $@

$(VENV)/.train: $(VENV)/.gpu
	@echo 'Installing what training needs'
	@$(INSTALL_VISEM) '.[train]'
	@touch $@

$(LIGHT)/.test: $(VENV)/.created pyproject.toml $(CONSTRAINTS)
	@echo 'Installing what the tests without torch need'
	@'$(PYTHON)' -m venv --clear $(LIGHT)
	@$(LIGHT)/bin/python -m pip install --quiet --disable-pip-version-check --constraint $(CONSTRAINTS) setuptools
	@$(LIGHT)/bin/python -m pip install --quiet --disable-pip-version-check --constraint $(CONSTRAINTS) \
	  --no-build-isolation --editable '.[test]'
	@touch $@

$(MILVUS)/.installed:
	@'$(PYTHON)' -m venv --clear $(MILVUS)
	@$(MILVUS)/bin/python -m pip install --quiet --disable-pip-version-check milvus==2.3.5 'setuptools<81'
	@touch $@

$(VENV)/.dev: $(VENV)/.train
	@echo 'Installing what the tests need'
	@$(INSTALL_VISEM) '.[jxl,raw,cluster,ray,clip,train,test,dev]'
	@touch $@
