/// One conversation as tokens and labels.
package struct LabelledRow: Sendable {
    package var ids: [Int32] = []
    /// −100, or the id of the same position.
    package var labels: [Int32] = []
    /// The weight of each label; 0 where there is none.
    package var weights: [Float] = []
    /// Tokens before it was cut.
    package var fullCount = 0

    package init() {}

    /// Labels that are targets: the first position is never predicted.
    package var targetCount: Int {
        labels.indices.dropFirst().count { labels[$0] != LabelledSequences.ignored }
    }

    /// Whether some label's weight is not 1.
    var isWeighted: Bool { weights.contains { $0 != 0 && $0 != 1 } }

    /// What to say of a row without targets.
    func withoutTarget(_ options: PreprocessOptions) -> String {
        let cut = fullCount > ids.count ? ", cut to \(ids.count) of \(fullCount) tokens" : ""
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
    private let template: ChatTemplate
    private let encoder: ChatEncoder
    let length: RowLength

    var endOfTurnID: Int32 { encoder.end }

    package init(_ tokenizer: Tokenizer, _ options: PreprocessOptions) throws(QwenSFTError) {
        length = try RowLength(options, tokenizer)
        self.options = options
        template = try tokenizer.resolve(options.template)
        encoder = try ChatEncoder(tokenizer, splitSpecialTokens: options.splitSpecialTokens)
    }

    /// - Throws: `invalidArgument`, `unsupported` for messages that cannot be rendered; `tooLong`. The messages do not name the row.
    package func encode(_ conversation: [Message]) throws(QwenSFTError) -> LabelledRow {
        let messages = try template.complete(conversation, addsDefaultSystem: options.addDefaultSystem)
        let lastAssistant = messages.lastIndex { $0.role == "assistant" }
        let added = messages.count - conversation.count
        var row = LabelledRow()
        for (i, message) in messages.enumerated() {
            try Memory.check("a conversation")
            guard message.weight.isFinite, message.weight >= 0 else {
                throw QwenSFTError(
                    .invalidArgument, "message \(i - added): the weight \(message.weight) must be a number from 0 on")
            }
            let tokens = try encoder.append(message, to: &row.ids)
            try row.labels.makeRoom(for: tokens.all.count, purpose: "labels")
            try row.weights.makeRoom(for: tokens.all.count, purpose: "token weights")
            row.labels += repeatElement(LabelledSequences.ignored, count: tokens.all.count)
            row.weights += repeatElement(0, count: tokens.all.count)
            if message.weight == 0 { continue }
            let supervised = options.labelPolicy.supervised(
                tokens, role: message.role, isLastAssistant: i == lastAssistant)
            for position in supervised.joined() {
                row.labels[position] = row.ids[position]
                row.weights[position] = message.weight
            }
        }
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
        return row
    }
}
