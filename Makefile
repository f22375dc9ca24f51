# What can be done here. `make help` lists it.

CARGO ?= cargo
.DEFAULT_GOAL := help
.PHONY: help demo test component build setup

help: ## Show this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

demo: component ## Sync a made-up W&B project into SQLite, and look at it
	@tests/setup.sh demo
	@tests/demo/demo.sh

test: component ## Check format, lints and docs, and run all tests
	@tests/setup.sh test
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --locked --quiet
	$(CARGO) test --workspace --locked

build: component ## Build the command line tool: target/release/wandb-connector
	$(CARGO) build --locked --release --package wandb-connector-host --bin wandb-connector

component: setup ## Build just the component: target/wasm32-unknown-unknown/component/wandb_connector.wasm
	@connector/build.sh

setup: ## Find, or install, what building needs
	@tests/setup.sh build
