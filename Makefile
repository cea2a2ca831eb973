# Every target brings what it needs into .host/ first: a Python environment and a real ComfyUI.
#   HOST=0.16.3        another pinned ComfyUI (0.30.0, 0.24.1, 0.18.2, 0.16.3)
#   COMFYUI_PATH=path  your own ComfyUI, with its own Python
#   BROWSER=0          leave the browser tests out
#   ARGS="-k mask -x"  more arguments for pytest

PYTHON ?= python3
BRING := $(PYTHON) tests/host/bring.py
PORT ?= 8189

.PHONY: help demo test serve lint clean

help: ## this list
	@sed -n 's/^# \{0,1\}//p' Makefile
	@sed -n 's/^\([a-z]*\): ## \(.*\)/  make \1	\2/p' Makefile

demo: ## a picture grid from the real graph: reference pictures x weights, with miniature models
	@$(BRING) run -- python tests/host/demo.py

test: ## all tests, on a real ComfyUI
	@$(BRING) run -- python -m pytest tests $(ARGS)

serve: ## a ComfyUI with this package to click around in, on PORT
	@$(BRING) run -- python tests/host/serve.py $(PORT)

lint: ## style and types
	@$(BRING) --tools run -- python tests/host/lint.py

clean: ## remove everything that was brought
	rm -rf .host
