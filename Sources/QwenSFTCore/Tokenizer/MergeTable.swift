import CKernels

/// Which two neighbouring tokens merge, into what, and which merge goes first: a hash table from a pair of ids to the
/// merge's rank (its place in the file; the lowest rank merges first).
///
/// A slot is one word of 64 bits: left id, right id, rank. Eight make a cache line; a pair stands in the line that its hash
/// names, unless that is full. Two thirds of the look-ups end without a merge, nearly all of them in the first line.
struct MergeTable: Sendable {
    private let slots: FlatArray<UInt64>
    private let shift: UInt64
    private let mask: Int
    /// By rank: the token that the merge makes.
    let mergedIDs: FlatArray<Int32>
    /// By rank: what is merged.
    let pairs: [Pair]

    struct Pair: Sendable {
        var left: Int32
        var right: Int32
        var merged: Int32
    }

    static let noRank = UInt32.max
    private static let free = UInt64.max

    /// Ranks are places in `pairs`; ids below `Vocabulary.idLimit`.
    init(_ pairs: [Pair], file: String) throws(QwenSFTError) {
        guard pairs.count < Vocabulary.idLimit else {
            throw QwenSFTError(.unsupported, "\(file): \(pairs.count) merges are too many")
        }
        var bits: UInt64 = 10
        while 1 << bits < pairs.count + pairs.count / 2 { bits += 1 }
        shift = 64 - bits
        mask = 1 << Int(bits) - 1
        slots = try FlatArray(repeating: Self.free, count: 1 << Int(bits))
        mergedIDs = try FlatArray(repeating: 0, count: pairs.count)
        self.pairs = pairs
        for (rank, pair) in pairs.enumerated() {
            let key = Self.key(pair.left, pair.right)
            let slot = find(key)
            if slots.base[slot] != Self.free {
                let first = slots.base[slot] & 0x1F_FFFF
                throw QwenSFTError(.invalidFile, "\(file): merge \(rank + 1) repeats merge \(first + 1)")
            }
            slots.base[slot] = key << 21 | UInt64(rank)
            mergedIDs.base[rank] = pair.merged
        }
    }

    @inline(__always)
    func rank(_ left: Int32, _ right: Int32) -> UInt32 {
        let entry = slots.base[find(Self.key(left, right))]
        return entry == Self.free ? Self.noRank : UInt32(truncatingIfNeeded: entry & 0x1F_FFFF)
    }

    /// The slot where the pair is or would be: from its own slot on around its line, then the same in the lines that follow.
    @inline(__always)
    private func find(_ key: UInt64) -> Int {
        let slot = place(key)
        var line = slot & ~7
        while true {
            for i in 0..<8 {
                let next = line | (slot &+ i) & 7
                let entry = slots.base[next]
                if entry >> 21 == key || entry == Self.free { return next }
            }
            line = (line &+ 8) & mask
        }
    }

    /// For the kernel that merges short words.
    var kernelTable: qk_merge_table {
        qk_merge_table(slots: slots.base, shift: shift, mask: UInt64(mask), merged: mergedIDs.base)
    }

    @inline(__always)
    private static func key(_ left: Int32, _ right: Int32) -> UInt64 {
        UInt64(UInt32(bitPattern: left)) << 21 | UInt64(UInt32(bitPattern: right))
    }

    @inline(__always)
    private func place(_ key: UInt64) -> Int {
        Int(truncatingIfNeeded: (key &* 0x9E37_79B9_7F4A_7C15) >> shift)
    }
}
