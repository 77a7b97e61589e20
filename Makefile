# What can be done here. `make demo` needs Rust (stable) and a C compiler; the rest also Python 3.11 or newer with
# venv, and makes .venv by itself.
CARGO ?= cargo
PYTHON ?= python3
BIN := .venv/bin
SERVERS := scripts/servers/with
CHECKED := EDGESENTRY_CHECKED=1
CHECKED_CONFIG := --config .config/checked.toml

# maturin installs into this environment, whichever is active.
export PYTHON
export VIRTUAL_ENV := $(CURDIR)/.venv
unexport CONDA_PREFIX

.PHONY: help demo test test-rust test-python test-chaos notebooks soak lint fmt fuzz bench bench-against docs docs-rust generated screenshots wheel check-wheel check-sdist venv module clean load soak-serve

help: ## Say what there is to make
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# Without -p, so that the features are those of the whole workspace and `make test` builds nothing of it again.
demo: ## Verify chains of real telemetry, tamper with them, show what is caught and how fast
	$(CARGO) run --release --locked --bin eds -- demo

test: test-rust test-python notebooks ## Run all tests and all notebooks

# With debug assertions and overflow checks in our crates; target/release/eds is then a checked one.
test-rust: venv ## Run the Rust tests with PostgreSQL and SeaweedFS: by nextest where it is installed
	if $(CARGO) nextest --version >/dev/null 2>&1; \
	then $(CHECKED) $(SERVERS) $(CARGO) nextest run $(CHECKED_CONFIG) --release --locked --workspace; \
	else $(CHECKED) $(SERVERS) $(CARGO) test $(CHECKED_CONFIG) --release --locked --workspace --lib --bins --tests; fi
	$(CHECKED) $(CARGO) test $(CHECKED_CONFIG) --release --locked --workspace --doc

soak: module ## Kill the service a thousand times, strike every system call, attack at length, a thousand schedules of faults; hostile Arrow under ASan
	EDGESENTRY_CRASH_ROUNDS=$${EDGESENTRY_CRASH_ROUNDS:-1000} $(SERVERS) \
		$(CARGO) test --release --locked --workspace --test stores -- --test-threads 2 crash:: race::
	$(CARGO) build --release --locked --workspace --bin eds
	EDGESENTRY_EVERY_FAULT=1 $(SERVERS) $(BIN)/python -m pytest tests/faults tests/adversary/test_ledger_writer.py
	EDGESENTRY_HOSTILE_PRODUCERS=$${EDGESENTRY_HOSTILE_PRODUCERS:-100000} $(BIN)/python -m pytest tests/test_arrow_memory.py
	EDGESENTRY_ADVERSARY_SCALE=4 $(SERVERS) $(BIN)/python -m pytest tests/adversary
	EDGESENTRY_CHAOS_SCHEDULES=$${EDGESENTRY_CHAOS_SCHEDULES:-1000} $(MAKE) test-chaos

test-chaos: module ## Run schedules of faults: EDGESENTRY_CHAOS_SEED=7,8 or EDGESENTRY_CHAOS_SCHEDULES=100, else those of make test
	$(CARGO) build --release --locked --workspace --bin eds
	scripts/servers/network install
	$(BIN)/python -m pytest tests/chaos

# The plain eds, in place of the checked one of test-rust.
test-python: module ## Run the Python tests with the same servers
	$(CARGO) build --release --locked --workspace --bin eds
	$(SERVERS) $(BIN)/python -m pytest

notebooks: module ## Run the notebooks with the same servers; NOTEBOOKS='--write notebooks/01*' to renew outputs
	$(CARGO) build --release --locked --workspace --bin eds
	$(SERVERS) $(BIN)/python scripts/notebooks $(NOTEBOOKS)

lint: module ## Check formatting, lints, types and stubs
	$(CARGO) fmt --all --check
	$(CARGO) clippy --release --locked --workspace --all-targets -- -D warnings
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/stubtest edgesentry --mypy-config-file pyproject.toml --allowlist tests/stubtest-allowlist.txt

fmt: venv ## Format Rust and Python
	$(CARGO) fmt --all
	$(BIN)/ruff format

fuzz: ## Fuzz the readers and the verification, for FUZZ_SECONDS in all (60 by default)
	scripts/fuzz-smoke.sh

bench: module ## Measure the parts, then compare with other implementations
	$(CARGO) bench --locked --workspace --bench '*'
	$(BIN)/python benches/compare.py
	$(SERVERS) $(CARGO) run --release --locked --manifest-path benches/ingest/Cargo.toml

bench-against: module ## Compare verification and ingest with another build: BASE=path of its eds, target or checkout
	$(CARGO) build --release --locked --workspace --bin eds
	$(SERVERS) $(BIN)/python benches/against.py $(AGAINST) $(BASE)

load: venv ## Measure the service over HTTP and HTTPS, on PostgreSQL with SeaweedFS and with a folder
	$(SERVERS) $(CARGO) run --release --locked --example load

soak-serve: venv ## Send single records for LOAD_SOAK_SECONDS (600 by default) and watch the memory
	LOAD_SOAK_SECONDS=$${LOAD_SOAK_SECONDS:-600} LOAD_PAYLOADS=$${LOAD_PAYLOADS:-folder} \
		$(SERVERS) $(CARGO) run --release --locked --example load

docs: venv ## Build the documentation site into target/site; a warning or a link that leads nowhere fails
	$(BIN)/python scripts/docs

docs-rust: ## Build the documentation of the Rust crates
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --release --locked --no-deps \
		-p edgesentry-chain -p edgesentry-log -p edgesentry-formats -p edgesentry-rs -p eds

generated: ## Write manual pages, completions and reference of the command anew, and docs/openapi.json
	EDGESENTRY_WRITE=1 $(CARGO) test --release --locked --workspace --test generated
	EDGESENTRY_WRITE=1 $(CARGO) test --release --locked --workspace --test network openapi

screenshots: module ## Take the pictures of the report page in docs/images anew
	$(BIN)/python scripts/screenshots

wheel: venv ## Build the Python wheel and the sdist into dist
	rm -rf dist
	$(BIN)/maturin sdist --out dist
	$(BIN)/maturin build --release --locked --out dist

check-wheel: wheel ## Install the wheel where there is no Rust; audit its ABI, its components and their licences
	$(BIN)/python scripts/check-wheel

check-sdist: wheel ## The same, and let pip build the package from the sdist: all of it anew, minutes
	$(BIN)/python scripts/check-wheel --sdist

venv: ## Make .venv, or bring it up to date
	scripts/venv

module: venv ## Build the Python package and install it into .venv
	$(BIN)/maturin develop --release --locked

clean: ## Remove all that was built
	rm -rf target .venv dist benches/peers/target benches/ingest/target fuzz/target python/edgesentry/*.so
