# Sourced by scripts that need packages of Debian without installing them: APT in a folder of our own, with this
# machine's way to its mirror. The script defines `fail`.

# The archive's address: only Debian's own has a suite of updates, so others that use its release names are passed over.
debian_mirror() {
    local codename suite found
    codename=$(. /etc/os-release && [ "${ID:-}" = debian ] && echo "${VERSION_CODENAME:-}") || return 1
    for suite in "$codename-updates" stable-updates "$codename-backports" "$codename" stable; do
        found=$(apt-get update --print-uris | sed -n "s|^'\(.*\)/dists/$suite/InRelease'.*|\1|p" | head -n 1)
        if [ -n "$found" ]; then
            echo "$found"
            return
        fi
    done
    return 1
}

# Prepares APT in folder $1 for a Debian release and its backports ($2), and prints the configuration's path. No package
# counts as installed there, so that an unpacked tree gets all that it needs.
debian_apt() {
    local folder=$1 release=$2 archive keyring=/usr/share/keyrings/debian-archive-keyring.gpg tool
    for tool in apt-get apt-config dpkg dpkg-deb; do
        command -v "$tool" > /dev/null || fail "no $tool here: this needs a Debian machine"
    done
    archive=$(debian_mirror) || fail "this machine's APT sources name no Debian archive"
    [ -r "$keyring" ] || fail "no $keyring: install debian-archive-keyring"

    mkdir -p "$folder/lists/partial" "$folder/archives/partial" "$folder/empty"
    : > "$folder/status"
    printf 'deb [signed-by=%s] %s %s main\n' \
        "$keyring" "$archive" "$release" "$keyring" "$archive" "$release-backports" > "$folder/sources.list"
    {
        # How this machine reaches its mirror is kept, its sources, hooks and pins are not.
        apt-config dump | grep -E '^Acquire::(https?|Check-[A-Za-z-]+|Retries|ForceIPv)[: ]' || true
        cat << CONFIG
Dir::State "$folder";
Dir::State::lists "$folder/lists/";
Dir::State::status "$folder/status";
Dir::Cache "$folder";
Dir::Cache::archives "$folder/archives/";
Dir::Etc::parts "$folder/empty";
Dir::Etc::main "empty.conf";
Dir::Etc::sourcelist "$folder/sources.list";
Dir::Etc::sourceparts "$folder/empty";
Dir::Etc::preferences "none";
Dir::Etc::preferencesparts "$folder/empty";
Acquire::Languages "none";
APT::Sandbox::User "";
CONFIG
    } > "$folder/apt.conf"
    APT_CONFIG=$folder/apt.conf apt-get update --error-on=any > "$folder/log" 2>&1 ||
        fail "$archive has no usable $release and $release-backports: $(grep -E '^[EW]:' "$folder/log" | head -n 3)"
    echo "$folder/apt.conf"
}
