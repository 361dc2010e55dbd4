import Foundation
import QwenSFTCore
import Testing

@Suite(.serialized, .processWide) struct ThreadPoolTests {
    @Test func everyWorkerRunsOnceWhateverTheCount() {
        for round in 0..<2000 {
            let workers = 1 + round % 5
            var ran = [Int](repeating: 0, count: workers)
            ran.withUnsafeMutableBufferPointer { ran in
                nonisolated(unsafe) let ran = ran
                ThreadPool.shared.run(threads: workers) { ran[$0.index] += 1 }
            }
            #expect(ran == [Int](repeating: 1, count: workers))
        }
    }

    /// Several host threads at once, each with another number of workers.
    @Test func callersTakeTurns() {
        let sums = UnsafeMutablePointer<Int>.allocate(capacity: 3)
        defer { sums.deallocate() }
        nonisolated(unsafe) let shared = sums
        let group = DispatchGroup()
        for caller in 0..<3 {
            group.enter()
            shared[caller] = 0
            Thread {
                for _ in 0..<300 {
                    var ran = [Int](repeating: 0, count: caller + 2)
                    ran.withUnsafeMutableBufferPointer { ran in
                        nonisolated(unsafe) let ran = ran
                        ThreadPool.shared.run(threads: caller + 2) { ran[$0.index] += 1 }
                    }
                    shared[caller] += ran.reduce(0, +)
                }
                group.leave()
            }.start()
        }
        group.wait()
        for caller in 0..<3 { #expect(sums[caller] == 300 * (caller + 2)) }
    }

    @Test func barrierSeparatesPhases() {
        let n = 1000
        var first = [Int](repeating: 0, count: n)
        var second = first
        first.withUnsafeMutableBufferPointer { first in
            second.withUnsafeMutableBufferPointer { second in
                ThreadPool.shared.run(threads: 3) { worker in
                    for i in worker.range(of: n) { first[i] = i }
                    worker.barrier()
                    for i in worker.range(of: n) { second[i] = first[n - 1 - i] }
                }
            }
        }
        #expect(second == (0..<n).reversed())
    }

    @Test func rangesCoverAllInOrder() {
        for (n, unit, workers) in [(10, 1, 3), (100, 16, 4), (5, 64, 2), (0, 1, 2), (7, 1, 8)] {
            var all: [Int] = []
            for index in 0..<workers {
                var mine: Range<Int> = 0..<0
                ThreadPool.shared.run(threads: workers) { if $0.index == index { mine = $0.range(of: n, unit: unit) } }
                all += Array(mine)
            }
            #expect(all == Array(0..<n))
        }
    }
}

@Suite struct ArenaTests {
    @Test func steadyStateTakesNothingFromTheSystem() throws {
        let arena = Arena(purpose: "test")
        for _ in 0..<2 {
            for count in [10, 400_000, 3_000_000, 5] { _ = try arena.floats(count) }
            arena.reset()
        }
        let held = arena.byteCount
        for count in [10, 400_000, 3_000_000, 5] { (try arena.floats(count))[count - 1] = 1 }
        #expect(arena.byteCount == held)
    }

    @Test func releaseGivesTheSameMemoryAgain() throws {
        let arena = Arena(purpose: "test")
        _ = try arena.floats(100)
        let mark = arena.mark
        let first = try arena.floats(1 << 20)
        arena.release(to: mark)
        #expect(try arena.floats(1 << 20) == first)
    }

    @Test func impossibleSizesAreErrors() {
        let arena = Arena(purpose: "activations")
        #expect(throws: QwenSFTError.self) { try arena.floats(Int.max / 2) }
    }
}
