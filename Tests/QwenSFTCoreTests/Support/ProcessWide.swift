import CKernels
import QwenSFTCore
import Testing

/// For suites that change what belongs to the whole process (the instruction set in use, the number of threads), and for
/// those that count on it: one such suite runs at a time.
struct ProcessWide: SuiteTrait, TestScoping {
    func provideScope(
        for test: Test, testCase: Test.Case?, performing function: @Sendable () async throws -> Void
    ) async throws {
        await Self.gate.enter()
        do {
            try await function()
        } catch {
            await Self.gate.leave()
            throw error
        }
        await Self.gate.leave()
    }

    private static let gate = Gate()

    private actor Gate {
        private var isTaken = false
        private var waiting: [CheckedContinuation<Void, Never>] = []

        func enter() async {
            guard isTaken else {
                isTaken = true
                return
            }
            await withCheckedContinuation { waiting.append($0) }
        }

        func leave() {
            if waiting.isEmpty { isTaken = false } else { waiting.removeFirst().resume() }
        }
    }
}

extension Trait where Self == ProcessWide {
    static var processWide: Self { Self() }
}

/// Runs `body` once with the kernels of every instruction set that this processor has, up to `highest`.
func onEveryInstructionSet(upTo highest: Int = QK_ISA_AVX512, _ body: (_ isa: Int) throws -> Void) rethrows {
    for isa in QK_ISA_SCALAR...min(highest, Int(qk_cpu_isa())) {
        try withInstructionSet(isa) { try body(isa) }
    }
}

/// Runs `body` with this many threads.
func with<T>(threads: Int, _ body: () throws -> T) rethrows -> T {
    let before = ThreadPool.shared.threads
    ThreadPool.shared.threads = threads
    defer { ThreadPool.shared.threads = before }
    return try body()
}
