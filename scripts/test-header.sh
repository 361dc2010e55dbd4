#!/bin/sh
# test-header.sh [--all]: gives the header to compilers and to the tools that make bindings of headers. Those that are not
# installed are named and passed over; with --all they are an error. On Debian: swig luajit php-cli golang-go bindgen libclang-dev clang.
# What cffi and pycparser make of it is tested with the Python package.
set -eu
cd "$(dirname "$0")/.."
out=$PWD/build/test-header
lib=$PWD/build/lib
model=Examples/tiny-qwen2
python=${PYTHON:-python3}
missing=
rm -rf "$out"
mkdir -p "$out"
export LD_LIBRARY_PATH="$lib"
cc=${CC:-cc}

have() { # have TOOL
    command -v "$1" >/dev/null 2>&1 || { missing="$missing $1"; return 1; }
}
said() { # said TOOL LOG: the last line has to be "ok"
    [ "$(tail -n 1 "$2")" = ok ] || { echo "$1 does not get along with the header:"; cat "$2"; exit 1; }
    echo "$1: ok"
}

# Compilers: without a warning whatever is asked for, and the same sizes even where enums are made short.
printf '#include <qwensft.h>\n_Static_assert(sizeof(sft_dtype) == 4 && sizeof(sft_model_info) == 88, "sizes");\nint main(void) { return 0; }\n' >"$out/sizes.c"
printf '#include <qwensft.h>\nstatic_assert(sizeof(sft_dtype) == 4 && sizeof(sft_model_info) == 88, "sizes");\nint main() { return 0; }\n' >"$out/sizes.cpp"
printf '#include <qwensft.h>\nint main(void) { sft_set_thread_count(1); return 0; }\n' >"$out/dropped.c"
cp "$out/dropped.c" "$out/dropped.cpp"
for compiler in "$cc" clang; do
    have "$compiler" || continue
    for language in "c -std=c11" "c -std=c2x" "c++ -std=c++20" "c++ -std=c++17" "c++ -std=c++11"; do
        suffix=c
        [ "${language% *}" = c ] || suffix=cpp
        "$compiler" -x $language -Wall -Wextra -pedantic -Werror -fshort-enums -Iinclude -fsyntax-only "$out/sizes.$suffix"
        if "$compiler" -x $language -Werror -Iinclude -c "$out/dropped.$suffix" -o "$out/dropped.o" 2>"$out/dropped.log"; then
            echo "$compiler $language says nothing of a status that is dropped"
            exit 1
        fi
    done
    echo "$compiler: ok"
done

"$cc" -E -P -DSFT_PLAIN include/qwensft.h -o "$out/plain.h"
if grep -q '__\|^#' "$out/plain.h"; then
    echo "-DSFT_PLAIN leaves what is not plain C:"
    grep '__\|^#' "$out/plain.h"
    exit 1
fi

if have luajit; then
    luajit Tests/Header/header.lua "$out/plain.h" "$lib/libqwensft.so" "$model" >"$out/lua.log" 2>&1 || true
    said luajit "$out/lua.log"
fi
if have php; then
    php -d extension=ffi -d ffi.enable=true Tests/Header/header.php "$out/plain.h" "$lib/libqwensft.so" "$model" >"$out/php.log" 2>&1 || true
    said php "$out/php.log"
fi
if have swig; then
    printf '%%module swigged\n%%{\n#include <qwensft.h>\n%%}\n%%include <stdint.i>\n%%include <qwensft.h>\n' >"$out/swigged.i"
    for language in c c++; do
        flag=
        [ $language = c ] || flag=-c++
        (
            cd "$out"
            swig -python $flag -I../../include -o "swigged_wrap.$language" swigged.i
            "$cc" -x $language -w -shared -fPIC -I../../include $("$python" -c 'import sysconfig; print("-I" + sysconfig.get_path("include"))') \
                "swigged_wrap.$language" -x none -L"$lib" -lqwensft -o _swigged.so
            "$python" -c 'import swigged as s; assert s.SFT_FLOAT32 == 1 and s.sft_status_name(s.SFT_BUSY) == "SFT_BUSY"; o = s.sft_run_options(); assert s.sft_run_options_init(o, 64) == 0 and o.batch_size == 8; print("ok")'
        ) >"$out/swig-$language.log" 2>&1 || true
        said "swig -$language" "$out/swig-$language.log"
    done
fi
if have go; then
    (
        cd Tests/Header/go
        CGO_CFLAGS="-I$PWD/../../../include" CGO_LDFLAGS="-L$lib -lqwensft" GOFLAGS=-mod=mod GOCACHE="$out/go-cache" \
            go build -o "$out/header-go" .
    ) >"$out/go.log" 2>&1 && "$out/header-go" "$model" >>"$out/go.log" 2>&1 || true
    said go "$out/go.log"
fi
# Debian's package does not bring the libclang that bindgen loads, so it may be there and not work.
: >"$out/empty.h"
if have bindgen && { bindgen "$out/empty.h" >/dev/null 2>&1 || have libclang; }; then
    bindgen --enable-function-attribute-detection include/qwensft.h >"$out/bindings.rs" 2>"$out/bindgen.log" || { cat "$out/bindgen.log"; exit 1; }
    functions=$(grep -c '^SFT_RESULT ' include/qwensft.h)
    [ "$(grep -c 'must_use' "$out/bindings.rs")" = "$functions" ] || { echo "bindgen does not mark $functions functions as must_use"; exit 1; }
    for line in 'pub type sft_dtype = i32;' 'pub label_policy: sft_label_policy,'; do
        grep -qF "$line" "$out/bindings.rs" || { echo "bindgen does not say: $line"; exit 1; }
    done
    # The constants have the type that the fields have.
    kind=$(sed -n 's/.*SFT_FLOAT32: \([a-z_0-9]*\) = 1;/\1/p' "$out/bindings.rs")
    grep -q "pub type $kind = \(i32\|::std::os::raw::c_int\);" "$out/bindings.rs" || { echo "bindgen's SFT_FLOAT32 is a $kind"; exit 1; }
    echo "bindgen: ok"
fi

[ -z "$missing" ] || echo "not installed, so not tested:$missing"
[ -z "$missing" ] || [ "${1:-}" != --all ]
