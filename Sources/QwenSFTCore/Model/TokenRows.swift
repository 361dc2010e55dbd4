/// Sequences of ids, without padding, checked against a model.
struct TokenRows {
    let sequences: [[Int32]]
    /// The column of the arrays that each sequence begins in.
    let columns: [Int]

    /// The rows of arrays of (rows, columns).
    /// - Throws: `invalidArgument` for shapes, masks and ids that do not fit, `tooLong` for rows longer than the context.
    init(
        _ inputIDs: UnsafeBufferPointer<Int64>, mask: UnsafeBufferPointer<Int64>?, rows: Int, columns: Int,
        _ configuration: Configuration
    ) throws(QwenSFTError) {
        let (count, overflow) = rows.multipliedReportingOverflow(by: columns)
        guard rows > 0, columns > 0, !overflow, inputIDs.count == count else {
            throw QwenSFTError(
                .invalidArgument, "input_ids: \(inputIDs.count) ids are not \(rows) rows of \(columns)")
        }
        if let mask, mask.count != count {
            throw QwenSFTError(
                .invalidArgument, "attention_mask: \(mask.count) elements are not \(rows) rows of \(columns)")
        }
        try Memory.require(count + 16 * rows, of: Int32.self, for: "\(rows) rows of \(columns) ids")
        var sequences: [[Int32]] = []
        var starts: [Int] = []
        sequences.reserveCapacity(rows)
        starts.reserveCapacity(rows)
        for row in 0..<rows {
            let cells = row * columns..<(row + 1) * columns
            let real = try mask.map { (mask) throws(QwenSFTError) in try realTokens(of: mask[cells], row: row) }
            let tokens = real ?? 0..<columns
            try configuration.check(length: tokens.count, row: row)
            for position in tokens {
                try configuration.check(
                    id: inputIDs[cells.lowerBound + position], "input_ids", row: row, position: position)
            }
            sequences.append(tokens.map { Int32(truncatingIfNeeded: inputIDs[cells.lowerBound + $0]) })
            starts.append(tokens.lowerBound)
        }
        self.sequences = sequences
        self.columns = starts
    }
}

extension Configuration {
    /// - Throws: `tooLong` for a row longer than the context.
    func check(length: Int, row: Int) throws(QwenSFTError) {
        guard length <= maxPositions else {
            throw QwenSFTError(
                .tooLong, "row \(row): \(length) tokens are more than the model's context of \(maxPositions)")
        }
    }

    /// - Throws: `invalidArgument` for an id out of the vocabulary, in the array of this name.
    func check(id: some BinaryInteger, _ name: String, row: Int, position: Int) throws(QwenSFTError) {
        guard id >= 0, id < vocabularySize else {
            throw QwenSFTError(
                .invalidArgument,
                "\(name): row \(row), position \(position): \(id) is not in the model's vocabulary of \(vocabularySize)"
            )
        }
    }
}
