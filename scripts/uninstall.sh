#!/bin/sh
# uninstall.sh: removes what install.sh put below PREFIX, LIBDIR and DESTDIR.
set -eu
. scripts/install-paths.sh
rm -f "$to/include/qwensft.h" "$lib"/libqwensft.so* "$lib/pkgconfig/qwensft.pc" "$to/bin/qwen-sft" "$to/share/man/man1/qwen-sft.1" \
    "$to/share/bash-completion/completions/qwen-sft" "$to/share/zsh/site-functions/_qwen-sft" \
    "$to/share/fish/vendor_completions.d/qwen-sft.fish"
rm -rf "$lib/cmake/qwensft"
