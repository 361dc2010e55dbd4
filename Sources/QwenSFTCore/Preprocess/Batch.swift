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
    /// The id that ends a turn in the conversations it was made of; nil for a batch from arrays.
    package private(set) var endOfTurnID: Int32?

    /// A batch of one's own making.
    /// - Parameters: as the properties; without a mask every token is real.
    /// - Throws: `invalidArgument` naming array, row and position.
    public init(
        inputIDs: [Int64], labels: [Int64], attentionMask: [Int64]? = nil, tokenWeights: [Float]? = nil, rows: Int,
        columns: Int
    ) throws(QwenSFTError) {
        let (count, overflow) = rows.multipliedReportingOverflow(by: columns)
        guard rows > 0, columns > 0 else { throw Self.empty(rows, columns) }
        guard !overflow else {
            throw QwenSFTError(.invalidArgument, "a batch of \(rows) rows and \(columns) columns has no possible size")
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
            guard mask[index] == 0 || mask[index] == 1 else {
                throw wrong("attention_mask", index, "\(mask[index]) is neither 0 nor 1")
            }
            guard index % columns == 0 || mask[index] <= mask[index - 1] else {
                throw wrong("attention_mask", index, "a 1 after a 0; only padding on the right is supported")
            }
            guard inputIDs[index] >= 0 || mask[index] == 0 else {
                throw wrong("input_ids", index, "\(inputIDs[index]) is no token id")
            }
            guard labels[index] >= 0 || labels[index] == -100 else {
                throw wrong("labels", index, "\(labels[index]) is neither -100 nor a token id")
            }
            guard labels[index] == -100 || mask[index] == 1 else {
                throw wrong("labels", index, "padding has the label \(labels[index]), not -100")
            }
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

    private static func empty(_ rows: Int, _ columns: Int) -> QwenSFTError {
        QwenSFTError(.invalidArgument, "a batch of \(rows) rows and \(columns) columns is empty")
    }

    /// Conversations, each a row.
    ///
    /// - Throws: what is wrong with a conversation, with the number of its row (from 0); `noSupervisedTokens` where the label policy, weights and
    ///   `maxLength` leave nothing to learn; `tooLong`.
    public init(
        _ conversations: [[Message]], tokenizer: Tokenizer, options: PreprocessOptions = .init()
    ) throws(QwenSFTError) {
        if conversations.isEmpty { throw QwenSFTError(.invalidArgument, "the batch holds no conversation") }
        let encoder = try RowEncoder(tokenizer, options)
        var rows: [LabelledRow] = []
        for (i, conversation) in conversations.enumerated() {
            let row: LabelledRow
            do { row = try encoder.encode(conversation) } catch {
                throw QwenSFTError(error.code, "row \(i): \(error.message)")
            }
            if row.targetCount == 0 {
                throw QwenSFTError(.noSupervisedTokens, "row \(i): " + row.withoutTarget(options))
            }
            rows.append(row)
        }
        encoder.length.warn(cut: rows.count { $0.fullCount > $0.ids.count }, of: rows.count)
        try self.init(rows, padTokenID: tokenizer.paddingID, endOfTurnID: encoder.endOfTurnID)
    }

    /// Pads the rows, which have targets, to the longest of them.
    /// - Throws: `outOfMemory` where one long row among many would make all of them too long.
    package init(_ encoded: [LabelledRow], padTokenID: Int32, endOfTurnID: Int32) throws(QwenSFTError) {
        let rows = encoded.count
        let columns = encoded.reduce(0) { max($0, $1.ids.count) }
        let (count, overflow) = rows.multipliedReportingOverflow(by: columns)
        guard rows > 0, columns > 0 else { throw Self.empty(rows, columns) }
        // An array that finds no memory ends the process: three of them, and their copies for C.
        _ = try HugeBuffer(
            byteCount: overflow || count > Int.max / 64 ? Int.max : 6 * 8 * count,
            purpose: "a batch of \(rows) rows and \(columns) columns")
        self.rows = rows
        self.columns = columns
        inputIDs = padded(encoded.map(\.ids), columns: columns, with: padTokenID)
        labels = padded(encoded.map(\.labels), columns: columns, with: LabelledRow.ignored)
        attentionMask = paddingMask(of: encoded.map(\.ids), columns: columns)
        let isWeighted = encoded.contains { row in row.weights.contains { $0 != 0 && $0 != 1 } }
        tokenWeights =
            isWeighted
            ? padded(rows: rows, columns: columns, with: 0) { row, target in
                target.initialize(from: encoded[row].weights, count: encoded[row].weights.count)
                return encoded[row].weights.count
            } : nil
        self.endOfTurnID = endOfTurnID
    }
}
