#!/bin/sh
# make-docc.sh [MODULES]: build/docc, the reference of the Swift package with its articles, by the toolchain's docc. A warning is an error.
# MODULES: a build's folder of modules, instead of a debug build made for this.
set -eu
cd "$(dirname "$0")/.."
modules=${1:-}
graphs=$PWD/build/symbol-graphs
rm -rf "$graphs" build/docc
mkdir -p "$graphs"
if [ -z "$modules" ]; then
    rm -f .build/debug.yaml # an old plan does not know new files
    swift build --quiet --target QwenSFTStreaming
    modules=.build/debug/Modules
fi
for module in QwenSFTCore QwenSFTStreaming; do
    swift symbolgraph-extract -module-name $module -target "$(swiftc -print-target-info | sed -n 's/.*"unversionedTriple": "\(.*\)".*/\1/p')" \
        -minimum-access-level public -output-dir "$graphs" -I "$modules" -I Sources/COpenBLAS -I Sources/CKernels/include \
        -Xcc -fmodule-map-file="$modules/../CMemory.build/module.modulemap"
done
docc convert Sources/QwenSFTCore/QwenSFTCore.docc --additional-symbol-graph-dir "$graphs" --output-path build/docc --warnings-as-errors \
    --fallback-display-name QwenSFTCore --fallback-bundle-identifier qwensft.QwenSFTCore --transform-for-static-hosting
echo "build/docc (python3 -m http.server --directory build/docc, then /documentation/qwensftcore)"
