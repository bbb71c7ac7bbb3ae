# Two commands: `make demo` and `make test`. uv is taken from PATH, or installed into .uv/ beside this file.
UV := $(shell command -v uv 2>/dev/null || echo .uv/bin/uv)
RUN := $(UV) run --locked --quiet
TRY := $(RUN) --group checks

.PHONY: demo test test-slow test-slurm lint audit faults format bench schema lock clean

.uv/bin/uv:
	@python3 -m venv .uv 2>/dev/null && .uv/bin/python -m pip install --quiet uv \
	  || { rm -rf .uv && python3 -m pip install --quiet --target .uv uv; }

.venv/.synced: pyproject.toml uv.lock $(filter .uv/bin/uv,$(UV))
	$(UV) sync --locked --quiet --compile-bytecode
	@touch $@

demo: .venv/.synced ## raw files of a synthetic world -> trained, judged and drawn, in minutes
	$(RUN) python -m pipeline.testing data/raw/demo
	$(RUN) python jobs/chain.py configs/demo.yaml

test: .venv/.synced ## all tests but the slow ones
	$(TRY) pytest --numprocesses 2 --dist loadfile

test-slow: .venv/.synced ## kills, worlds of full size, whole chains
	$(TRY) pytest -m slow --numprocesses 2 --dist loadfile

test-slurm: .venv/.synced ## on a real Slurm of two nodes on this machine (Debian, root)
	@if slurm/dev_cluster.sh env >/dev/null 2>&1; then down=:; else down="slurm/dev_cluster.sh down"; fi; \
	  slurm/dev_cluster.sh up || { $$down; exit 1; }; \
	  OMP_NUM_THREADS=1 $(TRY) pytest -m slurm tests/submit; code=$$?; $$down; exit $$code

lint: .venv/.synced ## style, types and arrows
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) mypy
	$(TRY) pytest --quiet tests/test_architecture.py

audit: .venv/.synced ## known vulnerabilities of the locked packages; skips offline
	$(TRY) pytest -m slow tests/security/test_dependencies.py

faults: .venv/.synced ## 320 faults injected into all jobs, with a table: half an hour
	$(RUN) python -m tests.faults

format: .venv/.synced
	$(RUN) ruff check --fix .
	$(RUN) ruff format .

bench: .venv/.synced ## every figure of docs/benchmarks.md, as ratios within one run
	$(TRY) python -m benchmarks

schema: .venv/.synced ## configs/schema.json, by which editors complete keys
	$(RUN) python jobs/chain.py --schema > configs/schema.json

lock:
	$(UV) lock

clean: ## results and data stay
	rm -rf .venv .uv .pytest_cache .mypy_cache .ruff_cache
