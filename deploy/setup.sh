#!/usr/bin/env bash
# Installs what building Floe needs beyond Rust: a C and C++ compiler and libclang, on Debian and its kin.
# Installs nothing when everything is there, and says what is missing where it cannot install.
set -euo pipefail

missing=()
for package in build-essential pkg-config; do
    dpkg -s "$package" >/dev/null 2>&1 || missing+=("$package")
done
# RocksDB's bindings are generated with libclang, any version from 9 on; its headers come in a package of their own.
if ! ldconfig -p | grep -q 'libclang[-.0-9]*\.so'; then
    version=$(apt-cache search --names-only '^libclang1-[0-9]+$' 2>/dev/null | sed 's/^libclang1-\([0-9]*\).*/\1/' | sort -n | head -n 1 || true)
    version=${version:-14}
    missing+=("libclang1-$version" "libclang-common-$version-dev")
fi

if [ "${#missing[@]}" -gt 0 ]; then
    if ! command -v apt-get >/dev/null; then
        echo "please install the equivalents of: ${missing[*]}" >&2
        exit 1
    fi
    as_root=()
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || { echo "as root, run: apt-get install ${missing[*]}" >&2; exit 1; }
        as_root=(sudo)
    fi
    echo "installing ${missing[*]}" >&2
    "${as_root[@]}" apt-get update -qq
    DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
fi

command -v cargo >/dev/null || { echo "Rust is missing: install it with rustup, then run this again" >&2; exit 1; }
