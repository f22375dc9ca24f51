#!/bin/sh
# Installs what the package-lock.json of a folder names, beside it. Does nothing when it is there already and the versions have not
# changed.
#
#   tests/npm-ci.sh FOLDER
set -eu

folder=$1
stamp=$folder/node_modules/.stamp
wanted=$(cksum <"$folder/package-lock.json")
[ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] && exit
command -v npm >/dev/null || {
    echo "npm-ci: npm was not found; on Debian: apt-get install nodejs npm" >&2
    exit 1
}
echo "npm-ci: installing the packages of $folder/package-lock.json" >&2
npm ci --silent --no-audit --no-fund --prefix "$folder" >&2
echo "$wanted" >"$stamp"
