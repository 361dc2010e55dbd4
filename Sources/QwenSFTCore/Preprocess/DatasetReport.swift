/// What became of the conversations of a dataset. Lines are numbered as in `Dataset.Conversation`.
public struct DatasetReport: Sendable {
    /// Tokens of rows, as they are learned from.
    public struct Lengths: Sendable, Equatable {
        public var (shortest, median, percentile95, longest) = (0, 0, 0, 0)

        init() {}

        init(of rows: [Int32], in store: RowStore) throws(QwenSFTError) {
            var lengths: [Int32] = []
            try lengths.makeRoom(for: rows.count, purpose: "lengths")
            for row in rows { lengths.append(store[Int(row)].tokens) }
            lengths.sort()
            func quantile(_ share: Double) -> Int {
                // The smallest length that at least this share of all does not exceed.
                lengths.isEmpty ? 0 : Int(lengths[max(0, Int((share * Double(lengths.count)).rounded(.up)) - 1)])
            }
            (shortest, median, percentile95, longest) = (quantile(0), quantile(0.5), quantile(0.95), quantile(1))
        }
    }

    /// What a person should know of the data.
    public struct Finding: Sendable, Equatable {
        public let text: String
        /// Sent as a warning, too: the data is not used as it was given.
        public let isWarning: Bool
    }

    /// What the data are called.
    public internal(set) var name = "conversations"
    /// Their format, with the names of columns where those are the file's own; nil where conversations were given as such.
    public internal(set) var format: String?
    public internal(set) var compression: String?
    /// Conversations that were read, and those of them that are there to learn from.
    public internal(set) var read = 0
    public internal(set) var kept = 0
    /// Lines of those that were cut to the maximal length.
    public internal(set) var truncated: [Int] = []
    /// Lines of those left out because no token is supervised.
    public internal(set) var withoutTarget: [Int] = []
    /// Lines of those left out because they are longer than the context.
    public internal(set) var tooLong: [Int] = []
    /// Lines of those that are there although no message of theirs is the assistant's: nothing but what stands between messages is
    /// learned of them.
    public internal(set) var withoutAnswer: [Int] = []
    /// Lines of those that are there and have the same tokens and labels as one before them.
    public internal(set) var duplicates: [Int] = []
    /// Lines of those with a text that spells an added token, such as `<|im_end|>`.
    public internal(set) var controlTokens: [Int] = []
    /// The roles of all messages that were read, in the order of their first appearance.
    public internal(set) var roles: [(role: String, messages: Int)] = []
    /// Keys that are not used, in the order of their first appearance.
    public internal(set) var unknownKeys: [Dataset.UnknownKey] = []
    /// Tokens kept, and how many of them are targets.
    public internal(set) var tokens = 0
    public internal(set) var targets = 0
    public internal(set) var lengths = Lengths()

    public let labelPolicy: LabelPolicy
    private let length: RowLength
    private var content: ContentReport?
    private var isFile = false

    init(_ length: RowLength, _ labelPolicy: LabelPolicy) {
        self.length = length
        self.labelPolicy = labelPolicy
    }

    public var dropped: Int { withoutTarget.count + tooLong.count }

    mutating func count(_ record: RowStore.Record) {
        tokens += Int(record.tokens)
        targets += Int(record.targets)
    }

    mutating func note(_ reader: ConversationReader, _ content: ContentReport) {
        name = reader.name
        isFile = reader.isFile
        format = reader.layout?.description
        compression = reader.compression?.rawValue
        unknownKeys = reader.unknownKeys
        roles = content.roles
        controlTokens = content.controlTokens
        self.content = content
    }

    /// The report of a part of the data, before its rows are counted.
    /// - Parameter lines: of the part, in ascending order.
    func part(_ name: String, lines: [Int]) -> DatasetReport {
        func those(_ all: [Int]) -> [Int] {
            var place = 0
            return all.filter { line in
                while place < lines.count, lines[place] < line { place += 1 }
                return place < lines.count && lines[place] == line
            }
        }
        var part = self
        part.name = "\(self.name), \(name)"
        (part.read, part.tokens, part.targets, part.roles, part.unknownKeys) = (lines.count, 0, 0, [], [])
        (part.withoutTarget, part.tooLong, part.content) = ([], [], nil)
        (part.truncated, part.duplicates) = (those(truncated), those(duplicates))
        part.controlTokens = those(controlTokens)
        part.withoutAnswer = those(withoutAnswer)
        return part
    }

    /// The report in lines: what there is, then what should be known of it.
    public var description: [String] {
        let share = tokens == 0 ? 0 : Int((1000 * Double(targets) / Double(tokens)).rounded())
        var result = [
            "\(name): \(kept) of \(read) conversations"
                + (format.map { " (\($0)\(compression.map { ", \($0)" } ?? ""))" } ?? "")
                + ", \(tokens) tokens, \(targets) of them supervised (\(labelPolicy.rawValue), \(share / 10).\(share % 10) %)",
            "  tokens of a row: \(lengths.shortest) to \(lengths.longest), median \(lengths.median), 95 % at most \(lengths.percentile95)",
        ]
        if !roles.isEmpty {
            let shown = roles.prefix(8).map { "\(printable($0.role)) \($0.messages)" }.joined(separator: ", ")
            result.append("  messages: " + shown + (roles.count > 8 ? ", …" : ""))
        }
        return result + findings.map { "  " + String($0.text.dropFirst(name.count + 2)) }
    }

