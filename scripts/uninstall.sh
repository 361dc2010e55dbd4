#!/bin/sh
# uninstall.sh PREFIX
set -eu
rm -f "$1/include/qwensft.h" "$1"/lib/libqwensft.so* "$1/lib/pkgconfig/qwensft.pc"
