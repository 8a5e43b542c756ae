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
peers_stamp := $(venv)/.peers
docs_stamp := $(venv)/.docs
sources := pyproject.toml constraints.txt meson.build csrc/meson.build
build_tools := meson-python meson ninja cython numpy
demo_problem := tests/data/demo/setcover-400x750-s1.lp.gz

# Tests share out the cores, up to four: each process holds torch.
pytest := python -m pytest --numprocesses logical --maxprocesses 4 --dist worksteal

# A second environment: SCIP 9 below the same sources, and no torch. $(venv) without the learner's tests.
scip9 := $(venv)-scip9
scip9_tests := tests/branching tests/instances tests/benchmarks tests/cli tests/test_correctness.py

# A third one: native code under the address and the undefined-behaviour sanitizer, everything else borrowed from $(venv).
asan := $(venv)-asan
asan_build := build/$(subst /,_,$(VENV))-asan
asan_options := -Db_sanitize=address,undefined -Db_lundef=false -Dbuildtype=debugoptimized \
	-Dc_args=-fno-sanitize-recover=all
asan_tests := tests/branching tests/gnn/test_native.py tests/gnn/test_fused.py tests/gnn/test_halfconv.py \
	--ignore=tests/branching/workers # no native code, and workers that are to die of a signal, which the sanitizer would catch
# Their run-time libraries stand before all others; C++'s too, whose exceptions they catch (SoPlex throws). Python's own
# memory comes from malloc, so that they see its edges. Python never frees all it has, hence no search for leaks.
# Freed memory is held back, which a test of the process's size would see: hence only a little of it.
asan_run = env LD_PRELOAD="$$(for library in libasan.so libubsan.so libstdc++.so.6; do $(CC) -print-file-name=$$library; done | xargs)" \
	ASAN_OPTIONS=detect_leaks=0:quarantine_size_mb=2 UBSAN_OPTIONS=print_stacktrace=1 PYTHONMALLOC=malloc

# The committed table of SCIP's own rules: benchmarks/RESULTS.md says how it came about.
results := benchmarks/results/scip-rules
results_families := setcover:200x300 auction:40x200 independent-set:200 facility:30x20 knapsack:30x4
results_rules := default relpscost pscost mostinf random inference vanillafullstrong fullstrong

.PHONY: help install demo test test-scip9 test-asan test-all lint docs bench results reproduce clean

help: ## show the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

install: $(stamp) ## set up the virtual environment, as all targets below do

demo: $(stamp) ## solve a set cover with the shipped policy, beside SCIP's own rules
	revibranch solve $(demo_problem) --settings clean --against scip:default --against scip:pscost

test: $(stamp) ## run the fast tests
	$(pytest)

test-scip9: $(scip9)/.installed ## run the fast tests of the solver's side with SCIP 9 and without torch
	$(pytest) $(scip9_tests)

# Built before the tests, since compilers are not to run under the sanitizers.
test-asan: $(asan)/.installed ## run the tests of the native code under the address and undefined-behaviour sanitizers
	ninja -C $(asan_build)
	for module in $(asan_build)/csrc/*.so; do nm -D $$module | grep __asan_ > /dev/null || { echo "$$module: not sanitized"; exit 1; }; done
	$(asan_run) python -m pytest $(asan_tests)

test-all: $(stamp) $(peers_stamp) test-scip9 ## run all tests: trainings, comparisons with peers, SCIP 9
	$(pytest) -m ''

lint: $(stamp) build/typing/revibranch ## check style, formatting and types
	ruff check .
	ruff format --check .
	mypy --package revibranch

# All pages anew each time: Sphinx says nothing again of pages that it keeps.
docs: $(docs_stamp) ## build the documentation into build/docs; warnings are errors
	python -m sphinx --quiet --fresh-env --fail-on-warning --keep-going --doctree-dir build/doctrees docs build/docs

bench: $(stamp) ## measure the speed of the state extraction
	python -m revibranch.benchmarks.extraction

results: $(stamp) ## compare SCIP's own rules on five families (an hour); runs that are there are not done again
	revibranch evaluate $(addprefix --instances ,$(addsuffix :0-19,$(results_families))) \
		$(addprefix --policy scip:,$(results_rules)) --seeds 0-2 --settings clean --time-limit 60 --out $(results).parquet
	{ cat $(results).md && revibranch report $(results).parquet | sed 1d; } > benchmarks/RESULTS.md

reproduce: $(stamp) ## train the shipped policy POLICY again, by the commit and recipe that it names (up to two hours)
	python -m revibranch.benchmarks.reproduce $(POLICY)

clean: ## remove the virtual environments and everything built
	rm -rf $(venv) $(scip9) $(asan) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis

# The build directory bears the environment's name: two environments of one checkout must not share one.
install_editable = python -m pip install --quiet --constraint $(1) --no-build-isolation \
	--config-settings=build-dir=build/$(subst /,_,$(VENV))$(2) --editable

$(stamp): $(sources)
	test -x $(venv)/bin/python || $(PYTHON) -m venv $(venv)
	python -m pip install --quiet --constraint constraints.txt pip $(build_tools)
	$(call install_editable,constraints.txt) '.[train,bench,test,lint]'
	touch $@

# Other implementations that tests compare with, and Ray. Few need them, so only `make test-all` installs them.
$(peers_stamp): $(stamp)
	$(call install_editable,constraints.txt) '.[peers,ray]'
	touch $@

$(docs_stamp): $(stamp)
	$(call install_editable,constraints.txt) '.[docs]'
	touch $@

test-scip9 $(scip9)/.installed: export PATH := $(scip9)/bin:$(PATH)
$(scip9)/.installed: $(sources) constraints-scip9.txt
	test -x $(scip9)/bin/python || $(PYTHON) -m venv $(scip9)
	grep -iv '^pyscipopt==' constraints.txt | cat - constraints-scip9.txt > $(scip9)/constraints.txt
	python -m pip install --quiet --constraint $(scip9)/constraints.txt pip $(build_tools)
	$(call install_editable,$(scip9)/constraints.txt,-scip9) '.[bench,test]'
	touch $@

# The borrowed packages stand behind this environment's own. The editable install of $(venv) among them lives in a .pth file,
# which a plain path entry does not read.
test-asan $(asan)/.installed: export PATH := $(asan)/bin:$(PATH)
$(asan)/.installed: $(stamp)
	test -x $(asan)/bin/python || $(venv)/bin/python -m venv --without-pip $(asan)
	$(venv)/bin/python -c 'import sysconfig; print(sysconfig.get_path("platlib"))' \
		> "$$(python -c 'import sysconfig; print(sysconfig.get_path("platlib"))')/borrowed.pth"
	$(call install_editable,constraints.txt,-asan) . --no-deps $(addprefix --config-settings=setup-args=,$(asan_options))
	touch $@

# mypy sees the rooms where an installation puts them.
.PHONY: build/typing/revibranch
build/typing/revibranch:
	rm -rf $@
	mkdir -p $@
	ln -s $(abspath $(wildcard revibranch/*)) $(abspath branching gnn instances benchmarks) $@
