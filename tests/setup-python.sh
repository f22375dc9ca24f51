#!/bin/sh
# Makes a Python environment in the target folder and prints the path of its Python. Does nothing when the environment is
# there already and its requirements have not changed.
#
#   tests/setup-python.sh [NAME REQUIREMENTS…]    default: venv, with what the tests use: the official W&B SDK, wasmtime (as
#                                                 a package and as a command) and componentize-py
set -eu

target=${CARGO_TARGET_DIR:-$(dirname "$0")/../target}
mkdir -p "$target"
target=$(cd "$target" && pwd)
cd "$(dirname "$0")"
name=${1:-venv}
if [ $# = 0 ]; then
    set -- sdk/requirements.txt embedding/python/requirements.txt embedding/command/requirements.txt source/requirements.txt
else
    shift
fi
venv=$target/$name
stamp=$venv/requirements.stamp
wanted=$(cat "$@" | cksum)

if [ -x "$venv/bin/python" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]; then
    echo "$venv/bin/python"
    exit 0
fi

python=
for candidate in python3 python3.13 python3.12 python3.11; do
    if command -v "$candidate" >/dev/null && "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 10))'; then
        python=$candidate
        break
    fi
done
if [ -z "$python" ]; then
    echo "setup-python: no Python of 3.10 or newer was found; on Debian: apt-get install python3 python3-venv" >&2
    exit 1
fi

echo "setup-python: making $venv with $("$python" --version) for $*" >&2
rm -rf "$venv"
if ! "$python" -m venv "$venv" >&2; then
    echo "setup-python: $python cannot make environments; on Debian: apt-get install python3-venv" >&2
    exit 1
fi
for requirements; do
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --requirement "$requirements" >&2
done
# The package of the wasmtime command forgets to.
for command in "$venv"/lib/python*/site-packages/wasmtime_cli/wasmtime*; do
    if [ -f "$command" ]; then chmod +x "$command"; fi
done
echo "$wanted" >"$stamp"
echo "$venv/bin/python"
