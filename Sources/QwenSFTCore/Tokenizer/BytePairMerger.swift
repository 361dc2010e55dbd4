import Libc

/// Byte pair encoding of one word: as long as two neighboring symbols merge, merge the pair of lowest rank, the leftmost
/// of equals.
///
/// Short words search the lowest rank by looking at all (nearly all words are shorter still, and are merged four at a time in the
/// processor's registers: `WaitingWords`); long ones keep their pairs in a queue (`MergeQueue`), so that a run of a million
/// letters takes about as many steps. Nothing recurses.
struct BytePairMerger {
    private let merges: MergeTable
    /// For each symbol of the word the rank of its merge with the next one.
    private var ranks: UnsafeMutablePointer<UInt32>
    private var capacity = 1024
    private var queue: MergeQueue
    private var isOutOfMemory = false

    /// Up to this many symbols a search through all ranks beats the queue.
    private static let shortCount = 160

    init(merges: MergeTable) throws(QwenSFTError) {
        queue = try MergeQueue(rankCount: merges.merges.count)
        self.merges = merges
        ranks = .allocate(capacity: capacity)
    }

    func deallocate() { ranks.deallocate() }

    /// - Throws: `outOfMemory` where a word was left as it is for want of memory.
    mutating func check() throws(QwenSFTError) {
        guard isOutOfMemory else { return }
        isOutOfMemory = false
        throw QwenSFTError(.outOfMemory, "no memory to merge a word that long")
    }

    /// Merges a word of `count` symbols in place; returns how many are left.
    mutating func merge(_ ids: UnsafeMutablePointer<Int32>, count: Int) -> Int {
        // Ranks and neighbors of each symbol, and its places in the queue's growing lists. Said by `check`: an error
        // here would be asked about for every word.
        if count > 1 << 14, (try? Memory.require(count * 64, for: "a long word")) == nil {
            isOutOfMemory = true
            return count
        }
        if count > capacity {
            ranks.deallocate()
            ranks = Self.scratch(UInt32.self, count)
            capacity = count
        }
        for i in 0..<count &- 1 { ranks[i] = merges.rank(ids[i], ids[i &+ 1]) }
        ranks[count &- 1] = MergeTable.noRank
        return count <= Self.shortCount ? mergeShort(ids, count) : mergeLong(ids, count)
    }

    /// Memory for a long word; of megabytes, in 2 MiB pages: there are fewer of them to ask for and to find.
    private static func scratch<T: BitwiseCopyable>(_ type: T.Type, _ count: Int) -> UnsafeMutablePointer<T> {
        let page = HugeBuffer.pageByteCount
        let byteCount = count * MemoryLayout<T>.stride
        if byteCount < page { return .allocate(capacity: count) }
        let memory = UnsafeMutableRawPointer.allocate(byteCount: byteCount, alignment: page)
        HugeBuffer.preferHugePages(memory, byteCount: byteCount)
        return memory.bindMemory(to: type, capacity: count)
    }

    private func mergeShort(_ ids: UnsafeMutablePointer<Int32>, _ symbols: Int) -> Int {
        var count = symbols
        while true {
            var best = 0
            var lowest = ranks[0]
            for i in 1..<count where ranks[i] < lowest {
                lowest = ranks[i]
                best = i
            }
            if lowest == MergeTable.noRank { break }
            ids[best] = merges.merged(lowest)
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
        return count
    }

    /// Symbols stay at their places, linked to their neighbors; a merged one leaves its left place. An entry of the queue whose
    /// rank is no longer the place's is stale and is dropped.
    private mutating func mergeLong(_ ids: UnsafeMutablePointer<Int32>, _ count: Int) -> Int {
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
            ids[place] = merges.merged(rank)
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
            ids[written] = ids[place]
            written += 1
            place = Int(next[place])
        }
        return written
    }
}
