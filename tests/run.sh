#!/usr/bin/env bash
# Sets up and runs every test: units, properties, conformance, the simulator's seeds, and processes end to end.
# Boards, rules and units are checked with the tools that read them, where those are installed.
# FLOE_SEEDS sets how many seeds the simulator runs (64 when unset).
set -euo pipefail
cd "$(dirname "$0")/.."

deploy/setup.sh
# Seconds, so before the build.
tests/deployment.sh
cargo build --release --locked --workspace --tests --bins
cargo test --release --locked --workspace
