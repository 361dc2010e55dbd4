import Synchronization

/// A conversation as tokens.
package struct EncodedConversation: Sendable {
    package var ids: [Int32] = []
    /// Where its messages stand; nil where the text is not ChatML.
    package var messages: [MessageTokens]?
}

/// Encodes conversations part by part: what a template writes becomes control tokens where it asks for that, what comes from messages
/// and arguments never does, and no token crosses the boundary between the two.
package final class ChatEncoder: Sendable {
    private let tokenizer: Tokenizer
    private let template: ChatTemplate
    private let splitSpecialTokens: Bool
    private let startID: Int32?
    private let endID: Int32?
    /// Ids of the short texts that come again in every conversation: the template's own, and roles.
    private let known = Mutex<[Key: [Int32]]>([:])

    private struct Key: Hashable {
        let text: [UInt8]
        let splits: Bool
    }

    /// The id that ends a turn.
    package var end: Int32 { endID ?? tokenizer.eosTokenID ?? -1 }

    /// - Parameter splitSpecialTokens: true: added tokens inside a content are text; false: they take effect.
    /// - Throws: `unsupported` where the template needs `<|im_start|>` and `<|im_end|>` and the tokenizer does not have them.
    package init(_ tokenizer: Tokenizer, _ template: ChatTemplate, splitSpecialTokens: Bool) throws(QwenSFTError) {
        startID = tokenizer.tokenID(of: "<|im_start|>")
        endID = tokenizer.tokenID(of: "<|im_end|>")
        if startID == nil || endID == nil, template.text.contains("<|im_start|>") {
            throw QwenSFTError(
                .unsupported, "the tokenizer has no tokens <|im_start|> and <|im_end|>, which chats need")
        }
        self.tokenizer = tokenizer
        self.template = template
        self.splitSpecialTokens = splitSpecialTokens
    }

    /// - Parameter addsDefaultSystem: whether the system message stays that the template puts before a conversation which has none.
    /// - Throws: as `ChatTemplate.render`.
    package func encode(
        _ messages: [Message], tools: String = "", addGenerationPrompt: Bool = false, addsDefaultSystem: Bool = true
    ) throws(QwenSFTError) -> EncodedConversation {
        let text = try template.rendering(messages, tools: tools, addGenerationPrompt: addGenerationPrompt).text
        var start = 0
        if !addsDefaultSystem, messages.first?.role != "system", let block = ChatML.defaultSystem(text) {
            start = block.all.upperBound
        }
        return try encode(text, from: start)
    }

    private func encode(_ text: TaggedText, from first: Int) throws(QwenSFTError) -> EncodedConversation {
        var result = EncodedConversation()
        var reader = ChatML.Reader(startID: startID ?? -1, endID: endID ?? -1)
        var start = first
        for (i, run) in text.runs.enumerated() where run.end > start {
            let isTemplate = run.origin.source == .template
            // What the template wrote at several messages stands together.
            if isTemplate, i + 1 < text.runs.count, text.runs[i + 1].origin.source == .template { continue }
            let position = result.ids.count
            let ids = try encode(text.bytes[start..<run.end], run.origin.source)
            try result.ids.makeRoom(for: ids.count, purpose: "token ids")
            result.ids += ids
            if isTemplate {
                reader.readTemplate(ids, at: position) { tokenizer.decodeBytes([$0], skipSpecialTokens: false) }
            } else {
                reader.readData(run.origin.message) { String(decoding: text.bytes[start..<run.end], as: UTF8.self) }
            }
            start = run.end
        }
        reader.finish(at: result.ids.count)
        if reader.isComplete, !reader.messages.isEmpty { result.messages = reader.messages }
        return result
    }

    private func encode(_ text: ArraySlice<UInt8>, _ source: TextOrigin.Source) throws(QwenSFTError) -> [Int32] {
        let splits = source == .role || (source != .template && splitSpecialTokens)
        let isRecurring = (source == .template || source == .role) && text.count <= 256
        let key = isRecurring ? Key(text: Array(text), splits: splits) : nil
        if let key, let ids = known.withLock({ $0[key] }) { return ids }
        let ids = try text.withUnsafeBufferPointer { (bytes) throws(QwenSFTError) in
            try tokenizer.encode(utf8: bytes, splitSpecialTokens: splits)
        }
        if let key {
            known.withLock { if $0.count < 256 { $0[key] = ids } }
        }
        return ids
    }
}
