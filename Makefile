# Two commands: `make demo` makes three images, `make test` runs everything that CI runs.
# Each sets up what it needs in .venv; only Python 3.11 or newer, pip, make and git have to be there.

PYTHON ?= python3
PICTURES ?= pictures
VENV := .venv
BIN := $(VENV)/bin
BENCH := .venv-bench
GATEWAYS := .venv-gateways
TABLES := .venv-tables
SERVERS := .venv-servers
RECIPES := .venv-recipes
DIFFUSERS := .venv-diffusers
PYTHONS := .venv-pythons

# The tests start the package in hundreds of processes: its bytecode is kept, whatever the environment says.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo test check types imports pytest diffusers wheel site pythons release-check soak attack gateways pictures servers tables recipes first-hour docs bench bench-quick bench-batch clean

demo: $(VENV)/.demo
	$(BIN)/python docs/examples/demo.py $(PICTURES)

test: pytest types check imports diffusers wheel site
	@echo "All checks passed."

check: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/.dev
	$(BIN)/mypy
	$(BIN)/pyright --pythonpath $(BIN)/python

imports: $(VENV)/.dev
	$(BIN)/lint-imports

pytest: $(VENV)/.dev $(GATEWAYS)/gateways/.made
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile

# Local models, tiny ones with random weights; what needs torch is skipped by `make pytest`.
diffusers: $(DIFFUSERS)/.made
	$(DIFFUSERS)/bin/python -m pytest tests/diffusers

