/// The symbols that a word starts from: one per byte by definition, one per *character* where the outcome is provably the
/// same. Chinese, Japanese or Cyrillic words start with a third or half of the symbols that way, and skip the merges that
/// every character repeats.
///
/// Why it is the same. In a *phased* merge list (each token is made by one merge, from tokens made earlier) a merge only
/// ever brings forth pairs of higher rank, so merging goes through the ranks in ascending order. Let the bytes of character X
/// merge into one token if left to themselves. Before they have, nothing merges with X as a whole (those merges have higher
/// ranks); so X may be put there at once, unless one of its parts merges with a neighbor first. The first part could merge with
/// the end of the character before, the last part with the beginning of the character after, by one of the few merges that
/// cross a character's boundary with a partial character on one side (about 130 of Qwen2's 151,387, most of them a space and
/// a first byte). Such characters are marked as sensitive on that side, and the neighbors concerned as hazards; where both
/// meet, X starts as bytes.
struct CharacterTokens: Sendable {
    /// By code point, of the basic plane: the token (`tokenMask`) and the marks.
    private let entries: FlatArray<UInt32>
    private let byteIDs: FlatArray<Int32>

    private static let tokenMask: UInt32 = 0x1F_FFFF
    private static let noToken: UInt32 = 0x1F_FFFF
    private static let sensitiveBefore: UInt32 = 1 << 21  // its first part may merge with a hazard before it
    private static let sensitiveAfter: UInt32 = 1 << 22
    private static let hazardBefore: UInt32 = 1 << 23  // may take a part of a sensitive character after it
    private static let hazardAfter: UInt32 = 1 << 24
    /// A character outside of the basic plane: bytes, and whatever it may do to its neighbors.
    private static let unknown = noToken | hazardBefore | hazardAfter

    /// Writes the symbols of a word to `ids` (room for one per byte); returns how many.
    @inline(__always)
    func split(_ start: UTF8Pointer, _ end: UTF8Pointer, to ids: UnsafeMutablePointer<Int32>) -> Int {
        var p = start
        var count = 0
        var before: UInt32 = 0
        while p < end {
            if p[0] < 0x80 {
                before = entries.base[Int(p[0])]
                ids[count] = Int32(truncatingIfNeeded: before & Self.tokenMask)
                count &+= 1
                p += 1
                continue
            }
            let scalar = DecodedScalar(at: p)
            let entry = entry(of: scalar.value)
            let after = p + scalar.length
            if entry & Self.tokenMask != Self.noToken,
                entry & Self.sensitiveBefore == 0 || before & Self.hazardBefore == 0,
                entry & Self.sensitiveAfter == 0 || after == end
                    || self.entry(of: DecodedScalar(at: after).value) & Self.hazardAfter == 0
            {
                ids[count] = Int32(truncatingIfNeeded: entry & Self.tokenMask)
                count &+= 1
                p = after
            } else {
                while p < after {
                    ids[count] = byteIDs.base[Int(p[0])]
                    count &+= 1
                    p += 1
                }
            }
            before = entry
        }
        return count
    }

    @inline(__always)
    private func entry(of scalar: UInt32) -> UInt32 { scalar < 0x10000 ? entries.base[Int(scalar)] : Self.unknown }
}

extension CharacterTokens {
    /// One symbol per byte: the definition, for comparison.
    init(bytesOnly vocabulary: Vocabulary) throws(QwenSFTError) {
        byteIDs = vocabulary.byteIDs
        entries = try FlatArray(repeating: Self.noToken, count: 0x10000)
        for byte in 0..<0x80 { entries.base[byte] = UInt32(bitPattern: byteIDs.base[byte]) }
    }

    init(_ vocabulary: Vocabulary, _ merges: MergeTable) throws(QwenSFTError) {
        try self.init(bytesOnly: vocabulary)
        guard Self.isPhased(merges, vocabulary) else { return }
        let crossings = Crossings(vocabulary, merges)
        for id in 0..<vocabulary.idEnd {
            let bytes = vocabulary.bytes(of: id)
            guard bytes.count >= 2, bytes.count <= 3, let base = bytes.baseAddress,
                utf8SequenceLength(UnsafeRawBufferPointer(bytes), at: 0) == bytes.count,
                let marks = marks(of: bytes, merges, crossings)
            else { continue }
            entries.base[Int(DecodedScalar(at: base).value)] = UInt32(id) | marks
        }
        for scalar in crossings.charactersBefore where scalar < 0x10000 {
            entries.base[Int(scalar)] |= Self.hazardBefore
        }
        for scalar in crossings.charactersAfter where scalar < 0x10000 { entries.base[Int(scalar)] |= Self.hazardAfter }
    }

