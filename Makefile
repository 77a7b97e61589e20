# `make demo` needs Rust (stable) and a C compiler. Other targets also need Python 3.11 or newer with venv, and create
# .venv when they need it.
CARGO ?= cargo
PYTHON ?= python3
BIN := .venv/bin
SERVERS := scripts/servers/with
CHECKED := EDGESENTRY_CHECKED=1
# The build that tests run, with debug assertions and overflow checks in our crates.
CHECKED_CONFIG := --config .config/checked.toml
lint lint-python test test-python notebooks: PROFILE := $(CHECKED_CONFIG)
# `--tests` are the unit tests too. The Python module has none.
TESTS := $(CHECKED_CONFIG) --release --locked --workspace --tests
# .ci/run lints in a build directory of its own, so it empties this.
LINT_PROFILE ?= --release

# maturin installs into this environment, even if another one is active.
export PYTHON
export VIRTUAL_ENV := $(CURDIR)/.venv
unexport CONDA_PREFIX

# Built by themselves, with dependencies or instruments that the workspace must not have.
OWN_WORKSPACES := benches/ingest benches/peers fuzz

.PHONY: help demo check test-unit test test-build test-rust test-python test-postgres test-ray test-chaos notebooks soak lint lint-rust lint-python lint-text deny fmt fuzz bench bench-against bench-quick bench-growth bench-log bench-bundle bench-console bench-interleaved bench-lake bench-restore coverage mutants lint-own docs docs-rust generated screenshots wheel check-wheel check-sdist wheel-portable check-wheel-portable semver venv module clean load soak-serve

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# Builds without features, in minutes.
demo: ## Verify chains of real telemetry, tamper with copies, show the findings and the speed, leave an evidence bundle
	$(CARGO) run --release --locked --package eds --no-default-features --bin eds -- demo
	@echo "Here, eds is target/release/eds."

check: ## Check that the workspace and its tests compile
	$(CARGO) check --release --locked --workspace --tests

# Needs no servers and optimizes little: a build after an edit takes seconds.
test-unit: ## Run the unit tests of one crate without servers: CRATE=chain, log, timestamp, update, formats, device, capi, edgesentry-rs, serve, ops or eds
	@test -n "$(CRATE)" || { echo "make test-unit: set CRATE, for example CRATE=chain" >&2; exit 2; }
	CARGO_PROFILE_DEV_OPT_LEVEL=1 CARGO_PROFILE_DEV_DEBUG=false \
		$(CARGO) test --locked --manifest-path rust/$(CRATE)/Cargo.toml --lib

# The notebooks and test-python use the module, so neither builds it while the other runs.
test: test-rust module ## Run all tests and all notebooks
	scripts/beside "$(MAKE) --old-file=module notebooks" "$(MAKE) --old-file=module test-python"

test-build: ## Build the Rust tests
	$(CARGO) test $(TESTS) --no-run

# Leaves checked builds of target/release/eds and of the module in .venv; `make module` builds plain ones.
test-rust: venv ## Run the Rust tests with PostgreSQL and SeaweedFS, with nextest if it is installed; name the ten longest
	if $(CARGO) nextest --version >/dev/null 2>&1; \
	then $(CHECKED) $(SERVERS) $(CARGO) nextest run $(TESTS) --test-threads $$((2 * $$(nproc))) && scripts/longest; \
	else $(CHECKED) $(SERVERS) $(CARGO) test $(TESTS) --no-fail-fast; fi
	$(CHECKED) $(CARGO) test $(CHECKED_CONFIG) --release --locked --workspace --doc

soak: module ## Run the long tests: crashes, faults at every system call, attacks, chaos, hostile Arrow under ASan, mutants
	EDGESENTRY_CRASH_ROUNDS=$${EDGESENTRY_CRASH_ROUNDS:-1000} $(SERVERS) \
		$(CARGO) test --release --locked --workspace --test stores -- --test-threads 2 crash:: race::
	$(MAKE) test-postgres test-ray
	$(CARGO) build --release --locked --workspace --bin eds
	EDGESENTRY_PART_CASES=$${EDGESENTRY_PART_CASES:-3000} $(CARGO) test --release --locked --workspace --test parts
	EDGESENTRY_EVERY_FAULT=1 $(SERVERS) $(BIN)/python -m pytest tests/faults tests/adversary/test_ledger_writer.py
	EDGESENTRY_HOSTILE_PRODUCERS=$${EDGESENTRY_HOSTILE_PRODUCERS:-100000} $(BIN)/python -m pytest tests/test_arrow_memory.py
	EDGESENTRY_MUTANTS=$${EDGESENTRY_MUTANTS:-1000} $(BIN)/python -m pytest tests/test_verify_html.py
	EDGESENTRY_ADVERSARY_SCALE=4 $(SERVERS) $(BIN)/python -m pytest tests/adversary
	EDGESENTRY_CHAOS_SCHEDULES=$${EDGESENTRY_CHAOS_SCHEDULES:-1000} $(MAKE) test-chaos
	$(MAKE) lint-own mutants