# What users install: the wheel alone in a fresh environment, then with its extras.
wheel: $(VENV)/.dev
	rm -rf build/wheel
	$(BIN)/python -m build --wheel --outdir build/wheel .
	$(BIN)/python -m venv build/wheel/plain
	build/wheel/plain/bin/python -m pip install --quiet --disable-pip-version-check build/wheel/*.whl
	cd build/wheel && plain/bin/python -P -W error ../../tests/wheel.py plain
	build/wheel/plain/bin/python -m pip install --quiet --disable-pip-version-check "$$(ls build/wheel/*.whl)[all]"
	cd build/wheel && plain/bin/python -P -W error ../../tests/wheel.py all

# The documentation site, in build/site/html: a warning or a link that leads nowhere ends it.
site: $(VENV)/.dev
	$(BIN)/python -m docs.site

# The part of the tests that depends most on the interpreter, on Python 3.12, 3.13 and 3.14; those that cannot be had are named.
pythons: $(PYTHONS)/.made
	$(BIN)/python -m tests.pythons

# What has to hold before a release: the version, the changelog and the tag agree, nothing is left to commit, and the source
# archive and the wheel, in build/release, are what an index takes and users can install.
release-check: $(VENV)/.release
	$(BIN)/python -m tests.release

# A hundred thousand calls with faults, each held against the bill; takes minutes, and is not part of `make test`.
soak: $(VENV)/.dev
	$(BIN)/python -m benchmarks.soak

# Every fault through every real gateway, what was reported against what was billed; takes half an hour, most of which
# LiteLLM's proxy spends on sending again. `make pytest` has the part that takes less than two minutes.
gateways: $(VENV)/.dev $(GATEWAYS)/gateways/.made $(GATEWAYS)/gateways-mitmproxy/.made $(GATEWAYS)/gateways-litellm/.made
	$(BIN)/python -m tests.gateways

# The client against LiteLLM's proxy, and against SGLang's and vLLM-Omni's servers with their engines replaced: what arrives there, and
# what comes back. Takes minutes and five gigabytes of packages, and so is no part of `make test`.
servers: $(VENV)/.dev $(GATEWAYS)/gateways-litellm/.made $(SERVERS)/sglang/.made $(SERVERS)/vllm-omni/.made
	$(BIN)/python -m tests.servers

# Every file of a folder of your own, through every way to hand in a picture, against Pillow: prints the disagreements.
CORPUS ?= pictures
pictures: $(VENV)/.dev
	$(BIN)/python -m tests.corpus "$(CORPUS)"

# Tables of pandas, polars, DuckDB, pyarrow and datasets as inputs, and manifests as these read them. Takes four to eight
# minutes on two busy cores, half of them for 700 MB of packages, and so is no part of `make test`.
tables: $(TABLES)/.made
	$(TABLES)/bin/python -m pytest tests/tables

# Every recipe of docs/cookbook.md. Takes four minutes on a busy machine, most of them for 460 MB of packages, and so is no
# part of `make test`, which runs the recipes whose packages it has.
recipes: $(RECIPES)/.made
	RECIPES=all $(RECIPES)/bin/python -m pytest tests/test_cookbook.py

# What a new user does in the first hour: every code block and command of the site's first pages, in empty folders and a new
# environment. The transcript is build/first-hour.txt, to be read by somebody who has not seen the project. Takes two minutes.
first-hour: site
	$(BIN)/python -m tests.first_hour

# Random attacks on the promises, each for so many seconds: cancellations, killed processes, histories of batches.
# They print what was billed and what was told of it; the first one that is wrong ends it, with its seed.
SECONDS ?= 600
SEED ?= 1
attack: $(VENV)/.dev
	$(BIN)/python -m tests.attack.cancels --seconds $(SECONDS) --seed $(SEED)
	$(BIN)/python -m tests.attack.kills --seconds $(SECONDS) --seed $(SEED)
	$(BIN)/python -m tests.attack.histories --seconds $(SECONDS) --seed $(SEED)

# A million jobs of a batch, then the same job killed and begun again in three ways; takes an hour on two
# busy cores, and 14 GB of disk, which are given back.
JOBS ?= 1000000
bench-batch: $(VENV)/.dev
	$(BIN)/python -m benchmarks.batch --jobs $(JOBS)
	$(BIN)/python -m benchmarks.resume

# The tables in README and docs, and the drawing of the package in docs/contributing.md, regenerated from the code.
docs: $(VENV)/.dev
	$(BIN)/python -m docs.tables
	$(BIN)/python -m docs.house

# Against other clients, in an environment of their own, and against this package as it was at the revision BEFORE; empty
# for none. Everything takes about half an hour, the headlines 4 minutes.
BEFORE ?= dccb269
bench: $(BENCH)/.made
	$(BENCH)/bin/python -m benchmarks $(addprefix --before ,$(BEFORE)) --out benchmarks/results/full

bench-quick: $(BENCH)/.made
	$(BENCH)/bin/python -m benchmarks --quick $(addprefix --before ,$(BEFORE)) --out benchmarks/results/quick

clean:
	rm -rf $(VENV) $(BENCH) $(GATEWAYS) $(TABLES) $(RECIPES) $(SERVERS) $(DIFFUSERS) $(PYTHONS) build dist

$(VENV)/.made:
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV) || { $(PYTHON) -m pip install --user virtualenv && $(PYTHON) -m virtualenv $(VENV); }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade "pip>=25.1"
	touch $@

$(VENV)/.demo: $(VENV)/.made pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[embedded]"
	touch $@

$(VENV)/.dev: $(VENV)/.made pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[all]" --group dev
	touch $@ $(VENV)/.demo

$(VENV)/.release: $(VENV)/.dev
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --group release
	touch $@

$(BENCH)/.made: $(VENV)/.made pyproject.toml
	$(BIN)/python -m venv $(BENCH) || { $(PYTHON) -m pip install --user virtualenv && $(PYTHON) -m virtualenv $(BENCH); }
	$(BENCH)/bin/python -m pip install --quiet --disable-pip-version-check --upgrade "pip>=25.1"
	$(BENCH)/bin/python -m pip install --quiet --disable-pip-version-check --upgrade --editable . --group bench
	touch $@

# An environment for each dependency group of gateways, whose requirements exclude each other's.
$(GATEWAYS)/%/.made: $(VENV)/.made pyproject.toml
	$(BIN)/python -m venv $(GATEWAYS)/$* || { $(PYTHON) -m pip install --user virtualenv && $(PYTHON) -m virtualenv $(GATEWAYS)/$*; }
	$(GATEWAYS)/$*/bin/python -m pip install --quiet --disable-pip-version-check --upgrade "pip>=25.1"
	$(GATEWAYS)/$*/bin/python -m pip install --quiet --disable-pip-version-check --group $*
	touch $@

