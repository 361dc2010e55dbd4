// swift-tools-version: 6.1
import PackageDescription

let package = Package(
    name: "QwenSFT",
    products: [
        .library(name: "QwenSFTCore", targets: ["QwenSFTCore", "QwenSFTStreaming"]),
        .library(name: "qwensft", type: .dynamic, targets: ["QwenSFTCAPI"]),
    ],
    targets: [
        .systemLibrary(
            name: "COpenBLAS",
            pkgConfig: "openblas",
            providers: [.apt(["libopenblas-dev"])]
        ),
        .target(name: "CKernels"),
        .target(name: "CMemory"),
        .target(name: "Libc"),
        .target(name: "QwenSFTCore", dependencies: ["COpenBLAS", "CKernels", "CMemory", "Libc"]),
        .target(name: "QwenSFTStreaming", dependencies: ["QwenSFTCore", "Libc"]),
        .systemLibrary(name: "CQwenSFT", path: "include"),
        .target(name: "CLastError"),
        .target(name: "CGlibc"),
        .target(name: "QwenSFTCAPI", dependencies: ["CQwenSFT", "CLastError", "CGlibc", "Libc", "QwenSFTCore"]),
        .executableTarget(name: "bench-chat", dependencies: ["QwenSFTCore", "CKernels"], path: "Benchmarks/Chat"),
        .executableTarget(
            name: "render-templates", dependencies: ["QwenSFTCore"], path: "Tests/Templates/Program"),
        .testTarget(name: "QwenSFTCoreTests", dependencies: ["QwenSFTCore", "QwenSFTStreaming", "CKernels"]),
        .executableTarget(
            name: "bench-kernels", dependencies: ["QwenSFTCore", "COpenBLAS", "CKernels"], path: "Benchmarks/Kernels"),
    ],
    swiftLanguageModes: [.v6],
    cLanguageStandard: .c11
)
