/// The real tokens of a right-padded (rows, columns) array, checked against the model.
struct TokenRows {
    /// Ids of every row, without padding.
    let sequences: [[Int32]]

    /// - Throws: `invalidArgument` for shapes, masks and ids that do not fit, `tooLong` for rows longer than the context.
    init(
        _ inputIDs: [Int64], mask: [Int64]?, rows: Int, columns: Int, _ configuration: Configuration
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
        let vocabulary = configuration.vocabularySize
        var sequences: [[Int32]] = []
        sequences.reserveCapacity(rows)
        for row in 0..<rows {
            let cells = row * columns..<(row + 1) * columns
            let length = mask.map { $0[cells].prefix { $0 == 1 }.count } ?? columns
            if let mask, let wrong = mask[cells].dropFirst(length).firstIndex(where: { $0 != 0 }) {
                throw QwenSFTError(
                    .invalidArgument,
                    "attention_mask: row \(row), position \(wrong - cells.lowerBound): only 1s followed by 0s are supported"
                )
            }
            guard length <= configuration.maxPositions else {
                throw QwenSFTError(
                    .tooLong,
                    "row \(row): \(length) tokens are more than the model's context of \(configuration.maxPositions)")
            }
            var ids: [Int32] = []
            ids.reserveCapacity(length)
            for position in 0..<length {
                let id = inputIDs[cells.lowerBound + position]
                guard id >= 0, id < vocabulary else {
                    throw QwenSFTError(
                        .invalidArgument,
                        "input_ids: row \(row), position \(position): \(id) is not in the model's vocabulary of \(vocabulary)"
                    )
                }
                ids.append(Int32(id))
            }
            sequences.append(ids)
        }
        self.sequences = sequences
    }
}
