/// One conversation as tokens and labels.
package struct LabelledRow: Sendable {
    package var ids: [Int32] = []
    /// −100, or the id of the same position.
    package var labels: [Int32] = []
    /// The weight of each label; 0 where there is none.
    package var weights: [Float] = []
    /// Tokens before it was cut.
    package var fullCount = 0

    /// Roles other than system, user, tool and assistant whose content is learned as if it were an answer.
    var unusualRoles: [String] = []

    package init() {}

    /// A row of which nothing is learned yet.
    init(unlabelled ids: [Int32]) throws(QwenSFTError) {
        self.ids = ids
        try labels.makeRoom(for: ids.count, purpose: "labels")
        try weights.makeRoom(for: ids.count, purpose: "token weights")
        labels += repeatElement(LabelledSequences.ignored, count: ids.count)
        weights += repeatElement(0, count: ids.count)
    }

    mutating func learn(_ range: Range<Int>, weight: Float) {
        for position in range {
            labels[position] = ids[position]
            weights[position] = weight
        }
    }

    /// Labels that are targets: the first position is never predicted.
    package var targetCount: Int {
        labels.indices.dropFirst().count { labels[$0] != LabelledSequences.ignored }
    }

    var isCut: Bool { fullCount > ids.count }

    /// Whether some label's weight is not 1.
    var isWeighted: Bool { weights.contains { $0 != 0 && $0 != 1 } }

    /// What to say of a row without targets.
    func withoutTarget(_ options: PreprocessOptions) -> String {
        let cut = isCut ? ", cut to \(ids.count) of \(fullCount) tokens" : ""
        return "no token is supervised (label policy '\(options.labelPolicy.rawValue)'\(cut))"
    }
}

extension Tokenizer {
    /// What fills rows up. Any id would do: padding is told from tokens by its position.
    var paddingID: Int32 { padTokenID ?? eosTokenID ?? 0 }
}

/// Turns conversations into rows.
package struct RowEncoder {
    private let options: PreprocessOptions
    private let encoder: ChatEncoder
    private let addsDefaultSystem: Bool
    let length: RowLength

    var endOfTurnID: Int32 { encoder.end }
    var template: ChatTemplate { encoder.template }

    /// - Parameter addsDefaultSystem: unless the options say otherwise.
    package init(
        _ tokenizer: Tokenizer, _ options: PreprocessOptions, addsDefaultSystem: Bool
    ) throws(QwenSFTError) {
        self.addsDefaultSystem = options.addDefaultSystem ?? addsDefaultSystem
        length = try RowLength(options, tokenizer)
        self.options = options
        encoder = try ChatEncoder(
            tokenizer, tokenizer.resolve(options.template), splitSpecialTokens: options.splitSpecialTokens)
    }

    /// The rows of a conversation: one, unless the label policy learns answers from a template that writes earlier ones differently.
    /// - Throws: `invalidArgument`, `unsupported` for messages that cannot be rendered; `tooLong`. The messages do not name the row.
    package func encode(_ conversation: [Message]) throws(QwenSFTError) -> [LabelledRow] {
        for (i, message) in conversation.enumerated() {
            guard message.weight.isFinite, message.weight >= 0 else {
                throw QwenSFTError(
                    .invalidArgument, "message \(i): the weight \(message.weight) must be a number from 0 on")
            }
        }
        let whole = try encoder.template.rendering(conversation, addGenerationPrompt: false)
        var rows: [LabelledRow] = []
        switch options.labelPolicy {
        case .qwen, .all: rows = [try row(of: conversation, whole.text)]
        case .generation:
            guard try encoder.template.hasGenerations(conversation) else {
                throw options.labelPolicy.meaningless(for: encoder.template, "which has no {% generation %} blocks")
            }
            let answers = whole.generations.map { block in
                // The message that stands in the block.
                let message = whole.text.runs.first { $0.end > block.lowerBound && $0.origin.message >= 0 }?.origin
                    .message
                return (range: block, weight: message.map { conversation[Int($0)].weight } ?? 1)
            }
            rows = [try row(of: conversation, LabelledText(text: whole.text, answers: answers), isWhole: true)]
        case .assistant, .assistantContent, .assistantNewline, .lastAssistant:
            let answers = AnswerFinder(encoder: encoder, policy: options.labelPolicy)
            let texts = try answers.texts(conversation, whole: whole.text)
            for (i, text) in texts.enumerated() {
                let isWhole = i == texts.count - 1 && text.text.bytes.count == whole.text.bytes.count
                rows.append(try row(of: conversation, text, isWhole: isWhole))
            }
        }
        for i in rows.indices { try cut(&rows[i]) }
        return rows
    }

    /// Where the text of a row begins: after the system message that the template put there, where that is not wanted.
    private func start(of text: TaggedText, _ conversation: [Message]) -> Int {
        if addsDefaultSystem || conversation.first?.role == "system" { return 0 }
        return ChatML.defaultSystem(text)?.all.upperBound ?? 0
    }

    /// - Parameter isWhole: what comes after the last answer belongs to the row.
    private func row(
        of conversation: [Message], _ text: LabelledText, isWhole: Bool
    ) throws(QwenSFTError) -> LabelledRow {
        var cuts = text.answers.flatMap { [$0.range.lowerBound, $0.range.upperBound] }
        if !isWhole { cuts.append(text.text.bytes.count) }
        let encoded = try encoder.encode(text.text, from: start(of: text.text, conversation), cuts: cuts)
        var row = try LabelledRow(
            unlabelled: isWhole ? encoded.ids : Array(encoded.ids[..<encoded.places[cuts.count - 2]]))
        for (i, answer) in text.answers.enumerated() where answer.weight != 0 {
            row.learn(encoded.places[2 * i]..<encoded.places[2 * i + 1], weight: answer.weight)
        }
        return row
    }

    /// The row of a policy that looks at every token.
    private func row(of conversation: [Message], _ text: TaggedText) throws(QwenSFTError) -> LabelledRow {
        let encoded = try encoder.encode(
            text, from: start(of: text, conversation), findsMessages: true)
        var row = try LabelledRow(unlabelled: encoded.ids)
        guard let messages = encoded.messages else {
            if options.labelPolicy == .qwen {
                throw options.labelPolicy.meaningless(for: encoder.template, "which does not write ChatML")
            }
            if conversation.contains(where: { $0.weight != 1 }) {
                throw options.labelPolicy.meaningless(
                    for: encoder.template, "which does not write ChatML, with weights")
            }
            row.learn(row.ids.indices, weight: 1)
            return row
        }
        for message in messages {
            let weight = message.message.map { conversation[$0].weight } ?? 1
            if weight == 0 { continue }
            guard options.labelPolicy == .qwen else {
                row.learn(message.all, weight: weight)
                continue
            }
            for range in [message.start, message.end, message.endNewline] { row.learn(range, weight: weight) }
            if ["system", "user", "tool"].contains(message.roleText) { continue }
            row.learn(message.content, weight: weight)
            if message.roleText != "assistant" { row.unusualRoles.append(message.roleText) }
        }
        return row
    }

    private func cut(_ row: inout LabelledRow) throws(QwenSFTError) {
        row.fullCount = row.ids.count
        if let limit = length.limit, row.ids.count > limit {
            row.ids.removeSubrange(limit...)
            row.labels.removeSubrange(limit...)
            row.weights.removeSubrange(limit...)
        }
        if let context = options.contextLength, row.ids.count > context {
            throw QwenSFTError(
                .tooLong,
                "\(row.ids.count) tokens are more than the model's context of \(context); max_length cuts them")
        }
    }
}
