import QwenSFTCore
import Testing

/// What every arrangement of rows must keep: each sequence's tokens, their positions, and what they see.
@Suite struct RowLayoutTests {
    /// Sequences over few tokens that begin alike again and again, some of them empty, equal or a beginning of another.
    private func sequences(_ seed: Int) -> [[Int32]] {
        var noise = Noise(seed)
        let letters = 1 + seed % 3
        func random(_ most: Int) -> [Int32] { (0..<noise.below(most + 1)).map { _ in Int32(noise.below(letters)) } }
        var result: [[Int32]] = []
        for _ in 0..<1 + noise.below(9) {
            if let other = result.isEmpty ? nil : result[noise.below(result.count)], noise.below(3) > 0 {
                result.append(other.prefix(noise.below(other.count + 1)) + random(12))
            } else {
                result.append(random(30))
            }
            if noise.below(4) == 0 { result.append(result[noise.below(result.count)]) }
        }
        return result
    }

    @Test(arguments: [false, true])
    func tokensPositionsAndWhatTheySee(sharing: Bool) {
        for seed in 0..<600 {
            let sequences = sequences(seed)
            let layout = RowLayout(sequences, sharing: sharing)
            #expect(layout.rowOf.map(\.count) == sequences.map(\.count))
            // Segments follow each other without gaps, children after their parents.
            var end = 0
            for (index, segment) in layout.segments.enumerated() {
                #expect(segment.rows.lowerBound == end && !segment.rows.isEmpty)
                #expect(segment.parent ?? -1 < index)
                end = segment.rows.upperBound
            }
            #expect(end == layout.count)

            let seen = rowsSeen(layout)
            var used = Set<Int32>()
            for (rows, sequence) in zip(layout.rowOf, sequences) {
                for (position, row) in rows.enumerated() {
                    #expect(layout.ids[Int(row)] == sequence[position])
                    #expect(layout.positions[Int(row)] == Int32(position))
                    #expect(seen[Int(row)] == Array(rows[...position]), "seed \(seed)")
                    used.insert(row)
                }
            }
            #expect(used.count == layout.count, "every row belongs to a sequence")
        }
    }

    /// A common beginning is computed once if it is long enough, and no other rows are.
    @Test func exactlyTheLongBeginningsAreShared() {
        for seed in 0..<600 {
            let sequences = sequences(seed)
            let layout = RowLayout(sequences, sharing: true)
            for a in sequences.indices {
                for b in sequences.indices where a < b {
                    let common = zip(sequences[a], sequences[b]).prefix { $0 == $1 }.count
                    let shared = common >= RowLayout.shortestShared ? common : 0
                    let same = zip(layout.rowOf[a], layout.rowOf[b]).prefix { $0 == $1 }.count
                    #expect(same == shared, "seed \(seed): \(a) and \(b)")
                }
            }
            let alone = RowLayout(sequences, sharing: false)
            #expect(alone.count == sequences.reduce(0) { $0 + $1.count })
        }
    }

    /// Which rows each row attends to, as the plan says.
    private func rowsSeen(_ layout: RowLayout) -> [[Int32]] {
        var seen = [[Int32]](repeating: [], count: layout.count)
        for segment in layout.attentionPlan.segments {
            for (index, row) in segment.queries.enumerated() {
                for keys in segment.keys.dropLast() { seen[row] += keys.map(Int32.init) }
                seen[row] += segment.keys.last?.prefix(segment.ahead + index + 1).map(Int32.init) ?? []
            }
        }
        return seen
    }

    /// Every (head, block) belongs to exactly one worker.
    @Test(arguments: 1...5)
    func workersShareTheBlocks(threads: Int) {
        for lengths in [[1], [5, 300, 1], [128, 129, 257, 1000], [700]] {
            let plan = RowLayout(lengths.map { [Int32](repeating: 0, count: $0) }, sharing: false).attentionPlan
            var counts = [[String]](repeating: [], count: threads)
            counts.withUnsafeMutableBufferPointer { counts in
                nonisolated(unsafe) let counts = counts
                ThreadPool.shared.run(threads: threads) { worker in
                    plan.forEach(of: worker, heads: 3) { head, block in
                        counts[worker.index].append("\(head) \(block.queries)")
                    }
                }
            }
            let expected = (0..<3).flatMap { head in plan.blocks.map { "\(head) \($0.queries)" } }
            #expect(counts.flatMap { $0 }.sorted() == expected.sorted())
        }
    }
}
