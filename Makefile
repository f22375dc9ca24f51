# What can be done here. `make help` lists it.

CARGO ?= cargo
COMPONENTS = connector/build.sh wandb-connector scripted-guest conformance command-output command-run
.DEFAULT_GOAL := help
.PHONY: help demo test newcomer matrix component command dist dist-check bench bench-pairs soak build setup fuzz deny

# A built component names the commit that it is of. While testing it names none, or each commit would mean to build all tests anew.
demo test matrix bench bench-pairs soak: export REVISION =

help: ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

demo: ## Sync a made-up W&B project into SQLite, and look at it
	@tests/setup.sh demo
	@tests/demo/demo.sh

test: ## Check format, lints and docs, and run all tests
	@tests/setup.sh test
	@$(COMPONENTS)
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --features wandb-connector-tests/matrix --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --locked --quiet
	$(CARGO) test --workspace --locked

newcomer: ## Clone the last commit and run the demo and all tests there, with nothing downloaded or built before (GOALS="demo test")
	@tests/newcomer.sh $(GOALS)

matrix: ## Run the tests of many combinations: 208 kills, seven hosts in both dialects
	@tests/setup.sh test
	@$(COMPONENTS)
	$(CARGO) build --workspace --bins --locked
	$(CARGO) test --workspace --features wandb-connector-tests/matrix --locked --test embedding --test kills

bench: setup ## Measure against other clients; writes tests/bench/RESULTS.md
	@tests/setup.sh bench
	@connector/build.sh wandb-connector json-parse
	$(CARGO) build --locked --release --workspace --bins --examples
	$(or $(CARGO_TARGET_DIR),target)/venv/bin/python tests/bench/bench.py $(or $(CARGO_TARGET_DIR),target)

bench-pairs: setup ## Compare with an earlier build, in ten interleaved pairs of syncs (BEFORE=COMMIT)
	@tests/setup.sh bench
	@connector/build.sh
	$(CARGO) build --locked --release --workspace --bins
	$(or $(CARGO_TARGET_DIR),target)/venv/bin/python tests/bench/pairs.py $(or $(CARGO_TARGET_DIR),target) $(BEFORE)

soak: component ## Sync a changing project under faults and kills for half an hour, and compare (SOAK="--minutes 5 --seed 1")
	$(CARGO) build --locked --workspace --bins
	nice -n 10 $(or $(CARGO_TARGET_DIR),target)/debug/soak $(SOAK)

fuzz: ## Fuzz everything that reads data from outside, SECONDS_EACH=60 for each of TARGETS (all)
	@tests/fuzz/run.sh $(TARGETS)

deny: ## Check licences, duplicate versions and sources of all dependencies
	@command -v cargo-deny >/dev/null || $(CARGO) install --locked --quiet --no-default-features cargo-deny
	$(CARGO) deny --locked --config tests/deny.toml check licenses bans sources

build: component ## Build the command line tool: target/release/wandb-connector
	$(CARGO) build --locked --release --workspace --bin wandb-connector

component: setup ## Build just the component: target/wasm32-unknown-unknown/component/wandb_connector.wasm
	@connector/build.sh

command: setup ## Build a command for any WASI host: target/wasm32-unknown-unknown/component/wandb-connector-cli.wasm
	@connector/build.sh wandb-connector command-output command-run

dist: setup ## Write all that is handed out to target/dist: components, contract, SBOMs, checksums
	@connector/dist.sh

dist-check: setup ## Build the last commit twice, in two places, and compare all that is handed out
	@connector/dist-check.sh

setup: ## Find, or install, what building needs
	@tests/setup.sh build
