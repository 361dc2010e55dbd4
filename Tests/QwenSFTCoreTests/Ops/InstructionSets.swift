import CKernels
import Synchronization

/// Runs `body` with kernels limited to an instruction set. The limit is the whole process's, so only one test has it at a time.
func withInstructionSet<T>(_ set: Int, _ body: () throws -> T) rethrows -> T {
    try limited.withLock { _ in
        qk_limit_isa(Int32(set))
        defer { qk_limit_isa(Int32(QK_ISA_AVX512_BF16)) }
        return try body()
    }
}

private let limited = Mutex(())
