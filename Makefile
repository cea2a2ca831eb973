# Every target brings what it needs into .host/ first: a Python environment and a real ComfyUI.
#   HOST=0.16.3        another pinned ComfyUI (0.30.0, 0.24.1, 0.18.2, 0.16.3)
#   COMFYUI_PATH=path  your own ComfyUI, with its own Python
#   FRONTEND=latest    another version of the editor's package: the newest that pip offers, or 1.44.19
#   GRAPH=two-adapters make demo runs this graph of workflows/ on the demo models instead; flux on random weights
#   GRAPHS=path        make graphs tries the graphs in this folder (../shared/graphs)
#   BROWSER=0          leave the browser tests out
#   ROOM=prompts       make test runs the tests of this room alone: its folders and its test_prompts.py, if there are any,
#                      in tests/core, tests/host, tests/benchmarks and tests; ROOM=core and ROOM=host run these whole
#   ARGS="-k mask -x"  more arguments for pytest; with ARGS or ROOM, tests run in one process
#   JOBS=1             make test runs all tests in so many processes (as many as there are cores, at most 4)
#   QUICK=1            make bench in about five minutes: smaller pictures, fewer repeats
#   PEER=path          make bench measures the IP-Adapter nodes in this folder beside ours
#   THREADS=1          make bench computes with so many threads
#   ACCEPT="de fr"     make languages records that these say what the English says
#   PUBLISH=1          make archive also refuses what has to be filled in before publishing

PYTHON ?= python3
BRING := $(PYTHON) .ci/develop/bring.py
PORT ?= 8189
STEPS ?= 50
PUBLISH ?=
ACCEPT ?=
GRAPH ?=
GRAPHS ?= ../shared/graphs
JOBS ?= auto
ROOM ?=
PLACES := tests/core tests/host tests/benchmarks tests
FOLDERS = $(notdir $(patsubst %/,%,$(wildcard $(PLACES:=/*/))))
FILES = $(patsubst test_%.py,%,$(notdir $(wildcard $(PLACES:=/test_*.py))))
ROOMS = $(filter-out support __pycache__,$(sort $(FOLDERS) $(FILES)))
TESTS = $(wildcard $(PLACES:=/$(ROOM)) $(PLACES:=/test_$(ROOM).py))
UNKNOWN = There are no tests of a room "$(ROOM)". The rooms are: $(ROOMS)

.PHONY: help demo test screenshots bench gpu evaluate train-tiny small-world serve graphs archive emblem layout release-names languages lint clean

help: ## this list
	@sed -n 's/^# \{0,1\}//p' Makefile
	@sed -n 's/^\([a-z-]*\): ## \(.*\)/  make \1	\2/p' Makefile

demo: ## a picture grid: reference pictures x weights, with and without a text; with GRAPH, the picture of that graph
	@$(BRING) run -- python .ci/develop/$(if $(GRAPH),demo_graph.py "$(GRAPH)",demo.py)

test: ## all tests, on a real ComfyUI; with ROOM=settings or ARGS=tests/core/settings/test_masks.py these alone
	@$(if $(ROOM),$(if $(filter $(ROOM),$(ROOMS)),,$(error $(UNKNOWN))))$(BRING) run -- \
		python -m pytest $(if $(ROOM),$(TESTS)) $(ARGS) $(if $(ROOM)$(ARGS),,-n $(JOBS) --dist loadfile --no-loadscope-reorder)

screenshots: ## the pictures of the README, the help pages and the templates again, from the real editor
	@SCREENSHOTS=1 $(MAKE) --no-print-directory test ARGS=tests/browser/test_screenshots.py

bench: ## what an image prompt costs, each goal met or not; tables and curves go into .host/bench
	@$(BRING) run -- python benchmarks/run.py

gpu: ## gather into .host/gpu what checks the package on a card, with no network there; and check here what can be
	@$(BRING) run -- python benchmarks/gpu/gather.py
	@$(BRING) run -- python benchmarks/gpu/check.py

evaluate: ## the tables of models/small_world/RESULTS.md again, from the shipped weights
	@$(BRING) run -- python benchmarks/small_world/run.py evaluate

train-tiny: ## the whole training chain end to end, STEPS steps of each model, into .host/train-tiny
	@$(BRING) run -- python benchmarks/small_world/run.py everything $(STEPS) --pictures 512 --into .host/train-tiny

small-world: ## train everything that models/small_world ships again (hours)
	@$(BRING) run -- python benchmarks/small_world/run.py everything

serve: ## a ComfyUI with this package to click around in, on PORT
	@$(BRING) run -- python .ci/develop/serve.py $(PORT)

graphs: ## open and run graphs that people share: those of GRAPHS, if it is there, else those that the tests bring
	@$(BRING) run -- python .ci/develop/graphs.py $(GRAPHS)

layout: ## lay out the templates again: measure nodes in both canvases, then write where each lies
	@$(BRING) run -- python .ci/develop/layout.py

archive: ## what the registry would hand out: its files and sizes, what its scanner would find, and a run of it
	@$(BRING) run -- python .ci/develop/archive.py $(if $(PUBLISH),publish)

emblem: ## docs/images/icon.png and banner.png again
	@$(BRING) --tools run -- python .ci/develop/emblem.py

release-names: ## record the ids, inputs, outputs and words of this version, which later ones keep
	@$(BRING) run -- python tests/support/released.py

languages: ## locales/en again from the nodes, and what each other language lacks; with ACCEPT="de fr" these are up to date
	@$(BRING) run -- python tests/support/languages.py $(ACCEPT)

lint: ## style, types, and which room may use which
	@$(BRING) --tools run -- python .ci/develop/lint.py

clean: ## remove everything that was brought
	rm -rf .host
