#!/bin/sh
# place-library.sh BUILT DIRECTORY VERSION: puts the library where it is looked for, under its three names, and its debug symbols beside
# it, where debuggers find them.
set -eu
built=$1 directory=$2 version=$3
name=$(basename "$built")
file=$name.$version
objcopy=$(command -v llvm-objcopy || command -v objcopy)

mkdir -p "$directory"
"$objcopy" --only-keep-debug "$built" "$directory/$file.debug"
# A new file each time: a program that has the old one mapped keeps it.
(cd "$directory" && "$objcopy" --strip-all --add-gnu-debuglink="$file.debug" "$OLDPWD/$built" "$file.new")
mv -f "$directory/$file.new" "$directory/$file"
ln -sf "$file" "$directory/$name.0"
ln -sf "$name.0" "$directory/$name"
touch -h "$directory/$name"
echo "Built $directory/$name ($(du -h "$directory/$file" | cut -f1))"
