extension Batch {
    /// A batch of one's own making, from arrays of (rows, columns), row-major.
    /// - Parameters:
    ///   - inputIDs: token ids; anything at padding.
    ///   - labels: −100, or the id that the position before is to predict.
    ///   - attentionMask: 1 at real tokens, 0 at padding; the tokens of a row are neighbors. nil: every token is real.
    ///   - tokenWeights: the weight of each label in the loss; nil: 1.
    ///   - rows: of the arrays.
    ///   - columns: of the arrays.
    /// - Throws: `invalidArgument` naming array, row and position; `outOfMemory`.
    public init(
        inputIDs: [Int64], labels: [Int64], attentionMask: [Int64]? = nil, tokenWeights: [Float]? = nil, rows: Int,
        columns: Int
    ) throws(QwenSFTError) {
        self = try inputIDs.withUnsafeBufferPointer { (ids) throws(QwenSFTError) in
            try labels.withUnsafeBufferPointer { (labels) throws(QwenSFTError) in
                try (attentionMask ?? []).withUnsafeBufferPointer { (mask) throws(QwenSFTError) in
                    try (tokenWeights ?? []).withUnsafeBufferPointer { (weights) throws(QwenSFTError) in
                        try Batch(
                            inputIDs: ids, labels: labels, attentionMask: attentionMask == nil ? nil : mask,
                            tokenWeights: tokenWeights == nil ? nil : weights, rows: rows, columns: columns)
                    }
                }
            }
        }
    }

    /// The same from memory of the caller's.
    package init(
        inputIDs: UnsafeBufferPointer<Int64>, labels: UnsafeBufferPointer<Int64>,
        attentionMask: UnsafeBufferPointer<Int64>?, tokenWeights: UnsafeBufferPointer<Float>?, rows: Int, columns: Int
    ) throws(QwenSFTError) {
        let (count, overflow) = rows.multipliedReportingOverflow(by: columns)
        guard rows > 0, columns > 0 else {
            throw QwenSFTError(.invalidArgument, "a batch of \(rows) rows and \(columns) columns is empty")
        }
        guard !overflow else {
            throw QwenSFTError(.invalidArgument, "a batch of \(rows) rows and \(columns) columns has no possible size")
        }
        for (name, size) in [
            ("input_ids", inputIDs.count), ("labels", labels.count), ("attention_mask", attentionMask?.count ?? count),
            ("token_weights", tokenWeights?.count ?? count),
        ] where size != count {
            throw QwenSFTError(.invalidArgument, "\(name): \(size) elements are not \(rows) rows of \(columns)")
        }
        func wrong(_ name: String, _ index: Int, _ what: String) -> QwenSFTError {
            QwenSFTError(.invalidArgument, "\(name): row \(index / columns), position \(index % columns): \(what)")
        }
        let sequences = LabelledSequences()
        for row in 0..<rows {
            let cells = row * columns..<(row + 1) * columns
            let tokens = try attentionMask.map { (mask) throws(QwenSFTError) in
                try realTokens(of: mask[cells], row: row)
            }
            let real = tokens.map { cells.lowerBound + $0.lowerBound..<cells.lowerBound + $0.upperBound } ?? cells
            for index in cells {
                let isReal = real.contains(index)
                guard !isReal || (0...Int64(Int32.max)).contains(inputIDs[index]) else {
                    throw wrong("input_ids", index, "\(inputIDs[index]) is not a token id")
                }
                guard labels[index] == -100 || (0...Int64(Int32.max)).contains(labels[index]) else {
                    throw wrong("labels", index, "\(labels[index]) is neither -100 nor a token id")
                }
                guard isReal || labels[index] == -100 else {
                    throw wrong("labels", index, "padding has the label \(labels[index]), not -100")
                }
                if let weight = tokenWeights?[index], !(weight >= 0 && weight.isFinite) {
                    throw wrong("token_weights", index, "\(weight) is not a finite, non-negative number")
                }
            }
            try sequences.append(
                ids: inputIDs[real], labels: labels[real], weights: tokenWeights?[real],
                column: real.isEmpty ? 0 : real.lowerBound - cells.lowerBound, conversation: row)
        }
        try self.init(sequences, columns: columns, paddingID: 0)
    }
}
