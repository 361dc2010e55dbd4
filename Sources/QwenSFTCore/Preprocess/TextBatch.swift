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
        try self.init(textCount: texts.count, tokenizer, options) { () throws(QwenSFTError) in
            try tokenizer.encodeBatch(
                texts, splitSpecialTokens: options.splitSpecialTokens, maxLength: options.maxLength)
        }
    }

    /// The same for texts given as bytes: see `Tokenizer.encodeBatch`.
    package init(
        textCount: Int, size: Int, tokenizer: Tokenizer, options: TextBatchOptions,
        _ text: (Int) throws(QwenSFTError) -> UnsafeBufferPointer<UInt8>
    ) throws(QwenSFTError) {
        try self.init(textCount: textCount, tokenizer, options) { () throws(QwenSFTError) in
            try tokenizer.encodeBatch(
                count: textCount, size: size, splitSpecialTokens: options.splitSpecialTokens,
                maxLength: options.maxLength, text)
        }
    }

    private init(
        textCount: Int, _ tokenizer: Tokenizer, _ options: TextBatchOptions,
        _ encode: () throws(QwenSFTError) -> [[Int32]]
    ) throws(QwenSFTError) {
        guard textCount > 0 else { throw QwenSFTError(.invalidArgument, "the batch holds no text") }
        for (name, value, least) in [
            ("max_length", options.maxLength ?? 1, 1), ("min_columns", options.minColumns, 0),
            ("pad_to_multiple_of", options.padToMultipleOf, 1),
        ] where value < least {
            throw QwenSFTError(.invalidArgument, "\(name) is no possible number of columns")
        }
        let rows = try encode()
        let longest = rows.reduce(max(1, options.minColumns)) { max($0, $1.count) }
        let (blocks, overflow) = (longest - 1).addingReportingOverflow(options.padToMultipleOf)
        let (columns, overflow2) = (blocks / options.padToMultipleOf).multipliedReportingOverflow(
            by: options.padToMultipleOf)
        let (cells, overflow3) = rows.count.multipliedReportingOverflow(by: columns)
        guard !overflow, !overflow2, !overflow3, cells <= Self.mostCells else {
            throw QwenSFTError(.invalidArgument, "\(rows.count) rows of \(longest) columns have no possible size")
        }
        let sequences = LabelledSequences()
        for (i, row) in rows.enumerated() { try sequences.append(unlabelled: row, conversation: i) }
        try self.init(sequences, columns: columns, paddingID: tokenizer.paddingID)
    }

    /// More padding than this is a mistake in a number: 2 GiB for each of the arrays.
    private static var mostCells: Int { 1 << 28 }
}
