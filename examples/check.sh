#!/usr/bin/env bash
# Type-checks the programs of embedders that stand outside the workspace, as their lock files have it: by hand, after a change of
# what they call, since hundreds of crates are fetched and checked for each, which CI has no time for.
#
#   examples/check.sh           # both
#   examples/check.sh bevy      # one
#
# Bevy asks for a newer Rust than nijimi: where stable is older, nightly is taken.
set -euo pipefail
cd "$(dirname "$0")"

export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/../target/examples}
[ $# -gt 0 ] || set -- window bevy
stable=$(rustc -V | cut -d ' ' -f 2)
for name; do
    least=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' "$name/Cargo.toml")
    toolchain=
    if [ "$(printf '%s\n' "$least" "$stable" | sort -V | head -n 1)" != "$least" ]; then
        toolchain=+nightly
    fi
    echo "== $name ${toolchain}"
    (cd "$name" && cargo $toolchain check --locked)
done
