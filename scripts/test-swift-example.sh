#!/bin/sh
# Builds Examples/swift, a package of its own that depends on this one, and looks at what it says and at what it pulled in.
set -eu
cd "$(dirname "$0")/../Examples/swift"
out=../../build/test-swift
mkdir -p "$out"
rm -f ../../.build/example/release.yaml # an old plan does not know new files of the library
swift build -c release --quiet --scratch-path ../../.build/example
if ls ../../.build/example/checkouts/* >/dev/null 2>&1; then
    echo "a package that uses QwenSFTCore pulls in: $(ls ../../.build/example/checkouts)"
    exit 1
fi
../../.build/example/release/article ../tiny-qwen2 "$out/fine-tuned" 1e-2 >"$out/article.log" || { cat "$out/article.log"; exit 1; }
for answer in "before: 2+2等于4。" "after: 2+2等于5。" "saved to $out/fine-tuned"; do
    grep -qxF -- "$answer" "$out/article.log" || { cat "$out/article.log"; echo "Examples/swift does not say: $answer"; exit 1; }
done
../../scripts/test-correction.sh ../../.build/example/release/correction ../tiny-qwen2 1e-2
echo "Examples/swift: as expected, and nothing else pulled in"
