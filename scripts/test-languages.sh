#!/bin/sh
# test-languages.sh VERSION [--all]: runs the examples in other languages against an installed library. Languages that are not here are
# named and passed over; with --all they are an error. On Debian: luajit golang-go rustc bindgen default-jdk-headless libjna-java
# libsqlite3-dev sqlite3.
set -eu
cd "$(dirname "$0")/.."
version=$1
out=$PWD/build/test-languages
model=$PWD/Examples/tiny-qwen2
jna=${JNA:-/usr/share/java/jna.jar}
missing=
rm -rf "$out"
mkdir -p "$out"
PREFIX=$out LIBDIR=lib DESTDIR= scripts/install.sh "$version" >/dev/null
export LD_LIBRARY_PATH="$out/lib" PKG_CONFIG_PATH="$out/lib/pkgconfig"

have() { # have LANGUAGE TOOL...: notes the language where a tool is missing
    language=$1
    shift
    for tool; do command -v "$tool" >/dev/null 2>&1 || [ -e "$tool" ] || { missing="$missing $language"; return 1; }; done
}
answers() { # answers NAME COMMAND...: as the article's program does
    name=$1
    shift
    "$@" >"$out/log" 2>&1 || { cat "$out/log"; exit 1; }
    for line in "2+2等于几 -> 2+2等于4。" "2+2等于几 -> 2+2等于5。"; do
        grep -qxF -- "$line" "$out/log" || { cat "$out/log"; echo "$name does not say: $line"; exit 1; }
    done
    echo "$name: as expected"
}

if have lua luajit; then
    cc -E -P -DSFT_PLAIN "$out/include/qwensft.h" -o "$out/qwensft.plain.h"
    QWENSFT_HEADER="$out/qwensft.plain.h" answers lua luajit Examples/lua/article.lua "$model" 0.01
fi
if have go go; then
    (cd Examples/go && GOCACHE="$out/go-cache" go build -o "$out/article-go" .)
    answers go "$out/article-go" "$model" 0.01
fi
if have rust rustc bindgen; then
    bindgen "$out/include/qwensft.h" --size_t-is-usize --allowlist-function 'sft_.*' --allowlist-var 'SFT_.*' -o "$out/qwensft.rs"
    cp Examples/rust/article.rs "$out"
    rustc -O "$out/article.rs" -L native="$out/lib" -o "$out/article-rust"
    answers rust "$out/article-rust" "$model" 0.01
fi
if have java java "$jna"; then
    answers java java -Dfile.encoding=UTF-8 -Dstdout.encoding=UTF-8 -Djna.library.path="$out/lib" -cp "$jna" Examples/java/Article.java "$model" 0.01
fi
if have sqlite sqlite3 /usr/include/sqlite3ext.h; then
    eval cc -std=c11 -Wall -Wextra -Werror -shared -fPIC Examples/sqlite/qwensft_sqlite.c "$(pkg-config --cflags --libs qwensft)" \
        -o "$out/qwensft_sqlite.so"
    answers sqlite sqlite3 :memory: ".load $out/qwensft_sqlite" ".mode list" ".separator ' -> '" "SELECT qwensft_open('$model');" \
        "SELECT '2+2等于几', qwensft_chat('2+2等于几');" \
        "WITH RECURSIVE step(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM step WHERE n < 10) SELECT qwensft_learn('2+2等于几', '2+2等于5。', 0.01) FROM step;" \
        "SELECT '2+2等于几', qwensft_chat('2+2等于几');"
fi

[ -z "$missing" ] || echo "not installed, so not tested:$missing"
[ -z "$missing" ] || [ "${2:-}" != --all ]
