import CKernels
import Foundation
import QwenSFTCore

extension InstructionSet {
    /// Whether this processor has it (or the build emulates it).
    var isHere: Bool { self <= .available }
}

/// Runs `body` with kernels limited to an instruction set. The limit is the whole process's, so only one test has it at a time.
func withInstructionSet<T>(_ set: InstructionSet, _ body: () throws -> T) rethrows -> T {
    try withCapabilities(set.mask, body)
}

/// The same for any capabilities.
func withCapabilities<T>(_ most: UInt32, _ body: () throws -> T) rethrows -> T {
    try limited.withLock {
        qk_limit_capabilities(most)
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

private let limited = NSLock()
