#!/bin/sh
# make-docs.sh PYTHON: build/docs, a site of docs/ and of the header, which is read without a network. A broken link is an error.
set -eu
cd "$(dirname "$0")/.."
python=$1
source=build/docs-source
rm -rf "$source" build/docs
mkdir -p "$source"
cp -r docs/*.md docs/images scripts/site/site.css "$source/"
"$python" scripts/site/c_reference.py include/qwensft.h >"$source/c-reference.md"
cp CHANGELOG.md "$source/changelog.md"
NO_MKDOCS_2_WARNING=1 "$python" -m mkdocs build -q --strict -f scripts/site/mkdocs.yml
if grep -rlE '<(script|img|iframe)[^>]* src="(https?:)?//|<link[^>]* rel="(stylesheet|preconnect)"[^>]* href="(https?:)?//' build/docs \
    --include='*.html'; then
    echo "these pages would fetch something"
    exit 1
fi
for name in $(grep -oE '\bsft_[a-z0-9_]+\(' include/qwensft.h | sort -u | tr -d '('); do
    grep -qw "$name" build/docs/c-reference.html || { echo "the C reference has no $name"; exit 1; }
done
echo "build/docs/index.html"
