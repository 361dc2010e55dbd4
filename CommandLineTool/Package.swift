// swift-tools-version: 6.1
import PackageDescription

// A package of its own: what depends on the library shall not have to fetch what only the tool needs, and the tool shall
// see of the library what everybody sees.
let package = Package(
    name: "qwen-sft",
    products: [.executable(name: "qwen-sft", targets: ["qwen-sft"])],
    dependencies: [
        .package(name: "QwenSFT", path: ".."),
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    ],
    targets: [
        .executableTarget(
            name: "qwen-sft",
            dependencies: [
                .product(name: "QwenSFTCore", package: "QwenSFT"),
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ]
        ),
        .testTarget(name: "QwenSFTToolTests", dependencies: ["qwen-sft"]),
    ],
    swiftLanguageModes: [.v6]
)
