#!/bin/sh
# make-wheel.sh LIBRARY PYTHON: builds dist/*.whl with the library inside.
set -eu
library=$1 python=$2
work=build/wheel

rm -rf "$work"
mkdir -p "$work" dist
cp -r LICENSE bindings/python/pyproject.toml bindings/python/README.md bindings/python/src "$work/"
cp "$library" "$work/src/qwensft/libqwensft.so"
"$python" -m pip wheel -q --no-deps -w "$work/dist" "$work"
# Pure Python as far as setuptools can tell; the library inside is for this platform.
"$python" -m pip install -q wheel
"$python" -m wheel tags --remove --platform-tag "linux_$(uname -m)" "$work"/dist/*.whl >/dev/null
mv "$work"/dist/*.whl dist/
ls dist/*.whl
