/// A dataset as tokens and labels, and what became of each of its conversations.
///
/// Of each row a few numbers stay in memory. Its tokens do while all together are few; those of a large dataset are in a file without a name.
public struct EncodedDataset: Sendable {
    /// What is to be done with a conversation that cannot be learned from: one without supervised token, or longer than the context
    /// (`PreprocessOptions.contextLength`).
    public enum Unusable: Sendable {
        /// An error that names its line.
        case refuse
        /// It is left out, and counted in the report.
        case drop
    }

    public let report: DatasetReport
    /// Rows of the store that are a part of this dataset, in ascending order.
    let rows: [Int32]
    /// Where each conversation's rows begin in `rows`; they are neighbors. Its end is last.
    let starts: [Int32]
    let store: RowStore
    /// Equal for equal rows in the same order, and for hardly any others.
    package let fingerprint: UInt64
    let paddingID: Int32
    let endOfTurnID: Int32
    /// What the data are called, and whether conversations have lines there.
    let source: (name: String, isFile: Bool)

    /// Whether tokens are in a file without a name.
    package var isInFile: Bool { store.isInFile }

    /// What the file is called; nil where the conversations come from none.
    package var fileName: String? { source.isFile ? source.name : nil }

    /// Number of rows.
    public var count: Int { rows.count }

    /// Number of conversations; one may make several rows.
    public var conversationCount: Int { starts.count - 1 }

    /// Some of the rows of a store.
    init(
        _ store: RowStore, rows: [Int32], report: DatasetReport, paddingID: Int32, endOfTurnID: Int32,
        source: (name: String, isFile: Bool)
    ) throws(QwenSFTError) {
        self.store = store
        self.rows = rows
        self.paddingID = paddingID
        self.endOfTurnID = endOfTurnID
        self.source = source
        var starts: [Int32] = []
        try starts.makeRoom(for: rows.count + 1, purpose: source.name)
        var fingerprint = RowHash()
        var report = report
        var last: Int32 = -1
        for (i, row) in rows.enumerated() {
            let record = store[Int(row)]
            fingerprint.mix(record.hash)
            report.count(record)
            if record.conversation != last { starts.append(Int32(i)) }
            last = record.conversation
        }
        report.kept = starts.count
        starts.append(Int32(rows.count))
        self.starts = starts
        self.fingerprint = fingerprint.value
        report.lengths = try .init(of: rows, in: store)
        self.report = report
    }

    /// Tokens of a row.
    public func length(ofRow row: Int) -> Int { rows.indices.contains(row) ? Int(record(row).tokens) : 0 }

    /// The line of a row's conversation, as in `Dataset.Conversation`.
    public func line(ofRow row: Int) -> Int { rows.indices.contains(row) ? record(row).line : 0 }

    /// The line of a conversation.
    public func line(ofConversation conversation: Int) -> Int {
        (0..<conversationCount).contains(conversation) ? line(ofRow: Int(starts[conversation])) : 0
    }

    /// The line of each row's conversation.
    public var lines: [Int] { rows.indices.map(line(ofRow:)) }

    /// Tokens of all rows.
    func lengths() throws(QwenSFTError) -> [Int] {
        // What goes through the data in an order holds a few numbers for each row.
        try Memory.require(count, of: (Int, Int, Int, Int).self, for: "the order of \(count) rows")
        return rows.indices.map { length(ofRow: $0) }
    }

    /// The largest id of a row.
    func largestID(ofRow row: Int) -> Int32 { rows.indices.contains(row) ? record(row).largestID : 0 }

    /// Where a row's conversation stands, for messages.
    func place(ofRow row: Int) -> String {
        source.isFile ? "\(source.name):\(line(ofRow: row))" : "row \(line(ofRow: row))"
    }

    private func record(_ row: Int) -> RowStore.Record { store[Int(rows[row])] }

    /// The rows of these numbers as a batch.
    public func batch(_ rows: [Int]) throws(QwenSFTError) -> Batch {
        let chosen = LabelledSequences()
        for row in rows {
            guard self.rows.indices.contains(row) else {
                throw QwenSFTError(.invalidArgument, "there is no row \(row) among \(count)")
            }
            let stored = Int(self.rows[row])
            try chosen.append(store.ids(stored), store.stretches(stored), conversation: Int(store[stored].conversation))
        }
        return try Batch(chosen, paddingID: paddingID, endOfTurnID: endOfTurnID)
    }

