#!/bin/sh
# Runs every variant of the kernels that this processor has beside the plain definitions, then those for AVX-512, emulated.
set -eu
cd "$(dirname "$0")/.."
out=build/test-kernels
# The one that comes with Swift: the sources use its vector types.
clang=${CLANG:-$(command -v clang || echo "$(dirname "$(readlink -f "$(command -v swift)")")/clang")}
mkdir -p "$out"
for define in QK_EMULATES_NOTHING QK_EMULATES_AVX512; do
    mkdir -p "$out/$define"
    for source in Sources/CKernels/*.c Tests/Kernels/*.c; do echo "$source"; done |
        xargs -P "$(nproc)" -I{} sh -c '"$1" -O2 -std=gnu11 -Wall -Wextra -Werror -D"$2" -ISources/CKernels -ISources/CKernels/include -c "$3" -o "$4/$2/$(basename "$3" .c).o"' \
            compile "$clang" "$define" {} "$out"
    "$clang" "$out/$define"/*.o -lm -o "$out/$define/kernels_test"
    echo "$define"
    "$out/$define/kernels_test" >"$out/$define.log" || { cat "$out/$define.log"; exit 1; }
    tail -n 1 "$out/$define.log"
done
