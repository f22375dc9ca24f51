#!/bin/sh
# Finds what is needed on this machine and installs what is missing. Says what it changes, and nothing when all is there.
#
#   tests/setup.sh build    to build the component and the host
#   tests/setup.sh demo     also to look at what the demo synced
#   tests/setup.sh test     also to test against the real `wandb` package, in other hosts (Python, Node), and in a browser
#   tests/setup.sh bench    also to measure against other clients
#
# Installed are at most: the target wasm32-unknown-unknown (rustup), packages of Debian or Ubuntu (only as root), a Python
# environment and Node inside the target folder, and the packages of tests/embedding/node and tests/browser beside their
# package.json.
set -eu
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-target}
oldest_rust=95 # of 1.x, as in Cargo.toml

say() { echo "setup: $*" >&2; }

fail() {
    say "$1"
    shift
    for line in "$@"; do say "  $line"; done
    exit 1
}

has() { command -v "$1" >/dev/null 2>&1; }

# apt_install PACKAGE…: whether the packages are there now.
apt_install() {
    [ "$(id -u)" = 0 ] && has apt-get || return 1
    say "installing with apt-get: $*"
    log=$(mktemp)
    if { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends "$@"; } \
        >"$log" 2>&1; then
        rm -f "$log"
        return 0
    fi
    tail -n 5 "$log" >&2
    rm -f "$log"
    return 1
}

rust() {
    has cargo && has rustc || fail "Rust is missing. Install it from https://rustup.rs, then call this again."
    minor=$(rustc --version | sed 's/^rustc 1\.\([0-9]*\).*/\1/')
    [ "$minor" -ge "$oldest_rust" ] || fail "$(rustc --version) is too old; 1.$oldest_rust or newer is needed." \
        "With rustup: rustup update stable"
}

c_compiler() {
    has cc || apt_install build-essential || fail "A C compiler is missing (SQLite is built from source)." \
        "Debian, Ubuntu: apt-get install build-essential"
    # Compression libraries of the component are C as well, for WebAssembly.
    if ! has clang || ! has llvm-ar; then
        apt_install clang llvm || fail "clang or llvm-ar is missing (they build C for WebAssembly)." \
            "Debian, Ubuntu: apt-get install clang llvm"
    fi
}

# Debian's own Rust, whose compiler builds the standard library for WebAssembly from source.
has_debian_rust() {
    [ -x /usr/bin/cargo ] && [ -x /usr/bin/rustc ] || return 1
    [ -d "/usr/src/rustc-$(/usr/bin/rustc --version | cut -d' ' -f2)/library" ]
}

has_target() { [ -d "$(rustc --print sysroot)/lib/rustlib/wasm32-unknown-unknown/lib" ]; }

wasm() {
    has_target && return
    has_debian_rust && return
    if has rustup; then
        say "adding the target wasm32-unknown-unknown with rustup"
        # Where rustup can't download it may take long to find out.
        timeout 90 rustup target add wasm32-unknown-unknown >/dev/null 2>&1 && has_target && return
        say "rustup could not; trying Debian's packages"
    fi
    apt_install rustc-web cargo-web rust-web-src && has_debian_rust && return
    fail "This machine can't build WebAssembly yet. Do one of these, then call this again:" \
        "rustup target add wasm32-unknown-unknown" \
        "apt-get install rustc-web cargo-web rust-web-src      (Debian 12, as root)"
}

python() {
    has python3 || apt_install python3 || fail "Python 3 is missing." "Debian, Ubuntu: apt-get install python3"
}

# An environment of Python packages: that with the real `wandb` package, or the one that is named.
python_environment() {
    python
    python3 -c 'import ensurepip, venv' 2>/dev/null || apt_install python3-venv ||
        fail "Python can't make virtual environments." "Debian, Ubuntu: apt-get install python3-venv"
    tests/setup-python.sh "$@" >/dev/null || fail "Packages could not be installed from PyPI."
}

# The tests read the licences of all that is locked for this machine, also of what only other goals build.
crates() {
    machine=$(rustc -vV | sed -n 's/^host: //p')
    cargo fetch --locked --quiet --target "$machine" || fail "The crates of Cargo.lock could not be downloaded."
}

# What the tests run the component in as Node programs do.
node_environment() {
    has npm || apt_install nodejs npm || fail "Node is missing." "Debian, Ubuntu: apt-get install nodejs npm"
    tests/setup-node.sh >/dev/null || fail "The packages of tests/embedding/node could not be installed from npm."
}

# What the tests look at the status page with.
browser() {
    has chromium || has chromium-browser || has google-chrome || apt_install chromium ||
        fail "A browser is missing." "Debian: apt-get install chromium"
    tests/setup-browser.sh >/dev/null || fail "The packages of tests/browser could not be installed from npm."
}

for_what=${1:-build}
case $for_what in
build | demo | test | bench) ;;
*) fail "usage: tests/setup.sh [build|demo|test|bench]" ;;
esac
rust
c_compiler
wasm
case $for_what in
demo) python ;;
test)
    crates
    python_environment
    node_environment
    browser
    ;;
bench)
    python_environment
    python_environment venv-bench bench/peers/requirements.txt
    ;;
esac
