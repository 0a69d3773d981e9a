# make demo | test | bench | lock: each sets up all it needs, on Linux with Python 3.11+, pip, make and git.

PYTHON ?= python3
UV := .uv/bin/uv
BIN := .venv/bin
READY := .venv/ready
DEMO := data/demo
SHARDS := $(DEMO)/shards
RUN := runs/demo

# The machine's own certificates, where it has some: behind a company's proxy no others are valid.
export UV_SYSTEM_CERTS ?= $(if $(wildcard /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt),1,0)

.PHONY: help demo test bench lock clean
help:
	@echo "make demo    raw corpora -> sealed shards -> a trained model -> $(RUN)/report.html"
	@echo "make test    ruff, pyright and every test"
	@echo "make bench   NAME=build|stream|...: measure tests/bench/NAME.py; a table, then a line of JSON"
	@echo "make lock    remake requirements.lock from pyproject.toml"
	@echo "make clean   remove what demo, test and bench made"

# uv comes by pip and makes the environment, so neither venv nor ensurepip has to be there.
$(UV):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; name one with: make PYTHON=/path/to/python3.11 ..."; exit 1; }
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --root-user-action ignore --target .uv 'uv>=0.9,<1'

$(READY): requirements.lock pyproject.toml | $(UV)
	$(UV) venv --quiet --clear --python $(PYTHON) .venv
	$(UV) pip install --quiet --python $(BIN)/python --require-hashes -r requirements.lock
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@

demo: $(READY)
	$(BIN)/python -m pipelines samples --out $(DEMO)/base_vlm
	$(BIN)/python -m pipelines build --config pipelines/configs/demo.yaml --out $(SHARDS)
	$(BIN)/python -m shards validate $(SHARDS)
	$(BIN)/torchrun --standalone --nproc_per_node=1 train/run.py --mixture demo.yaml --data $(SHARDS) --out $(RUN)
	$(BIN)/python -m train.evaluate --checkpoint $(RUN) --data $(SHARDS) --split val --limit 60
	$(BIN)/python -m train.report --run $(RUN) --data $(SHARDS)

test: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	OMP_NUM_THREADS=1 $(BIN)/pytest -n auto

bench: $(READY)
	@test -f "tests/bench/$(NAME).py" || \
	  { echo "make bench needs NAME, one of: $(basename $(notdir $(wildcard tests/bench/*.py)))"; exit 1; }
	$(BIN)/python tests/bench/$(NAME).py

lock: $(UV)
	$(UV) pip compile --quiet --universal --generate-hashes --upgrade --no-header \
	  --extra pipelines --extra train --extra track --extra remote --extra dev -o requirements.lock pyproject.toml

clean:
	rm -rf .venv .uv .venv-peers .venv-mosaicml $(DEMO) $(RUN) data/bench
