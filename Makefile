# The whole developer interface. `make` alone lists it; `make demo` needs nothing but Python 3.11 or 3.12.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
TORCH := $(shell grep -E '^torch==' requirements.txt)
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input --retries 5

# pip is silent about how far it is: this counts what it collects and installs, and keeps its errors.
COUNT = awk -v total=$$total -v every=$$([ -t 2 ] && echo 1 || echo 50) '\
	/^(Collecting|Requirement already)/ {n++; if (n % every == 0) {printf "\r   %d of %d packages found   ", n, total; fflush()}} \
	/^Installing collected/ {printf "\r   %d packages found, unpacking them (a minute or two) ...   ", n; fflush()} \
	/^Successfully installed/ {printf "\r   installed                                              "} \
	/^ERROR/ {print "\n   " $$0} END {print ""}'

.PHONY: help demo test lint bench up down lock clean

help: ## list the targets
	@grep -hE '^[a-z]+:.*## ' Makefile | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 16

demo: $(STAMP) ## four months of a shop, end to end, in the Airflow UI (resumes what an earlier one finished)
	@$(BIN)/ecomrec demo

# What starts whole systems and processes mostly waits for them: it runs beside the other tests, in as many minutes, and tells what it found after them. If it was
# killed before it could tell (by a machine that had no memory left for both, say), it runs once more, alone. It has a folder of
# its own: pytest closes the shared one to all other users when it starts, and Postgres is another user under root.
SYSTEM := tests/test_end_to_end.py tests/test_runtime.py tests/test_processes.py tests/test_ingest_faults.py tests/test_facts.py

# Threads of OpenMP that wait busily take the cores from the other one's: training in both was four times as slow.
test: export OMP_WAIT_POLICY = PASSIVE
test: lint ## ruff and every test
	@log=$$(mktemp); echo "== $(SYSTEM) beside the rest, said at the end ($$log)"; \
	PYTHONUNBUFFERED=1 $(BIN)/python -X faulthandler -m pytest --basetemp=$$log.d $(SYSTEM) > $$log 2>&1 & beside=$$!; trap 'kill $$beside 2> /dev/null' INT TERM; \
	rest=0; $(BIN)/python -m pytest $(addprefix --ignore=,$(SYSTEM)) || rest=$$?; \
	echo "== $(SYSTEM)"; system=0; wait $$beside || system=$$?; cat $$log; \
	if [ $$system != 0 ] && ! tail -n 1 $$log | grep -q '^=.* in '; then \
	  echo "== it ended with $$system and no result: once more, alone"; system=0; $(BIN)/python -m pytest $(SYSTEM) || system=$$?; fi; \
	rm -rf $$log $$log.d; exit $$(( rest || system ))

lint: $(STAMP) ## ruff only
	@$(BIN)/ruff check .

bench: $(STAMP) ## measure again what benchmarks/results and docs/benchmarks.md hold
	@for path in benchmarks/[a-z]*.py; do name=$$(basename $$path .py); \
	  case $$name in screenshot|page) ;; *) $(BIN)/python -m benchmarks.$$name;; esac; done
	@$(BIN)/python -m benchmarks.page

up: $(STAMP) ## start Postgres and Airflow; Ctrl-C stops them
	@$(BIN)/ecomrec up

down: $(STAMP) ## stop them from another terminal
	@$(BIN)/ecomrec down

lock: $(STAMP) ## requirements.in -> requirements.txt, keeping pins that still fit; NVIDIA's own wheels are left to torch
	@$(PIP) install -q uv
	@cp requirements.txt requirements.txt.new
	@$(BIN)/uv pip compile --quiet --no-header --no-annotate --no-emit-index-url --no-emit-find-links \
	  --python $(BIN)/python -o requirements.txt.new requirements.in
	@grep -v -E '^(nvidia-|cuda-|triton==)' requirements.txt.new > requirements.txt && rm requirements.txt.new
	@echo "requirements.txt: $$(wc -l < requirements.txt) packages"

clean: ## stop everything and remove .venv, .ecomrec and caches (asks first)
	@read -r -p "Remove .venv, .ecomrec (data included) and caches? [y/N] " answer && [ "$$answer" = y ]
	@if [ -x $(BIN)/ecomrec ]; then $(BIN)/ecomrec down || true; fi
	@rm -rf $(VENV) .ecomrec .pytest_cache .ruff_cache && find . -name __pycache__ -prune -exec rm -rf {} +

# Done again only when requirements.txt or pyproject.toml differ in content, not in time stamp.
$(STAMP): requirements.txt pyproject.toml
	@sum=$$(cat requirements.txt pyproject.toml | sha256sum | cut -c1-64); \
	if [ "$$(cat $(STAMP) 2>/dev/null)" = "$$sum" ]; then touch $(STAMP); exit 0; fi; \
	$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' 2>/dev/null || { \
	  echo "ecomrec needs Python 3.11 or 3.12, and '$(PYTHON)' is $$($(PYTHON) --version 2>&1 || true)."; \
	  echo "  remedy: make PYTHON=/path/to/python3.12 $(MAKECMDGOALS)"; exit 1; }; \
	echo "== install: $$(wc -l < requirements.txt) pinned packages into $(VENV) (once)"; \
	$(BIN)/python -m pip --version > /dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV); \
	again() { "$$@" || { echo "   that failed; once more, in case it was the network"; sleep 5; "$$@"; }; }; \
	torch() { total=1; $(PIP) install --progress-bar off $(TORCH) 2> $(VENV)/pip.log | $(COUNT); }; \
	rest() { total=$$(wc -l < requirements.txt); $(PIP) install --progress-bar off -r requirements.txt 2>> $(VENV)/pip.log | $(COUNT); }; \
	log() { grep -E '^ERROR|No module named' $(VENV)/pip.log | sed 's/^/   /'; echo "   everything pip said: $(VENV)/pip.log"; exit 1; }; \
	echo "   $(TORCH)"; again torch || log; \
	echo "   the rest"; again rest || log; \
	$(PIP) install -q -e . --no-deps 2>> $(VENV)/pip.log || log; \
	echo "$$sum" > $(STAMP); echo "== installed in $${SECONDS} s"
