import CText
import Testing

/// The table of merges and the kernel on it (merge.h) against a dictionary and byte pair encoding by definition. With few bits
/// of hash in a slot and lines nearly full, wrong pairs fit all the time, which with a real vocabulary is rare.
@Suite struct MergeKernelTests {
    private static let symbols: Int32 = 40

    private struct Pair: Hashable {
        var left: Int32
        var right: Int32
    }

    private final class Table {
        var merges: [qk_merge] = []
        var ranks: [Pair: UInt32] = [:]
        let slots: UnsafeMutablePointer<UInt32>
        let rules: UnsafeMutablePointer<qk_merge>
        var kernel: qk_merge_table

        /// - Parameter tagBits: bits of a pair's hash in a slot.
        init(mergeCount: Int, lines: Int, tagBits: Int, inOrder: Bool, _ random: inout SystemRandomNumberGenerator) {
            let slotCount = lines * Int(QK_MERGE_LINE)
            let memory = UnsafeMutableRawPointer.allocate(byteCount: 4 * slotCount, alignment: 64)
            slots = memory.bindMemory(to: UInt32.self, capacity: slotCount)
            slots.initialize(repeating: qk_no_rank, count: slotCount)
            rules = .allocate(capacity: mergeCount)
            kernel = qk_merge_table(
                slots: slots, merges: rules, lines: UInt32(lines), rank_mask: UInt32.max >> UInt32(tagBits),
                first_merged: inOrder ? symbols : -1)
            var ids = (0..<Int32(mergeCount)).map { symbols + $0 }
            if !inOrder { ids.shuffle() }
            var made = Array(0..<symbols)
            while merges.count < mergeCount {
                let pair = Pair(
                    left: made.randomElement(using: &random) ?? 0, right: made.randomElement(using: &random) ?? 0)
                if ranks[pair] != nil { continue }
                let rank = merges.count
                ranks[pair] = UInt32(rank)
                merges.append(qk_merge(left: pair.left, right: pair.right, merged: ids[rank]))
                rules[rank] = merges[rank]
                made.append(ids[rank])
                let hash = qk_merge_hash(pair.left, pair.right)
                var slot = Int(qk_merge_line(&kernel, hash)) * Int(QK_MERGE_LINE)
                while slots[slot] != qk_no_rank { slot = (slot + 1) % slotCount }
                slots[slot] = qk_merge_tag(&kernel, hash) | UInt32(rank)
            }
        }

        deinit {
            slots.deallocate()
            rules.deallocate()
        }

        func mergedByDefinition(_ word: [Int32]) -> [Int32] {
            var word = word
            while true {
                var best: (rank: UInt32, place: Int)?
                for i in word.indices.dropLast() {
                    let rank = ranks[Pair(left: word[i], right: word[i + 1])] ?? qk_no_rank
                    if rank < best?.rank ?? qk_no_rank { best = (rank, i) }
                }
                guard let best else { return word }
                word.replaceSubrange(best.place...best.place + 1, with: [merges[Int(best.rank)].merged])
            }
        }
    }

    @Test(arguments: [(4, 24), (4, 60), (12, 24), (14, 60)])
    func tableAndKernelAreTheDefinition(tagBits: Int, lines: Int) {
        var random = SystemRandomNumberGenerator()
        for round in 0..<40 {
            let table = Table(
                mergeCount: 340, lines: lines, tagBits: tagBits, inOrder: round % 2 == 0, &random)
            for left in 0..<Self.symbols + 340 {
                for right in 0..<Self.symbols {
                    let rank = table.ranks[Pair(left: left, right: right)] ?? qk_no_rank
                    #expect(qk_merge_rank(&table.kernel, left, right) == rank)
                }
            }
            for _ in 0..<200 {
                let words: [[Int32]?] = (0..<Int(QK_MERGE_WORDS)).map { _ in
                    if Int.random(in: 0..<5, using: &random) == 0 { return nil }
                    let alphabet = Int32.random(in: 1...Self.symbols, using: &random)
                    return (0..<Int.random(in: 2...Int(QK_MERGE_MOST), using: &random)).map { _ in
                        Int32.random(in: 0..<alphabet, using: &random)
                    }
                }
                // One behind the other, as in a text: what stands behind a word is not its own.
                let memory = UnsafeMutablePointer<Int32>.allocate(capacity: 64)
                defer { memory.deallocate() }
                var waiting: [qk_merge_word] = []
                var end = memory
                for word in words {
                    waiting.append(qk_merge_word(symbols: word == nil ? nil : end, count: Int64(word?.count ?? 0)))
                    for symbol in word ?? [] {
                        end.initialize(to: symbol)
                        end += 1
                    }
                }
                qk_merge_words(&table.kernel, &waiting)
                for (word, merged) in zip(words, waiting) {
                    guard let word, let start = merged.symbols else { continue }
                    let found = Array(UnsafeBufferPointer(start: start, count: Int(merged.count)))
                    #expect(found == table.mergedByDefinition(word), "\(word)")
                }
            }
        }
    }
}
