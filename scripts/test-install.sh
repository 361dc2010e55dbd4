#!/bin/sh
# Installs into a relative prefix with a space, with a LIBDIR and with a DESTDIR, and builds a C program against what stands there: by
# pkg-config, CMake and plain commands, with every C and C++ compiler that is here. `make test-install` builds what this installs.
set -eu
cd "$(dirname "$0")/.."
out=build/test-install
rm -rf "$out"
mkdir -p "$out"
version=$1
model=$PWD/Examples/tiny-qwen2

PREFIX="$out/a prefix" LIBDIR=lib64 DESTDIR= scripts/install.sh "$version" >/dev/null
prefix="$PWD/$out/a prefix"
answers() { # PROGRAM: it runs with the installed library and answers as the article's program does
    LD_LIBRARY_PATH="$prefix/lib64" "$1" "$model" "$out/fine-tuned" 0.01 >"$out/log" 2>&1 || { cat "$out/log"; exit 1; }
    grep -qxF -- "2+2等于几 -> 2+2等于5。" "$out/log" || { cat "$out/log"; exit 1; }
    echo "$1: as expected"
}

export PKG_CONFIG_PATH="$prefix/lib64/pkgconfig"
[ "$(pkg-config --modversion qwensft)" = "$version" ]
for compiler in gcc clang; do
    command -v $compiler >/dev/null || continue
    for standard in c11 c17 c++17 c++20; do
        case $standard in c++*) language=c++ cc=$(echo $compiler | sed 's/gcc/g++/; s/clang/clang++/') ;; *) language=c cc=$compiler ;; esac
        for source in article correction; do
            eval "$cc" -std=$standard -Wall -Wextra -Werror -pedantic -c -x $language Examples/c/$source.c \
                "$(pkg-config --cflags qwensft)" -o "$out/$source.o"
        done
        eval "$cc" "$out/article.o" "$(pkg-config --libs qwensft)" -o "$out/$compiler-$standard"
        answers "$out/$compiler-$standard"
    done
done
cc Examples/c/article.c -I"$prefix/include" -L"$prefix/lib64" -lqwensft -o "$out/plain"
answers "$out/plain"

mkdir -p "$out/cmake"
cat >"$out/cmake/CMakeLists.txt" <<CMAKE
cmake_minimum_required(VERSION 3.16)
project(article C)
find_package(qwensft ${version%.*} REQUIRED)
add_executable(article "$PWD/Examples/c/article.c")
target_link_libraries(article PRIVATE qwensft::qwensft)
CMAKE
cmake -S "$out/cmake" -B "$out/cmake/build" -DCMAKE_PREFIX_PATH="$prefix/lib64/cmake" >"$out/cmake.log" 2>&1 &&
    cmake --build "$out/cmake/build" >>"$out/cmake.log" 2>&1 || { cat "$out/cmake.log"; exit 1; }
answers "$out/cmake/build/article"

if [ -x "$prefix/bin/qwen-sft" ]; then # without the toolchain's libraries, whatever the environment says of them
    env -i "$prefix/bin/qwen-sft" info "$model" >"$out/log" || { cat "$out/log"; exit 1; }
    [ -s "$prefix/share/bash-completion/completions/qwen-sft" ] && man --warnings -l "$prefix/share/man/man1/qwen-sft.1" >"$out/man" 2>&1
fi

PREFIX=/usr DESTDIR="$out/stage" LIBDIR=lib/x86_64-linux-gnu scripts/install.sh "$version" >/dev/null
grep -qx "libdir=/usr/lib/x86_64-linux-gnu" "$out/stage/usr/lib/x86_64-linux-gnu/pkgconfig/qwensft.pc"
PREFIX=/usr DESTDIR="$out/stage" LIBDIR=lib/x86_64-linux-gnu scripts/uninstall.sh
[ -z "$(find "$out/stage" -type f -o -type l)" ] || { find "$out/stage" -type f; exit 1; }
PREFIX="$out/a prefix" LIBDIR=lib64 DESTDIR= scripts/uninstall.sh
[ -z "$(find "$out/a prefix" -type f -o -type l)" ]
echo "installed, used and removed"
