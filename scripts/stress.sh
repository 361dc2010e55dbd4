#!/bin/sh
# The long form of the tests of callbacks and of the pool's threads: scripts/stress.sh [SECONDS [CALLS]], each time undisturbed, on one
# processor, and with real-time priority where that is allowed.
set -eu
cd "$(dirname "$0")/.."
seconds=${1:-120} calls=${2:-10000}
out=build/stress
model=Examples/tiny-qwen2
mkdir -p "$out"
for test in callbacks_test stress_test; do
    ${CC:-cc} -std=c11 -O1 -Iinclude -ITests/C "Tests/C/$test.c" -Lbuild/lib -lqwensft -lpthread -lm -o "$out/$test"
done
export LD_LIBRARY_PATH="$PWD/build/lib"

run() { # COMMAND...
    echo "$*"
    "$@" >"$out/log" 2>&1 || { cat "$out/log"; exit 1; }
    tail -n 2 "$out/log"
}

run "$out/stress_test" "$model" "$seconds"
run taskset -c 0 "$out/stress_test" "$model" "$seconds"
for policy in --fifo --rr; do
    if chrt $policy 1 true 2>/dev/null; then
        run chrt $policy 1 "$out/stress_test" "$model" "$seconds"
        run taskset -c 0 chrt $policy 1 "$out/stress_test" "$model" "$seconds"
    else
        echo "chrt $policy is not allowed here"
    fi
done
run "$out/callbacks_test" "$model" "$calls"