# Some 2,570 changes. Most are branches of one program; each of the others takes a build.
mutants: venv ## Change rust/chain and admission place by place; a change that no test notices fails: MUTANTS_SHARD=K/N for a part
	$(BIN)/python scripts/mutants $(if $(MUTANTS_SHARD),--shard $(MUTANTS_SHARD))

# Without servers, so the crates that do no I/O. Needs `cargo install --locked cargo-llvm-cov` and
# `rustup component add llvm-tools`.
coverage: ## Measure the lines of rust/chain, rust/log and rust/formats that their own tests run, by cargo-llvm-cov
	CARGO_PROFILE_DEV_OPT_LEVEL=1 $(CARGO) llvm-cov --locked --summary-only \
		--package edgesentry-chain --package edgesentry-log --package edgesentry-formats

test-postgres: venv ## Run the tests of ledgers on each tested version of PostgreSQL; make test uses the version of the system
	scripts/servers/each $(CARGO) test --release --locked --workspace --test stores -- postgres

test-ray: module ## Verify a lake on Ray, which it installs into target/ray
	scripts/test-ray

test-chaos: module ## Run schedules of faults: EDGESENTRY_CHAOS_SEED=7,8, EDGESENTRY_CHAOS_SCHEDULES=100, or those of make test
	$(CARGO) build --release --locked --workspace --bin eds
	scripts/servers/network install
	$(BIN)/python -m pytest tests/chaos

test-python: module ## Run the Python tests with the same servers
	$(CARGO) build $(PROFILE) --release --locked --workspace --bin eds
	$(SERVERS) $(BIN)/python -m pytest --numprocesses 2 --dist loadfile

notebooks: module ## Run the notebooks with the same servers; NOTEBOOKS='--write notebooks/01*' updates outputs
	$(CARGO) build $(PROFILE) --release --locked --workspace --bin eds
	$(SERVERS) $(BIN)/python scripts/notebooks $(NOTEBOOKS)

lint: lint-rust lint-python lint-text ## Check formatting, lints, types, stubs and spelling

lint-rust: ## Check formatting and lints of Rust, and the builds with fewer features
	$(CARGO) fmt --all --check
	for each in $(OWN_WORKSPACES); do $(CARGO) fmt --check --manifest-path $$each/Cargo.toml || exit 1; done
	$(CARGO) clippy $(LINT_PROFILE) --locked --workspace --all-targets -- -D warnings
	$(CARGO) check $(LINT_PROFILE) --locked --package eds --no-default-features
	$(CARGO) check $(LINT_PROFILE) --locked --package edgesentry-device

lint-python: module ## Check formatting, lints, types and stubs of Python
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/stubtest edgesentry --mypy-config-file pyproject.toml --allowlist tests/stubtest-allowlist.txt

lint-text: venv ## Check spelling
	$(BIN)/typos

# Needs `cargo install --locked cargo-deny`. Without the network: make deny DENY="licenses bans sources".
deny: ## Compare the dependencies of every workspace with deny.toml and the advisory database, by cargo-deny
	for each in . $(OWN_WORKSPACES) tests/oracles/rust; do \
		$(CARGO) deny --locked --manifest-path $$each/Cargo.toml --config deny.toml check $(DENY) || exit 1; done

# Builds the dependencies of each, in minutes.
lint-own: ## Check lints of the benches and the fuzz targets, which are workspaces of their own
	for each in $(OWN_WORKSPACES); do \
		$(CARGO) clippy --release --locked --all-targets --manifest-path $$each/Cargo.toml -- -D warnings || exit 1; done

fmt: venv ## Format Rust and Python
	$(CARGO) fmt --all
	for each in $(OWN_WORKSPACES); do $(CARGO) fmt --manifest-path $$each/Cargo.toml || exit 1; done
	$(BIN)/ruff format

fuzz: ## Fuzz the readers and the verification, for FUZZ_SECONDS in total (60 by default)
	scripts/fuzz-smoke.sh

bench: module ## Measure parts, peers, ingest and network; print each ratio beside its reach: BASE=checkout, BENCH="--only compare"
	$(CARGO) build --release --locked --workspace --bin eds
	$(SERVERS) $(BIN)/python benches/reach.py $(BENCH) $(BASE)

# Needs valgrind: scripts/servers/compilers install.
bench-quick: venv ## Count the instructions of the pure parts; over 10 % more than in the last stored build fails: QUICK="--store 1.2.0"
	$(CARGO) build --release --locked --workspace --bin eds --example fleet --example parts
	$(BIN)/python benches/quick.py $(QUICK)

bench-growth: venv ## Measure how the cost grows with records, devices, threads and bad signatures: GROWTH="--largest 10000000"
	$(CARGO) build --release --locked --workspace --bin eds --example fleet
	$(BIN)/python benches/growth.py $(GROWTH)

