# Every command of the project. `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
IMAGE ?= mainstay/mainstay:$(VERSION)
TARGET := x86_64-unknown-linux-gnu
CACHE := $(or $(MAINSTAY_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/mainstay)
# One test, for `make e2e TEST=name`.
TEST ?=
# How many tests without a cluster run at once.
UNIT_THREADS ?= 5
# Cases of each random walk, for `make walks`.
WALKS ?= 20000
# How long `make fuzz` runs each of its targets, in seconds.
FUZZ_SECONDS ?= 60
FUZZ_TARGETS := frame information marker
# The tests without a cluster that are programs of their own: of the rules, of agents on a real mysqld, of streams.
UNIT_TESTS := rules examples real streams
# The cluster tests that `make test` runs; `make e2e` runs all.
CI_TESTS := smoke switchover config_change scaling recreate restarts operator_killed api bad_image paused single protection \
  last_copy bad_option
export PATH := $(CACHE)/bin:$(PATH)
export MAINSTAY_MYSQL_ROOT ?= $(CACHE)/mysql-root
export MAINSTAY_MARIADB_ROOT ?= $(CACHE)/mariadb-root
export KUBECONFIG ?= $(CACHE)/clusters/$(or $(MAINSTAY_CLUSTER),mainstay)/kubeconfig

.PHONY: help
help: ## List the commands
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{ printf "  %-16s %s\n", $$1, $$2 }'

.PHONY: setup
setup: ## Install what building needs, where it is missing
	@./e2e/setup

.PHONY: demo
demo: setup cluster image ## All set-up, a cluster, the operator, a database; left running
	@./e2e/demo

.PHONY: test
test: setup lint unit e2e-ci ## All set-up, unit and integration tests, some cluster tests; what CI runs

.PHONY: e2e-ci
e2e-ci: setup cluster image
	cargo test --workspace $(CI_TESTS:%=--test %) -- --test-threads=1 --nocapture

# The workspace as a whole wherever it can be: for a part of it, Cargo chooses other features, and builds every
# dependency once more.
.PHONY: unit
unit: setup test-tools ## Tests that need no cluster
	@# More at once than there are processors: most of them wait for servers that start and stop.
	RUST_TEST_THREADS=$(UNIT_THREADS) cargo test --workspace --lib --bins $(UNIT_TESTS:%=--test %)
	charts/test.sh

.PHONY: walks
walks: setup ## Longer random walks of the planner; WALKS=number of each
	PROPTEST_CASES=$(WALKS) cargo test --release -p mainstay-core walks

.PHONY: test-tools
test-tools: ## What the tests without a cluster need: helm, a MySQL server to run agents on, MariaDB with its copy tool
	@./e2e/cluster/build/tools helm
	@./e2e/cluster/mysql-root $(MAINSTAY_MYSQL_ROOT)
	@./e2e/cluster/mariadb-root $(MAINSTAY_MARIADB_ROOT)

.PHONY: e2e
e2e: setup cluster image ## Cluster tests; TEST=name runs one
	cargo test -p mainstay-e2e --test '*' -- --test-threads=1 --nocapture $(TEST)

.PHONY: e2e-xtrabackup
e2e-xtrabackup: setup cluster image ## Cluster tests of copies, with Percona's image from a registry
	cargo test -p mainstay-e2e --test stream_clone -- --include-ignored --test-threads=1 --nocapture

.PHONY: fuzz
fuzz: setup ## Feed the parsers of streams and markers what comes to mind; FUZZ_SECONDS for each
	@command -v cargo-fuzz >/dev/null || cargo install --locked --quiet --root $(CACHE) cargo-fuzz
	@mkdir -p $(FUZZ_TARGETS:%=$(CACHE)/fuzz/%)
	@# What is found stays in the cache; only the seeds are committed. No sanitizer: those need a nightly Rust.
	@for target in $(FUZZ_TARGETS); do \
	  cargo fuzz run --fuzz-dir operator/agent/fuzz --target-dir target/fuzz --sanitizer none $$target \
	    $(CACHE)/fuzz/$$target operator/agent/fuzz/seeds/$$target -- \
	    -max_total_time=$(FUZZ_SECONDS) -max_len=16384 -rss_limit_mb=512 -print_final_stats=1; \
	done

.PHONY: bench
bench: setup cluster image ## Print figures; asserts nothing
	cargo run --release -p mainstay-e2e --bin bench

.PHONY: bench-clone
bench-clone: setup test-tools ## Print figures of clones by stream and by plugin beside the limits of disk and network; asserts nothing
	cargo test --release -p mainstay-agent --test streams --test real -- --ignored --nocapture bench

.PHONY: bench-plan
bench-plan: setup ## Print what one plan costs, for clusters of 3 and 9; asserts nothing about time
	cargo test --release -p mainstay-core --lib -- --ignored --nocapture bench_of_a_plan

.PHONY: bench-storage
bench-storage: setup cluster image ## Print figures of lost nodes and kept claims; asserts nothing
	cargo run --release -p mainstay-e2e --bin bench_storage

.PHONY: cluster
cluster: ## Start the local cluster, or use the one of KUBECONFIG
	@./e2e/cluster/up

.PHONY: cluster-down
cluster-down: ## Remove the local cluster
	@./e2e/cluster/down

.PHONY: cluster-csi
cluster-csi: cluster ## Add disks that grow and have snapshots to the local cluster
	@./e2e/cluster/addon csi

.PHONY: cluster-gluster
cluster-gluster: cluster ## Add a GlusterFS volume to the local cluster
	@./e2e/cluster/addon gluster

.PHONY: build
build: ## Build the operator and the agent as static binaries
	RUSTFLAGS="-C target-feature=+crt-static" cargo build --release --target $(TARGET) --target-dir target/static \
	  -p mainstay-controller -p mainstay-agent
	@mkdir -p target/image
	@cp -u target/static/$(TARGET)/release/mainstay-controller target/static/$(TARGET)/release/mainstay-agent target/image/

.PHONY: image
image: build cluster ## Build the image and load it into the local cluster's nodes
	DOCKER_BUILDKIT=0 docker build --quiet --tag $(IMAGE) .
	@./e2e/cluster/load $(IMAGE)

.PHONY: generate
generate: ## Write the CRD from the API's types
	cargo run --quiet --bin crdgen -- --out charts/mainstay-crds/templates/mysqlclusters.yaml

.PHONY: fmt
fmt: ## Format the code
	cargo fmt --all

.PHONY: lint
lint: ## Check formatting, lints and generated files
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --quiet -- -D warnings
	cargo run --quiet --bin crdgen -- --check charts/mainstay-crds/templates/mysqlclusters.yaml

.PHONY: deny
deny: ## Check licences, advisories and sources of dependencies (needs cargo-deny)
	cargo deny check

.PHONY: clean
clean: ## Remove what was built in this folder
	cargo clean
