#!/bin/sh
# Builds library and tests with one of the sanitizers, and runs the C tests, Python tests and a part of the Swift tests under it:
# scripts/sanitize.sh address|undefined|thread [c|python|swift ...]. Needs Swift's own clang, whose run-time the library is built for.
set -eu
cd "$(dirname "$0")/.."
sanitizer=$1
shift
parts=${*:-c python swift}
out=build/sanitize-$sanitizer
scratch=.build/sanitize-$sanitizer
model=Examples/tiny-qwen2
clang=${CLANG:-$(dirname "$(readlink -f "$(command -v swiftc)")")/clang}
mkdir -p "$out"
runtime() { "$clang" -print-file-name="libclang_rt.$1-x86_64.so"; }
# ThreadSanitizer's run-time watches libdispatch too, and does not load without it.
dispatch=
[ "$sanitizer" != thread ] || dispatch=$(dirname "$clang")/../lib/swift/linux
swift_flags="-c release --scratch-path $scratch -Xswiftc -use-ld=lld"
case $sanitizer in
undefined) swift_flags="$swift_flags -Xcc -fsanitize=undefined -Xcc -fno-sanitize-recover=undefined" ;; # C's: Swift has traps of its own
*) swift_flags="$swift_flags --sanitize=$sanitizer" ;;
esac
# What stays by design: handles of threads and of the process, and what calls that were left behind have lost.
# Callbacks that are left, and that they are noticed by their place on the stack, need the real stack.
export ASAN_OPTIONS=detect_leaks=0:detect_stack_use_after_return=0:allocator_may_return_null=1:abort_on_error=1
export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1
export TSAN_OPTIONS=allocator_may_return_null=1:halt_on_error=1:die_after_fork=0:second_deadlock_stack=1
export SWIFT_BACKTRACE=enable=no
export LD_LIBRARY_PATH="$PWD/$out"

# The sanitizer's functions are found when the program is loaded: they are in the program, or in what is preloaded.
swift build $swift_flags --product qwensft -Xlinker --version-script=scripts/exported-symbols.map
cp "$scratch/release/libqwensft.so" "$out/libqwensft.so"
ln -sf libqwensft.so "$out/libqwensft.so.0"

for part in $parts; do
    case $part in
    c)
        for test in Tests/C/*_test.c; do
            name=$(basename "$test" .c)
            # memory_test needs the reserve that the Makefile links in, and an address space without a sanitizer's shadow. handles_test
            # shows that a freed object is usually recognized, by reading what was freed.
            case "$name:$sanitizer" in memory_test:* | handles_test:address) continue ;; esac
            # SMALL_STACK: a sanitizer's frames are several times as large.
            few=
            [ "$name" != mutated_files_test ] || few=300 # of damaged files; each takes a tenth of a second here
            "$clang" -fuse-ld=lld -std=c11 -g -O1 -fsanitize=$sanitizer -DSMALL_STACK=1048576 -Iinclude -ITests/C "$test" -L"$out" -lqwensft -lpthread -lm -ldl \
                ${dispatch:+-L"$dispatch" -Wl,-rpath,"$dispatch" -ldispatch -lBlocksRuntime} -o "$out/$name"
            echo "$out/$name"
            timeout 900 "$out/$name" "$model" $few >"$out/$name.log" 2>&1 || { tail -n 60 "$out/$name.log"; exit 1; }
            tail -n 1 "$out/$name.log"
        done
        ;;
    python)
        case $sanitizer in
        address) preload=$(runtime asan) ;;
        thread) preload="$(runtime tsan) $dispatch/libdispatch.so $dispatch/libBlocksRuntime.so" ;;
        undefined) preload=$(runtime ubsan_standalone) ;;
        esac
        LD_PRELOAD=$preload QWENSFT_LIBRARY=$PWD/$out/libqwensft.so PYTHONPATH=bindings/python/src \
            .venv/bin/python -m pytest -q -x bindings/python/tests
        ;;
    swift)
        [ "$sanitizer" != undefined ] || swift_flags="$swift_flags -Xlinker $(runtime ubsan_standalone)"
        swift test $swift_flags --no-parallel --quiet \
            --filter 'ThreadPool|Arena|Safetensors|CheckpointProgress|Batch|Generator|ChatSession|TrainingRun|StepSafety'
        ;;
    esac
done
echo "$sanitizer: nothing found"
