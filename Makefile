# make env | demo | test | lint | tables    (README.md says what each needs)
PYTHON ?= python3.11
VENV ?= .venv
DEMO ?= out/demo
# Another package index for torch alone, e.g. a CUDA build: see "GPU" in README.md.
TORCH_INDEX ?=

# A second Blender for the add-on's tests, in an environment of its own: one process holds one bpy.
OTHER_BPY ?= 5.0.1
OTHER_VENV ?= $(VENV)-bpy$(OTHER_BPY)

BIN := $(VENV)/bin
STAMP := $(VENV)/.facepbr-$(shell cat requirements.lock pyproject.toml | cksum | cut -d' ' -f1)

.PHONY: env demo test lint tables clean
env: $(STAMP)

# Named after the pins' checksum: as long as they stand, a second run installs nothing.
$(STAMP): requirements.lock pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "expected $(PYTHON); not found; do install Python 3.11 or give PYTHON=..." >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch -c requirements.lock
	$(BIN)/python -m pip install --no-deps -r requirements.lock
	$(BIN)/python -m pip install --no-deps --no-build-isolation -e .
	@rm -f $(VENV)/.facepbr-*
	@touch $(STAMP)

demo: env
	@mkdir -p $(DEMO)
	@$(BIN)/python -c "import sys, skimage; from PIL import Image; Image.fromarray(skimage.data.astronaut()).save(sys.argv[1])" $(DEMO)/astronaut.png
	$(BIN)/python -m core decompose $(DEMO)/astronaut.png -o $(DEMO)
	$(BIN)/python bench/relight.py $(DEMO)/astronaut --hdri forest --hdri studio --out $(DEMO)/relit
	@echo "maps, head and contact sheet:   $(DEMO)/astronaut (begin with sheet.png)"
	@echo "the head under two other lights: $(DEMO)/relit (begin with relight.png)"

test: env
	$(BIN)/python -m pytest -q

# The add-on in every Blender there is: both bpy wheels, a blender executable, and its window where there is Xvfb.
test-blender: env $(OTHER_VENV)/bin/python
	FACEPBR_BPY_PYTHON=$(OTHER_VENV)/bin/python FACEPBR_WINDOW=1 $(BIN)/python -m pytest -q -rs tests/blender

$(OTHER_VENV)/bin/python:
	$(PYTHON) -m venv $(OTHER_VENV)
	$(OTHER_VENV)/bin/python -m pip install bpy==$(OTHER_BPY) || { rm -rf $(OTHER_VENV); exit 1; }

lint: env
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python

# README's results from bench/results/*.json; bench/README.md says how those are made.
tables: env
	$(BIN)/python bench/readme.py

clean:
	rm -rf out build dist *.egg-info .pytest_cache .ruff_cache