    /// What strictness refuses.
    public var findings: [Finding] {
        var result: [Finding] = []
        func add(_ what: String, _ lines: [Int], isWarning: Bool = false) {
            if lines.isEmpty { return }
            result.append(.init(text: "\(name): \(lines.count) \(what) (\(listed(lines)))", isWarning: isWarning))
        }
        if let text = length.cutText(truncated.count, of: kept) {
            result.append(.init(text: "\(name): \(text) (\(listed(truncated)))", isWarning: true))
        }
        add("left out, nothing supervised", withoutTarget)
        add("left out, longer than the context", tooLong)
        add("without a message of the assistant", withoutAnswer)
        add("equal to an earlier one", duplicates)
        add(
            content?.parsesSpecialTokens == true
                ? "with control tokens in a text, which take effect"
                : "with control tokens in a text, where they are text",
            controlTokens)
        result += (content?.findings ?? []).map { .init(text: "\(name): \($0)", isWarning: true) }
        for key in unknownKeys {
            result.append(
                .init(
                    text:
                        "\(name): the key '\(printable(key.key))' is not used (\(key.count) times, first in \(isFile ? "line" : "row") \(key.line))",
                    isWarning: true))
        }
        return result
    }

    /// - Throws: `invalidFile` with the first findings, if there are any. A column of rows that is not used is not one of them: only what
    ///   is said of messages.
    func requireNoFindings() throws(QwenSFTError) {
        var strict = self
        strict.unknownKeys.removeAll { !$0.key.contains("[].") }
        let findings = strict.findings
        guard let first = findings.first else { return }
        let more = findings.dropFirst().prefix(3).map { $0.text.dropFirst(name.count + 2) }
        throw QwenSFTError(
            .invalidFile,
            ([Substring(first.text)] + more).joined(separator: "; ") + (findings.count > 4 ? "; …" : "")
                + " (strict: nothing may be left out, cut or left aside)")
    }

    /// "line 7", "lines 1, 2, …": the first few.
    private func listed(_ lines: [Int]) -> String {
        (isFile ? "line" : "row") + (lines.count == 1 ? " " : "s ")
            + lines.prefix(8).map(String.init).joined(separator: ", ") + (lines.count > 8 ? ", …" : "")
    }
}

/// What messages of a dataset hold.
struct ContentReport: Sendable {
    private(set) var roles: [(role: String, messages: Int)] = []
    private(set) var controlTokens: [Int] = []
    var unusualRoles = UnusualRoles()
    let parsesSpecialTokens: Bool
    private let matcher: AddedTokenMatcher
    /// Conversations with calls or tools that the template does not write.
    private var unwritten = (calls: 0, tools: 0)
    private let writes: (calls: Bool, tools: Bool)

    init(_ tokenizer: Tokenizer, _ template: ChatTemplate, parsesSpecialTokens: Bool) {
        matcher = AddedTokenMatcher(tokenizer.addedTokens.map { (Array($0.content.utf8), $0.id) })
        self.parsesSpecialTokens = parsesSpecialTokens
        writes = (template.text.contains("tool_calls"), template.text.contains("tools"))
    }

    mutating func count(_ conversation: Dataset.Conversation) {
        var hasControlToken = false
        var has = (calls: false, tools: false)
        for message in conversation.messages {
            if let i = roles.firstIndex(where: { $0.role.utf8.elementsEqual(message.role.utf8) }) {
                roles[i].messages += 1
            } else if roles.count < 100 {  // more of them would only be noise
                roles.append((message.role, 1))
            }
            var text = message.content
            if text.withUTF8({ matcher.first(in: $0, from: 0) != nil }) { hasControlToken = true }
            if !message.fields.isEmpty, !writes.calls || !writes.tools {
                if message.fields.contains(#""tool_calls":"#) { has.calls = true }
                if message.fields.contains(#""tools":"#) { has.tools = true }
            }
        }
        if hasControlToken { controlTokens.append(conversation.line) }
        if has.calls, !writes.calls { unwritten.calls += 1 }
        if has.tools, !writes.tools { unwritten.tools += 1 }
    }

    /// What should be known of it.
    var findings: [String] {
        var result: [String] = []
        if unwritten.calls > 0 {
            result.append(
                "\(unwritten.calls) conversations call functions, which the chat template does not write: their calls are not learned"
            )
        }
        if unwritten.tools > 0 {
            result.append(
                "\(unwritten.tools) conversations come with functions, which the chat template does not write: the model does not see them"
            )
        }
        if let text = unusualRoles.text { result.append(text) }
        return result
    }
}
