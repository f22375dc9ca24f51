#!/bin/sh
# Installs what the embedding example in tests/embedding/node needs, and prints the path of a Node that can run it.
# Does nothing when it is there already and the versions have not changed.
#
# The example stores into `node:sqlite`, which Node has from 22.13 on. Where the machine's own is older, a newer one comes from
# the npm registry into the target folder.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
example=$here/embedding/node
own=${CARGO_TARGET_DIR:-$here/../target}/node
version=24.21.0

say() { echo "setup-node: $*" >&2; }

# stores_rows NODE: whether it has `node:sqlite`.
stores_rows() { "$1" --no-warnings -e 'require("node:sqlite")' 2>/dev/null; }

command -v npm >/dev/null || {
    say "npm was not found; on Debian: apt-get install nodejs npm"
    exit 1
}
if command -v node >/dev/null && stores_rows node; then
    node=$(command -v node)
else
    package=node-$(uname -s | tr '[:upper:]' '[:lower:]')-$(uname -m | sed 's/x86_64/x64/; s/aarch64/arm64/')
    node=$own/node_modules/$package/bin/node
    if ! stores_rows "$node" || [ "$("$node" --version)" != v$version ]; then
        say "installing Node $version from npm into $own"
        mkdir -p "$own"
        npm install --silent --no-audit --no-fund --no-save --prefix "$own" "$package@$version" >&2 || {
            say "there is none for this machine; install Node 22.13 or newer"
            exit 1
        }
    fi
fi

"$here/npm-ci.sh" "$example"
echo "$node"
