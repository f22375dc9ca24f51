#!/bin/sh
# Builds the source connector that is written in Python, target/wasm32-unknown-unknown/component/readings.wasm, and prints its path.
# Does nothing when it is there already and neither it nor the contract has changed.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
folder=${CARGO_TARGET_DIR:-$here/../../target}/wasm32-unknown-unknown/component
component=$folder/readings.wasm
wanted=$(cat "$0" "$here/readings.py" "$here/requirements.txt" "$here"/../../wit/*.wit "$here"/../../wit/deps/*.wit | cksum)

if [ ! -f "$component" ] || [ "$(cat "$component.stamp" 2>/dev/null)" != "$wanted" ]; then
    python=$("$here/../setup-python.sh")
    echo "source/build.sh: making a component of $here/readings.py" >&2
    mkdir -p "$folder"
    PYTHONDONTWRITEBYTECODE=1 "$(dirname "$python")/componentize-py" -q -d "$here/../../wit" -w connector componentize -p "$here" readings -o "$component" >&2
    echo "$wanted" >"$component.stamp"
fi
echo "$component"
