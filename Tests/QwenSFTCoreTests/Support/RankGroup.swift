import Foundation
import QwenSFTCore

/// Ranks as threads of one process, and the sum over them: in the order of ranks, so that the bits do not depend on who comes first.
final class RankGroup: @unchecked Sendable {
    let size: Int
    private let condition = NSCondition()
    private var slots: [[Float]?]
    private var sum: [Float] = []
    private var (arrived, left, round) = (0, 0, 0)
    /// Calls so far, of one rank.
    private(set) var calls = 0
    /// The call from which on this rank's copy of a sum is damaged.
    var damages: (rank: Int, call: Int)?
    /// The call that fails.
    var failing: Int?

    init(_ size: Int) {
        self.size = size
        slots = Array(repeating: nil, count: size)
    }

    struct Lost: Error {}

    func allReduce(_ rank: Int, _ values: UnsafeMutableBufferPointer<Float>) throws {
        condition.lock()
        defer { condition.unlock() }
        // Nobody begins a round before everybody has left the last one.
        while left > 0 { try wait() }
        let mine = round
        slots[rank] = Array(values)
        arrived += 1
        if arrived == size {
            sum = Array(repeating: 0, count: values.count)
            for slot in slots.compactMap({ $0 }) {
                if slot.count != sum.count { throw Lost() }
                for index in sum.indices { sum[index] += slot[index] }
            }
            (arrived, left, round, calls) = (0, size, round + 1, calls + 1)
            condition.broadcast()
        } else {
            while round == mine { try wait() }
        }
        left -= 1
        condition.broadcast()
        if calls == failing { throw Lost() }
        _ = values.update(fromContentsOf: sum)
        if let damages, damages.rank == rank, calls >= damages.call, values.count > 1000 { values[7] += 1e-3 }
    }

    /// So that what would hang fails.
    private func wait() throws {
        if !condition.wait(until: Date(timeIntervalSinceNow: 60)) { throw Lost() }
    }

    /// Runs `body` for every rank on a thread of its own.
    func run<T>(
        checkInterval: Int = 100, localSteps: Int = 1, outer: OuterOptimizer? = nil,
        _ body: @escaping @Sendable (Collective) throws -> T
    ) -> [Result<T, any Error>] {
        nonisolated(unsafe) var results: [Result<T, any Error>?] = Array(repeating: nil, count: size)
        let (lock, group) = (NSLock(), DispatchGroup())
        for rank in 0..<size {
            group.enter()
            let thread = Thread {
                let result = Result {
                    try body(
                        Collective(
                            rank: rank, worldSize: self.size, checkInterval: checkInterval, localSteps: localSteps,
                            outer: outer
                        ) { try self.allReduce(rank, $0) })
                }
                lock.withLock { results[rank] = result }
                group.leave()
            }
            thread.stackSize = 4 << 20
            thread.start()
        }
        group.wait()
        return results.compactMap { $0 }
    }
}
