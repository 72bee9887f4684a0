#!/usr/bin/env bash
# The npm package (js), packed and installed into an empty folder, in Node and, with the page of examples/browser, in a
# headless Chromium: a digit, and "a red apple". On the CPU it must draw the program's bytes; on WebGPU nearly.
#
#   tests/browser.sh
#
# It uses what this machine has, and fetches what it lacks into a cache folder, installing nothing: Chromium from the
# machine's own APT sources (or name one: CHROMIUM=/path); the standard library for WebAssembly, where
# `rustup target add wasm32-unknown-unknown` was not run, as sources of Debian for the compiler in use; the
# `wasm-bindgen` program from crates.io. Without a GPU the browser's software adapter draws, in some minutes;
# NIJIMI_BROWSER_STEPS=4 is a short form. Without Node and npm, Chromium gets the package as it lies in js.
#
# NIJIMI names the program, which is built otherwise. NIJIMI_BROWSER names another cache folder, which afterwards also holds
# screenshots and the browser's log.
set -euo pipefail
cd "$(dirname "$0")/.."

fail() {
    echo "browser.sh: $*" >&2
    exit 1
}
# What it needs cannot be had here: 77, as other test programs say it.
lacks() {
    echo "browser.sh: $*" >&2
    exit 77
}
. tests/debian.sh

cache=${NIJIMI_BROWSER:-${XDG_CACHE_HOME:-$HOME/.cache}/nijimi-browser}
mkdir -p "$cache"
cache=$(cd "$cache" && pwd)
exec 9> "$cache/lock"
flock 9
target=${CARGO_TARGET_DIR:-$PWD/target}
triple=wasm32-unknown-unknown
lock=js/Cargo.lock

# Makes folder $1 by function $2, which gets a folder to fill; one that is cut off leaves nothing behind.
once() {
    [ -e "$1" ] && return
    echo "browser.sh: fetching $(basename "$1")" >&2
    rm -rf "$1.new"
    mkdir -p "$1.new"
    "$2" "$1.new"
    mv "$1.new" "$1"
}

