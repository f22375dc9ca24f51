#!/bin/sh
# Builds the last commit twice from nothing, in two folders with two target folders and two homes of cargo, and compares all that is
# handed out, byte by byte.
set -eu
cd "$(dirname "$0")/.."
[ -z "$(git status --porcelain)" ] || echo "dist-check: changes that are not committed are not looked at" >&2
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cargo_home=${CARGO_HOME:-$HOME/.cargo}
unset REVISION

# Both before the first is built, which takes long enough for another commit.
commit=$(git rev-parse HEAD)
for folder in "$place/one" "$place/another/folder"; do
    git clone --quiet . "$folder"
    git -C "$folder" checkout --quiet --detach "$commit"
done

# once FOLDER TARGET CARGO_HOME: prints the folder that was made.
once() {
    CARGO_TARGET_DIR=$2 CARGO_HOME=$3 "$1/connector/dist.sh" >&2
    echo "$2/dist"
}

ln -s "$cargo_home" "$place/other-home-of-cargo"
first=$(once "$place/one" "$place/one/target" "$cargo_home")
second=$(once "$place/another/folder" "$place/elsewhere/target" "$place/other-home-of-cargo")
diff -r "$first" "$second"
(cd "$first" && cat SHA256SUMS)
echo "dist-check: two builds, equal bytes"
