# Everything runs in a virtual environment of its own, made on first use. Both can be chosen:
#   make test PYTHON=python3.12 VENV=/tmp/venv
PYTHON ?= python3
VENV ?= .venv

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# Absolute, since meson is called from other directories; first on PATH, since the editable install calls ninja.
override venv := $(abspath $(VENV))
export PATH := $(venv)/bin:$(PATH)
unexport PYTHONPATH PYTHONHOME VIRTUAL_ENV

stamp := $(venv)/.installed
sources := pyproject.toml constraints.txt meson.build csrc/meson.build
build_tools := meson-python meson ninja cython numpy
demo_problem := tests/data/demo/setcover-400x750-s1.lp.gz

.PHONY: help install demo test test-all lint bench clean

help: ## show the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

install: $(stamp) ## set up the virtual environment, as all targets below do

demo: $(stamp) ## solve a set cover with the shipped policy, beside SCIP's own rules
	revibranch solve $(demo_problem) --settings clean --against scip:default --against scip:pscost

test: $(stamp) ## run the fast tests
	python -m pytest

test-all: $(stamp) ## run all tests, trainings included
	python -m pytest -m ''

lint: $(stamp) build/typing/revibranch ## check style, formatting and types
	ruff check .
	ruff format --check .
	mypy --package revibranch

bench: $(stamp) ## measure the speed of the state extraction
	python -m revibranch.benchmarks.extraction

clean: ## remove the virtual environment and everything built
	rm -rf $(venv) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis

# The build directory bears the environment's name: two environments of one checkout must not share one.
$(stamp): $(sources)
	test -x $(venv)/bin/python || $(PYTHON) -m venv $(venv)
	python -m pip install --quiet --constraint constraints.txt pip $(build_tools)
	python -m pip install --quiet --constraint constraints.txt --no-build-isolation \
		--config-settings=build-dir=build/$(subst /,_,$(VENV)) --editable '.[bench,test,lint]'
	touch $@

# mypy sees the rooms where an installation puts them.
.PHONY: build/typing/revibranch
build/typing/revibranch:
	rm -rf $@
	mkdir -p $@
	ln -s $(abspath $(wildcard revibranch/*)) $(abspath branching gnn instances benchmarks) $@
