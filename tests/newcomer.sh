#!/bin/sh
# Does what somebody does who has just found the project: clones the last commit into an empty folder, and runs the demo and the tests
# there, with nothing that cargo, pip or npm has downloaded before and nothing that was built. Says how long each took.
#
#   tests/newcomer.sh [GOAL…]      default: demo test
#
# Of the machine stay: installed programs and toolchains, and where cargo is told to download from. It takes about half an hour.
set -eu
cd "$(dirname "$0")/.."
[ $# -gt 0 ] || set -- demo test
[ -z "$(git status --porcelain)" ] || echo "newcomer: changes that are not committed are not looked at" >&2
commit=$(git rev-parse HEAD)
place=$(mktemp -d)
times=
end() {
    status=$?
    trap - EXIT INT TERM
    rm -rf "$place"
    printf '%s' "$times"
    [ "$status" = 0 ] || echo "newcomer: it did not work on an empty machine" >&2
    exit "$status"
}
trap end EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

git clone --quiet . "$place/project"
git -C "$place/project" checkout --quiet --detach "$commit"

mkdir "$place/cargo"
for name in config.toml config; do
    file=${CARGO_HOME:-$HOME/.cargo}/$name
    [ ! -f "$file" ] || cp "$file" "$place/cargo/$name"
done
# rustup's toolchains lie elsewhere, and are found as before.
RUSTUP_HOME=${RUSTUP_HOME:-$HOME/.rustup}
CARGO_HOME=$place/cargo
XDG_CACHE_HOME=$place/cache
PIP_CACHE_DIR=$place/pip
npm_config_cache=$place/npm
export RUSTUP_HOME CARGO_HOME XDG_CACHE_HOME PIP_CACHE_DIR npm_config_cache
# Nor is it told what the make that called this one was.
unset CARGO_TARGET_DIR MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES REVISION

cd "$place/project"
for goal; do
    began=$(date +%s)
    status=0
    make "$goal" || status=$?
    took=$(($(date +%s) - began))
    times=$times$(printf 'make %-8s %3d:%02d minutes' "$goal" $((took / 60)) $((took % 60)))'
'
    [ "$status" = 0 ] || exit "$status"
done