bench-against: module ## Compare verification and ingest with another build: BASE=path of its eds, target or checkout
	$(CARGO) build --release --locked --workspace --bin eds
	$(SERVERS) $(BIN)/python benches/against.py $(AGAINST) $(BASE)

bench-log: venv ## Measure the transparency log beside ingest and verification: LOG="--only verify --records 1000000"
	$(CARGO) build --release --locked --workspace --bin eds --example log
	$(SERVERS) $(BIN)/python benches/log.py $(LOG)

bench-interleaved: module ## Compare rows of many devices as they arrive with rows sorted by device: INTERLEAVED="--records 4000000"
	$(CARGO) build --release --locked --workspace --bin eds
	$(BIN)/python benches/interleaved.py $(INTERLEAVED)

bench-lake: module ## Measure Spark beside one process, the memory of its workers, and the next day: LAKE="--only memory", BASE=path
	$(CARGO) build --release --locked --workspace --bin eds
	$(BIN)/python benches/lake.py $(LAKE) $(BASE)

bench-bundle: venv ## Measure the verifiers of evidence bundles: BUNDLE="--only eds --records 1000000"
	$(CARGO) build --release --locked --workspace --bin eds --example log
	$(BIN)/python benches/bundle.py $(BUNDLE)

bench-console: module ## Measure the console: its first page, and ingest beside ten open ones: CONSOLE="--devices 10000"
	$(BIN)/python benches/console.py $(CONSOLE)

bench-restore: venv ## Compare restores with another build: BASE=path of its eds, target or checkout, RESTORE="--records 1000000"
	$(CARGO) build --release --locked --workspace --bin eds
	$(BIN)/python benches/restore.py $(RESTORE) $(BASE)

load: venv ## Measure the service over HTTP and HTTPS, on PostgreSQL with SeaweedFS and with a directory
	$(SERVERS) $(CARGO) run --release --locked --example load

soak-serve: venv ## Send single records for LOAD_SOAK_SECONDS (600 by default) and watch the memory
	LOAD_SOAK_SECONDS=$${LOAD_SOAK_SECONDS:-600} LOAD_PAYLOADS=$${LOAD_PAYLOADS:-folder} \
		$(SERVERS) $(CARGO) run --release --locked --example load

docs: venv ## Build the documentation site into target/site; a warning or a broken link fails
	$(BIN)/python scripts/docs

docs-rust: ## Build the documentation of the Rust crates
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --release --locked --no-deps \
		-p edgesentry-chain -p edgesentry-log -p edgesentry-timestamp -p edgesentry-update -p edgesentry-formats -p edgesentry-device -p edgesentry-rs -p edgesentry-serve -p eds

generated: ## Regenerate manual pages, completions and reference of the command, and docs/openapi.json
	EDGESENTRY_WRITE=1 $(CARGO) test --release --locked --workspace --test generated
	EDGESENTRY_WRITE=1 $(CARGO) test --release --locked --workspace --test network openapi

screenshots: module ## Update the images of pages, notebooks, plots and the terminal in docs/images
	$(BIN)/python scripts/screenshots
	$(BIN)/python scripts/terminal

wheel: venv ## Build the Python wheel and the sdist into dist
	rm -f dist/*.whl dist/*.tar.gz
	$(BIN)/maturin sdist --out dist
	$(BIN)/maturin build --release --locked --out dist

check-wheel: wheel ## Install the wheel without Rust; audit its ABI, its components and their licences
	$(BIN)/python scripts/check-wheel

check-sdist: wheel ## Like check-wheel, and let pip build the package from the sdist (minutes)
	$(BIN)/python scripts/check-wheel --sdist

# Needs `rustup target add aarch64-unknown-linux-gnu`.
wheel-portable: venv ## Build wheels for x86_64 and aarch64 with an older glibc into dist/portable: PORTABLE="--glibc 2.28 x86_64"
	$(BIN)/python scripts/wheel-portable $(PORTABLE)

check-wheel-portable: wheel-portable ## Like check-wheel, with the symbols of glibc; the wheel for aarch64 runs under QEMU
	$(BIN)/python scripts/check-wheel --portable

semver: venv ## Compare the public APIs with an earlier revision: BASE=6d07395; the Rust crates if cargo-semver-checks is installed
	$(BIN)/python scripts/api-changes $(or $(BASE),6d07395)
	if $(CARGO) semver-checks --version >/dev/null 2>&1; \
	then $(CARGO) semver-checks --workspace --baseline-rev $(or $(BASE),6d07395); fi

venv: ## Create or update .venv
	scripts/venv

module: venv ## Build the Python package and install it into .venv
	$(BIN)/maturin develop --release --locked $(PROFILE)

clean: ## Remove all build outputs
	rm -rf target .venv dist benches/peers/target benches/ingest/target fuzz/target python/edgesentry/*.so
