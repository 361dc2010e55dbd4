/// Which tokens of a conversation the model learns to predict. The others get the label −100.
///
/// A message is `<|im_start|>` role `\n` content `<|im_end|>` `\n`.
public enum LabelPolicy: String, Sendable, CaseIterable {
    /// The content of every role but system and user; of every message, whoever speaks, `<|im_start|>`, `<|im_end|>` and the last newline.
    /// The policy of Qwen's own fine-tuning script, and the default.
    case qwen
    /// The assistant's content and the `<|im_end|>` after it.
    case assistant
    /// The assistant's content alone. A model trained so does not learn to stop.
    case assistantContent = "assistant_content"
    /// The assistant's content, `<|im_end|>` and the newline after it.
    case assistantNewline = "assistant_newline"
    /// The content of the conversation's last assistant message and the `<|im_end|>` after it.
    case lastAssistant = "last_assistant"
    /// Every token.
    case all

    /// The ranges of a message's tokens that are supervised.
    /// - Parameter isLastAssistant: the message is the conversation's last one from the assistant.
    func supervised(_ tokens: MessageTokens, isLastAssistant: Bool) -> [Range<Int>] {
        let isAssistant = tokens.roleText == "assistant"
        switch self {
        case .qwen:
            let frame = [tokens.start, tokens.end, tokens.endNewline]
            return ["system", "user"].contains(tokens.roleText) ? frame : frame + [tokens.content]
        case .assistant: return isAssistant ? [tokens.content, tokens.end] : []
        case .assistantContent: return isAssistant ? [tokens.content] : []
        case .assistantNewline: return isAssistant ? [tokens.content, tokens.end, tokens.endNewline] : []
        case .lastAssistant: return isLastAssistant ? [tokens.content, tokens.end] : []
        case .all: return [tokens.all]
        }
    }
}
