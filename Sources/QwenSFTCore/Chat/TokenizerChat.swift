extension Tokenizer {
    /// The checkpoint's chat template; plain ChatML where its files hold none.
    /// - Throws: `unsupported` for a template that is not known.
    public func chatTemplate() throws(QwenSFTError) -> ChatTemplate {
        guard let text = chatTemplateText else { return .chatML }
        return try ChatTemplate(recognizing: text)
    }

    /// The conversation as text, as the checkpoint's template (or `template`) renders it.
    public func renderChatTemplate(
        _ messages: [Message], template: ChatTemplate? = nil, addGenerationPrompt: Bool = false
    ) throws(QwenSFTError) -> String {
        try resolve(template).render(messages, addGenerationPrompt: addGenerationPrompt)
    }

    /// The conversation as token ids, encoded part by part as for training: a message's content never merges with what is around it.
    ///
    /// - Parameter splitSpecialTokens: true: added tokens inside a content are plain text; false: they take effect.
    public func applyChatTemplate(
        _ messages: [Message], template: ChatTemplate? = nil, addGenerationPrompt: Bool = false,
        splitSpecialTokens: Bool = true
    ) throws(QwenSFTError) -> [Int32] {
        let encoder = try ChatEncoder(self, splitSpecialTokens: splitSpecialTokens)
        var ids: [Int32] = []
        for message in try resolve(template).complete(messages) { _ = try encoder.append(message, to: &ids) }
        if addGenerationPrompt { try encoder.appendGenerationPrompt(to: &ids) }
        return ids
    }

    package func resolve(_ template: ChatTemplate?) throws(QwenSFTError) -> ChatTemplate {
        if let template { return template }
        return try chatTemplate()
    }
}
