#!/bin/sh
# make-docc.sh: build/docc, the reference of the Swift package with its articles, by the toolchain's docc. A warning is an error.
set -eu
cd "$(dirname "$0")/.."
graphs=$PWD/build/symbol-graphs
rm -rf "$graphs" build/docc
mkdir -p "$graphs"
rm -f .build/docc/debug.yaml # an old plan does not know new files
swift build --quiet --target QwenSFTStreaming --scratch-path .build/docc -Xswiftc -emit-symbol-graph -Xswiftc -emit-symbol-graph-dir \
    -Xswiftc "$graphs" -Xswiftc -symbol-graph-minimum-access-level -Xswiftc public
# Of the modules that were built, those that others import.
find "$graphs" -type f ! -name 'QwenSFTCore*' ! -name 'QwenSFTStreaming*' -delete
docc convert Sources/QwenSFTCore/QwenSFTCore.docc --additional-symbol-graph-dir "$graphs" --output-path build/docc --warnings-as-errors \
    --fallback-display-name QwenSFTCore --fallback-bundle-identifier qwensft.QwenSFTCore --transform-for-static-hosting
echo "build/docc (serve it: python3 -m http.server --directory build/docc, then /documentation/qwensftcore)"
