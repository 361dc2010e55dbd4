/// Rows of token ids, what to learn at each, and which are real: (rows, columns) arrays, padded on the right.
public struct Batch: Sendable, Equatable {
    public let rows: Int
    public let columns: Int
    /// Token ids, row-major; anything at padding.
    public let inputIDs: [Int64]
    /// −100, or the id that the position before is to predict.
    public let labels: [Int64]
    /// 1 at real tokens, 0 at padding.
    public let attentionMask: [Int64]
    /// The weight of each label in the loss; nil: 1.
    public let tokenWeights: [Float]?

    /// A batch of one's own making.
    /// - Parameters: as the properties; without a mask every token is real.
    /// - Throws: `invalidArgument` naming array, row and position.
    public init(
        inputIDs: [Int64], labels: [Int64], attentionMask: [Int64]? = nil, tokenWeights: [Float]? = nil, rows: Int,
        columns: Int
    ) throws(QwenSFTError) {
        let (count, overflow) = rows.multipliedReportingOverflow(by: columns)
        guard rows > 0, columns > 0, !overflow else {
            throw QwenSFTError(.invalidArgument, "a batch of \(rows) rows and \(columns) columns is empty")
        }
        for (name, size) in [
            ("input_ids", inputIDs.count), ("labels", labels.count), ("attention_mask", attentionMask?.count ?? count),
            ("token_weights", tokenWeights?.count ?? count),
        ] where size != count {
            throw QwenSFTError(.invalidArgument, "\(name): \(size) elements are not \(rows) rows of \(columns)")
        }
        let mask = attentionMask ?? Array(repeating: 1, count: count)
        func wrong(_ name: String, _ index: Int, _ what: String) -> QwenSFTError {
            QwenSFTError(.invalidArgument, "\(name): row \(index / columns), position \(index % columns): \(what)")
        }
        for index in 0..<count {
            guard mask[index] == 0 || mask[index] == 1 else { throw wrong("attention_mask", index, "\(mask[index]) is neither 0 nor 1") }
            guard index % columns == 0 || mask[index] <= mask[index - 1] else {
                throw wrong("attention_mask", index, "a 1 after a 0; only padding on the right is supported")
            }
            guard inputIDs[index] >= 0 || mask[index] == 0 else { throw wrong("input_ids", index, "\(inputIDs[index]) is no token id") }
            guard labels[index] >= 0 || labels[index] == -100 else { throw wrong("labels", index, "\(labels[index]) is neither -100 nor a token id") }
            guard labels[index] == -100 || mask[index] == 1 else { throw wrong("labels", index, "padding has the label \(labels[index]), not -100") }
            if let weight = tokenWeights?[index], !(weight >= 0 && weight.isFinite) {
                throw wrong("token_weights", index, "\(weight) is not a finite number from 0 on")
            }
        }
        self.rows = rows
        self.columns = columns
        self.inputIDs = inputIDs
        self.labels = labels
        self.attentionMask = mask
        self.tokenWeights = tokenWeights
    }
}
