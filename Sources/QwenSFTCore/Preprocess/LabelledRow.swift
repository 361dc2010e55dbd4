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
    private let encoder: ChatEncoder
    let length: RowLength

    var endOfTurnID: Int32 { encoder.end }

    package init(_ tokenizer: Tokenizer, _ options: PreprocessOptions) throws(QwenSFTError) {
        length = try RowLength(options, tokenizer)
        self.options = options
        encoder = try ChatEncoder(
            tokenizer, tokenizer.resolve(options.template), splitSpecialTokens: options.splitSpecialTokens)
    }

    /// - Parameter tools: a JSON list, or empty.
    /// - Throws: `invalidArgument`, `unsupported` for messages that cannot be rendered; `tooLong`. The messages do not name the row.
    package func encode(
        _ conversation: [Message], tools: String = ""
    ) throws(QwenSFTError) -> LabelledRow {
        for (i, message) in conversation.enumerated() {
            guard message.weight.isFinite, message.weight >= 0 else {
                throw QwenSFTError(
                    .invalidArgument, "message \(i): the weight \(message.weight) must be a number from 0 on")
            }
        }
        let encoded = try encoder.encode(
            conversation, tools: tools, addsDefaultSystem: options.addDefaultSystem)
        guard let messages = encoded.messages else {
            throw QwenSFTError(
                .unsupported,
                "the chat template does not write ChatML, for which alone the label policies have a meaning")
        }
        var row = LabelledRow()
        row.ids = encoded.ids
        try row.labels.makeRoom(for: row.ids.count, purpose: "labels")
        try row.weights.makeRoom(for: row.ids.count, purpose: "token weights")
        row.labels += repeatElement(LabelledSequences.ignored, count: row.ids.count)
        row.weights += repeatElement(0, count: row.ids.count)
        let lastAssistant = messages.lastIndex { $0.roleText == "assistant" }
        for (i, message) in messages.enumerated() {
            let weight = message.message.map { conversation[$0].weight } ?? 1
            if weight == 0 { continue }
            for range in options.labelPolicy.supervised(message, isLastAssistant: i == lastAssistant) {
                for position in range {
                    row.labels[position] = row.ids[position]
                    row.weights[position] = weight
                }
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
