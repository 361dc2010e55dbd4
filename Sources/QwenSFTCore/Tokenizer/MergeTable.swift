import CText

/// Which two neighboring tokens merge, into what, and which merge goes first: a hash table from a pair of ids to the
/// merge's rank (its place in the file; the lowest rank merges first).
///
/// A word's merges wait for this table, so it is made small: a slot is four bytes, sixteen make a cache line (see merge.h for the
/// layout and the look-up). Two thirds of the look-ups end without a merge, nearly all of them in the first line.
struct MergeTable: Sendable {
    /// By rank: what is merged, and into what.
    let merges: FlatArray<qk_merge>
    private let slots: FlatArray<UInt32>
    private let lines: UInt32
    private let rankMask: UInt32
    private var firstMerged: Int32 = -1

    typealias Merge = qk_merge

    /// Merges in a line of sixteen slots.
    private static let meanOfLine = 7

    static let noRank = UInt32.max

    /// Ranks are places in `list`; ids below `Vocabulary.idLimit`.
    init(_ list: [Merge], file: String) throws(QwenSFTError) {
        guard list.count < Vocabulary.idLimit else {
            throw QwenSFTError(.unsupported, "\(file): \(list.count) merges are too many")
        }
        var rankBits: UInt32 = 4
        // All ones is no rank.
        while 1 << Int(rankBits) <= list.count { rankBits += 1 }
        // Few lines are ever full: to look on in the next one is what the processor cannot foresee.
        lines = UInt32(list.count / Self.meanOfLine + 1)
        rankMask = 1 << rankBits - 1
        merges = try FlatArray(zeros: list.count)
        slots = try FlatArray(repeating: Self.noRank, count: Int(QK_MERGE_LINE) * Int(lines))
        var table = kernelTable
        for (rank, merge) in list.enumerated() {
            let known = qk_merge_rank(&table, merge.left, merge.right)
            if known != Self.noRank {
                throw QwenSFTError(.invalidFile, "\(file): merge \(rank + 1) repeats merge \(known + 1)")
            }
            merges.base[rank] = merge
            let hash = qk_merge_hash(merge.left, merge.right)
            var slot = Int(qk_merge_line(&table, hash)) * Int(QK_MERGE_LINE)
            while slots.base[slot] != Self.noRank { slot = (slot + 1) % slots.count }
            slots.base[slot] = qk_merge_tag(&table, hash) | UInt32(rank)
        }
        if let first = list.first?.merged, list.indices.allSatisfy({ Int(list[$0].merged) == Int(first) + $0 }) {
            firstMerged = first
        }
    }

    @inline(__always)
    func rank(_ left: Int32, _ right: Int32) -> UInt32 {
        var table = kernelTable
        return qk_merge_rank(&table, left, right)
    }

    /// The token that the merge of this rank makes.
    @inline(__always)
    func merged(_ rank: UInt32) -> Int32 { merges.base[Int(rank)].merged }

    /// For the kernel that merges short words.
    var kernelTable: qk_merge_table {
        qk_merge_table(
            slots: slots.base, merges: merges.base, lines: lines, rank_mask: rankMask,
            first_merged: firstMerged)
    }
}
