/// Which two neighbouring tokens merge, into what, and which merge goes first: a hash table from a pair of ids to the
/// merge's rank (its place in the file; the lowest rank merges first).
///
/// A slot is one word of 64 bits: left id, right id, rank. Two thirds of the look-ups end without a merge, usually in the
/// first cache line.
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
            var slot = place(key)
            while slots.base[slot] != Self.free {
                if slots.base[slot] >> 21 == key {
                    let first = slots.base[slot] & 0x1F_FFFF
                    throw QwenSFTError(.invalidFile, "\(file): merge \(rank + 1) repeats merge \(first + 1)")
                }
                slot = (slot + 1) & mask
            }
            slots.base[slot] = key << 21 | UInt64(rank)
            mergedIDs.base[rank] = pair.merged
        }
    }

    @inline(__always)
    func rank(_ left: Int32, _ right: Int32) -> UInt32 {
        let key = Self.key(left, right)
        var slot = place(key)
        while true {
            let entry = slots.base[slot]
            if entry >> 21 == key { return UInt32(truncatingIfNeeded: entry & 0x1F_FFFF) }
            if entry == Self.free { return Self.noRank }
            slot = (slot &+ 1) & mask
        }
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
