#!/bin/sh
# The kernels' plain definitions, compiled for aarch64 and run by qemu, beside the same ones here: what has to be equal to the
# last bit is. Wants gcc-aarch64-linux-gnu and qemu-user (apt).
set -eu
cd "$(dirname "$0")/.."
out=build/test-kernels-aarch64
clang=${CLANG:-$(command -v clang || echo "$(dirname "$(readlink -f "$(command -v swift)")")/clang")}
run() { # name, linker, how to run it, compiler options
    name=$1 link=$2 emulator=$3
    shift 3
    mkdir -p "$out/$name"
    # Quantizing is left out: its sums are contracted, and another rounding can make another scale the best one.
    for source in Sources/CKernels/*.c Tests/Kernels/*.c; do
        "$clang" "$@" -O2 -std=gnu11 -ffp-contract=off -Wall -Wextra -Werror -ISources/CKernels -ISources/CKernels/include \
            -c "$source" -o "$out/$name/$(basename "$source" .c).o"
    done
    $link -static "$out/$name"/*.o -lm -o "$out/$name/kernels_test"
    $emulator "$out/$name/kernels_test" >"$out/$name.log" || { cat "$out/$name.log"; exit 1; }
    grep digest "$out/$name.log" | grep -v ^quantized >"$out/$name.digests"
}
run here "$clang" ""
run aarch64 aarch64-linux-gnu-gcc qemu-aarch64 --target=aarch64-linux-gnu -isystem /usr/aarch64-linux-gnu/include
diff "$out/here.digests" "$out/aarch64.digests"
echo "aarch64: the plain definitions give the bytes that they give here"