    private static func isPhased(_ merges: MergeTable, _ vocabulary: Vocabulary) -> Bool {
        var isMade = [Bool](repeating: false, count: vocabulary.idEnd)
        for byte in 0..<256 { isMade[Int(vocabulary.byteIDs.base[byte])] = true }
        for rank in 0..<merges.merges.count {
            let pair = merges.merges.base[rank]
            guard isMade[Int(pair.left)], isMade[Int(pair.right)], !isMade[Int(pair.merged)] else { return false }
            isMade[Int(pair.merged)] = true
        }
        return true
    }

    /// Merges a character's bytes as if it stood alone and looks at every part that is first or last meanwhile: would a
    /// neighbor have taken it before? nil: the bytes do not become one token, or no mark can make it safe.
    private func marks(of bytes: UnsafeBufferPointer<UInt8>, _ merges: MergeTable, _ crossings: Crossings) -> UInt32? {
        var parts = bytes.map { byteIDs.base[Int($0)] }
        var marks: UInt32 = 0
        while parts.count > 1 {
            var best = 0
            var rank = MergeTable.noRank
            for i in 0..<parts.count - 1 {
                let candidate = merges.rank(parts[i], parts[i + 1])
                if candidate < rank {
                    rank = candidate
                    best = i
                }
            }
            if rank == MergeTable.noRank { return nil }
            if best == 0, let taken = crossings.intoFirst[parts[0]], taken.rank < rank {
                if taken.unknownRank < rank { return nil }
                marks |= Self.sensitiveBefore
            }
            if best + 2 == parts.count, let taken = crossings.fromLast[parts[best + 1]], taken.rank < rank {
                if taken.unknownRank < rank { return nil }
                marks |= Self.sensitiveAfter
            }
            parts[best] = merges.merged(rank)
            parts.remove(at: best + 1)
        }
        return marks
    }

    /// The merges across a character's boundary in which one side is a part of a character.
    private struct Crossings {
        /// The lowest rank in which a part merges with a neighbor; and in which it does so with a neighbor that is itself a
        /// part, so that no character can be named.
        struct Taken {
            var rank = MergeTable.noRank
            var unknownRank = MergeTable.noRank
        }

        var intoFirst: [Int32: Taken] = [:]
        var fromLast: [Int32: Taken] = [:]
        var charactersBefore: Set<UInt32> = []
        var charactersAfter: Set<UInt32> = []

        init(_ vocabulary: Vocabulary, _ merges: MergeTable) {
            for rank in 0..<merges.merges.count {
                let pair = merges.merges.base[rank]
                let rightBytes = vocabulary.bytes(of: Int(pair.right))
                if rightBytes.isEmpty || isContinuation(rightBytes[0]) { continue }  // within a character
                let leftBytes = vocabulary.bytes(of: Int(pair.left))
                let left = UnsafeRawBufferPointer(leftBytes)
                let right = UnsafeRawBufferPointer(rightBytes)
                let rank = UInt32(truncatingIfNeeded: rank)
                // The right side is the first part of a character and nothing else.
                if utf8SequenceLength(right, at: 0) == 0, right.dropFirst().allSatisfy(isContinuation) {
                    var taken = intoFirst[pair.right] ?? Taken()
                    taken.rank = min(taken.rank, rank)
                    if let scalar = Self.lastScalar(leftBytes) {
                        charactersBefore.insert(scalar)
                    } else {
                        taken.unknownRank = min(taken.unknownRank, rank)
                    }
                    intoFirst[pair.right] = taken
                }
                // The left side is the last part of a character and nothing else.
                if left.allSatisfy(isContinuation) {
                    var taken = fromLast[pair.left] ?? Taken()
                    taken.rank = min(taken.rank, rank)
                    if utf8SequenceLength(right, at: 0) > 0, let base = rightBytes.baseAddress {
                        charactersAfter.insert(DecodedScalar(at: base).value)
                    } else {
                        taken.unknownRank = min(taken.unknownRank, rank)
                    }
                    fromLast[pair.left] = taken
                }
            }
        }

        /// The last character, if all of it is there.
        private static func lastScalar(_ bytes: UnsafeBufferPointer<UInt8>) -> UInt32? {
            guard let base = bytes.baseAddress else { return nil }
            var p = bytes.count - 1
            while p > 0, isContinuation(bytes[p]) { p -= 1 }
            guard utf8SequenceLength(UnsafeRawBufferPointer(bytes), at: p) == bytes.count - p else { return nil }
            return DecodedScalar(at: base + p).value
        }
    }
}
