#!/bin/sh
# Runs every fuzz target for SECONDS_EACH seconds, or those that are named.
#
#   tests/fuzz/run.sh [TARGET…]
#
# New inputs that reach new code are kept in the target folder, beside what `corpus/` holds; what makes a target fail is kept there too,
# and named at the end. With a nightly toolchain, or with RUSTC_BOOTSTRAP, address sanitizer watches; where there is none, nothing does.
set -eu
cd "$(dirname "$0")/../.."
target=$(pwd)/target
case ${CARGO_TARGET_DIR:-} in
'') ;;
/*) target=$CARGO_TARGET_DIR ;;
*) target=$(pwd)/$CARGO_TARGET_DIR ;;
esac
seconds=${SECONDS_EACH:-60}
# What a run found, in a folder of its own: corpora grow by the thousand.
found=$target/fuzz-corpus
failures=$target/fuzz-failures
mkdir -p "$failures"

PATH=$target/tools/bin:$PATH
export PATH
if ! cargo fuzz --version >/dev/null 2>&1; then
    echo "tests/fuzz: installing cargo-fuzz into $target/tools" >&2
    cargo install --locked --quiet cargo-fuzz --root "$target/tools" --target-dir "$target/tools/build"
fi
# Instruments need the compiler's unstable flags.
if rustc +nightly --version >/dev/null 2>&1; then
    RUSTUP_TOOLCHAIN=nightly
    export RUSTUP_TOOLCHAIN
else
    RUSTC_BOOTSTRAP=1
    export RUSTC_BOOTSTRAP
fi
sanitizer=none
for library in "$(rustc --print sysroot)"/lib/rustlib/*/lib/*asan.a; do
    [ ! -e "$library" ] || sanitizer=address
done

# `cargo fuzz` can't be told to keep to the lock file; so it is made sure before that there is nothing to change.
cargo fetch --locked --quiet

connector=$(ls tests/fuzz/fuzz_targets | sed -n 's/\.rs$//p' | grep -v '^host_')
host=$(ls tests/fuzz/fuzz_targets | sed -n 's/\.rs$//p' | grep '^host_')
status=0

# fuzz FEATURES TARGET…
fuzz() {
    features=$1
    shift
    options="--fuzz-dir tests/fuzz --target-dir $target/fuzz --sanitizer $sanitizer --codegen-units 16 --no-default-features --features $features"
    for name in "$@"; do
        mkdir -p "$found/$name"
        echo "== $name" >&2
        # shellcheck disable=SC2086 # the options are words
        cargo fuzz run $options "$name" "$found/$name" "tests/fuzz/corpus/$name" -- \
            -max_total_time="$seconds" -max_len=65536 -timeout=60 -rss_limit_mb=3072 -print_final_stats=1 \
            -artifact_prefix="$failures/$name-" >"$failures/$name.log" 2>&1 || { status=1; echo "$name FAILED: $failures/$name.log" >&2; }
        grep -E '^(#[0-9]+.*DONE|stat::number_of_executed_units)' "$failures/$name.log" >&2 || true
    done
}

if [ $# -gt 0 ]; then
    for name in "$@"; do
        case $name in
        host_*) fuzz host,libfuzzer "$name" ;;
        *) fuzz libfuzzer "$name" ;;
        esac
    done
else
    # shellcheck disable=SC2086 # names of targets hold no spaces
    fuzz libfuzzer $connector
    # shellcheck disable=SC2086
    fuzz host,libfuzzer $host
fi
exit $status
