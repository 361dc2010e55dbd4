#!/bin/sh
# The kernels compiled for aarch64 and run by qemu: every variant beside its plain definition, on processors without dot products,
# with them, and with i8mm. Then the plain definitions beside the same ones here: what has to be equal to the last bit is. Wants
# gcc-aarch64-linux-gnu and qemu-user (apt).
set -eu
cd "$(dirname "$0")/.."
out=build/test-kernels-aarch64
clang=${CLANG:-$(command -v clang || echo "$(dirname "$(readlink -f "$(command -v swift)")")/clang")}
build() { # name, linker, compiler options
    name=$1 link=$2
    shift 2
    mkdir -p "$out/$name"
    for source in Sources/CKernels/*.c Tests/Kernels/*.c; do
        "$clang" "$@" -O2 -std=gnu11 -ffp-contract=off -Wall -Wextra -Werror -ISources/CKernels -ISources/CKernels/include \
            -c "$source" -o "$out/$name/$(basename "$source" .c).o"
    done
    $link -static "$out/$name"/*.o -lm -o "$out/$name/kernels_test"
}
run() { # name of the build, of the log, how to run it
    name=$1 log=$out/$2.log
    shift 2
    "$@" "$out/$name/kernels_test" >"$log" || { cat "$log"; exit 1; }
    # Quantizing is left out: its sums are contracted, and another rounding can make another scale the best one.
    grep digest "$log" | grep -v ^quantized >"${log%.log}.digests"
}
build here "$clang"
run here here env
build aarch64 aarch64-linux-gnu-gcc --target=aarch64-linux-gnu -isystem /usr/aarch64-linux-gnu/include
for target in CMemory CLastError CGlibc; do
    "$clang" --target=aarch64-linux-gnu -isystem /usr/aarch64-linux-gnu/include -O2 -std=gnu11 -fsyntax-only \
        -I"Sources/$target/include" Sources/$target/*.c
done
for processor in cortex-a72 neoverse-n1 max; do
    run aarch64 "$processor" qemu-aarch64 -cpu "$processor"
    diff "$out/here.digests" "$out/$processor.digests"
    echo "$processor: $(sed -n 's/^text  *\(NEON[^:]*[^: ]\) *:.*/\1/p; s/^text  *NEON *:.*/NEON/p' "$out/$processor.log" | paste -s -d ';' -): $(tail -n 1 "$out/$processor.log")"
done
echo "aarch64: the plain definitions give the bytes that they give here"
