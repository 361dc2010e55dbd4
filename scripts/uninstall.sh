#!/bin/sh
# uninstall.sh: removes what install.sh put below PREFIX, LIBDIR and DESTDIR.
set -eu
absolute() { case $1 in /*) printf '%s' "$1" ;; *) printf '%s/%s' "$PWD" "$1" ;; esac; }
prefix=$(absolute "$PREFIX")
case ${LIBDIR:-lib} in /*) libdir=$LIBDIR ;; *) libdir=$prefix/${LIBDIR:-lib} ;; esac
root=${DESTDIR:+$(absolute "$DESTDIR")}
to=$root$prefix
lib=$root$libdir
rm -f "$to/include/qwensft.h" "$lib"/libqwensft.so* "$lib/pkgconfig/qwensft.pc" "$to/bin/qwen-sft" "$to/share/man/man1/qwen-sft.1" \
    "$to/share/bash-completion/completions/qwen-sft" "$to/share/zsh/site-functions/_qwen-sft" \
    "$to/share/fish/vendor_completions.d/qwen-sft.fish"
rm -rf "$lib/cmake/qwensft"
