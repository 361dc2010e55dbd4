/// A dataset as tokens and labels, and what became of each of its conversations.
public struct EncodedDataset: Sendable {
    /// What is to be done with a conversation that cannot be learned from: one without supervised token, or longer than the context
    /// (`PreprocessOptions.contextLength`).
    public enum Unusable: Sendable {
        /// An error that names its line.
        case refuse
        /// It is left out, and counted in the report.
        case drop
    }

    /// Lines are numbered as in `Dataset.lines`.
    public struct Report: Sendable {
        /// Conversations that are there to learn from.
        public internal(set) var kept = 0
        /// Lines of those that were cut to the maximal length.
        public internal(set) var truncated: [Int] = []
        /// Lines of those left out because no token is supervised.
        public internal(set) var withoutTarget: [Int] = []
        /// Lines of those left out because they are longer than the context.
        public internal(set) var tooLong: [Int] = []
        /// Tokens kept, and how many of them are targets.
        public internal(set) var tokens = 0
        public internal(set) var targets = 0

        public var dropped: Int { withoutTarget.count + tooLong.count }
    }

    public let report: Report
    /// The line of each row, as in `Dataset.lines`.
    public let lines: [Int]
    private let encoded: [LabelledRow]
    private let padTokenID: Int32
    private let endOfTurnID: Int32

    /// Number of rows.
    public var count: Int { encoded.count }

    /// Tokens of a row.
    public func length(ofRow row: Int) -> Int { encoded.indices.contains(row) ? encoded[row].ids.count : 0 }

    /// - Throws: what is wrong with a conversation, with file and line; `noSupervisedTokens` where no row is left.
    public init(
        _ dataset: Dataset, tokenizer: Tokenizer, options: PreprocessOptions = .init(), unusable: Unusable = .refuse
    ) throws(QwenSFTError) {
        let encoder = try RowEncoder(tokenizer, options)
        var report = Report()
        var rows: [LabelledRow] = []
        var lines: [Int] = []
        for (conversation, line) in zip(dataset.conversations, dataset.lines) {
            let row: LabelledRow
            do { row = try encoder.encode(conversation) } catch {
                if error.code == .tooLong && unusable == .drop {
                    report.tooLong.append(line)
                    continue
                }
                throw QwenSFTError(error.code, "\(dataset.place(ofLine: line)): \(error.message)")
            }
            if row.targetCount == 0 {
                if unusable == .drop {
                    report.withoutTarget.append(line)
                    continue
                }
                throw QwenSFTError(.noSupervisedTokens, "\(dataset.place(ofLine: line)): " + row.withoutTarget(options))
            }
            if row.fullCount > row.ids.count { report.truncated.append(line) }
            report.tokens += row.ids.count
            report.targets += row.targetCount
            rows.append(row)
            lines.append(line)
        }
        if rows.isEmpty {
            throw QwenSFTError(.noSupervisedTokens, "\(dataset.name): no conversation has a supervised token")
        }
        report.kept = rows.count
        dataset.warnOfUnknownKeys()
        encoder.length.warn(
            cut: report.truncated.count, of: rows.count, lines: dataset.isFile ? report.truncated : [], in: dataset.name
        )
        self.report = report
        self.lines = lines
        encoded = rows
        padTokenID = tokenizer.paddingID
        endOfTurnID = encoder.endOfTurnID
    }

    /// The rows of these numbers as a batch, padded to the longest of them.
    public func batch(_ rows: [Int]) throws(QwenSFTError) -> Batch {
        for row in rows where !encoded.indices.contains(row) {
            throw QwenSFTError(.invalidArgument, "there is no row \(row) among \(count)")
        }
        return try Batch(rows.map { encoded[$0] }, padTokenID: padTokenID, endOfTurnID: endOfTurnID)
    }
}
