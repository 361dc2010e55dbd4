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

/// Runs `body` with this many threads.
func with<T>(threads: Int, _ body: () throws -> T) rethrows -> T {
    let before = ThreadPool.shared.threads
    ThreadPool.shared.threads = threads
    defer { ThreadPool.shared.threads = before }
    return try body()
}
