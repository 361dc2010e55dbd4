extension Model {
    /// Answers a conversation: chat template with the opening of an assistant message, generation, text without special
    /// tokens. Stops at `<|im_end|>` whatever the checkpoint's files say.
    /// - Parameter onToken: called with every new id; `false` ends the answer.
    /// - Throws: as `generate`; `unsupported` for a tokenizer without chat tokens or an unknown template.
    public func chat(
        _ tokenizer: Tokenizer, _ messages: [Message], options: GenerationOptions = .init(),
        template: ChatTemplate? = nil,
        onToken: (Int32) -> Bool = { _ in true }
    ) throws(QwenSFTError) -> String {
        let ids = try reply(tokenizer, messages, options: options, template: template, onToken: onToken)
        return tokenizer.decode(ids, skipSpecialTokens: true)
    }

    /// Answers one question.
    public func chat(
        _ tokenizer: Tokenizer, _ prompt: String, options: GenerationOptions = .init()
    ) throws(QwenSFTError) -> String {
        try chat(tokenizer, [Message(role: "user", content: prompt)], options: options)
    }

    /// The ids of the answer, a stop id at the end included.
    package func reply(
        _ tokenizer: Tokenizer, _ messages: [Message], options: GenerationOptions, template: ChatTemplate? = nil,
        onToken: (Int32) -> Bool = { _ in true }
    ) throws(QwenSFTError) -> [Int32] {
        let prompt = try tokenizer.applyChatTemplate(messages, template: template, addGenerationPrompt: true)
        let stops = [tokenizer.tokenID(of: "<|im_end|>")].compactMap { $0 }
        return try generate(prompt, options: options, stopIDs: stops, onToken: onToken)
    }
}
