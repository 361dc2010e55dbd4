/// Rows of a dataset, as many as there may be: little of each stays in memory, the rest is in files without a name once it is much.
///
/// Labels are kept as the stretches that are learned: a label is the id of its position or none.
final class RowStore: @unchecked Sendable {
    /// What is known of a row.
    struct Record: BitwiseCopyable {
        /// Where its tokens stand in `content`, followed by its stretches.
        fileprivate let offset: Int
        /// Equal for equal tokens, labels and weights, and for hardly any others.
        let hash: UInt64
        /// Of its conversation, as in `Dataset.Conversation`.
        let line: Int
        let tokens: Int32
        fileprivate let stretches: Int32
        /// The number of its conversation.
        let conversation: Int32
        /// Labels that some token before them predicts.
        let targets: Int32
        let largestID: Int32
        private let unused: Int32 = 0
    }

    /// Neighboring tokens that are learned with one weight.
    struct Stretch: BitwiseCopyable {
        let start: Int32
        let count: Int32
        let weight: Float
    }

    private let content: SpillFile
    private let records: SpillFile
    private(set) var count = 0

    /// - Parameter memoryLimit: bytes of tokens that stay in memory; of what is known of rows, a quarter of it.
    init(memoryLimit: Int) {
        content = SpillFile(purpose: "tokens", memoryLimit: memoryLimit)
        records = SpillFile(purpose: "rows", memoryLimit: memoryLimit / 4)
    }

    var isInFile: Bool { content.isInFile }

    func append(_ row: LabelledRow, conversation: Int, line: Int) throws(QwenSFTError) {
        guard count < Int32.max, conversation < Int32.max else {
            throw QwenSFTError(.unsupported, "a dataset has at most \(Int32.max) rows")
        }
        let stretches = row.stretches
        let record = Record(
            offset: content.count, hash: row.hash(stretches), line: line, tokens: Int32(row.ids.count),
            stretches: Int32(stretches.count), conversation: Int32(conversation), targets: Int32(row.targetCount),
            largestID: row.ids.max() ?? 0)
        try content.append(row.ids)
        try content.append(stretches)
        try records.append([record])
        count += 1
    }

    /// The last row has been appended; they can be read from then on.
    func seal() throws(QwenSFTError) {
        try content.seal()
        try records.seal()
    }

    subscript(row: Int) -> Record {
        records.bytes.loadUnaligned(fromByteOffset: row * MemoryLayout<Record>.stride, as: Record.self)
    }

    func ids(_ row: Int) -> UnsafeBufferPointer<Int32> {
        let record = self[row]
        return bytes(record.offset, 4 * Int(record.tokens)).assumingMemoryBound(to: Int32.self)
    }

    func stretches(_ row: Int) -> UnsafeBufferPointer<Stretch> {
        let record = self[row]
        return bytes(record.offset + 4 * Int(record.tokens), Int(record.stretches) * MemoryLayout<Stretch>.stride)
            .assumingMemoryBound(to: Stretch.self)
    }

    /// Whether two rows have the same tokens, labels and weights.
    func isEqual(_ a: Int, _ b: Int) -> Bool {
        let (x, y) = (self[a], self[b])
        guard x.hash == y.hash, x.tokens == y.tokens, x.stretches == y.stretches else { return false }
        let count = 4 * Int(x.tokens) + Int(x.stretches) * MemoryLayout<Stretch>.stride
        return bytes(x.offset, count).elementsEqual(bytes(y.offset, count))
    }

    private func bytes(_ offset: Int, _ count: Int) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(rebasing: content.bytes[offset..<offset + count])
    }
}

extension LabelledRow {
    /// What is learned of it.
    var stretches: [RowStore.Stretch] {
        var result: [RowStore.Stretch] = []
        var start = 0
        while start < labels.count {
            guard labels[start] != LabelledSequences.ignored else {
                start += 1
                continue
            }
            var end = start + 1
            while end < labels.count, labels[end] != LabelledSequences.ignored, weights[end] == weights[start] {
                end += 1
            }
            result.append(.init(start: Int32(start), count: Int32(end - start), weight: weights[start]))
            start = end
        }
        return result
    }

    fileprivate func hash(_ stretches: [RowStore.Stretch]) -> UInt64 {
        var hash = RowHash()
        hash.mix(UInt64(ids.count) << 32 | UInt64(stretches.count))
        for id in ids { hash.mix(UInt64(UInt32(bitPattern: id))) }
        for stretch in stretches {
            hash.mix(UInt64(UInt32(bitPattern: stretch.start)) << 32 | UInt64(UInt32(bitPattern: stretch.count)))
            hash.mix(UInt64(stretch.weight.bitPattern))
        }
        return hash.value
    }
}

/// A number that hardly ever is the same for different sequences of numbers.
struct RowHash {
    private(set) var value: UInt64 = 0

    mutating func mix(_ number: UInt64) {
        // The finalizer of MurmurHash3: every bit of what comes in changes half of the bits.
        value ^= number &+ 0x9E37_79B9_7F4A_7C15
        value = (value ^ value >> 33) &* 0xFF51_AFD7_ED55_8CCD
        value = (value ^ value >> 33) &* 0xC4CE_B9FE_1A85_EC53
        value ^= value >> 33
    }
}
