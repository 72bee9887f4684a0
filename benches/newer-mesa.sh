#!/usr/bin/env bash
# Runs a program on the newest software Vulkan driver that Debian has for its stable release, whatever is installed.
#
#   benches/newer-mesa.sh                      prepares the tree and says which driver it holds
#   benches/newer-mesa.sh PROGRAM ARGUMENTS    runs PROGRAM on it
#   CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER=$PWD/benches/newer-mesa.sh cargo test
#
# Nothing is installed and no privilege is needed: packages are fetched with an APT configuration of our own from the
# mirror of this machine's sources, unpacked into a cache folder, and the program is started by the tree's own loader,
# since a driver built for a newer libc cannot be loaded by an older one. Hence two limits: a program that starts
# itself again by `/proc/self/exe` starts the loader, and its children find no driver.
#
# LP_NATIVE_VECTOR_WIDTH=512 (read by the driver) is faster where the processor has AVX-512.
# NIJIMI_MESA names another cache folder. Delete the folder to fetch again.
set -euo pipefail

release=trixie
tree=${NIJIMI_MESA:-${XDG_CACHE_HOME:-$HOME/.cache}/nijimi-mesa}

fail() {
    echo "newer-mesa.sh: $*" >&2
    exit 1
}
. "$(dirname "$0")/../tests/debian.sh"

# Fetches and unpacks into folder $1, which does not exist.
prepare() {
    local new=$1 deb lib log=$1/apt/log
    APT_CONFIG=$(debian_apt "$new/apt" "$release")
    export APT_CONFIG
    apt-get install --yes --download-only --no-install-recommends --target-release "$release-backports" \
        mesa-vulkan-drivers libvulkan1 vulkan-tools libstdc++6 > "$log" 2>&1 ||
        fail "the archive lacks a package of $release-backports: $(grep -E '^E:|Depends' "$log" | head -n 5)"
    unset APT_CONFIG
    for deb in "$new"/apt/archives/*.deb; do
        dpkg-deb --extract "$deb" "$new" || fail "cannot unpack $deb"
    done
    rm -rf "$new/apt"

    lib=$(libraries "$new")
    [ -e "$lib/libvulkan_lvp.so" ] || fail "mesa-vulkan-drivers of $release-backports holds no software driver"
}

# The folder of libraries of the tree in $1.
libraries() {
    local loader
    for loader in "$1"/usr/lib/*/ld-linux*.so.*; do
        [ -e "$loader" ] || fail "$1 holds no loader: delete it and start again"
        dirname "$loader"
        return
    done
}

if [ ! -e "$tree/lvp.json" ]; then
    mkdir -p "$tree"
    tree=$(cd "$tree" && pwd)
    # Of tests started at once, one prepares and the others wait.
    exec 9> "$tree/lock"
    flock 9
    if [ ! -e "$tree/lvp.json" ]; then
        echo "newer-mesa.sh: fetching Mesa into $tree" >&2
        rm -rf "$tree/new" "$tree/root"
        prepare "$tree/new"
        mv "$tree/new" "$tree/root"
        # Written last: it marks the tree as whole.
        cat > "$tree/lvp.json.new" << JSON
{"file_format_version": "1.0.0",
 "ICD": {"api_version": "1.4.305", "library_path": "$(libraries "$tree/root")/libvulkan_lvp.so"}}
JSON
        mv "$tree/lvp.json.new" "$tree/lvp.json"
    fi
    exec 9>&-
fi

tree=$(cd "$tree" && pwd)
lib=$(libraries "$tree/root")
loader=$(echo "$lib"/ld-linux*.so.*)
export VK_DRIVER_FILES=$tree/lvp.json
if [ -z "${XDG_RUNTIME_DIR:-}" ]; then # Some libraries complain if there is none.
    export XDG_RUNTIME_DIR=$tree/run
    mkdir -p -m 700 "$XDG_RUNTIME_DIR"
fi

run() {
    # `--library-path` replaces LD_LIBRARY_PATH, which Cargo sets for tests.
    exec "$loader" --library-path "$lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}" "$@"
}

if [ $# -eq 0 ]; then
    report=$(run "$tree/root/usr/bin/vulkaninfo" 2>&1) || fail "the driver does not start: $report"
    grep -E -m 4 'deviceName|driverName|driverInfo|apiVersion' <<< "$report"
    grep -q VK_KHR_cooperative_matrix <<< "$report" || fail "the driver has no cooperative matrices"
    exit
fi
program=$(type -P "$1") || fail "no program $1"
shift
run "$program" "$@"
