#!/usr/bin/env bash
# Makes the package's WebAssembly, cpu/ and webgpu/ beside this file.
#
#   rustup target add wasm32-unknown-unknown
#   cargo install wasm-bindgen-cli --version VERSION # as Cargo.lock has it: this script says which
#   js/build.sh
set -euo pipefail
cd "$(dirname "$0")"

bindgen=$(sed -n '/^name = "wasm-bindgen"$/{n;s/^version = "\(.*\)"$/\1/p}' Cargo.lock)
if [ "$(wasm-bindgen --version 2> /dev/null)" != "wasm-bindgen $bindgen" ]; then
    echo "build.sh: wasm-bindgen $bindgen is needed: cargo install wasm-bindgen-cli --version $bindgen" >&2
    exit 1
fi
target=${CARGO_TARGET_DIR:-$PWD/../target}/js
# Panics name files: without the folders of this machine, whose length would be the size's.
flags="target.wasm32-unknown-unknown.rustflags=[
    '--remap-path-prefix=$(dirname "$PWD")=.', '--remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}/registry/src=']"
for backend in cpu webgpu; do
    case $backend in
        cpu) profile=release features=() ;;
        webgpu) profile=small features=(--features webgpu) ;;
    esac
    cargo build --config "$flags" --profile "$profile" --locked --target wasm32-unknown-unknown --target-dir "$target" "${features[@]}"
    wasm-bindgen --target web --no-typescript --remove-name-section --remove-producers-section --out-dir "$backend" \
        --out-name nijimi "$target/wasm32-unknown-unknown/$profile/nijimi_js.wasm"
    printf '%s: %s bytes, %s gzipped\n' "$backend" "$(wc -c < "$backend/nijimi_bg.wasm")" \
        "$(gzip -9c "$backend/nijimi_bg.wasm" | wc -c)"
done
