#!/bin/sh
# Shows the whole path on this machine: a local W&B server with made-up training runs, a sync into SQLite, a look at
# what arrived, some changes at the source, and a second sync that moves only those.
set -eu
cd "$(dirname "$0")/../.."
target=${CARGO_TARGET_DIR:-target}
case $target in /*) ;; *) target=$PWD/$target ;; esac
runs=${DEMO_RUNS:-300}
folder=$target/demo
here=$PWD/tests/demo

component=
server=
end() {
    status=$?
    trap - EXIT INT TERM
    [ -z "$component" ] || kill "$component" 2>/dev/null || true
    if [ -n "$server" ]; then
        kill "$server" 2>/dev/null || true
        wait "$server" 2>/dev/null || true
    fi
    exit "$status"
}
trap end EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

title() { printf '\n\033[1m%s\033[0m\n' "$*"; }
if [ -n "${NO_COLOR:-}" ] || [ ! -t 1 ]; then
    title() { printf '\n%s\n' "$*"; }
fi

title "Building (the first time takes some minutes)"
# The last part of the component's build leaves processors idle, and the server does not hold the component: so they are built together.
mkdir -p "$target"
log=$target/demo-component.log
connector/build.sh >"$log" 2>&1 &
component=$!
cargo build --locked --workspace --bin local-wandb
if ! wait "$component"; then
    cat "$log" >&2
    exit 1
fi
component=
# As part of the workspace and as the tests do it, which build nothing of it again. A release build takes twice the time.
cargo build --locked --workspace --bin wandb-connector

rm -rf "$folder"
mkdir -p "$folder"
cd "$folder"
# Nobody's real account is involved.
for name in $(env | sed -n 's/^\(WANDB_[A-Z_]*\)=.*/\1/p'); do unset "$name"; done
export NETRC=/dev/null

title "A local W&B server with $runs made-up training runs"
mkfifo server.fifo
"$target/debug/local-wandb" --preset realistic --runs "$runs" --entity acme --project demo >server.fifo 2>server.log &
server=$!
# It says one line, when it is ready. Without one it has ended.
exec 3<server.fifo
if ! read -r line <&3; then
    echo "the server did not start:" >&2
    cat server.log >&2
    exit 1
fi
echo "$line"
url=${line%% *}

(
    umask 077
    cat >configuration.json <<END
{
  "api_key": "0123456789abcdef0123456789abcdef01234567",
  "entity": "acme",
  "project": "demo",
  "base_url": "$url"
}
END
)
sync() {
    echo '$ wandb-connector sync --config configuration.json'
    "$target/debug/wandb-connector" sync --config configuration.json
}

title "The first sync brings everything"
sync

title "What arrived in warehouse.db"
python3 "$here/look.py" runs warehouse.db
python3 "$here/look.py" plot warehouse.db

title "Meanwhile, at W&B"
python3 "$here/change.py" "$url" acme demo

title "The second sync brings only what changed"
python3 "$here/look.py" mark warehouse.db >mark.txt
sync
python3 "$here/look.py" moved warehouse.db "$(cat mark.txt)"

title "Now with your own runs"
cat <<END
  1. Get your key at https://wandb.ai/authorize
  2. make build
  3. WANDB_API_KEY=… WANDB_ENTITY=… WANDB_PROJECT=… ${CARGO_TARGET_DIR:-target}/release/wandb-connector sync

The entity and the project are in the project's address: wandb.ai/ENTITY/PROJECT. If you have used \`wandb login\` on
this machine, the key is found without WANDB_API_KEY. The tables are in warehouse.db; the demo's are in
$folder/warehouse.db
END
