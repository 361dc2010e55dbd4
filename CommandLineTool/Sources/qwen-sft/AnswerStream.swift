import QwenSFTCore

extension Model {
    /// Answers a conversation and hands over its text in pieces of whole characters.
    /// - Parameter onText: `false` ends the answer.
    func streamAnswer(
        _ tokenizer: Tokenizer, _ messages: [Message], options: GenerationOptions, template: ChatTemplate?,
        onText: (String) -> Bool
    ) throws -> String {
        try replies(tokenizer, messages, options: options, template: template) { onText($0.text) }.first?.text ?? ""
    }
}
