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
    /// The line of each row's conversation, as in `Dataset.lines`; a conversation may make several rows.
    public let lines: [Int]
    package let sequences: LabelledSequences
    /// Equal for equal rows in the same order.
    package let fingerprint: UInt64
    private let paddingID: Int32
    private let endOfTurnID: Int32
    /// What the file is called; nil where the conversations come from none.
    package let fileName: String?

    /// Number of rows.
    public var count: Int { sequences.count }

    /// Tokens of a row.
    public func length(ofRow row: Int) -> Int {
        (0..<count).contains(row) ? sequences[row].tokens.count : 0
    }

    /// Tokens of all rows.
    func lengths() throws(QwenSFTError) -> [Int] {
        // What goes through the data in an order holds a few numbers for each row.
        try Memory.require(count, of: (Int, Int, Int, Int, Int, Int).self, for: "the order of \(count) rows")
        return (0..<count).map { sequences[$0].tokens.count }
    }

    /// The largest id of a row.
    func largestID(ofRow row: Int) -> Int32 {
        (0..<count).contains(row) ? sequences.ids.buffer[sequences[row].tokens].max() ?? 0 : 0
    }

    /// Where a row's conversation stands, for messages.
    func place(ofRow row: Int) -> String { fileName.map { "\($0):\(lines[row])" } ?? "row \(row)" }

    /// - Throws: what is wrong with a conversation, with file and line; `noSupervisedTokens` where no row is left.
    public init(
        _ dataset: Dataset, tokenizer: Tokenizer, options: PreprocessOptions = .init(), unusable: Unusable = .refuse
    ) throws(QwenSFTError) {
        let encoder = try RowEncoder(tokenizer, options, addsDefaultSystem: true)
        var report = Report()
        let sequences = LabelledSequences()
        var roles = UnusualRoles()
        var lines: [Int] = []
        for (i, (conversation, line)) in zip(dataset.conversations, dataset.lines).enumerated() {
            let rows: [LabelledRow]
            do { rows = try encoder.encode(conversation) } catch {
                if error.code == .tooLong && unusable == .drop {
                    report.tooLong.append(line)
                    continue
                }
                throw QwenSFTError(error.code, "\(dataset.place(ofLine: line)): \(error.message)")
            }
            if let row = rows.last, rows.allSatisfy({ $0.targetCount == 0 }) {
                if unusable == .drop {
                    report.withoutTarget.append(line)
                    continue
                }
                throw QwenSFTError(.noSupervisedTokens, "\(dataset.place(ofLine: line)): " + row.withoutTarget(options))
            }
            if rows.contains(where: \.isCut) { report.truncated.append(line) }
            report.kept += 1
            for row in rows where row.targetCount > 0 {
                report.tokens += row.ids.count
                report.targets += row.targetCount
                roles.count(row.unusualRoles)
                try sequences.append(row, conversation: i)
                try lines.makeRoom(for: 1, purpose: dataset.name)
                lines.append(line)
            }
        }
        if sequences.count == 0 {
            throw QwenSFTError(.noSupervisedTokens, "\(dataset.name): no conversation has a supervised token")
        }
        roles.warn(in: dataset.name)
        dataset.warnOfUnknownKeys()
        encoder.length.warn(
            cut: report.truncated.count, of: report.kept, lines: dataset.isFile ? report.truncated : [],
            in: dataset.name)
        self.report = report
        self.lines = lines
        self.sequences = sequences
        fingerprint = sequences.fingerprint
        paddingID = tokenizer.paddingID
        endOfTurnID = encoder.endOfTurnID
        fileName = dataset.isFile ? dataset.name : nil
    }

    /// The rows of these numbers as a batch.
    public func batch(_ rows: [Int]) throws(QwenSFTError) -> Batch {
        let chosen = LabelledSequences()
        for row in rows {
            guard (0..<count).contains(row) else {
                throw QwenSFTError(.invalidArgument, "there is no row \(row) among \(count)")
            }
            try chosen.append(row, of: sequences)
        }
        return try Batch(chosen, paddingID: paddingID, endOfTurnID: endOfTurnID)
    }
}
