# What the scripts share. To be read by them, not run.

# Says why, and ends.
fail() {
    echo "${0##*/}: $*" >&2
    exit 1
}

need_root() {
    [ "$(id -u)" = 0 ] || fail "run it as root: sudo $0"
    [ -e /dev/fuse ] || modprobe fuse 2>/dev/null || true
    [ -c /dev/fuse ] || fail "there is no /dev/fuse: load the kernel's module fuse"
}

# need PROGRAM=PACKAGE...: installs the packages whose programs are not there.
need() {
    missing=
    for pair in "$@"; do
        command -v "${pair%%=*}" >/dev/null 2>&1 || missing="$missing ${pair#*=}"
    done
    [ -n "$missing" ] || return 0
    command -v apt-get >/dev/null 2>&1 || fail "install these first:$missing"
    echo "installing:$missing"
    export DEBIAN_FRONTEND=noninteractive
    # shellcheck disable=SC2086 # one word for each package
    apt-get install -qq -y --no-install-recommends $missing >/dev/null 2>&1 ||
        { apt-get update -qq && apt-get install -qq -y --no-install-recommends $missing >/dev/null; } ||
        fail "apt-get cannot install:$missing"
}

# What is mounted below a directory, the innermost first.
mounts_below() {
    awk -v below="$1/" 'index($5, below) == 1 { print $5 }' /proc/self/mountinfo | tac
}

# Rust's toolchain, which under sudo belongs to who called it.
need_cargo() {
    caller=$(getent passwd "${SUDO_USER:-root}" | cut -d: -f6)
    for home in "${HOME:-/root}" "$caller" /root; do
        recent_cargo && break
        if [ -x "$home/.cargo/bin/cargo" ]; then
            export PATH="$home/.cargo/bin:$PATH" RUSTUP_HOME="${RUSTUP_HOME:-$home/.rustup}"
        fi
    done
    if ! recent_cargo; then
        # Newer releases of Debian and Ubuntu have it as a package.
        (need rustup=rustup) || fail "there is no cargo of Rust $oldest or newer: install it with rustup"
        rustup default stable
        recent_cargo || fail "there is no cargo of Rust $oldest or newer"
    fi
    need cc=gcc
}

# Whether there is a cargo that can build lendfs; the distribution's own may be too old.
recent_cargo() {
    oldest=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' Cargo.toml)
    found=$(cargo --version 2>/dev/null | cut -d ' ' -f 2)
    [ -n "$found" ] && printf '%s\n' "$oldest" "$found" | sort -C -V
}

# The directory for tools that are built here.
tools=$PWD/target/tools
