#!/bin/sh
# test-swift-version.sh VERSION [CONFIGURATION]: an empty folder becomes a Swift package that depends on this one by URL and version, as
# strangers do: on a clone of the last commit with VERSION as its tag. SwiftPM refuses unsafe flags there. The program is Examples/swift's.
set -eu
cd "$(dirname "$0")/.."
version=$1 configuration=${2:-release}
out=$PWD/build/test-swift-version
model=$PWD/Examples/tiny-qwen2
mkdir -p "$out/stranger/Sources/article"
rm -rf "$out/qwensft.git" "$out/stranger/Package.resolved"
git clone -q --bare . "$out/qwensft.git"
git -C "$out/qwensft.git" tag -f "$version" HEAD >/dev/null

cat >"$out/stranger/Package.swift" <<SWIFT
// swift-tools-version: 6.1
import PackageDescription

let package = Package(
    name: "stranger",
    dependencies: [.package(url: "file://$out/qwensft.git", .upToNextMinor(from: "$version"))],
    targets: [.executableTarget(name: "article", dependencies: [.product(name: "QwenSFTCore", package: "qwensft")])]
)
SWIFT
cp Examples/swift/Sources/article/main.swift "$out/stranger/Sources/article/"
cd "$out/stranger"
# SwiftPM remembers what a version was, also where the tag has moved.
swift package --disable-dependency-cache reset
swift build --disable-dependency-cache --quiet -c "$configuration"
grep -q "\"version\" : \"$version\"" Package.resolved
".build/$configuration/article" "$model" "$out/fine-tuned" 1e-2 >"$out/log" || { cat "$out/log"; exit 1; }
for answer in "before: 2+2等于4。" "after: 2+2等于5。"; do
    grep -qxF -- "$answer" "$out/log" || { cat "$out/log"; exit 1; }
done
echo "QwenSFT $version by URL and version, $configuration build: as expected"
