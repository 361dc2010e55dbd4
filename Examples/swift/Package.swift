// swift-tools-version: 6.1
import PackageDescription

let package = Package(
    name: "examples",
    dependencies: [
        // Of a package elsewhere: .package(url: "https://github.com/qwensft/qwensft", .upToNextMinor(from: "0.2.0"))
        .package(name: "QwenSFT", path: "../..")
    ],
    targets: [
        .executableTarget(name: "article", dependencies: [.product(name: "QwenSFTCore", package: "QwenSFT")]),
        .executableTarget(name: "correction", dependencies: [.product(name: "QwenSFTCore", package: "QwenSFT")]),
    ]
)