$(TABLES)/.made: $(VENV)/.made pyproject.toml
	$(BIN)/python -m venv $(TABLES) || { $(PYTHON) -m pip install --user virtualenv && $(PYTHON) -m virtualenv $(TABLES); }
	$(TABLES)/bin/python -m pip install --quiet --disable-pip-version-check --upgrade "pip>=25.1"
	$(TABLES)/bin/python -m pip install --quiet --disable-pip-version-check --editable ".[embedded]" --group tables
	touch $@

$(RECIPES)/.made: $(VENV)/.made pyproject.toml
	$(BIN)/python -m venv $(RECIPES) || { $(PYTHON) -m pip install --user virtualenv && $(PYTHON) -m virtualenv $(RECIPES); }
	$(RECIPES)/bin/python -m pip install --quiet --disable-pip-version-check --upgrade "pip>=25.1"
	$(RECIPES)/bin/python -m pip install --quiet --disable-pip-version-check --editable ".[embedded]" --group recipes
	touch $@

# Has what `.venv` has, and the group `diffusers`. torch's own index has builds for processors alone, which are a tenth of
# the size; where it cannot be reached, pip takes the build that its other sources have.
TORCH_INDEX := https://download.pytorch.org/whl/cpu
REACHED = import urllib.request; urllib.request.urlopen("$(TORCH_INDEX)/torch/", timeout=5)

$(DIFFUSERS)/.made: $(VENV)/.dev pyproject.toml
	$(BIN)/python -m venv --clear --without-pip $(DIFFUSERS)
	$(BIN)/python -c 'import sysconfig; print("import site; site.addsitedir(%r)" % sysconfig.get_path("purelib"))' \
		> "$$($(DIFFUSERS)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/borrowed.pth"
	$(BIN)/python -m pip --python $(DIFFUSERS)/bin/python install --quiet --disable-pip-version-check --no-compile --group diffusers \
		$$($(BIN)/python -c '$(REACHED)' 2>/dev/null && echo --extra-index-url $(TORCH_INDEX))
	touch $@

$(PYTHONS)/.made: $(VENV)/.made pyproject.toml
	$(BIN)/python -m venv $(PYTHONS)/tools || { $(PYTHON) -m pip install --user virtualenv && $(PYTHON) -m virtualenv $(PYTHONS)/tools; }
	$(BIN)/python -m pip --python $(PYTHONS)/tools install --quiet --disable-pip-version-check --group pythons
	touch $@

# Servers without their own requirements, most of which need a GPU: the group `servers-NAME` has what importing one needs.
$(SERVERS)/sglang/.made: WHEELS := sglang==0.5.23
$(SERVERS)/vllm-omni/.made: WHEELS := vllm==0.30.0 vllm-omni==0.30.0

$(SERVERS)/%/.made: $(VENV)/.made pyproject.toml
	$(BIN)/python -m venv $(SERVERS)/$* || { $(PYTHON) -m pip install --user virtualenv && $(PYTHON) -m virtualenv $(SERVERS)/$*; }
	$(SERVERS)/$*/bin/python -m pip install --quiet --disable-pip-version-check --upgrade "pip>=25.1"
	$(SERVERS)/$*/bin/python -m pip install --quiet --disable-pip-version-check --group servers-$*
	$(SERVERS)/$*/bin/python -m pip install --quiet --disable-pip-version-check --no-deps $(WHEELS)
	touch $@
