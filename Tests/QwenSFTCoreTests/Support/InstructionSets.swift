import CKernels
import Synchronization

/// Sets of capabilities that kernels are made for, each with those before it.
enum InstructionSet: Int, CaseIterable, Comparable, CustomStringConvertible {
    /// The plain definitions.
    case plain
    case avx2, avx512, avx512BF16

    var capabilities: UInt32 {
        switch self {
        case .plain: 0
        case .avx2: UInt32(QK_SET_AVX2)
        case .avx512: UInt32(QK_SET_AVX512)
        case .avx512BF16: UInt32(QK_SET_AVX512_BF16)
        }
    }

    /// Whether this processor has it (or the build emulates it).
    var isHere: Bool { qk_processor_capabilities() & capabilities == capabilities }

    var description: String {
        switch self {
        case .plain: "plain"
        case .avx2: "AVX2"
        case .avx512: "AVX-512"
        case .avx512BF16: "AVX-512 BF16"
        }
    }

    static func < (a: Self, b: Self) -> Bool { a.rawValue < b.rawValue }
}

/// Runs `body` with kernels limited to an instruction set. The limit is the whole process's, so only one test has it at a time.
func withInstructionSet<T>(_ set: InstructionSet, _ body: () throws -> T) rethrows -> T {
    try limited.withLock { _ in
        qk_limit_capabilities(set.capabilities)
        defer { qk_limit_capabilities(~0) }
        return try body()
    }
}

/// Runs `body` once with the kernels of every instruction set that this processor has, up to `highest`.
func onEveryInstructionSet(upTo highest: InstructionSet = .avx512, _ body: (InstructionSet) throws -> Void) rethrows {
    for set in InstructionSet.allCases where set <= highest && set.isHere {
        try withInstructionSet(set) { try body(set) }
    }
}

private let limited = Mutex(())
