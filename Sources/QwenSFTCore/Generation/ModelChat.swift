extension Model {
    /// Answers a conversation: chat template with the opening of an assistant message, generation, text without special
    /// tokens. Stops at `<|im_end|>` whatever the checkpoint's files say.
    /// - Parameters:
    ///   - tokenizer: that of the checkpoint.
    ///   - messages: the conversation.
    ///   - options: how answers are chosen, and when they end.
    ///   - template: nil: the checkpoint's.
    ///   - onToken: called with every new id; `false` ends the answer.
    /// - Throws: as `generate`; `unsupported` for a tokenizer without chat tokens or an unknown template.
    public func chat(
        _ tokenizer: Tokenizer, _ messages: [Message], options: GenerationOptions = .init(),
        template: ChatTemplate? = nil, onToken: (Int32) -> Bool = { _ in true }
    ) throws(QwenSFTError) -> String {
        var options = options
        options.numReturnSequences = 1
        let answers = try replies(
            tokenizer, messages, options: options, template: template, onPiece: { onToken($0.id) })
        return answers.first?.text ?? ""
    }

    /// Answers one question.
    public func chat(
        _ tokenizer: Tokenizer, _ prompt: String, options: GenerationOptions = .init()
    ) throws(QwenSFTError) -> String {
        try chat(tokenizer, [Message(role: "user", content: prompt)], options: options)
    }

    /// Answers a conversation as `chat` does, as often as `options.numReturnSequences` says, with all that is known of every
    /// answer.
    /// - Parameters:
    ///   - tokenizer: that of the checkpoint.
    ///   - messages: the conversation.
    ///   - options: how answers are chosen, and when they end.
    ///   - template: nil: the checkpoint's.
    ///   - onPiece: called with every new id and the text that it makes certain; `false` ends everything.
    public func replies(
        _ tokenizer: Tokenizer, _ messages: [Message], options: GenerationOptions = .init(),
        template: ChatTemplate? = nil, onPiece: (GenerationPiece) -> Bool = { _ in true }
    ) throws(QwenSFTError) -> [Generation] {
        let prompt = try tokenizer.applyChatTemplate(messages, template: template, addGenerationPrompt: true)
        return try generations(prompt, tokenizer: tokenizer, options: options.endingTurns(tokenizer), onPiece: onPiece)
    }
}
