#!/bin/sh
# install.sh VERSION: puts what was built where PREFIX, LIBDIR and DESTDIR say: library with its links and debug symbols, header,
# pkg-config file, CMake package; the command-line tool, its manual page and shell completions where it was built.
set -eu
version=$1
. scripts/install-paths.sh

mkdir -p "$to/include" "$lib/pkgconfig" "$lib/cmake/qwensft"
cp include/qwensft.h "$to/include/"
# A new file each time: a program that has the old one mapped keeps it.
for file in "libqwensft.so.$version" "libqwensft.so.$version.debug"; do
    cp "build/lib/$file" "$lib/$file.new"
    mv -f "$lib/$file.new" "$lib/$file"
done
ln -sf "libqwensft.so.$version" "$lib/libqwensft.so.0"
ln -sf libqwensft.so.0 "$lib/libqwensft.so"
cat >"$lib/pkgconfig/qwensft.pc" <<PKGCONFIG
prefix=$prefix
includedir=\${prefix}/include
libdir=$libdir

Name: qwensft
Description: Supervised fine-tuning of Qwen2-family chat models
URL: https://github.com/qwensft/qwensft
Version: $version
Cflags: -I"\${includedir}"
Libs: -L"\${libdir}" -lqwensft
PKGCONFIG
sed -e "s|@VERSION@|$version|" scripts/qwensft-config-version.cmake.in >"$lib/cmake/qwensft/qwensft-config-version.cmake"
# CMake's paths are relative to the file itself.
up=$(realpath -ms --relative-to="$libdir/cmake/qwensft" "$prefix")
sed -e "s|@VERSION@|$version|" -e "s|@UP@|$up|" scripts/qwensft-config.cmake.in \
    >"$lib/cmake/qwensft/qwensft-config.cmake"

if [ -x build/bin/qwen-sft ]; then
    mkdir -p "$to/bin" "$to/share/man/man1" "$to/share/bash-completion/completions" "$to/share/zsh/site-functions" \
        "$to/share/fish/vendor_completions.d"
    cp build/bin/qwen-sft "$to/bin/qwen-sft.new"
    mv -f "$to/bin/qwen-sft.new" "$to/bin/qwen-sft"
    cp docs/qwen-sft.1 "$to/share/man/man1/"
    build/bin/qwen-sft --generate-completion-script bash >"$to/share/bash-completion/completions/qwen-sft"
    build/bin/qwen-sft --generate-completion-script zsh >"$to/share/zsh/site-functions/_qwen-sft"
    build/bin/qwen-sft --generate-completion-script fish >"$to/share/fish/vendor_completions.d/qwen-sft.fish"
fi
[ -n "$root" ] || ldconfig 2>/dev/null || true
echo "Installed to $to"
