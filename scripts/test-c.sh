#!/bin/sh
# Compiles header, examples and tests as C11 and as C++17 with every warning an error, and runs them.
set -eu
cd "$(dirname "$0")/.."
out=build/test-c
model=Examples/tiny-qwen2
mkdir -p "$out"
warnings="-Wall -Wextra -Werror -pedantic -O1"
link="-Iinclude -ITests/C -Lbuild/lib -lqwensft -lpthread -lm -ldl"
export LD_LIBRARY_PATH="$PWD/build/lib"

# The program in the header's opening comment is a program.
sed -n '/^ \* A PROGRAM/,/^ \*     cc program/p' include/qwensft.h | sed '1d;$d;s/^ \*     //;s/^ \*$//' >"$out/header_program.c"

compile_and_run() { # NAME SOURCE ARGUMENTS...
    name=$1 source=$2
    shift 2
    for language in "c -std=c11" "c++ -std=c++17"; do
        binary=$out/$name-${language#*=}
        case $language in c++*) runtime=-lstdc++ ;; *) runtime= ;; esac
        ${CC:-cc} -x $language $warnings "$source" -x none $link $runtime -o "$binary"
        echo "$binary $*"
        "$binary" "$@" </dev/null >"$binary.log" 2>&1 || { cat "$binary.log"; exit 1; }
        tail -n 1 "$binary.log"
    done
}

for test in Tests/C/*_test.c; do compile_and_run "$(basename "$test" .c)" "$test" "$model"; done
compile_and_run article Examples/c/article.c "$model" "$out/fine-tuned" 0.01
for answer in "2+2等于几 -> 2+2等于4。" "2+2等于几 -> 2+2等于5。" "saved to $out/fine-tuned"; do
    grep -qxF -- "$answer" "$out/article-c11.log" || { echo "article does not say: $answer"; exit 1; }
done

compile_and_run correction Examples/c/correction.c "$model" 0.01
scripts/test-correction.sh "$out/correction-c11" "$model" 0.01
if command -v mpicc >/dev/null; then
    mpicc -std=c11 $warnings Examples/c/mpi.c $link -o "$out/mpi"
fi
compile_and_run header_program "$out/header_program.c" "$model"
scripts/test-header.sh
