/// How texts become the rows of a batch.
public struct TextBatchOptions: Sendable, Equatable {
    /// Longer rows are cut on the right to this many tokens; nil: they are not.
    public var maxLength: Int?
    /// Rows are padded to the longest, and to at least this many columns;
    public var minColumns = 0
    /// and to a multiple of this many.
    public var padToMultipleOf = 1
    /// Added tokens in the texts are plain text; otherwise they become their ids.
    public var splitSpecialTokens = false

    public init() {}
}

extension Batch {
    /// Texts, each a row without labels: what transformers' `tokenizer(texts, padding=True)` makes. An empty text is a row of
    /// padding; there is at least one column.
    ///
    /// - Throws: `invalidArgument` for no texts and for options out of range.
    public init(
        texts: [String], tokenizer: Tokenizer, options: TextBatchOptions = .init()
    ) throws(QwenSFTError) {
        guard !texts.isEmpty else { throw QwenSFTError(.invalidArgument, "the batch holds no text") }
        for (name, value) in [
            ("max_length", options.maxLength ?? 1), ("min_columns", options.minColumns < 0 ? 0 : 1),
            ("pad_to_multiple_of", options.padToMultipleOf),
        ] where value < 1 {
            throw QwenSFTError(.invalidArgument, "\(name) is no possible number of columns")
        }
        let rows = try tokenizer.encodeBatch(
            texts, splitSpecialTokens: options.splitSpecialTokens, maxLength: options.maxLength)
        let columns = rows.reduce(max(1, options.minColumns)) { max($0, $1.count) }
        let (blocks, overflow) = (columns - 1).addingReportingOverflow(options.padToMultipleOf)
        let (padded, overflow2) = (blocks / options.padToMultipleOf).multipliedReportingOverflow(
            by: options.padToMultipleOf)
        let (count, overflow3) = rows.count.multipliedReportingOverflow(by: padded)
        guard !overflow, !overflow2, !overflow3, count <= TokenBatch.mostTokens else {
            throw QwenSFTError(.invalidArgument, "\(rows.count) rows of \(columns) columns have no possible size")
        }
        var inputIDs = [Int64](repeating: Int64(tokenizer.paddingID), count: count)
        var mask = [Int64](repeating: 0, count: count)
        for (r, row) in rows.enumerated() {
            for (t, id) in row.enumerated() {
                inputIDs[r * padded + t] = Int64(id)
                mask[r * padded + t] = 1
            }
        }
        try self.init(
            inputIDs: inputIDs, labels: Array(repeating: Int64(LabelledRow.ignored), count: count),
            attentionMask: mask, rows: rows.count, columns: padded)
    }
}