    /// All rows of the conversations of these numbers as a batch, each with the number of its conversation among those given.
    public func batch(ofConversations conversations: [Int]) throws(QwenSFTError) -> Batch {
        let chosen = LabelledSequences()
        for (i, conversation) in conversations.enumerated() {
            guard (0..<conversationCount).contains(conversation) else {
                throw QwenSFTError(
                    .invalidArgument, "there is no conversation \(conversation) among \(conversationCount)")
            }
            for row in rows[Int(starts[conversation])..<Int(starts[conversation + 1])] {
                try chosen.append(store.ids(Int(row)), store.stretches(Int(row)), conversation: i)
            }
        }
        return try Batch(chosen, paddingID: paddingID, endOfTurnID: endOfTurnID)
    }
}

extension EncodedDataset {
    /// - Parameters:
    ///   - dataset: the conversations.
    ///   - tokenizer: that of the checkpoint.
    ///   - options: what is learned, and how long rows may be.
    ///   - unusable: what becomes of conversations that nothing can be learned from.
    ///   - isStrict: whatever would be left out, cut or left aside is an error, once all is read: see `DatasetReport.findings`.
    ///   - sendsWarnings: what a person should know is sent as warnings; otherwise it is in the report only.
    /// - Throws: what is wrong with a conversation, with file and line; `noSupervisedTokens` where no row is left.
    public init(
        _ dataset: Dataset, tokenizer: Tokenizer, options: PreprocessOptions = .init(), unusable: Unusable = .refuse,
        isStrict: Bool = false, sendsWarnings: Bool = true
    ) throws(QwenSFTError) {
        try self.init(
            dataset.reader(), tokenizer: tokenizer, options: options, unusable: unusable, isStrict: isStrict,
            sendsWarnings: sendsWarnings)
    }

    /// - Parameter memoryLimit: bytes of tokens that stay in memory.
    package init(
        _ reader: ConversationReader, tokenizer: Tokenizer, options: PreprocessOptions, unusable: Unusable,
        isStrict: Bool = false, sendsWarnings: Bool = true, memoryLimit: Int = 16 << 20
    ) throws(QwenSFTError) {
        let encoder = try RowEncoder(tokenizer, options, addsDefaultSystem: true)
        let unusable = isStrict ? .drop : unusable
        var report = DatasetReport(encoder.length, options.labelPolicy)
        var content = ContentReport(tokenizer, encoder.template, parsesSpecialTokens: !options.splitSpecialTokens)
        let store = RowStore(memoryLimit: memoryLimit)
        var kept = 0
        while let conversation = try reader.next() {
            let line = conversation.line
            report.read += 1
            var rows: [LabelledRow] = []
            do {
                // An empty list of messages has nothing to learn, too.
                if !conversation.messages.isEmpty || unusable == .refuse {
                    rows = try encoder.encode(conversation.messages)
                }
            } catch {
                if error.code == .tooLong && unusable == .drop {
                    report.tooLong.append(line)
                    continue
                }
                let code = error.code == .invalidArgument && reader.isFile ? .invalidFile : error.code
                throw QwenSFTError(code, "\(reader.place(ofLine: line)): \(error.message)")
            }
            content.count(conversation)
            if rows.allSatisfy({ $0.targetCount == 0 }) {
                if unusable == .drop {
                    report.withoutTarget.append(line)
                    continue
                }
                let why = rows.last?.withoutTarget(options) ?? ""
                throw QwenSFTError(.noSupervisedTokens, "\(reader.place(ofLine: line)): \(why)")
            }
            if rows.contains(where: \.isCut) { report.truncated.append(line) }
            if !conversation.messages.contains(where: { $0.role == "assistant" }) { report.withoutAnswer.append(line) }
            for row in rows where row.targetCount > 0 {
                content.unusualRoles.count(row.unusualRoles)
                try store.append(row, conversation: kept, line: line)
            }
            kept += 1
        }
        if !isStrict, store.count == 0 {
            throw QwenSFTError(.noSupervisedTokens, "\(reader.name): no conversation has a supervised token")
        }
        try store.seal()
        report.kept = kept
        report.note(reader, content)
        var rows: [Int32] = []
        try rows.makeRoom(for: store.count, purpose: reader.name)
        rows.append(contentsOf: 0..<Int32(store.count))
        report.duplicates = try Self.duplicates(rows, in: store).map { store[Int($0)].line }
        if isStrict { try report.requireNoFindings() }
        if sendsWarnings { for finding in report.findings where finding.isWarning { Warnings.send(finding.text) } }
        try self.init(
            store, rows: rows, report: report, paddingID: tokenizer.paddingID, endOfTurnID: encoder.endOfTurnID,
            source: (reader.name, reader.isFile))
    }
}
