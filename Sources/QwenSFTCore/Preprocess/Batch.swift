/// Rows of token ids, and what to learn at each token.
///
/// Rows keep their own lengths. As arrays of (rows, columns) they are padded on the right, or, in a batch made of arrays, as
/// those were; the arrays are made when they are asked for.
public struct Batch: Sendable, Equatable {
    /// Columns of the arrays: the longest row's tokens or more.
    public let columns: Int
    package let sequences: LabelledSequences
    /// The id that stands at padding.
    let paddingID: Int32
    /// The id that ends a turn in the conversations it was made of; nil for a batch from arrays.
    package let endOfTurnID: Int32?

    public var rows: Int { sequences.count }

    /// - Throws: `invalidArgument` for no rows or no columns.
    package init(
        _ sequences: LabelledSequences, columns: Int? = nil, paddingID: Int32, endOfTurnID: Int32? = nil
    ) throws(QwenSFTError) {
        let columns = columns ?? sequences.longest
        guard sequences.count > 0, columns > 0 else {
            throw QwenSFTError(.invalidArgument, "a batch of \(sequences.count) rows and \(columns) columns is empty")
        }
        self.sequences = sequences
        self.columns = columns
        self.paddingID = paddingID
        self.endOfTurnID = endOfTurnID
    }

    /// Conversations: a row each, or several where the template writes earlier answers differently from how they were given.
    ///
    /// - Throws: what is wrong with a conversation, with the number of its row (from 0); `noSupervisedTokens` where the label policy, weights and
    ///   `maxLength` leave nothing to learn; `tooLong`; `outOfMemory`.
    public init(
        _ conversations: [[Message]], tokenizer: Tokenizer, options: PreprocessOptions = .init()
    ) throws(QwenSFTError) {
        if conversations.isEmpty { throw QwenSFTError(.invalidArgument, "the batch holds no conversation") }
        let encoder = try RowEncoder(tokenizer, options, addsDefaultSystem: options.labelPolicy != .qwen)
        let sequences = LabelledSequences()
        var roles = UnusualRoles()
        var cut = 0
        for (i, conversation) in conversations.enumerated() {
            let rows: [LabelledRow]
            do { rows = try encoder.encode(conversation) } catch {
                throw QwenSFTError(error.code, "row \(i): \(error.message)")
            }
            if let row = rows.last, rows.allSatisfy({ $0.targetCount == 0 }) {
                throw QwenSFTError(.noSupervisedTokens, "row \(i): " + row.withoutTarget(options))
            }
            if rows.contains(where: \.isCut) { cut += 1 }
            for row in rows where row.targetCount > 0 {
                roles.count(row.unusualRoles)
                try sequences.append(row, conversation: i)
            }
        }
        for text in [encoder.length.cutText(cut, of: conversations.count), roles.text] {
            if let text { Warnings.send(text) }
        }
        try self.init(sequences, paddingID: tokenizer.paddingID, endOfTurnID: encoder.endOfTurnID)
    }

    public static func == (a: Batch, b: Batch) -> Bool {
        a.columns == b.columns && a.paddingID == b.paddingID && a.endOfTurnID == b.endOfTurnID
            && a.sequences == b.sequences
    }
}
