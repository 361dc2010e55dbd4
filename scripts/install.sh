#!/bin/sh
# install.sh LIBRARY_DIRECTORY DESTDIR PREFIX VERSION
set -eu
from=$1 root=$2 prefix=$3 version=$4
to=$root$prefix

mkdir -p "$to/include" "$to/lib/pkgconfig"
cp include/qwensft.h "$to/include/"
cp "$from/libqwensft.so.$version" "$to/lib/"
ln -sf "libqwensft.so.$version" "$to/lib/libqwensft.so.0"
ln -sf libqwensft.so.0 "$to/lib/libqwensft.so"
cat >"$to/lib/pkgconfig/qwensft.pc" <<EOF
prefix=$prefix
includedir=\${prefix}/include
libdir=\${prefix}/lib

Name: qwensft
Description: Supervised fine-tuning of Qwen2-family chat models
Version: $version
Cflags: -I\${includedir}
Libs: -L\${libdir} -lqwensft
EOF
[ -n "$root" ] || ldconfig 2>/dev/null || true
echo "Installed to $to"
