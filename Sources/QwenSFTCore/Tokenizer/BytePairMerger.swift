/// Byte pair encoding of one word: as long as two neighbouring symbols merge, merge the pair of lowest rank, the leftmost
/// of equals.
///
/// A word starts as one symbol per byte, or per character where that is proven equal (`CharacterTokens`). Short words (nearly
/// all) search the lowest rank by looking at all; long ones keep their pairs in a heap, so that a run of a million letters
/// takes n·log n steps. Nothing recurses.
struct BytePairMerger {
    private let merges: MergeTable
    private let characters: CharacterTokens
    /// The symbols of the word, and for each the rank of its merge with the next one.
    private var ids: UnsafeMutablePointer<Int32>
    private var ranks: UnsafeMutablePointer<UInt32>
    private var capacity: Int

    /// Up to this many symbols a search through all ranks beats the heap.
    private static let shortCount = 64

    init(merges: MergeTable, characters: CharacterTokens) {
        self.merges = merges
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
        for i in 0..<count &- 1 { ranks[i] = merges.rank(ids[i], ids[i &+ 1]) }
        ranks[count &- 1] = MergeTable.noRank
        return count <= Self.shortCount ? mergeShort(count, to: output) : mergeLong(count, to: output)
    }

    private mutating func grow(_ count: Int) {
        deallocate()
        capacity = count
        ids = .allocate(capacity: count)
        ranks = .allocate(capacity: count)
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

    /// Symbols stay at their places, linked to their neighbours; a merged one leaves its left place. A heap entry whose rank is
    /// no longer the place's is stale and is dropped.
    private func mergeLong(_ count: Int, to output: UnsafeMutablePointer<Int32>) -> Int {
        var heap = MergeHeap(capacity: count)
        for i in 0..<count where ranks[i] != MergeTable.noRank { heap.append(rank: ranks[i], place: i) }
        heap.makeHeap()
        var next = [Int32](unsafeUninitializedCapacity: count) { links, initialized in
            for i in 0..<count { links[i] = Int32(truncatingIfNeeded: i &+ 1) }
            initialized = count
        }
        var previous = [Int32](unsafeUninitializedCapacity: count) { links, initialized in
            for i in 0..<count { links[i] = Int32(truncatingIfNeeded: i &- 1) }
            initialized = count
        }
        next.withUnsafeMutableBufferPointer { next in
            previous.withUnsafeMutableBufferPointer { previous in
                while let (rank, place) = heap.popLowest() {
                    guard ranks[place] == rank else { continue }
                    let right = Int(next[place])
                    let after = Int(next[right])
                    ids[place] = merges.mergedIDs.base[Int(rank)]
                    ranks[right] = MergeTable.noRank
                    next[place] = Int32(truncatingIfNeeded: after)
                    if after < count {
                        previous[after] = Int32(truncatingIfNeeded: place)
                        ranks[place] = merges.rank(ids[place], ids[after])
                        if ranks[place] != MergeTable.noRank { heap.push(rank: ranks[place], place: place) }
                    } else {
                        ranks[place] = MergeTable.noRank
                    }
                    let before = Int(previous[place])
                    if before >= 0 {
                        ranks[before] = merges.rank(ids[before], ids[place])
                        if ranks[before] != MergeTable.noRank { heap.push(rank: ranks[before], place: before) }
                    }
                }
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

/// A binary heap of (rank, place), lowest rank first, then the leftmost place.
private struct MergeHeap {
    private var keys: [UInt64] = []

    init(capacity: Int) { keys.reserveCapacity(capacity) }

    @inline(__always)
    private static func key(_ rank: UInt32, _ place: Int) -> UInt64 {
        UInt64(rank) << 32 | UInt64(UInt32(truncatingIfNeeded: place))
    }

    /// Adds an entry in any order; `makeHeap` comes after the last.
    mutating func append(rank: UInt32, place: Int) { keys.append(Self.key(rank, place)) }

    mutating func makeHeap() {
        let count = keys.count
        keys.withUnsafeMutableBufferPointer { keys in
            for i in stride(from: count / 2 - 1, through: 0, by: -1) { Self.sink(keys, i, count) }
        }
    }

    mutating func push(rank: UInt32, place: Int) {
        let key = Self.key(rank, place)
        keys.append(key)
        var i = keys.count - 1
        keys.withUnsafeMutableBufferPointer { keys in
            while i > 0 {
                let parent = (i - 1) / 2
                if keys[parent] <= key { break }
                keys[i] = keys[parent]
                i = parent
            }
            keys[i] = key
        }
    }

    mutating func popLowest() -> (rank: UInt32, place: Int)? {
        guard let lowest = keys.first, let last = keys.popLast() else { return nil }
        let count = keys.count
        if count > 0 {
            keys.withUnsafeMutableBufferPointer { keys in
                keys[0] = last
                Self.sink(keys, 0, count)
            }
        }
        return (UInt32(truncatingIfNeeded: lowest >> 32), Int(UInt32(truncatingIfNeeded: lowest)))
    }

    @inline(__always)
    private static func sink(_ keys: UnsafeMutableBufferPointer<UInt64>, _ start: Int, _ count: Int) {
        guard let keys = keys.baseAddress else { return }
        let key = keys[start]
        var i = start
        while true {
            var child = 2 &* i &+ 1
            if child >= count { break }
            if child &+ 1 < count, keys[child &+ 1] < keys[child] { child &+= 1 }
            if keys[child] >= key { break }
            keys[i] = keys[child]
            i = child
        }
        keys[i] = key
    }
}
