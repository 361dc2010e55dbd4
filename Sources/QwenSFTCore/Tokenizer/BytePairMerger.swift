import CKernels
import Glibc

/// Byte pair encoding of one word: as long as two neighbouring symbols merge, merge the pair of lowest rank, the leftmost
/// of equals.
///
/// A word starts as one symbol per byte, or per character where that is proven equal (`CharacterTokens`). Short words (nearly
/// all) search the lowest rank by looking at all, the shortest in the processor's registers (`qk_merge_word`); long ones keep
/// their pairs in a queue (`MergeQueue`), so that a run of a million letters takes about as many steps. Nothing recurses.
struct BytePairMerger {
    private let merges: MergeTable
    private let table: qk_merge_table
    private let characters: CharacterTokens
    /// The symbols of the word, and for each the rank of its merge with the next one.
    private var ids: UnsafeMutablePointer<Int32>
    private var ranks: UnsafeMutablePointer<UInt32>
    private var capacity: Int
    private var queue: MergeQueue

    /// Up to this many symbols a search through all ranks beats the queue.
    private static let shortCount = 160

    init(merges: MergeTable, characters: CharacterTokens) throws(QwenSFTError) {
        queue = try MergeQueue(rankCount: merges.pairs.count)
        self.merges = merges
        table = merges.kernelTable
        self.characters = characters
        capacity = 1024
        ids = .allocate(capacity: capacity)
        ranks = .allocate(capacity: capacity)
    }

    func deallocate() {
        ids.deallocate()
        ranks.deallocate()
    }

    /// Writes the word's ids (at most one per byte) to `output`; returns how many.
    mutating func encode(_ start: UTF8Pointer, _ end: UTF8Pointer, to output: UnsafeMutablePointer<Int32>) -> Int {
        if end - start > capacity { grow(end - start) }
        let count = characters.split(start, end, to: ids)
        if count == 1 {
            output[0] = ids[0]
            return 1
        }
        if count <= Int(QK_MERGE_MOST), let mergeWord = qk_merge_word_function() {
            var table = table
            let left = mergeWord(&table, ids, count)
            output.update(from: ids, count: left)
            return left
        }
        for i in 0..<count &- 1 { ranks[i] = merges.rank(ids[i], ids[i &+ 1]) }
        ranks[count &- 1] = MergeTable.noRank
        return count <= Self.shortCount ? mergeShort(count, to: output) : mergeLong(count, to: output)
    }

    private mutating func grow(_ count: Int) {
        deallocate()
        capacity = count
        ids = Self.scratch(Int32.self, count)
        ranks = Self.scratch(UInt32.self, count)
    }

    /// Memory for a long word; of megabytes, in 2 MiB pages: there are fewer of them to ask for and to find.
    private static func scratch<T: BitwiseCopyable>(_ type: T.Type, _ count: Int) -> UnsafeMutablePointer<T> {
        let page = HugeBuffer.pageByteCount
        let byteCount = count * MemoryLayout<T>.stride
        if byteCount < page { return .allocate(capacity: count) }
        let memory = UnsafeMutableRawPointer.allocate(byteCount: byteCount, alignment: page)
        _ = madvise(memory, byteCount, MADV_HUGEPAGE)
        return memory.bindMemory(to: type, capacity: count)
    }

    private func mergeShort(_ symbols: Int, to output: UnsafeMutablePointer<Int32>) -> Int {
        var count = symbols
        while true {
            var best = 0
            var lowest = ranks[0]
            for i in 1..<count where ranks[i] < lowest {
                lowest = ranks[i]
                best = i
            }
            if lowest == MergeTable.noRank { break }
            ids[best] = merges.mergedIDs.base[Int(lowest)]
            count &-= 1
            var i = best &+ 1
            while i < count {
                ids[i] = ids[i &+ 1]
                ranks[i] = ranks[i &+ 1]
                i &+= 1
            }
            ranks[best] = best &+ 1 < count ? merges.rank(ids[best], ids[best &+ 1]) : MergeTable.noRank
            if best > 0 { ranks[best &- 1] = merges.rank(ids[best &- 1], ids[best]) }
            if count == 1 { break }
        }
        output.update(from: ids, count: count)
        return count
    }

    /// Symbols stay at their places, linked to their neighbours; a merged one leaves its left place. An entry of the queue whose
    /// rank is no longer the place's is stale and is dropped.
    private mutating func mergeLong(_ count: Int, to output: UnsafeMutablePointer<Int32>) -> Int {
        for i in 0..<count where ranks[i] != MergeTable.noRank { queue.push(rank: ranks[i], place: i) }
        let next = Self.scratch(Int32.self, count)
        let previous = Self.scratch(Int32.self, count)
        defer {
            next.deallocate()
            previous.deallocate()
        }
        for i in 0..<count {
            next[i] = Int32(truncatingIfNeeded: i &+ 1)
            previous[i] = Int32(truncatingIfNeeded: i &- 1)
        }
        while let (rank, place) = queue.popLowest() {
            guard ranks[place] == rank else { continue }
            let right = Int(next[place])
            let after = Int(next[right])
            ids[place] = merges.mergedIDs.base[Int(rank)]
            ranks[right] = MergeTable.noRank
            next[place] = Int32(truncatingIfNeeded: after)
            // The place before first: entries of one rank then come in ascending order, mostly.
            let before = Int(previous[place])
            if before >= 0 {
                ranks[before] = merges.rank(ids[before], ids[place])
                if ranks[before] != MergeTable.noRank { queue.push(rank: ranks[before], place: before) }
            }
            if after < count {
                previous[after] = Int32(truncatingIfNeeded: place)
                ranks[place] = merges.rank(ids[place], ids[after])
                if ranks[place] != MergeTable.noRank { queue.push(rank: ranks[place], place: place) }
            } else {
                ranks[place] = MergeTable.noRank
            }
        }
        var written = 0
        var place = 0
        while place < count {
            output[written] = ids[place]
            written += 1
            place = Int(next[place])
        }
        return written
    }
}
