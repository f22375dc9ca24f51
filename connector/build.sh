#!/bin/sh
# Builds the component: target/wasm32-unknown-unknown/component/wandb_connector.wasm
# Called with names of packages, it builds those components instead; with command-output and command-run among them also the
# command made of them and the connector, wandb-connector-cli.wasm in the same folder.
#
# Two kinds of machines can do it: those where rustup has the wasm32-unknown-unknown target, and Debian machines with the packages
# rustc-web, cargo-web and rust-web-src, whose compiler builds the standard library from source.
set -eu
cd "$(dirname "$0")/.."

toolchain=$(rustc --print sysroot)
host=$(rustc -vV | sed -n 's/^host: //p')
tools=$toolchain/lib/rustlib/$host/bin
linker=${WASM_COMPONENT_LD:-$tools/wasm-component-ld}
if [ ! -x "$linker" ]; then
    linker=$(command -v wasm-component-ld) || {
        echo "connector/build.sh: no wasm-component-ld found; it comes with Rust's toolchains from rustup, or by: cargo install --locked wasm-component-ld" >&2
        exit 1
    }
fi
export CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER=$linker
# The linker calls wasm-ld, which comes with the toolchain too.
PATH=$tools/gcc-ld:$PATH
export PATH
# Exported histories are compressed with zstd, whose decoder is C.
export CC_wasm32_unknown_unknown="${CC_wasm32_unknown_unknown:-clang}"
export AR_wasm32_unknown_unknown="${AR_wasm32_unknown_unknown:-llvm-ar}"
for tool in "$CC_wasm32_unknown_unknown" "$AR_wasm32_unknown_unknown"; do
    command -v "$tool" >/dev/null || {
        echo "connector/build.sh: no $tool found; the component holds zstd, which is C and needs clang and llvm-ar. Do this:" >&2
        echo "  apt-get install clang llvm        (Debian; elsewhere install LLVM, or name the tools in CC_wasm32_unknown_unknown and AR_wasm32_unknown_unknown)" >&2
        exit 1
    }
done
# What is handed out must not depend on where it is built: paths of this machine have no place in a file that others run.
target=${CARGO_TARGET_DIR:-target}
mkdir -p "$target"
target=$(cd "$target" && pwd)
remap=
for paths in "$PWD=/wandb-connector" "${CARGO_HOME:-$HOME/.cargo}=/cargo" "$target=/target"; do
    remap="$remap --remap-path-prefix=$paths"
done
export CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS="${remap# }"
# Which commit it is built from is told those who hold the file: REVISION when it is set, else what git says, nothing outside git.
if [ -z "${REVISION+set}" ]; then
    REVISION=
    [ ! -e .git ] || REVISION=$(git describe --always --dirty --abbrev=40 --exclude='*' || true)
fi

# What cargo builds is apart from what is handed out, which has the component's name, version and so on in it.
raw=$target/component-raw
folder=$target/wasm32-unknown-unknown/component

build() {
    "$@" build --locked -p "$package" --lib --profile component --target wasm32-unknown-unknown --target-dir "$raw"
}

# The tool takes a while the first time. Meanwhile the component is built, whose last part leaves processors idle.
cargo build --quiet --locked --manifest-path connector/package/Cargo.toml --target-dir "$target/package" &
tool=$!
trap '[ -z "$tool" ] || kill "$tool" 2>/dev/null || true' EXIT

package_tool() {
    [ -z "$tool" ] || wait "$tool"
    tool=
    cargo run --quiet --locked --manifest-path connector/package/Cargo.toml --target-dir "$target/package" -- "$@"
}

# One at a time: built together, packages would share features of what they use, and a component's bytes depend on its company.
for package in ${*:-wandb-connector}; do
    if [ -d "$toolchain/lib/rustlib/wasm32-unknown-unknown/lib" ]; then
        build cargo
    elif [ -x /usr/bin/cargo ] && [ -x /usr/bin/rustc ] && [ -d /usr/src/rustc-"$(/usr/bin/rustc --version | cut -d' ' -f2)"/library ]; then
        RUSTC_BOOTSTRAP=1 RUSTC=/usr/bin/rustc CARGO_UNSTABLE_BUILD_STD=std,panic_abort build /usr/bin/cargo
    else
        echo "connector/build.sh: this machine can't build for wasm32-unknown-unknown yet. Do one of these:" >&2
        echo "  rustup target add wasm32-unknown-unknown" >&2
        echo "  apt-get install rustc-web cargo-web rust-web-src        (Debian)" >&2
        exit 1
    fi
    file=$(echo "$package" | tr - _).wasm
    package_tool stamp "$package" "$raw/wasm32-unknown-unknown/component/$file" "$folder/$file" "$REVISION"
done

case " $* " in
*" command-run "*)
    package_tool compose "$folder/command_output.wasm" "$folder/wandb_connector.wasm" "$folder/command_run.wasm" \
        "$folder/wandb-connector-cli.wasm"
    ;;
esac
