# make demo: stylise a photo. make test: the tests. make check: lint, types, layers. make bench: figures.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo test check bench styles clean

demo: $(VENV)/examples
	$(BIN)/impasto weights fetch vgg16
	$(BIN)/python examples/demo.py

test: $(VENV)/dev
	$(BIN)/impasto weights fetch vgg16 efficientnet-lite0 resnet50-thin
	$(BIN)/python -m pytest

check: $(VENV)/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/dev
	$(BIN)/python -m benchmarks

# The style pictures in examples/styles, painted again by their program.
styles: $(VENV)/examples
	$(BIN)/python examples/paint_styles.py

clean:
	rm -rf $(VENV) out

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# Each stamp stands for an installed set of extras; a second run finds it and installs nothing.
$(VENV)/%: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[$*]"
	touch $@
