#!/bin/sh
# place-library.sh BUILT DIRECTORY VERSION: puts the library where it is looked for, under its three names.
set -eu
built=$1 directory=$2 version=$3
name=$(basename "$built")

mkdir -p "$directory"
# A new file each time: a program that has the old one mapped keeps it.
cp "$built" "$directory/$name.$version.new"
mv -f "$directory/$name.$version.new" "$directory/$name.$version"
ln -sf "$name.$version" "$directory/$name.0"
ln -sf "$name.0" "$directory/$name"
touch -h "$directory/$name"
echo "Built $directory/$name ($(du -h "$directory/$name.$version" | cut -f1))"