# Chromium and the libraries that this machine lacks, of its own release: they are loaded beside those that it has.
unpack_chromium() {
    mkdir -p "$1/apt/lists/partial" "$1/apt/archives/partial"
    cat > "$1/apt/apt.conf" << CONFIG
Dir::State::lists "$1/apt/lists/";
Dir::Cache "$1/apt";
Dir::Cache::archives "$1/apt/archives/";
APT::Sandbox::User "";
Debug::NoLocking "true";
CONFIG
    {
        APT_CONFIG=$1/apt/apt.conf apt-get update &&
            APT_CONFIG=$1/apt/apt.conf apt-get install --yes --download-only --no-install-recommends chromium
    } > "$cache/apt.log" 2>&1 || lacks "APT has no chromium: $(grep -E '^E:' "$cache/apt.log" | head -n 3); set CHROMIUM"
    local deb
    for deb in "$1"/apt/archives/*.deb; do
        dpkg-deb --extract "$deb" "$1"
    done
    rm -rf "$1/apt"
}

# The standard library's sources for the compiler in use.
unpack_sources() {
    local conf version
    conf=$(debian_apt "$1/apt" trixie)
    version=$(APT_CONFIG=$conf apt-cache madison rust-src | awk '{ print $3 }' | grep -m 1 "^${release//./\\.}+") ||
        lacks "Debian has no rust-src $release: run 'rustup target add $triple'"
    (cd "$1" && APT_CONFIG=$conf apt-get download "rust-src=$version" > "$cache/apt.log" 2>&1) ||
        lacks "cannot fetch rust-src $version: $(tail -n 1 "$cache/apt.log")"
    dpkg-deb --extract "$1"/rust-src_*.deb "$1"
    rm -rf "$1"/apt "$1"/rust-src_*.deb
}

install_bindgen() {
    cargo install --quiet --debug wasm-bindgen-cli --version "$bindgen" --no-default-features --root "$1" ||
        lacks "cannot install wasm-bindgen $bindgen"
}

# A tree that differs from the toolchain's in that it holds the sources, and a compiler that takes it for its own.
use_sources() {
    local own=$cache/sysroot entry
    rm -rf "$own"
    mkdir -p "$own/lib/rustlib/src"
    for entry in "$sysroot"/lib/* "$sysroot"/lib/rustlib/*; do
        case ${entry#"$sysroot/lib/"} in
            rustlib | rustlib/src) ;;
            *) ln -s "$entry" "$own/lib/${entry#"$sysroot/lib/"}" ;;
        esac
    done
    ln -s "$sources/usr/src/rustc-$release" "$own/lib/rustlib/src/rust"
    printf '#!/bin/sh\nexec "%s" --sysroot "%s" "$@"\n' "$sysroot/bin/rustc" "$own" > "$cache/rustc"
    chmod +x "$cache/rustc"
    # A stable compiler builds its own standard library only so.
    environment=(RUSTC_BOOTSTRAP=1 "RUSTC=$cache/rustc" CARGO_UNSTABLE_BUILD_STD=std,panic_abort)
}

echo '== tools'
environment=()
sysroot=$(rustc --print sysroot)
release=$(rustc -vV | sed -n 's/^release: //p')
if [ ! -e "$sysroot/lib/rustlib/$triple" ]; then
    sources=$cache/rust-src-$release
    once "$sources" unpack_sources
    use_sources
fi

bindgen=$(sed -n '/^name = "wasm-bindgen"$/{n;s/^version = "\(.*\)"$/\1/p}' "$lock")
if [ "$(wasm-bindgen --version 2> /dev/null)" != "wasm-bindgen $bindgen" ]; then
    once "$cache/wasm-bindgen-$bindgen" install_bindgen
    PATH=$cache/wasm-bindgen-$bindgen/bin:$PATH
fi

echo '== the package'
env "${environment[@]}" js/build.sh
# In a browser, each byte is waited for.
small() {
    local bytes
    bytes=$(gzip -9c "js/$1/nijimi_bg.wasm" | wc -c)
    [ "$bytes" -le $(($2 * 1000)) ] || fail "js/$1/nijimi_bg.wasm has $bytes bytes gzipped: more than $2 KB"
}
small cpu 350
small webgpu 400
package=$PWD/js
if command -v node > /dev/null && command -v npm > /dev/null; then
    rm -rf "$cache/installed"
    mkdir "$cache/installed"
    tarball=$(cd js && npm pack --silent --pack-destination "$cache/installed")
    (cd "$cache/installed" && npm init -y > /dev/null && npm install --silent --offline --no-audit --no-fund "./$tarball")
    package=$cache/installed/node_modules/nijimi
else
    echo 'browser.sh: no Node, or no npm: the package is not packed, and not tried in Node'
fi

echo '== the pictures, by the program on the CPU'
steps=${NIJIMI_BROWSER_STEPS:-20}
nijimi=${NIJIMI:-$target/release/nijimi}
[ -n "${NIJIMI:-}" ] || cargo build --release --locked --bin nijimi
draw() {
    "$nijimi" "$2" -m "weights/$1-q8_0.gguf" -s 1 --steps "$steps" --backend cpu -o "$cache/$1.png"
}
draw digits 7
draw emoji 'a red apple'

if [ "$package" != "$PWD/js" ]; then
    echo '== in Node'
    (cd js && env "${environment[@]}" cargo build --release --locked --target "$triple" --target-dir "$target/js" \
        --example kernels)
    node tests/browser/kernels.mjs "$target/js/$triple/release/examples/kernels.wasm"
    cp tests/browser/node.mjs "$cache/installed/"
    node "$cache/installed/node.mjs" weights "$steps" "$cache/digits.png" "$cache/emoji.png"
fi

echo '== in Chromium'
chromium=${CHROMIUM:-$(type -P chromium || type -P google-chrome || true)}
if [ -z "$chromium" ]; then
    once "$cache/chromium" unpack_chromium
    chromium=$cache/chromium/usr/lib/chromium/chromium
    lib=$(echo "$cache"/chromium/usr/lib/*-linux-gnu)
    libraries=$lib:$lib/pulseaudio
fi

libraries=${libraries:-${LD_LIBRARY_PATH:-}}
# Draws with the weights, a prompt, and on a backend.
page() {
    echo "== $2 on the page, backend $3"
    LD_LIBRARY_PATH=$libraries python3 tests/browser/run.py "$chromium" "$package" "weights/$1-q8_0.gguf" "$2" "$steps" \
        "$3" "$cache/$1.png" "$cache"
}
for backend in cpu webgpu; do
    page digits 7 "$backend"
    page emoji 'a red apple' "$backend"
done
