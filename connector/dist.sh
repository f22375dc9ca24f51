#!/bin/sh
# Makes the folder of all that is handed out, target/dist, or the one that is named: the components, the contract as text and as one
# file, what is in the components (CycloneDX), the licence, and SHA256SUMS.
#
#   connector/dist.sh [--built] [FOLDER]      --built: of the components that connector/build.sh made last
set -eu
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-target}
if [ "${1-}" = --built ]; then
    shift
else
    connector/build.sh wandb-connector command-output command-run
fi
# The time of what is listed is that of the commit: two builds of it make the same bytes.
time=
[ ! -e .git ] || time=$(TZ=UTC git log -1 --format=%cd --date=format-local:%Y-%m-%dT%H:%M:%SZ || true)
cargo run --quiet --locked --manifest-path connector/package/Cargo.toml --target-dir "$target/package" -- \
    dist "$target/wasm32-unknown-unknown/component" wit "${1:-$target/dist}" "$time"
