# Needs make and Python 3.11 or newer; everything else goes into .venv.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
JOBS ?= 2

VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

BUNDLE := out/phi3-vision-int4-tiny
IMAGE := nexus_edge/assets/tiny_phi3_v/heldout/004.png
QUESTION := What is shown in this picture?
TOWERS := out/biomedclip-int8-tiny
SMEARS := nexus_edge/assets/tiny_biomedclip/heldout

.PHONY: help demo test fast soak clean

help:
	@echo "make demo    export the embedded checkpoints, prove them, ask about an image, classify blood cells"
	@echo "make test    lint, types, tests"
	@echo "make fast    the tests without exports and ladders: two minutes"
	@echo "make soak    damaged files, kills, full disks, long runs, many clients: half an hour, not in CI"
	@echo "make clean   remove .venv, out and caches"

# The embedded model is so small that a second thread costs more than it brings.
demo: export OMP_NUM_THREADS := 1
demo: $(VENV)/.export-installed
	$(BIN)/nexus-edge export phi3-vision --int4 --checkpoint tiny --out $(BUNDLE) --force
	$(BIN)/nexus-edge run $(BUNDLE) --image $(IMAGE) --prompt "$(QUESTION)"
	$(BIN)/nexus-edge export biomedclip --int8 --checkpoint tiny --out $(TOWERS) --force
	$(BIN)/nexus-edge classify $(TOWERS) --bank blood-cells $(SMEARS)/cell_000.jpg $(SMEARS)/cell_030.jpg $(SMEARS)/cell_060.jpg

# One thread per worker: the workers already share the cores.
test: export OMP_NUM_THREADS := 1
test: $(VENV)/.dev-installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy
	$(BIN)/python -m pytest -n $(JOBS) --durations=20

# Neither exports nor ladders: what to run while you work.
fast: export OMP_NUM_THREADS := 1
fast: $(VENV)/.dev-installed
	$(BIN)/python -m pytest -n $(JOBS) -m fast --durations=5

soak: export OMP_NUM_THREADS := 1
soak: $(VENV)/.dev-installed
	$(BIN)/python benchmarks/soak.py

clean:
	rm -rf $(VENV) out dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis

# pip comes last into a new environment: if it is there, the environment is complete.
$(BIN)/pip:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.export-installed: pyproject.toml constraints.txt | $(BIN)/pip
	$(INSTALL) -e '.[export]'
	@touch $@

$(VENV)/.dev-installed: pyproject.toml constraints.txt | $(BIN)/pip
	$(INSTALL) -e '.[dev]'
	@touch $@ $(VENV)/.export-installed
