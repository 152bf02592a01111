# Every target does its own set-up: nothing has to be installed but git, make and python3 (3.11 or later).

SHELL = /bin/sh
BIN = .venv/bin
UV ?= uv

# Where the demo and the tests look for Orthanc and DCMTK first; then in the system's folders.
export GATEWAY_COUNTERPARTS = $(CURDIR)/.counterparts

.DEFAULT_GOAL = help
.PHONY: help venv counterparts demo check test bench lock clean

help: ## what can be made
	@echo 'make demo                  two hospitals, one gateway: the main job, shown'
	@echo 'make demo DICOM=DIR        the same with the DICOM files in DIR'
	@echo 'make demo KEEP=1           and leave everything running'
	@echo 'make test                  all checks and tests, against real Orthanc and DCMTK'
	@echo 'make test REQUIRE_REAL=1   the same; a missing counterpart is a failure, not a skip'
	@echo 'make bench                 the micro-benchmarks: what one message, decision or record costs'
	@echo 'make check                 format, style, types, import layers'
	@echo 'make venv                  only the virtual environment, .venv'
	@echo 'make counterparts          only Orthanc and DCMTK, .counterparts'
	@echo 'make lock                  choose the newest allowed versions anew: requirements*.lock (needs uv)'
	@echo 'make clean                 remove everything made here'

venv:
	@setup/venv.sh

counterparts:
	@setup/counterparts.sh

demo: venv counterparts
	@$(BIN)/gateway demo $(if $(DICOM),--dicom "$(DICOM)") $(if $(KEEP),--keep)

check: venv
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy --strict gateway
	$(BIN)/lint-imports

test: check counterparts
	$(BIN)/python -m pytest

bench: venv
	$(BIN)/python -m pytest benchmarks --benchmark-enable --benchmark-only

lock:
	@UV="$(UV)" setup/lock.sh

clean:
	rm -rf .venv .counterparts .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .benchmarks dist
	find gateway tests benchmarks -name __pycache__ -type d -exec rm -rf {} +
