#!/bin/sh
# test-dist.sh VERSION: looks at dist/ as those who fetch it do: checksums, the source archive's files, and the binary archive unpacked into
# a path with a space, with nothing of this system's OpenBLAS and Swift.
set -eu
cd "$(dirname "$0")/.."
version=$1
out=$PWD/build/test-dist
model=$PWD/Examples/tiny-qwen2
rm -rf "$out"
mkdir -p "$out/a place"
(cd dist && sha256sum --quiet -c SHA256SUMS)
[ "$(wc -l <dist/SHA256SUMS)" = 3 ]
[ "$(find dist -type f | wc -l)" = 4 ]

tar -tf "dist/qwensft-$version.tar.gz" | sed "s|^qwensft-$version/||" | grep -v '/$' | grep . | sort >"$out/packed"
git -c core.quotePath=off ls-files | sort | cmp - "$out/packed"

tar -C "$out/a place" -xf "dist/qwensft-$version-linux-x86_64.tar.gz"
mv "$out/a place/qwensft-$version-linux-x86_64" "$out/a place/qwensft"
place="$out/a place/qwensft"
for file in "$place/bin/qwen-sft" "$place/lib/libqwensft.so.$version"; do # of the system: glibc's own, and GCC's runtime
    if ldd "$file" | grep -v "$place/\|linux-vdso\|/\(libc\|libm\|libpthread\|libdl\|librt\|ld-linux-x86-64\|libgcc_s\|libstdc++\)[.-]"; then
        echo "$file needs more than it should"
        exit 1
    fi
done
[ "$(env -i "$place/bin/qwen-sft" --version)" = "$version" ]
env -i "$place/bin/qwen-sft" chat "$model" "2+2等于几" 2>/dev/null | grep -qxF "2+2等于4。"
export PKG_CONFIG_PATH="$place/lib/pkgconfig"
eval cc Examples/c/article.c "$(pkg-config --cflags --libs qwensft)" -o "$out/article"
env -i LD_LIBRARY_PATH="$place/lib" "$out/article" "$model" "$out/fine-tuned" 0.01 | grep -qxF -- "2+2等于几 -> 2+2等于5。"
echo "dist: as expected"
