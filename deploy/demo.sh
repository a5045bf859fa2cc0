#!/usr/bin/env bash
# The main job from nothing: sets up, builds, brings up seven nodes on this machine, stores a 64 MiB file, kills two
# nodes with SIGKILL, reads the file back, compares it, shows its verdict and cleans up.
set -euo pipefail
cd "$(dirname "$0")/.."

deploy/setup.sh
cargo build --release --locked --workspace --bins
floe=$PWD/target/release/floe

work=$(mktemp -d)
cleanup() {
    status=$?
    "$floe" devnet down --purge --yes --dir "$work/devnet" >/dev/null 2>&1 || true
    rm -rf "$work"
    exit "$status"
}
trap cleanup EXIT INT TERM
cd "$work"

head -c $((64 * 1024 * 1024)) /dev/urandom > original
"$floe" devnet up --nodes 7 --epoch "${FLOE_DEMO_EPOCH:-15s}"
id=$("$floe" store original --epochs 16 | tail -n 1)
"$floe" devnet kill node-7 node-6
"$floe" read "$id" -o returned
cmp original returned
echo "the file came back identical with two of seven nodes killed"
"$floe" status "$id" --wait-verdict
