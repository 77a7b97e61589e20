# `make demo` and `make test` do everything on a machine with Rust and Python; see README.md.
CARGO ?= cargo
NEXTEST := $(shell $(CARGO) nextest --version >/dev/null 2>&1 && echo yes)

.PHONY: demo test lint fmt clean

demo: ## Build the command and run the main job on the shipped telemetry
	$(CARGO) run --release --locked -p eds -- demo

test: ## Everything that must pass
ifeq ($(NEXTEST),yes)
	$(CARGO) nextest run --release --locked --workspace
else
	$(CARGO) test --release --locked --workspace --lib --bins --tests
endif
	$(CARGO) test --release --locked --workspace --doc

lint: ## Formatting and warnings
	$(CARGO) fmt --all --check
	$(CARGO) clippy --release --locked --workspace --all-targets -- -D warnings

fmt:
	$(CARGO) fmt --all

clean:
	rm -rf target .venv dist
