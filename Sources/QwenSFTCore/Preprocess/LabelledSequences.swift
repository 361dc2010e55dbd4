/// Sequences of token ids and what is learned of them, end to end, in memory that can be refused.
///
/// This is what batches and datasets hold: nothing is padded. Immutable once its maker has handed it on.
package final class LabelledSequences: @unchecked Sendable {
    /// One of the sequences.
    package struct Sequence: BitwiseCopyable {
        fileprivate let start: Int
        fileprivate let count: Int
        /// Its first token's column in a batch's arrays: 0, unless the batch was made of arrays with padding on the left.
        package let column: Int
        /// The number of the conversation it is made of; one conversation may make several sequences.
        package let conversation: Int

        /// Where its tokens stand in `ids`, `labels` and `weights`.
        package var tokens: Range<Int> { start..<start + count }
    }

    package private(set) var ids = LargeArray<Int32>(purpose: "token ids")
    /// `ignored`, or the id of the same position.
    package private(set) var labels = LargeArray<Int32>(purpose: "labels")
    /// The weight of each label in the loss; anything where there is none.
    package private(set) var weights = LargeArray<Float>(purpose: "token weights")
    private var sequences = LargeArray<Sequence>(purpose: "rows")
    /// Whether a weight was given that is not 1.
    package private(set) var isWeighted = false

    package static let ignored: Int32 = -100

    package init() {}

    package var count: Int { sequences.count }
    package subscript(index: Int) -> Sequence { sequences[index] }

    /// Tokens of the longest sequence.
    package var longest: Int { (0..<count).reduce(0) { max($0, self[$1].tokens.count) } }

    /// Labels of a sequence that are targets: the first position is never predicted.
    package func targets(of index: Int) -> Int {
        self[index].tokens.dropFirst().count { labels[$0] != Self.ignored }
    }

    /// Σ weights of the supervised tokens that some token before them predicts.
    package var targetWeight: Double {
        var sum = 0.0
        for index in 0..<count {
            for position in self[index].tokens.dropFirst() where labels[position] != Self.ignored {
                sum += Double(weights[position])
            }
        }
        return sum
    }

    // MARK: Making them

    package func append(_ row: LabelledRow, conversation: Int) throws(QwenSFTError) {
        try begin(row.ids.count, column: 0, conversation: conversation)
        try ids.append(contentsOf: row.ids)
        try labels.append(contentsOf: row.labels)
        try weights.append(contentsOf: row.weights)
        isWeighted = isWeighted || row.isWeighted
    }

    /// A sequence of which nothing is learned.
    package func append(unlabelled row: [Int32], conversation: Int) throws(QwenSFTError) {
        try begin(row.count, column: 0, conversation: conversation)
        try ids.append(contentsOf: row)
        try labels.append(repeating: Self.ignored, count: row.count)
        try weights.append(repeating: 0, count: row.count)
    }

    /// A row of a dataset: ids, and the stretches of them that are learned.
    func append(
        _ rowIDs: UnsafeBufferPointer<Int32>, _ stretches: UnsafeBufferPointer<RowStore.Stretch>, conversation: Int
    ) throws(QwenSFTError) {
        try begin(rowIDs.count, column: 0, conversation: conversation)
        try ids.append(contentsOf: rowIDs)
        try labels.append(rowIDs.count) { target in
            target.update(repeating: Self.ignored, count: rowIDs.count)
            for stretch in stretches {
                for position in Int(stretch.start)..<Int(stretch.start + stretch.count) {
                    target[position] = rowIDs[position]
                }
            }
        }
        try weights.append(rowIDs.count) { target in
            target.update(repeating: 0, count: rowIDs.count)
            for stretch in stretches {
                (target + Int(stretch.start)).update(repeating: stretch.weight, count: Int(stretch.count))
            }
        }
        isWeighted = isWeighted || stretches.contains { $0.weight != 1 }
    }

    /// A row of arrays, all of the same count, checked already.
    package func append(
        ids newIDs: UnsafeBufferPointer<Int64>.SubSequence, labels newLabels: UnsafeBufferPointer<Int64>.SubSequence,
        weights newWeights: UnsafeBufferPointer<Float>.SubSequence?, column: Int, conversation: Int
    ) throws(QwenSFTError) {
        try begin(newIDs.count, column: column, conversation: conversation)
        try ids.append(newIDs.count) { target in
            for (i, id) in newIDs.enumerated() { target[i] = Int32(truncatingIfNeeded: id) }
        }
        try labels.append(newLabels.count) { target in
            for (i, label) in newLabels.enumerated() { target[i] = Int32(truncatingIfNeeded: label) }
        }
        if let newWeights {
            try weights.append(contentsOf: UnsafeBufferPointer(rebasing: newWeights))
            isWeighted = true
        } else {
            try weights.append(repeating: 1, count: newIDs.count)
        }
    }

    private func begin(_ count: Int, column: Int, conversation: Int) throws(QwenSFTError) {
        try sequences.append(Sequence(start: ids.count, count: count, column: column, conversation: conversation))
    }
}

extension LabelledSequences: Equatable {
    package static func == (a: LabelledSequences, b: LabelledSequences) -> Bool {
        guard a.count == b.count, a.isWeighted == b.isWeighted else { return false }
        return (0..<a.count).allSatisfy { i in
            a[i].tokens == b[i].tokens && a[i].column == b[i].column
                && a[i].tokens.allSatisfy {
                    a.ids[$0] == b.ids[$0] && a.labels[$0] == b.labels[$0]
                        && (!a.isWeighted || a.weights[$0] == b.weights[$0])
                }
        }
    }
}
