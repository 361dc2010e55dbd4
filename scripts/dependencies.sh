#!/bin/sh
# Installs what is missing for a purpose (build, test, install-test, languages), or says what to install.
set -eu
cd "$(dirname "$0")/.."

missing=
need() { # need TEST PACKAGE: adds PACKAGE if TEST fails
    sh -c "$1" >/dev/null 2>&1 || missing="$missing $2"
}

case "${1:-build}" in
build)
    if ! command -v swift >/dev/null; then
        echo "Swift is missing. Install 6.3 or newer from https://www.swift.org/install/linux/ and put it on PATH." >&2
        exit 1
    fi
    need 'command -v pkg-config' pkg-config
    need 'pkg-config --exists openblas' libopenblas-dev
    ;;
test)
    need 'command -v cc' gcc
    need 'command -v c++' g++
    need 'command -v nm' binutils
    need 'command -v python3' python3
    need 'python3 -c "import venv, ensurepip"' python3-venv
    ;;
install-test)
    need 'command -v cc' gcc
    need 'command -v c++' g++
    need 'command -v cmake' cmake
    ;;
languages)
    need 'command -v luajit' luajit
    need 'command -v go' golang-go
    need 'command -v rustc' rustc
    # bindgen loads libclang, and its package does not depend on it.
    need 'bindgen include/qwensft.h' 'bindgen libclang-dev'
    need 'command -v java' default-jdk-headless
    need 'test -e /usr/share/java/jna.jar' libjna-java
    need 'command -v abidiff' abigail-tools
    need 'command -v sqlite3' sqlite3
    need 'test -e /usr/include/sqlite3ext.h' libsqlite3-dev
    ;;
esac

[ -n "$missing" ] || exit 0
if [ "$(id -u)" = 0 ]; then
    as_root=
elif sudo -n true 2>/dev/null; then
    as_root="sudo -n"
else
    echo "Missing:$missing. Install with: sudo apt-get install$missing" >&2
    exit 1
fi
if ! command -v apt-get >/dev/null; then
    echo "Missing:$missing (names as in Debian). Install them with this system's package manager." >&2
    exit 1
fi
echo "Installing$missing"
$as_root apt-get update -qq
$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing
